"""A question and a folder with `uvicorn/` in it go in, trials come out."""

import contextlib
import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from harness import folders, scripts
from harness.base import Base
from harness.index import Index, Release
from harness.model import App, Cause, Inconclusive, Job, Trial, Verdict, plain
from harness.place import FOLDER, Unavailable, scratch
from harness.process import Processes

DAMAGED = re.compile("marshal data|EOF read where|Non-code object")  # what Python says of such bytecode
LIMIT = 30.0  # seconds for the apps of one folder
TOLD = 125  # the exit status of a process that has said all that it found


@dataclass(frozen=True)
class Question:
    """What is asked of each uvicorn: of apps or with a script, beside what, patched, how often, how many at once."""

    base: Base
    name: str  # what a person calls it
    apps: tuple[App, ...] = ()
    line: str = ""
    limit: float = LIMIT  # seconds
    patch: Path | None = None
    runs: int = 1
    at_once: int = 1
    # Where what a script prints is kept, a file for each uvicorn.
    printed: Path = field(default_factory=lambda: FOLDER / "runs" / secrets.token_hex(4))


class Judge(contextlib.ExitStack):
    """Judges releases and folders with one question, any number at once, inside a `with` block."""

    def __init__(self, question: Question, index: Index | None = None) -> None:
        super().__init__()
        self.question = question
        self.index = index or Index.configured()
        self._aside = Path()

    def __enter__(self) -> "Judge":
        """Raises Unavailable."""
        with contextlib.ExitStack() as stack:
            if self.question.line or self.question.patch:
                self._aside = stack.enter_context(scratch("judged"))
            if self.question.line:
                scripts.refuse_others(self._aside)
            # Once the processes are ended, the threads that wait for them end, and then their folders go.
            self._pool = ThreadPoolExecutor(self.question.at_once)
            stack.callback(self._pool.shutdown, cancel_futures=True)
            self._processes = stack.enter_context(contextlib.closing(Processes(self.question.base)))
            self.push(stack.pop_all())
        return self

    def every(self, releases: Sequence[Release]) -> Iterator[list[Trial]]:
        """The trials of each release, in order, some at once."""
        return self._pool.map(self.release, releases)

    def release(self, release: Release) -> list[Trial]:
        """The trials of one release, in the order of the apps. What fails is inconclusive, with the cause."""
        return self._trials(lambda: self._fitting(release), release.version, release.version)

    def folder(self, folder: Path, name: str = "") -> list[Trial]:
        """The same for a folder with `uvicorn/` in it, which may change; `name` is what it is called."""
        return self._trials(lambda: folder, name or folder.name, "")

    def oldest(self, releases: Sequence[Release]) -> int:
        """The place of the oldest that fits, found by quartering, for which three wheels at once are fetched: what fits
        once is taken to fit from then on."""
        low, high = 0, len(releases) - 1
        while low < high:
            some = sorted({low + (high - low) * part // 4 for part in (1, 2, 3)})
            self.index.prepare([releases[at] for at in some], len(some))
            fitting = next((at for at in some if self._fits(releases[at])), high)
            low, high = max([at + 1 for at in some if at < fitting], default=low), fitting
        return low

    def _fits(self, release: Release) -> bool:
        """Whether the base has what a release requires; where that cannot be told, judging it will tell why."""
        try:
            self._fitting(release)
        except (Inconclusive, Unavailable, ValueError) as error:
            return isinstance(error, Unavailable)
        return True

    def _fitting(self, release: Release) -> Path:
        """The folder of a release that fits the base. Raises Inconclusive, Unavailable."""
        if not release.wheel:
            raise Inconclusive(Cause.NO_WHEEL, "no wheel on the index")
        folder = self.index.folder(release)
        folders.fit(folder, release.version, self.question.base)
        return folder

    def _trials(self, find: Callable[[], Path], name: str, version: str) -> list[Trial]:
        """The trials of the uvicorn in the folder that is found; `version` is what it must be."""
        try:
            job = self._job(find(), name, version)
            runs = [self._ask(job) for _ in range(self.question.runs)]
        except (Inconclusive, Unavailable, OSError, ValueError) as error:  # such as odd metadata
            cause = Cause.UNAVAILABLE if isinstance(error, Unavailable) else getattr(error, "cause", Cause.FAILED)
            blank = [Trial(version, app.ws, app.case) for app in self.question.apps] or [Trial(version)]
            return [one.settle(Verdict.inconclusive, plain(str(error)), cause) for one in blank]
        for trials in zip(*runs, strict=True):
            opened = [one.verdict for one in trials].count(Verdict.open)
            if len({one.verdict for one in trials}) > 1:  # then nothing is known
                trials[0].settle(Verdict.inconclusive, f"{opened} of {len(trials)} open", Cause.FAILED)
        return runs[0]

    def _job(self, folder: Path, name: str, version: str) -> Job:
        question, script = self.question, None
        changes = not version or bool(question.patch)
        if not (folder / "uvicorn" / "__init__.py").is_file():
            raise Inconclusive(Cause.FAILED, f"there is no uvicorn package in {plain(folder.name)}")
        if question.patch:
            folder = folders.patched(folder, question.patch, self._aside)
        if question.line:
            question.printed.mkdir(parents=True, exist_ok=True)
            output = question.printed / f"{name}.txt"
            script = scripts.prepared(question.line, question.base, folder, changes, self._aside, output)
        return Job(str(folder), question.limit, question.apps, script, version, changes)

    def _ask(self, job: Job) -> list[Trial]:
        trials = told(job, *self._processes.ask(job))
        if any(DAMAGED.search(one.reason) for one in trials):
            for kept in [*Path(job.folder).rglob("__pycache__"), *self.question.base.made().rglob("__pycache__")]:
                shutil.rmtree(kept, ignore_errors=True)
            trials = told(job, *self._processes.ask(job))
        return trials


def told(job: Job, code: int, said: str) -> list[Trial]:
    """The trials of a job, by the exit status of its process and what that said. Raises Inconclusive."""
    if job.script:
        return [scripts.verdict_of(Trial(job.release), code, said, job.script, Path(job.folder))]
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):  # a uvicorn may have said it
        trials = [Trial.from_json(one) for one in json.loads(said)]
        asked = [(app.ws, app.case) for app in job.apps]
        if code == TOLD and [(one.implementation, one.case) for one in trials] == asked:
            return trials
    ended = f"was ended by signal {-code}" if code < 0 else f"ended with status {code} and no verdict"
    raise Inconclusive(Cause.FAILED, f"its process {ended}")
