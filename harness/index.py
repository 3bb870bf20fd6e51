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
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from harness.model import plain
from harness.place import FOLDER, Unavailable, made, write_whole
from harness.sources import index_url, redacted, verification

FRESH, DAY = 600.0, 86_400.0  # seconds for which an answer is kept: where the index does not say, and at most
TIMEOUT = 10.0  # seconds, for each packet
LIMIT = 30.0  # seconds, for the whole answer, and for a wheel
T = TypeVar("T")


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
        """Whether its Requires-Python allows this interpreter's version, or cannot be read."""
        with contextlib.suppress(InvalidSpecifier):
            return SpecifierSet(self.requires_python).contains(python, prereleases=True)
        return True


@dataclass(frozen=True)
class Page:
    """What the index said of a package: its files, as pypi-simple has them, and until when (Unix time) that holds."""

    files: Sequence[Any]
    until: float


@dataclass(frozen=True)
class Index:
    """The user's index. What it answers is kept on the disk for as long as it allows, without its address."""

    url: str | None
    verify: str | bool
    pages: dict[str, Future[Page]] = field(default_factory=dict)

    @classmethod
    def configured(cls) -> Index:
        """The index of uv or pip. It is asked for uvicorn's releases already, where that will be needed."""
        index = cls(index_url(), verification())
        if not index._kept("uvicorn")[1]:
            index._ask("uvicorn")
        return index

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
        kept, fresh = self._kept(package)
        if fresh:
            return kept
        try:
            page = self.page(package)
        except Unavailable as error:
            if not kept:
                raise
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(self._file(package).stat().st_mtime))
            print(f"{error}: these are its releases as of {day}", file=sys.stderr)
            return kept
        found = self._releases(page)
        with contextlib.suppress(Unavailable):  # it can be asked again
            text = json.dumps({"until": page.until, "releases": list(map(asdict, found))})
            write_whole(self._file(package), text)
        return found

    def page(self, package: str) -> Page:
        """The index's page on a package, asked for once. Raises Unavailable."""
        try:
            return self._ask(package).result(LIMIT)
        except Exception as error:
            advice = "check the network and the index of uv or pip"
            raise Unavailable(f"the package index cannot be reached: {advice} ({_reason(error)})") from None

    def folder(self, release: Release) -> Path:
        """The folder of a release of uvicorn, its wheel unpacked. Raises Unavailable."""

        def build(new: Path) -> None:
            wheel = new.parent / "uvicorn.whl"
            file = next((one for one in self.page("uvicorn").files if self._wheel(one) == release.wheel), None)
            if not file:
                raise Unavailable(f"the index has another wheel of uvicorn {release.version} by now, or none")
            try:
                client, promised = self.client, bool(file.digests)
                _in_background(lambda: client.download_package(file, wheel, promised, timeout=TIMEOUT)).result(LIMIT)
                with zipfile.ZipFile(wheel) as opened:
                    opened.extractall(new)
            except Exception as error:
                reason = f"the wheel of uvicorn {release.version} cannot be had ({_reason(error)})"
                raise Unavailable(reason) from error

        return made(_place(release), build)

    def prepare(self, releases: Iterable[Release], workers: int) -> None:
        """Fetch the wheels of these at once; what cannot be had is told when it is asked for."""
        absent = [one for one in releases if one.wheel and not _place(one).is_dir()]
        if absent:
            self._ask("uvicorn")
        pool = ThreadPoolExecutor(workers)
        fetching: list[Future[Path]] = []
        try:
            fetching.extend(pool.submit(self.folder, one) for one in absent)
            wait(fetching)
        finally:  # after a Ctrl-C what has begun may put itself away, but nobody waits for an index that hangs
            pool.shutdown(wait=False, cancel_futures=True)
            wait([one for one in fetching if not one.cancelled()], timeout=1)

    def _ask(self, package: str) -> Future[Page]:
        if package not in self.pages:
            self.pages[package] = _in_background(lambda: self._fetch(package))
        return self.pages[package]

    def _fetch(self, package: str) -> Page:
        from pypi_simple import ACCEPT_ANY, ProjectPage

        client = self.client
        response = client.s.get(client.get_project_url(package), headers={"Accept": ACCEPT_ANY}, timeout=TIMEOUT)
        response.raise_for_status()
        found = re.search(r"max-age=(\d+)", response.headers.get("Cache-Control", ""))
        seconds = min(float(found[1]), DAY) if found else FRESH
        return Page(ProjectPage.from_response(response, package).packages, time.time() + seconds)

    def _file(self, package: str) -> Path:
        return FOLDER / f"{package}-{hashlib.sha256((self.url or '').encode()).hexdigest()[:12]}.json"

    def _kept(self, package: str) -> tuple[tuple[Release, ...], bool]:
        """The last answer and whether it still holds; none where there is none, or something else in its file."""
        try:
            read = json.loads(self._file(package).read_text(encoding="utf-8"))
            releases = tuple(Release(**release) for release in read["releases"])
            whole = all(Version(one.version) and isinstance(one.released + one.wheel, str) for one in releases)
            return releases, whole and bool(releases) and 0 <= read["until"] - time.time() <= DAY
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return (), False

    def _releases(self, page: Page) -> tuple[Release, ...]:
        found = defaultdict(list)
        for file in sorted(page.files, key=lambda file: not self._wheel(file)):  # a wheel speaks for the release
            with contextlib.suppress(ValueError):
                found[checked(file.version or "")].append(file)
        return tuple(
            Release(
                version=str(version),
                released=min((one.upload_time.date().isoformat() for one in files if one.upload_time), default=""),
                withdrawn=all(one.is_yanked for one in files),
                wheel=self._wheel(files[0]),
                requires_python=files[0].requires_python or "",
            )
            for version, files in sorted(found.items())
        )

    def _wheel(self, file: Any) -> str:
        if not file.filename.endswith("-none-any.whl"):
            return ""
        promised = file.digests.get("sha256") if file.digests else ""
        return promised or hashlib.sha256(f"{self.url or ''} {file.filename}".encode()).hexdigest()


def checked(version: str) -> Version:
    """The version. Raises ValueError where it is none."""
    try:
        return Version(version)
    except InvalidVersion:
        raise ValueError(f"{plain(version)!r} is no version, such as 0.20.0") from None


def _in_background(function: Callable[[], T]) -> Future[T]:
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(function())
        except BaseException as error:
            answer.set_exception(error)

    # An index may send a byte now and then, for ever; nobody waits for a daemon.
    threading.Thread(target=work, daemon=True).start()
    return answer


def _place(release: Release) -> Path:
    return FOLDER / "releases" / f"{release.version}-{release.wheel[:12]}"


def _reason(error: Exception) -> str:
    return redacted(plain(str(error)))[:150] or type(error).__name__
