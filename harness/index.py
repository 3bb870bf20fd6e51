"""Which releases of a package the user's own index has: when they came out, which were withdrawn; and their wheels."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sys
import threading
import time
import zipfile
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from harness.model import plain
from harness.place import FOLDER, Unavailable, made, write_whole
from harness.sources import index_url, redacted, verification

FRESH = 600.0  # seconds for which an answer is kept where the index does not say
TIMEOUT = 10.0  # seconds, for each packet
LIMIT = 30.0  # seconds, for the whole answer


@dataclass(frozen=True)
class Release:
    """One release: `released` is its date as YYYY-MM-DD, or empty where the index does not say.

    `wheel` is a name for the wheel's content, its digest where the index promises one; empty where there is none.
    """

    version: str
    released: str
    withdrawn: bool
    wheel: str
    requires_python: str

    @property
    def prerelease(self) -> bool:
        return Version(self.version).is_prerelease

    @property
    def dated(self) -> str:
        return f"{self.version} ({self.released})" if self.released else self.version

    def admits(self, python: str) -> bool:
        """Whether its Requires-Python allows this interpreter's version."""
        try:
            return SpecifierSet(self.requires_python).contains(python, prereleases=True)
        except InvalidSpecifier:
            return True


@dataclass(frozen=True)
class Index:
    """The user's index. What it answers is kept on the disk for as long as it allows, without its address."""

    url: str | None
    verify: str | bool
    pages: dict[str, Any]

    @classmethod
    def configured(cls) -> Index:
        return cls(index_url(), verification(), {})

    @cached_property
    def client(self) -> Any:
        # It takes a third of a second to import, and most runs have a fresh answer on the disk.
        from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple

        client = PyPISimple(self.url or PYPI_SIMPLE_ENDPOINT)
        client.s.verify = self.verify
        return client

    def releases(self, package: str) -> tuple[Release, ...]:
        """The releases of a package, sorted. An index that cannot be reached is answered for by its last answer.

        Raises Unavailable where there is none.
        """
        name = hashlib.sha256((self.url or "").encode()).hexdigest()[:12]
        file = FOLDER / f"{package}-{name}.json"
        kept, until = _read(file)
        if kept and 0 <= until - time.time() <= 86_400:
            return kept
        try:
            page = self.page(package)
        except Unavailable as error:
            if not kept:
                raise
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(file.stat().st_mtime))
            print(f"{error}: these are its releases as of {day}", file=sys.stderr)
            return kept
        found = _releases(page.packages, self.url or "")
        with contextlib.suppress(Unavailable):  # it can be asked again
            until = time.time() + min(page.fresh, 86_400)
            write_whole(file, json.dumps({"until": until, "releases": list(map(asdict, found))}))
        return found

    def page(self, package: str) -> Any:
        """The index's page on a package, asked for once. Raises Unavailable."""
        if package not in self.pages:
            answer: Future[Any] = Future()

            def fetch() -> None:
                fresh = [FRESH]

                def note(response: Any, *_: Any, **__: Any) -> None:
                    found = re.search(r"max-age=(\d+)", response.headers.get("Cache-Control", ""))
                    fresh[0] = float(found[1]) if found else FRESH

                try:
                    self.client.s.hooks["response"] = [note]
                    page = self.client.get_project_page(package, timeout=TIMEOUT)
                    answer.set_result(_Page(page.packages, fresh[0]))
                except BaseException as error:
                    answer.set_exception(error)

            # An index may send a byte now and then, for ever; nobody waits for a daemon.
            threading.Thread(target=fetch, daemon=True).start()
            try:
                self.pages[package] = answer.result(LIMIT)
            except Exception as error:
                reason = redacted(plain(str(error)))[:150] or type(error).__name__
                advice = "check the network and the index of uv or pip"
                raise Unavailable(f"the package index cannot be reached: {advice} ({reason})") from None
        return self.pages[package]

    def folder(self, release: Release) -> Path:
        """The folder of a release of uvicorn, its wheel unpacked. Raises Unavailable."""

        def build(new: Path) -> None:
            wheel = new.parent / "uvicorn.whl"
            files = [file for file in self.page("uvicorn").packages if _wheel(file, self.url or "") == release.wheel]
            try:
                self.client.download_package(files[0], wheel, verify=bool(files[0].digests), timeout=TIMEOUT)
                with zipfile.ZipFile(wheel) as opened:
                    opened.extractall(new)
            except Exception as error:
                reason = redacted(plain(str(error)))[:150] or type(error).__name__
                raise Unavailable(f"the wheel of uvicorn {release.version} cannot be had ({reason})") from error

        return made(_place(release), build)

    def prepare(self, releases: Iterable[Release], workers: int) -> None:
        """Fetch the wheels of these at once; what cannot be had is told when it is asked for."""
        absent = [one for one in releases if one.wheel and not _place(one).is_dir()]
        if len(absent) > 1:
            with contextlib.suppress(Unavailable):
                self.page("uvicorn")
                pool = ThreadPoolExecutor(workers)
                try:
                    for done in [pool.submit(self.folder, one) for one in absent]:
                        done.exception()
                finally:  # nobody waits where somebody said Ctrl-C
                    pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class _Page:
    packages: list[Any]
    fresh: float


def checked(version: str) -> Version:
    """The version. Raises ValueError where it is none."""
    try:
        return Version(version)
    except InvalidVersion:
        raise ValueError(f"{plain(version)!r} is no version, such as 0.20.0") from None


def _read(file: Path) -> tuple[tuple[Release, ...], float]:
    """The last answer and until when it holds; none where there is none, or something else stands in the file."""
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        releases = tuple(Release(**release) for release in read["releases"])
        whole = all(isinstance(value, str) for one in releases for value in (one.released, one.wheel))
        return (releases, float(read["until"])) if whole and all(is_version(r.version) for r in releases) else ((), 0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return (), 0


def _place(release: Release) -> Path:
    return FOLDER / "releases" / f"{release.version}-{release.wheel[:12]}"


def is_version(text: str) -> bool:
    try:
        Version(text)
    except (InvalidVersion, TypeError):
        return False
    return True


def _releases(files: Iterable[Any], url: str) -> tuple[Release, ...]:
    found: dict[str, list[Any]] = {}
    for file in files:
        if file.version and is_version(file.version):
            found.setdefault(str(Version(file.version)), []).append(file)
    return tuple(_release(version, found[version], url) for version in sorted(found, key=Version))


def _release(version: str, files: list[Any], url: str) -> Release:
    files = sorted(files, key=lambda file: file.package_type != "wheel")  # a wheel speaks for the release
    dates = [file.upload_time.date().isoformat() for file in files if file.upload_time]
    return Release(
        version=version,
        released=min(dates, default=""),
        withdrawn=all(file.is_yanked for file in files),
        wheel=_wheel(files[0], url),
        requires_python=files[0].requires_python or "",
    )


def _wheel(file: Any, url: str) -> str:
    if file.package_type != "wheel":
        return ""
    promised = file.digests.get("sha256") if file.digests else ""
    return promised or hashlib.sha256(f"{url} {file.filename}".encode()).hexdigest()
