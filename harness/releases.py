"""Between which two releases a verdict changed, and where it changed at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from packaging.version import Version

from harness.index import Release, checked, is_version
from harness.model import Cause, Trial, Verdict
from harness.search import Answer, search
from harness.words import Mistake

LATE = 3  # how often one may not end in time before it is no use to go on
Judging = Callable[[Release], Trial]
Saying = Callable[[Release, Trial, str], None]


class NoChange(Exception):
    """The ends are not what they were said to be, or are alike. `alike` is the verdict that they share."""

    def __init__(self, reason: str, alike: Trial | None = None) -> None:
        super().__init__(reason)
        self.alike = alike


class NothingTestable(Exception):
    """Why nothing can be judged; `trial` is the last that could not."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial.reason)
        self.trial = trial


@dataclass(frozen=True)
class Change:
    """Neighbouring releases with two verdicts; each in `untestable`, between them, could not be judged."""

    last: Release
    first: Release
    before: Verdict
    untestable: tuple[Release, ...] = ()

    @property
    def names(self) -> tuple[str, str]:
        return ("last good", "first bad") if self.before is Verdict.open else ("last bad", "first fixed")


@dataclass(frozen=True)
class Range:
    """Neighbouring releases with the same verdict, and with the same reason where there is one."""

    first: Release
    last: Release
    trial: Trial
    count: int

    @property
    def releases(self) -> str:
        return self.first.version if self.count == 1 else f"{self.first.version} - {self.last.version}"


def usable(releases: Sequence[Release], python: str, pre: bool, withdrawn: bool, named: Sequence[str]) -> list[Release]:
    """Those that this Python may install; pre-releases and withdrawn ones only where asked for or named."""
    names = {checked(version) for version in named if is_version(version)}
    found = [
        one
        for one in releases
        if one.admits(python)
        and (Version(one.version) in names or ((pre or not one.prerelease) and (withdrawn or not one.withdrawn)))
    ]
    if not found:
        raise Mistake(f"no release of uvicorn runs on Python {python}: INTERPRETER names another")
    return found


def place(word: str, text: str, releases: Sequence[Release]) -> int:
    """Where a release stands that is named by its version, a date (the newest up to that day) or `latest`.

    Raises Mistake where it is not there.
    """
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        try:
            date.fromisoformat(text)
        except ValueError:
            raise Mistake(f"{word}={text} is no date, such as 2022-10-19") from None
        found = [index for index, one in enumerate(releases) if one.released and one.released <= text]
    elif text == "latest":
        found = [len(releases) - 1] if releases else []
    else:
        try:
            version = checked(text)
        except ValueError as error:
            raise Mistake(f"{word}: {error}") from None
        found = [index for index, one in enumerate(releases) if Version(one.version) == version]
    if not found:
        ends = f"{releases[0].version} to {releases[-1].version}" if releases else "no release"
        raise Mistake(f"{word}={text} is no release that can be used here: there are {ends}")
    return found[-1]


def bisect(releases: Sequence[Release], good: int | None, bad: int | None, judging: Judging, say: Saying) -> Change:
    """Judge both ends, then search between them; `say` gets every release judged, its trial and a note.

    `good` and `bad` are the places of the ends that are known, in whichever order. An end that is not known is the
    oldest or the newest release; one that cannot be judged moves inward. Raises NoChange and NothingTestable.
    """
    if good is not None and good == bad:
        raise Mistake(f"GOOD and BAD are the same release, {releases[good].version}")
    search = _Search(releases, judging, say)
    newest = len(releases) - 1
    expected = {
        index: verdict for index, verdict in ((good, Verdict.open), (bad, Verdict.rejected)) if index is not None
    }
    if len(expected) == 2:
        return search.between(min(expected), max(expected), expected)
    for end in (good, bad):
        if end is not None:
            # A break lies after a good release and before a bad one, a fix on the other side.
            ranges = [(end, newest), (0, end)] if end == good else [(0, end), (end, newest)]
            return search.first_of([(low, high) for low, high in ranges if low < high], expected)
    return search.between(0, newest, {})


