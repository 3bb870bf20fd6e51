"""Between which two releases a handshake changed."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from packaging.version import Version
from tqdm import tqdm

from client import Verdict
from harness.releases import Release
from harness.search import Answer, Found, search, steps
from harness.trial import Trial


@dataclass(frozen=True)
class Direction:
    """What is looked for: the verdict before the change and after it, and the names of the two sides."""

    before: Verdict
    after: Verdict
    last: str
    first: str

    def answer(self, trial: Trial) -> Answer:
        return {self.before.value: Answer.GOOD, self.after.value: Answer.BAD}.get(trial.verdict, Answer.UNTESTABLE)


DIRECTIONS = {
    "break": Direction(Verdict.OPEN, Verdict.REJECTED, "last good", "first bad"),
    "fix": Direction(Verdict.REJECTED, Verdict.OPEN, "last bad", "first fixed"),
}
INCONCLUSIVE = Verdict.INCONCLUSIVE.value
Bar: TypeAlias = "tqdm[NoReturn]"
Judge = Callable[[Release], Trial]


class NoChange(Exception):
    """An end of the range is not what it was said to be."""


class NothingTestable(Exception):
    """No two releases of the range can be judged."""


def bisect(releases: Sequence[Release], judge: Judge, direction: Direction) -> Found[Release]:
    """Check both ends, then search between them; prints a line for every release judged.

    `releases` is sorted, its first said to be before the change and its last after it; one that cannot
    be judged gives way to its nearest neighbour that can. Raises NoChange where an end is not what it is
    said to be, NothingTestable where there are no two ends.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool, tqdm(disable=None, leave=False, unit="step") as bar:
        ends = list(pool.map(judge, (releases[0], releases[-1])))
        for release, trial in zip((releases[0], releases[-1]), ends, strict=True):
            say(bar, release, trial, "an end")
        if all(trial.verdict == INCONCLUSIVE for trial in ends) and "ImportError" in ends[1].detail:
            raise NothingTestable(ends[1].detail)
        inner = range(1, len(releases) - 1)
        low = 0 if ends[0].verdict != INCONCLUSIVE else _inward(pool, releases, inner, judge, bar)
        inner = range(len(releases) - 2, low, -1)
        high = len(releases) - 1 if ends[1].verdict != INCONCLUSIVE else _inward(pool, releases, inner, judge, bar)
        names = (direction.last.split()[1], direction.first.split()[1])
        for index, expected, name in ((low, direction.before, names[0]), (high, direction.after, names[1])):
            trial = judge(releases[index])
            if trial.verdict != expected.value:
                raise NoChange(f"{trial.uvicorn} is {trial.verdict}, not {expected.value}: it is not {name}")
        bar.reset(total=steps(high - low - 1))
        found = releases[low : high + 1]
        running: dict[int, Future[Trial]] = {}
        known = [0, len(found) - 1]  # the latest before the change, the earliest after it

        def start(index: int) -> Future[Trial]:
            if index not in running:
                running[index] = pool.submit(judge, found[index])
            return running[index]

        def ask(release: Release, left: int) -> Answer:
            bar.set_postfix_str(release.version)
            index = found.index(release)
            asked = start(index)
            # A core that would be idle judges what may be asked next; a wrong guess costs nothing but its time.
            for before, after in [(known[0], index), (index, known[1])][: (os.cpu_count() or 1) - 1]:
                if after - before > 1:
                    start(before + 1 + (after - before - 1) // 2)
            trial = asked.result()
            say(bar, release, trial, f"at most {left - 1} more" if left > 1 else "the last step")
            bar.update(1)
            answer = direction.answer(trial)
            if answer is not Answer.UNTESTABLE:
                known[answer is Answer.BAD] = index
            return answer

        return search(found, ask)


def _inward(pool: ThreadPoolExecutor, releases: Sequence[Release], indices: range, judge: Judge, bar: Bar) -> int:
    """The first of these releases that can be judged; as many are judged at once as there are cores."""
    at_once = os.cpu_count() or 1
    for start in range(0, len(indices), at_once):
        chunk = indices[start : start + at_once]
        for index, trial in zip(chunk, pool.map(judge, [releases[index] for index in chunk]), strict=True):
            say(bar, releases[index], trial, "the end moves inward")
            if trial.verdict != INCONCLUSIVE:
                return index
    raise NothingTestable("no release between the ends can be judged")


def say(bar: Bar, release: Release, trial: Trial, note: str) -> None:
    """Print the line of one release above the progress bar."""
    reason = trial.detail if trial.verdict == INCONCLUSIVE else ""
    parts = (f"{release.version:12} {release.released or 'no date':10}  {trial.verdict:12}", note, reason)
    bar.write("  ".join(part for part in parts if part).rstrip())


def between(releases: Sequence[Release], good: str, bad: str) -> list[Release]:
    """The releases from `good` to `bad`, both included. Raises ValueError where one is not there."""
    low, high = Version(good), Version(bad)
    found = [release for release in releases if low <= Version(release.version) <= high]
    known = {Version(release.version) for release in found}
    for name, version in (("good", low), ("bad", high)):
        if version not in known:
            raise ValueError(f"--{name} {version} is no release that can be used from {good} to {bad}")
    return found
