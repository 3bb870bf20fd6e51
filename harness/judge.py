"""A question and a folder with `uvicorn/` in it go in, trials come out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from harness import folders
from harness.base import Base
from harness.folders import Unfit
from harness.index import Index, Release
from harness.model import App, Cause, Job, Trial, Verdict, plain
from harness.place import FOLDER, Unavailable, scratch
from harness.process import Answer, Forks

DAMAGED = re.compile("marshal data|EOF read where|Non-code object")  # what Python says of such bytecode
LIMIT = 30.0  # seconds for the apps of one folder
RUNS = FOLDER / "runs"  # what scripts printed
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Question:
    """What is asked of each uvicorn: apps or a script of one's own, beside what, patched, how often, how many at once.

    `name` is what a person calls it; `limit` is in seconds.
    """

    base: Base
    name: str
    apps: tuple[App, ...] = ()
    line: str = ""
    limit: float = LIMIT
    patch: Path | None = None
    runs: int = 1
    at_once: int = 1


class Judge:
    """Judges releases and folders with one question, any number at once, inside a `with` block."""

    def __init__(self, question: Question, index: Index | None = None) -> None:
        self.question = question
        self.index = index or Index.configured()
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._forks: Forks | None = None
        self._elsewhere: Path | None = None
        self._aside = Path()

    def __enter__(self) -> Judge:
        if self.question.line or self.question.patch:
            self._aside = self._stack.enter_context(scratch("judged"))
        if self.question.line:
            shutil.rmtree(self.printed, ignore_errors=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._forks:
            self._forks.close()
        self._stack.close()

    @property
    def printed(self) -> Path:
        """The folder with what a script printed, a file for each uvicorn."""
        name = re.sub(r"\W+", "-", self.question.line).strip("-")[:50]
        return RUNS / f"{name}-{hashlib.sha256(self.question.line.encode()).hexdigest()[:6]}"

    def release(self, release: Release, observed: bool = False) -> list[Trial]:
        """The trials of one release, in the order of the apps. What fails is inconclusive, with the cause."""
        try:
            folder = self._fitting(release)
        except (Unfit, Unavailable) as error:
            return self._unfit(release.version, error)
        return self.folder(folder, release.version, observed)

    def fits(self, release: Release) -> bool:
        """Whether the base has what a release requires; where that cannot be told, judging it will tell why."""
        try:
            self._fitting(release)
        except Unfit:
            return False
        except Unavailable:
            pass
        return True

    def _fitting(self, release: Release) -> Path:
        """The folder of a release that fits the base. Raises Unfit, Unavailable."""
        if not release.wheel:
            raise Unfit(Cause.NO_WHEEL, "no wheel on the index")
        folder = self.index.folder(release)
        folders.fit(folder, release.version, self.question.base)
        return folder

    def oldest(self, releases: Sequence[Release]) -> int:
        """The place of the oldest that fits, found by halving: what fits once is taken to fit from then on."""
        low, high = 0, len(releases) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.fits(releases[middle]) else (middle + 1, high)
        return low

    def folder(self, folder: Path, release: str = "", observed: bool = False, name: str = "") -> list[Trial]:
        """The same for a folder with `uvicorn/` in it; `release` is the version that it must be, `name` what it is."""
        name = release or name or folder.name
        try:
            runs = [self._once(folder, release, observed, name) for _ in range(self.question.runs)]
        except (Unfit, Unavailable, OSError) as error:
            return self._unfit(release, error)
        return [_agreed(trials) for trials in zip(*runs, strict=True)]

    def _once(self, folder: Path, release: str, observed: bool, name: str) -> list[Trial]:
        question = self.question
        changes = not release or bool(question.patch)
        judged = folders.patched(folder, question.patch, self._aside) if question.patch else folder
        if not question.line:
            job = Job(str(judged), question.limit, list(question.apps), None, release, changes, observed)
            trials = self._tried(job, self._ask(job))
            if any(DAMAGED.search(one.reason) for one in trials):
                for kept in [*judged.rglob("__pycache__"), *question.base.made().rglob("__pycache__")]:
                    shutil.rmtree(kept, ignore_errors=True)
                trials = self._tried(job, self._ask(job))
            return trials
        self.printed.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._elsewhere = self._elsewhere or folders.tools_elsewhere(self._aside)
        output = self.printed / f"{name}.txt"
        script = folders.script(question.line, question.base, judged, changes, self._aside, self._elsewhere, output)
        trial = Trial(release)
        if not (judged / "uvicorn" / "__init__.py").is_file():
            raise Unfit(Cause.FAILED, f"there is no uvicorn package in {plain(folder.name)}")
        job = Job(str(judged), question.limit, [], script, release, changes)
        return [_ran(trial, self._ask(job), question.limit, Path(script.imported), judged)]

    def _ask(self, job: Job) -> Answer:
        """What the base's process answers; one that a uvicorn has ended is started anew, and asked once more."""
        for _ in range(2):
            with self._lock:
                if not self._forks or self._forks.ended():
                    self._forks = Forks(self.question.base)
                forks = self._forks
            answer: Answer = None
            with contextlib.suppress(ConnectionError):  # it is about to end
                answer = forks.ask(job)
            if answer or not forks.ended(within=0.5):
                return answer
        return None

    def _tried(self, job: Job, answer: Answer) -> list[Trial]:
        """The trials that an answer holds; where it holds none, why not."""
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            trials = [Trial.from_json(one) for one in json.loads(answer["said"] if answer else "")]
            if [(one.implementation, one.case) for one in trials] == [(app.ws, app.case) for app in job.apps]:
                return trials
        trials = [Trial(job.release, app.ws, app.case) for app in job.apps]
        return [one.judged(Verdict.inconclusive, *_how_it_ended(answer, job.limit)) for one in trials]

    def _unfit(self, release: str, error: Exception) -> list[Trial]:
        cause = error.cause if isinstance(error, Unfit) else Cause.FAILED
        trials = [Trial(release, app.ws, app.case) for app in self.question.apps] or [Trial(release)]
        return [one.judged(Verdict.inconclusive, plain(str(error)), cause) for one in trials]


