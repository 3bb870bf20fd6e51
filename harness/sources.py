"""Where packages come from: the index, the certificates and the variables that the user configured for uv or pip."""

import configparser
import contextlib
import os
import re
import ssl
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# What pip and uv read of the caller's settings: where packages come from and how to get there.
# The others change what is installed or where to: PIP_TARGET, PIP_DRY_RUN, UV_OVERRIDE and their like.
KEPT = re.compile(
    r"(PIP|UV)_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|CONFIG_FILE|CACHE_DIR)|UV_INDEX_\w+_(USERNAME|PASSWORD)"
    r"|PIP_(TRUSTED_HOST|CERT|CLIENT_CERT|PROXY|DEFAULT_TIMEOUT|RETRIES)"
    r"|UV_(DEFAULT_INDEX|OFFLINE|HTTP_TIMEOUT|HTTP_RETRIES|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS|KEYRING_PROVIDER)"
)
ASTRAY = ("PIP_", "UV_", "PYTHON", "VIRTUAL_ENV", "CONDA_", "UVICORN_", "GRANIAN_")


def settings() -> dict[str, str]:
    """The process environment for uv and Python: without what would lead them astray, and pip's index for uv."""
    kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name) or not name.startswith(ASTRAY)}
    found = {"UV_DEFAULT_INDEX": index_url(), "SSL_CERT_FILE": _certificates(), "UV_NO_PROGRESS": "1"}
    return kept | {name: value for name, value in found.items() if value}


def index_url() -> str | None:
    """The index that the user configured for uv, or else for pip; None for the default one."""
    return (
        _variable("UV_DEFAULT_INDEX", "UV_INDEX_URL") or _of_uv() or _variable("PIP_INDEX_URL") or _of_pip("index-url")
    )


def verification() -> str | bool:
    """What requests is to verify the index's certificate with: a file, its own authorities, or none at all."""
    host = (index_url() or "").split("://")[-1].split("@")[-1].split("/")[0]
    trusted = _variable("PIP_TRUSTED_HOST", "UV_INSECURE_HOST") or _of_pip("trusted-host") or ""
    if host and {host, host.partition(":")[0]} & set(re.split(r"[\s,]+", trusted)):
        return False
    return _certificates() or True


def redacted(text: str) -> str:
    """The text without the user, password and query of the URLs in it: an index may hold a secret there."""
    return re.sub(r"\?[\w%.-]+=[^\s'\")]*", "", re.sub(r"(\w://)[^/@\s]+@", r"\1", text))


def _variable(*names: str) -> str | None:
    """The first of these variables that is set to something."""
    return next(filter(None, map(os.environ.get, names)), None)


def _certificates() -> str | None:
    """The file of authorities that pip, uv or OpenSSL is told of."""
    native = ssl.get_default_verify_paths().cafile if _variable("UV_NATIVE_TLS", "UV_SYSTEM_CERTS") else None
    return _variable("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") or native or _of_pip("cert")


def _configuration() -> Path:
    return Path(_variable("XDG_CONFIG_HOME") or Path(os.environ.get("HOME", "/"), ".config"))


def _of_uv() -> str | None:
    for file in (_variable("UV_CONFIG_FILE") or "", _configuration() / "uv" / "uv.toml", "/etc/uv/uv.toml"):
        with contextlib.suppress(OSError, ValueError):  # it is not there, or uv will say what is wrong with it
            read: dict[str, Any] = tomllib.loads(Path(file).read_text())
            default = [index["url"] for index in read.get("index", []) if index.get("default")]
            if default or "index-url" in read:
                return str([*default, read.get("index-url")][0])
    return None


def _of_pip(option: str) -> str | None:
    own = os.environ.get("PIP_CONFIG_FILE", "")
    if own == os.devnull:  # so pip is told to read no file at all
        return None
    home = Path(os.environ.get("HOME", "/"))
    # Later files win, and pip reads PIP_CONFIG_FILE last.
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", home / "Library/Application Support/pip/pip.conf"]
    parser = configparser.RawConfigParser()
    with contextlib.suppress(configparser.Error, UnicodeDecodeError):  # pip will say so
        parser.read([*files, _configuration() / "pip" / "pip.conf", own])
    return parser.get("install", option, fallback=None) or parser.get("global", option, fallback=None)
