"""Where packages come from: the index, the certificates and the variables that the user configured for uv or pip."""

from __future__ import annotations

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
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|CONFIG_FILE|CACHE_DIR|TRUSTED_HOST|CERT|CLIENT_CERT|PROXY)"
    r"|PIP_(DEFAULT_TIMEOUT|RETRIES)|UV_(DEFAULT_INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|CONFIG_FILE)"
    r"|UV_(CACHE_DIR|OFFLINE|HTTP_TIMEOUT|HTTP_RETRIES|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS|KEYRING_PROVIDER)"
    r"|UV_INDEX_\w+_(USERNAME|PASSWORD)"
)
ASTRAY = ("PIP_", "UV_", "PYTHON", "VIRTUAL_ENV", "CONDA_", "UVICORN_", "GRANIAN_")


def settings() -> dict[str, str]:
    """The process environment for uv and Python: without what would lead them astray, and pip's index for uv."""
    kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name) or not name.startswith(ASTRAY)}
    url, certificates = index_url(), _certificates()
    if url:
        kept["UV_DEFAULT_INDEX"] = url
    if certificates:
        kept["SSL_CERT_FILE"] = certificates
    return {**kept, "UV_NO_PROGRESS": "1"}


def index_url() -> str | None:
    """The index that the user configured for uv, or else for pip; None for the default one."""
    own = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    return own or _of_uv() or os.environ.get("PIP_INDEX_URL") or _of_pip("index-url")


def verification() -> str | bool:
    """What requests is to verify the index's certificate with: a file, its own authorities, or none at all."""
    host = (index_url() or "").split("://")[-1].split("@")[-1].split("/")[0]
    trusted = os.environ.get("PIP_TRUSTED_HOST") or os.environ.get("UV_INSECURE_HOST") or _of_pip("trusted-host") or ""
    if host and {host, host.partition(":")[0]} & set(re.split(r"[\s,]+", trusted)):
        return False
    return _certificates() or True


def redacted(text: str) -> str:
    """The text without the user, password and query of the URLs in it: an index may hold a secret there."""
    return re.sub(r"\?[\w%.-]+=[^\s'\")]*", "", re.sub(r"(\w://)[^/@\s]+@", r"\1", text))


def _certificates() -> str | None:
    """The file of authorities that pip, uv or OpenSSL is told of."""
    for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        if os.environ.get(name):
            return os.environ[name]
    if os.environ.get("UV_NATIVE_TLS") or os.environ.get("UV_SYSTEM_CERTS"):
        return ssl.get_default_verify_paths().cafile
    return _of_pip("cert")


def _of_uv() -> str | None:
    named, own = os.environ.get("UV_CONFIG_FILE"), _configuration() / "uv" / "uv.toml"
    for name in filter(None, (named, str(own), "/etc/uv/uv.toml")):
        if Path(name).is_file():
            with contextlib.suppress(tomllib.TOMLDecodeError, UnicodeDecodeError, OSError):  # uv will say so
                read: dict[str, Any] = tomllib.loads(Path(name).read_text())
                urls = [index["url"] for index in read.get("index", []) if index.get("default")]
                urls += [read["index-url"]] if "index-url" in read else []
                if urls:
                    return str(urls[0])
    return None


def _of_pip(option: str) -> str | None:
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:  # so pip is told to read no file at all
        return None
    home = Path(os.environ.get("HOME", "/"))
    # Later files win, and pip reads PIP_CONFIG_FILE last.
    files = [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", home / "Library/Application Support/pip/pip.conf"]
    parser = configparser.RawConfigParser()
    with contextlib.suppress(configparser.Error, UnicodeDecodeError):  # pip will say so
        parser.read([str(file) for file in [*files, _configuration() / "pip" / "pip.conf", named or os.devnull]])
    for section in ("install", "global"):
        if parser.has_option(section, option):
            return parser.get(section, option)
    return None


def _configuration() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path(os.environ.get("HOME", "/")) / ".config")