def _how_it_ended(answer: Answer, limit: float) -> tuple[str, Cause]:
    """Why a process gave no verdict."""
    if answer is None:
        return "the process that watched it was ended or stopped", Cause.FAILED
    status = answer["status"]
    if answer["error"]:
        return f"it could not be run: {answer['error']}", Cause.FAILED
    if status is None:
        return f"it did not end within {limit:g} s", Cause.LATE
    if os.WIFSIGNALED(status):
        return f"its process was ended by signal {os.WTERMSIG(status)}", Cause.FAILED
    return f"its process ended with status {os.WEXITSTATUS(status)} and no verdict", Cause.FAILED


def _ran(trial: Trial, answer: Answer, limit: float, imported: Path, folder: Path) -> Trial:
    """The trial of a script, by its exit status as `git bisect run` takes it."""
    if answer is None or answer["error"] or answer["status"] is None:
        return trial.judged(Verdict.inconclusive, *_how_it_ended(answer, limit))
    status = answer["status"]
    number = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
    ended = f"status {number}" if os.WIFEXITED(status) else f"signal {os.WTERMSIG(status)}"
    last = [plain(line)[:200] for line in str(answer["said"]).strip().splitlines()[-1:]]
    reason = "; ".join([ended, *last])
    files = imported.read_text(errors="replace").splitlines() if imported.exists() else []
    own = ascii(str(folder / "uvicorn"))[1:-1] + os.sep
    stray = [line for line in files if not line.strip("'\"").startswith(own)]
    if stray:
        reason = f"it imported another uvicorn, {plain(stray[0])}; {reason}"
    if stray or not os.WIFEXITED(status) or number >= 125:
        return trial.judged(Verdict.inconclusive, reason, Cause.NO_APP if number in (126, 127) else Cause.FAILED)
    return trial.judged(Verdict.rejected if number else Verdict.open, reason)


def _agreed(trials: Sequence[Trial]) -> Trial:
    """The trials of several runs as one: where they do not agree, nothing is known."""
    verdicts = [one.verdict for one in trials]
    if len(set(verdicts)) > 1:
        count = f"{verdicts.count(Verdict.open)} of {len(verdicts)} open"
        return trials[0].judged(Verdict.inconclusive, count, Cause.FAILED)
    return trials[0]


def each(function: Callable[[Item], Result], items: Sequence[Item], at_once: int) -> Iterator[Result]:
    """What a function makes of each item, in order, some at once; an error ends it."""
    pool = ThreadPoolExecutor(at_once)
    try:
        yield from pool.map(function, items)
    finally:  # what an error or a Ctrl-C leaves is ended by the judge, and nobody waits for it here
        pool.shutdown(wait=False, cancel_futures=True)
