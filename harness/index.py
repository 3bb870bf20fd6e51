"""Which releases of a package the user's own index has: when they came out, which were withdrawn; and their wheels."""

import hashlib
import json
import re
import sys
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from harness.place import FOLDER, Unavailable, made
from harness.sources import index_url, verification

FRESH, DAY = 600.0, 86_400.0  # seconds for which an answer is kept: where the index does not say, and at most
TIMEOUT, LIMIT = 10.0, 30.0  # seconds, for each packet, and for the whole answer: an index may drip for ever


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
        with suppress(InvalidSpecifier):
            return SpecifierSet(self.requires_python).contains(python, prereleases=True)
        return True


class Index:
    """The user's index. What it answers is kept on the disk for as long as it allows, without its address."""

    def __init__(self, url: str | None, verify: str | bool = True) -> None:
        self.url, self.verify = url, verify
        self._asking = ThreadPoolExecutor()
        self._asked: dict[str, Future[Sequence[Any]]] = {}
        self._lock = threading.Lock()

    @classmethod
    def configured(cls) -> "Index":
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
            return self._releases(self.files(package))
        except Unavailable as error:
            if not kept:
                raise
            print(f"{error}: its last answer is taken, which may lack the newest releases", file=sys.stderr)
            return kept

    def files(self, package: str) -> Sequence[Any]:
        """The files of a package, as pypi-simple has them; the index is asked once. Raises Unavailable."""
        try:
            return self._ask(package).result(LIMIT)
        except Exception as error:
            advice = "check the network and the index of uv or pip"
            raise Unavailable(f"the package index cannot be reached: {advice} ({_reason(error)})") from None

    def folder(self, release: Release) -> Path:
        """The folder of a release of uvicorn, its wheel unpacked. Raises Unavailable."""

        def build(new: Path) -> None:
            wheel = new.parent / "uvicorn.whl"
            file = next((one for one in self.files("uvicorn") if self._wheel(one) == release.wheel), None)
            if not file:
                raise Unavailable(f"the index has another wheel of uvicorn {release.version} by now, or none")
            try:
                fetch, promised = self.client.download_package, bool(file.digests)
                self._asking.submit(fetch, file, wheel, verify=promised, timeout=TIMEOUT).result(LIMIT)
                with zipfile.ZipFile(wheel) as opened:
                    opened.extractall(new)
            except Exception as error:
                raise Unavailable(f"the wheel of uvicorn {release.version} cannot be had ({_reason(error)})") from error

        return made(_place(release), build)

    def prepare(self, releases: Iterable[Release], workers: int) -> None:
        """Fetch the wheels of these, several at once; what cannot be had is told when it is asked for."""
        pool = ThreadPoolExecutor(workers)
        asked = [pool.submit(self.folder, one) for one in releases if one.wheel and not _place(one).is_dir()]
        try:
            wait(asked)
        finally:  # after a Ctrl-C what has begun may put itself away, but nobody waits for an index that hangs
            pool.shutdown(wait=False, cancel_futures=True)
            wait([one for one in asked if not one.cancelled()], timeout=1)

    def _ask(self, package: str) -> Future[Sequence[Any]]:
        with self._lock:
            if package not in self._asked:
                self._asked[package] = self._asking.submit(self._fetch, package)
            return self._asked[package]

    def _fetch(self, package: str) -> Sequence[Any]:
        from pypi_simple import ACCEPT_ANY, ProjectPage

        client = self.client
        response = client.s.get(client.get_project_url(package), headers={"Accept": ACCEPT_ANY}, timeout=TIMEOUT)
        response.raise_for_status()
        files = ProjectPage.from_response(response, package).packages
        found = self._releases(files)
        if not found:  # such as the page that a network shows to whoever has to log in
            raise ValueError(f"it lists no release of {package}")
        allowed = re.search(r"max-age=(\d+)", response.headers.get("Cache-Control", ""))
        until = time.time() + (min(float(allowed[1]), DAY) if allowed else FRESH)
        kept = {"until": until, "releases": [asdict(one) for one in found]}
        with suppress(OSError):  # it can be asked again
            FOLDER.mkdir(parents=True, exist_ok=True)
            self._file(package).write_text(json.dumps(kept), encoding="utf-8")
        return files

    def _file(self, package: str) -> Path:
        return FOLDER / f"{package}-{hashlib.sha256((self.url or '').encode()).hexdigest()[:12]}.json"

    def _kept(self, package: str) -> tuple[tuple[Release, ...], bool]:
        """The last answer and whether it still holds; none where there is none, or something else in its file."""
        try:
            read = json.loads(self._file(package).read_text(encoding="utf-8"))
            releases = tuple(Release(**one) for one in read["releases"])
            return releases, bool(releases) and 0 <= read["until"] - time.time() <= DAY
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return (), False

    def _releases(self, files: Sequence[Any]) -> tuple[Release, ...]:
        found = defaultdict(list)
        for file in sorted(files, key=lambda file: not self._wheel(file)):  # a wheel speaks for the release
            with suppress(ValueError):
                found[Version(file.version or "")].append(file)
        return tuple(
            Release(
                version=str(version),
                released=min((one.upload_time.date().isoformat() for one in group if one.upload_time), default=""),
                withdrawn=all(one.is_yanked for one in group),
                wheel=self._wheel(group[0]),
                requires_python=group[0].requires_python or "",
            )
            for version, group in sorted(found.items())
        )

    def _wheel(self, file: Any) -> str:
        if not file.filename.endswith("-none-any.whl"):
            return ""
        promised = file.digests.get("sha256") if file.digests else ""
        return promised or hashlib.sha256(f"{self.url or ''} {file.filename}".encode()).hexdigest()


def _place(release: Release) -> Path:
    return FOLDER / "releases" / f"{release.version}-{release.wheel[:12]}"


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