class _Search:
    """The trials of one bisect, each made once."""

    def __init__(self, releases: Sequence[Release], judging: Judging, say: Saying) -> None:
        self._releases, self._judging, self._say = releases, judging, say
        self._trials: dict[int, Trial] = {}

    def ask(self, index: int, note: str) -> Trial:
        if index not in self._trials:
            self._trials[index] = trial = self._judging(self._releases[index])
            self._say(self._releases[index], trial, note)
            causes = [one.cause for one in self._trials.values()]
            # What can be started in neither of two is not uvicorn's affair.
            if causes.count(Cause.LATE) >= LATE or causes == [Cause.NO_APP] * 2:
                raise NothingTestable(trial)
        return self._trials[index]

    def first_of(self, ranges: Sequence[tuple[int, int]], expected: dict[int, Verdict]) -> Change:
        if not ranges:
            raise Mistake("there is no other release to compare it with")
        try:
            return self.between(ranges[0][0], ranges[0][1], expected)
        except NoChange as error:
            if not error.alike or not ranges[1:]:
                raise
        return self.first_of(ranges[1:], expected)

    def between(self, low: int, high: int, expected: dict[int, Verdict]) -> Change:
        ends = low, high
        trials = [self.ask(index, "an end") for index in ends]
        if all(trial.cause for trial in trials):
            anchor = self._anchor(low, high)
            low, high = self._inward(low, anchor), self._inward(high, anchor)
        elif trials[0].cause:
            low = self._inward(low, high)
        elif trials[1].cause:
            high = self._inward(high, low)
        verdicts = [self.ask(index, "").verdict for index in (low, high)]
        if len(expected) == 2 and verdicts == [expected[ends[1]], expected[ends[0]]]:
            raise NoChange("GOOD is rejected and BAD is open: swap them")
        for index, end, verdict in zip((low, high), ends, verdicts, strict=True):
            wanted = expected.get(end, verdict)
            if verdict is not wanted:
                word = "GOOD" if wanted is Verdict.open else "BAD"
                raise NoChange(f"{self._releases[index].version} is {verdict.name}: it is not {word}")
        if low == high:
            alone = f"{self._releases[low].version} alone can be judged, and is {verdicts[0].name}"
            raise NoChange(alone, self.ask(high, ""))
        if verdicts[0] is verdicts[1]:
            names = [self._releases[index].version for index in (low, high)]
            raise NoChange(f"{names[0]} and {names[1]} are both {verdicts[0].name}", self.ask(high, ""))
        answers = {verdicts[0]: Answer.GOOD, verdicts[1]: Answer.BAD}

        def ask(index: int, left: int) -> Answer:
            note = f"at most {left - 1} more" if left > 1 else "the last step"
            return answers.get(self.ask(index, note).verdict, Answer.UNTESTABLE)

        found = search(range(low, high + 1), ask)
        untestable = tuple(self._releases[index] for index in found.untestable)
        return Change(self._releases[found.last_good], self._releases[found.first_bad], verdicts[0], untestable)

    def _anchor(self, low: int, high: int) -> int:
        """A release between two that can be judged, found by halving what lies between. Raises NothingTestable."""
        gaps = [(low, high)]
        while gaps:
            left, right = gaps.pop(0)
            middle = (left + right) // 2
            if left < middle < right:
                if not self.ask(middle, "an end moves inward").cause:
                    return middle
                gaps += [(middle, right), (left, middle)]
        raise NothingTestable(self._trials[high])

    def _inward(self, end: int, anchor: int) -> int:
        """The release nearest to an end that can be judged, as far as halving finds it."""
        while abs(anchor - end) > 1:
            middle = (end + anchor) // 2
            if self.ask(middle, "an end moves inward").cause:
                end = middle
            else:
                anchor = middle
        return anchor


def ranges(releases: Sequence[Release], trials: Sequence[Trial]) -> list[Range]:
    """Runs of neighbouring releases that agree."""
    found = []
    pairs = zip(releases, trials, strict=True)
    for _, group in groupby(
        pairs, key=lambda pair: (pair[1].verdict, pair[1].cause, pair[1].reason if pair[1].cause else "")
    ):
        members = list(group)
        found.append(Range(members[0][0], members[-1][0], members[0][1], len(members)))
    return found


def changes(releases: Sequence[Release], trials: Sequence[Trial]) -> list[Change]:
    """Every change of the verdict; what cannot be judged lies between, unseen."""
    judged = [(index, trial) for index, trial in enumerate(trials) if not trial.cause]
    return [
        Change(releases[at], releases[to], before.verdict, tuple(releases[at + 1 : to]))
        for (at, before), (to, after) in zip(judged, judged[1:], strict=False)
        if before.verdict is not after.verdict
    ]
