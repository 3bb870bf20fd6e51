"""Which releases of a package there are on the user's own index, when they came out, which were withdrawn."""

import contextlib
import json
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from harness.environment import FOLDER, Unavailable, index_url, read_json, write_whole
from harness.model import plain

FRESH = 600.0  # seconds for which an index lets its answers be kept, as PyPI says in Cache-Control
TIMEOUT = 10.0  # seconds, for each packet
LIMIT = 30.0  # seconds, for the whole answer


class Unreachable(Unavailable):
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


def listing(package: str, folder: Path = FOLDER) -> Listing:
    """The releases of a package, from the index or from its answer of the last minutes in `folder`.

    An index that cannot be reached is answered for by its last answer, with a note. Raises Unreachable
    where there is none.
    """
    file, url = folder / f"releases-{package}.json", index_url()
    kept = _read(file)
    if kept and kept.url == url and 0 <= time.time() - kept.time < FRESH:
        return Listing(kept.releases)
    try:
        releases = _fetch_in_time(package, url)
    except Exception as error:
        if not kept:
            reason = plain(str(error)) or type(error).__name__
            raise Unreachable(
                f"the package index cannot be reached: check the network and the index of uv or pip ({reason[:150]})"
            ) from error
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.time))
        return Listing(kept.releases, f"the package index cannot be reached: these are its releases as of {day}")
    with contextlib.suppress(Unavailable, OSError):  # it can be asked again
        write_whole(file, json.dumps({"url": url, "time": time.time(), "releases": list(map(asdict, releases))}))
    return Listing(releases)


@dataclass(frozen=True)
class _Kept:
    url: str | None
    time: float
    releases: tuple[Release, ...]


def _read(file: Path) -> _Kept | None:
    """The last answer; none where there is none, or something else stands in the file."""
    read = read_json(file)
    try:
        releases = tuple(Release(**release) for release in read["releases"])
        if not all(_is_version(release.version) for release in releases):
            return None
        return _Kept(read["url"], min(float(read["time"]), 1e10), releases)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _fetch_in_time(package: str, url: str | None) -> tuple[Release, ...]:
    """The releases as the index has them now. Raises whatever went wrong, TimeoutError after LIMIT."""
    answer: Future[tuple[Release, ...]] = Future()

    def fetch() -> None:
        try:
            answer.set_result(_fetch(package, url))
        except BaseException as error:
            answer.set_exception(error)

    # An index may send a byte now and then, for ever; nobody waits for a daemon.
    threading.Thread(target=fetch, daemon=True).start()
    return answer.result(LIMIT)


def _fetch(package: str, url: str | None) -> tuple[Release, ...]:
    # It takes a third of a second to import, and most runs have a fresh answer on disk.
    from pypi_simple import PYPI_SIMPLE_ENDPOINT, DistributionPackage, PyPISimple

    with PyPISimple(url or PYPI_SIMPLE_ENDPOINT) as client:
        page = client.get_project_page(package, timeout=TIMEOUT)
    files: dict[str, list[DistributionPackage]] = {}
    for file in page.packages:
        if file.version and _is_version(file.version):
            files.setdefault(str(Version(file.version)), []).append(file)
    return tuple(sorted((_release(version, files[version]) for version in files), key=lambda r: Version(r.version)))


def download(package: str, version: str, folder: Path) -> Path:
    """The source distribution of a release, in the folder. Raises Unreachable."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple

    try:
        with PyPISimple(index_url() or PYPI_SIMPLE_ENDPOINT) as client:
            files = client.get_project_page(package, timeout=TIMEOUT).packages
            [file] = [one for one in files if one.version == version and one.package_type == "sdist"]
            client.download_package(file, folder / file.filename, timeout=TIMEOUT)
            return folder / file.filename
    except Exception as error:
        reason = f"the sources of {package} {version} cannot be downloaded ({plain(str(error))[:150]})"
        raise Unreachable(f"{reason}: check the network and the index of uv or pip") from error


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except (InvalidVersion, TypeError):
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
