"""Which releases of a package there are on the user's own index, when they came out, which were withdrawn."""

import configparser
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

FRESH = 600.0  # seconds for which an index lets its answers be kept, as PyPI says in Cache-Control
TIMEOUT = 10.0  # seconds
# Where uv reads settings of its own; with any of these set, pip's do not apply to it.
UV_INDEX = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")


class Unreachable(Exception):
    """The index gave no answer, and there is none on disk."""


@dataclass(frozen=True)
class Release:
    """One release: `released` is its date as YYYY-MM-DD, or empty where the index does not say."""

    version: str
    released: str
    withdrawn: bool
    wheel: bool
    requires_python: str

    @property
    def prerelease(self) -> bool:
        return Version(self.version).is_prerelease

    def admits(self, python: str) -> bool:
        """Whether its Requires-Python allows this interpreter's version."""
        try:
            return SpecifierSet(self.requires_python).contains(python, prereleases=True)
        except InvalidSpecifier:  # uv has the last word
            return True


@dataclass(frozen=True)
class Listing:
    """The releases sorted as versions, and a note where they are an older answer of the index."""

    releases: tuple[Release, ...]
    note: str = ""

    def usable(self, python: str, pre: bool = False, withdrawn: bool = False) -> tuple[Release, ...]:
        """Those that this interpreter may install, without the withdrawn and the pre-releases unless asked for."""
        return tuple(
            release
            for release in self.releases
            if release.admits(python) and (pre or not release.prerelease) and (withdrawn or not release.withdrawn)
        )

    def newest(self, python: str, pre: bool = False, withdrawn: bool = False) -> str:
        """The newest version of those. Raises Unreachable where there is none."""
        usable = self.usable(python, pre, withdrawn)
        if not usable:
            raise Unreachable(f"the package index has no release for Python {python}: name a version")
        return usable[-1].version


def index_url() -> str | None:
    """The index that the user configured for uv, or else for pip; None for the default one."""
    for name in UV_INDEX:
        if os.environ.get(name):
            return os.environ[name]
    return _from_uv_files() or os.environ.get("PIP_INDEX_URL") or _from_pip_files()


def uv_environment() -> dict[str, str]:
    """The process environment for uv: this one, and pip's index where uv has none of its own."""
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    url = index_url()
    return {**environment, "UV_DEFAULT_INDEX": url, "UV_NO_PROGRESS": "1"} if url else environment


def _from_uv_files() -> str | None:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "uv" / "uv.toml"
    for file in (os.environ.get("UV_CONFIG_FILE"), config, "/etc/uv/uv.toml"):
        if file and Path(file).is_file():
            settings = tomllib.loads(Path(file).read_text())
            urls = [index["url"] for index in settings.get("index", []) if index.get("default")]
            urls += [settings["index-url"]] if "index-url" in settings else []
            if urls:
                return str(urls[0])
    return None


def _from_pip_files() -> str | None:
    home = Path.home()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    files = [
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        home / "Library/Application Support/pip/pip.conf",
        config,
    ]
    if os.environ.get("PIP_CONFIG_FILE") == os.devnull:  # so pip is told to read no file at all
        return None
    # Later files win, and pip reads PIP_CONFIG_FILE last.
    parser = configparser.RawConfigParser()
    parser.read([*files, Path(os.environ.get("PIP_CONFIG_FILE", os.devnull))])
    for section in ("install", "global"):
        if parser.has_option(section, "index-url"):
            return parser.get(section, "index-url")
    return None


def listing(package: str, folder: Path) -> Listing:
    """The releases of a package, from the index or from its answer of the last minutes in `folder`.

    An index that cannot be reached is answered for by its last answer, with a note. Raises Unreachable
    where there is none.
    """
    file, url = folder / f"releases-{package}.json", index_url()
    kept = _read(file)
    if kept and kept["url"] == url and 0 <= time.time() - kept["time"] < FRESH:
        return Listing(kept["releases"])
    try:
        releases = _fetch(package, url)
    except Exception as error:
        if not kept:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise Unreachable(
                f"the package index cannot be reached: check the network and the index of uv or pip ({reason[:150]})"
            ) from error
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept["time"]))
        return Listing(kept["releases"], f"the package index cannot be reached: these are its releases as of {day}")
    _write(file, {"url": url, "time": time.time(), "releases": [asdict(release) for release in releases]})
    return Listing(releases)


def _read(file: Path) -> Any:
    try:
        kept = json.loads(file.read_text())
        return {**kept, "url": kept["url"], "releases": tuple(Release(**release) for release in kept["releases"])}
    except (OSError, ValueError, KeyError, TypeError):  # none, or written by another version of this file
        return None


def _write(file: Path, value: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as new:
        json.dump(value, new)
    Path(new.name).replace(file)


def _fetch(package: str, url: str | None) -> tuple[Release, ...]:
    # It takes a third of a second to import, and most runs have a fresh answer on disk.
    from pypi_simple import PYPI_SIMPLE_ENDPOINT, DistributionPackage, PyPISimple

    with PyPISimple(url or PYPI_SIMPLE_ENDPOINT) as client:
        page = client.get_project_page(package, timeout=TIMEOUT)
    files: dict[str, list[DistributionPackage]] = {}
    for file in page.packages:
        if file.version and _is_version(file.version):
            files.setdefault(file.version, []).append(file)
    return tuple(sorted((_release(version, files[version]) for version in files), key=lambda r: Version(r.version)))


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _release(version: str, files: Iterable[Any]) -> Release:
    files = sorted(files, key=lambda file: file.package_type != "wheel")  # a wheel speaks for the release
    dates = [file.upload_time.date().isoformat() for file in files if file.upload_time]
    return Release(
        version=version,
        released=min(dates, default=""),
        withdrawn=all(file.is_yanked for file in files),
        wheel=files[0].package_type == "wheel",
        requires_python=files[0].requires_python or "",
    )
