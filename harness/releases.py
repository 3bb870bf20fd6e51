"""Between which two releases a verdict changed, and where it changed at all."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby

from packaging.version import Version

from harness.index import Release
from harness.model import Cause, Trial, Verdict
from harness.search import Answer, search
from harness.words import Mistake, meant

DAY = re.compile(r"\d{4}-\d\d-\d\d")
GOOD, BAD = Verdict.open, Verdict.rejected
LATE = 3  # how often one may not end in time before it is no use to go on
Judging = Callable[[Release], Trial]
Saying = Callable[[Release, Trial, str], None]


class NoChange(Exception):
    """The ends are not what they were said to be."""


class Alike(NoChange):
    """The ends have the same verdict, or are one."""


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
        return ("last good", "first bad") if self.before is GOOD else ("last bad", "first fixed")

    @property
    def ends(self) -> dict[str, str]:
        """What GOOD= and BAD= are for it."""
        sides = [self.last.version, self.first.version]
        good, bad = sides if self.before is GOOD else reversed(sides)
        return {"GOOD": good, "BAD": bad}


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


def usable(
    releases: Sequence[Release], python: str, pre: bool = False, withdrawn: bool = False, asked: Sequence[str] = ()
) -> list[Release]:
    """Those that this Python may install; pre-releases and withdrawn ones only where asked for, all or by version."""
    names = set()
    for text in asked:
        with contextlib.suppress(ValueError):  # it is a date, or latest
            names.add(Version(text))
    found = [
        one
        for one in releases
        if one.admits(python)
        and (Version(one.version) in names or ((pre or not one.prerelease) and (withdrawn or not one.withdrawn)))
    ]
    if not found:
        raise Mistake(f"no release of uvicorn runs on Python {python}: INTERPRETER names another")
    return found


def named(word: str, text: str, releases: Sequence[Release]) -> Release:
    """The release that is named by its version, a date (the newest up to that day) or `latest`.

    Raises Mistake where it is not there.
    """
    if DAY.fullmatch(text):
        try:
            date.fromisoformat(text)
        except ValueError:
            raise Mistake(f"{word}={text} is no date, such as 2022-10-19") from None
        fitting = [one for one in releases if one.released and one.released <= text]
    elif text == "latest":
        fitting = list(releases)
    else:
        version = meant(word, Version, text)
        fitting = [one for one in releases if Version(one.version) == version]
    if not fitting:
        there = f"{releases[0].version} to {releases[-1].version}"
        raise Mistake(f"{word}={text} is no release that can be used here: there are {there}")
    return fitting[-1]


def give_up(trials: Sequence[Trial]) -> None:
    """Raises NothingTestable where it is no use to go on: several do not end in time, or neither of the first two can
    be started, which is not uvicorn's affair."""
    causes = [one.cause for one in trials]
    if causes.count(Cause.LATE) >= LATE or causes == [Cause.NO_APP] * 2:
        raise NothingTestable(trials[-1])


def bisect(
    releases: Sequence[Release], good: Release | None, bad: Release | None, judging: Judging, say: Saying
) -> Change:
    """Judge both ends, then search between them; `say` gets every release judged, its trial and a note.

    `good` and `bad` are the ends that are known, in whichever order. An end that is not known is the oldest or the
    newest release; one that cannot be judged moves inward. Raises Mistake, NoChange and NothingTestable.
    """
    if good and good == bad:
        raise Mistake(f"GOOD and BAD are the same release, {good.version}")
    said = {releases.index(end): verdict for end, verdict in ((good, GOOD), (bad, BAD)) if end}
    trials = _Search(releases, judging, say, said)
    newest = len(releases) - 1
    if len(said) != 1:
        return trials.between(min(said, default=0), max(said, default=newest))
    [end] = said
    # A break lies after a good release and before a bad one, a fix on the other side.
    sides = [(end, newest), (0, end)] if good else [(0, end), (end, newest)]
    *first, last = [(low, high) for low, high in sides if low < high] or [(end, end)]
    for low, high in first:
        with contextlib.suppress(Alike):
            return trials.between(low, high)
    return trials.between(*last)


@dataclass
class _Search:
    """The trials of one bisect, each made once; `said` is what the ends that were given are said to be."""

    releases: Sequence[Release]
    judging: Judging
    say: Saying
    said: Mapping[int, Verdict]
    trials: dict[int, Trial] = field(default_factory=dict)

    def ask(self, at: int, note: str) -> Trial:
        if at not in self.trials:
            self.trials[at] = self.judging(self.releases[at])
            self.say(self.releases[at], self.trials[at], note)
            give_up(list(self.trials.values()))
        return self.trials[at]

    def between(self, low: int, high: int) -> Change:
        ends = low, high
        trials = [self.ask(end, "an end") for end in ends]
        anchors = [end for end, trial in zip(ends, trials, strict=True) if not trial.cause] or [self._anchor(low, high)]
        low, high = self._inward(low, anchors[0]), self._inward(high, anchors[-1])
        names = [self.releases[at].version for at in (low, high)]
        before, after = verdicts = [self.trials[at].verdict for at in (low, high)]
        wrong = [
            f"{name} is {verdict.name}: it is not {'GOOD' if self.said[end] is GOOD else 'BAD'}"
            for name, verdict, end in zip(names, verdicts, ends, strict=True)
            if self.said.get(end, verdict) is not verdict
        ]
        if wrong:
            raise NoChange(wrong[0] if len(wrong) == 1 else "GOOD is rejected and BAD is open: swap them")
        if low == high:
            raise Alike(f"{names[0]} alone can be judged, and is {before.name}")
        if before is after:
            raise Alike(f"{names[0]} and {names[1]} are both {before.name}")
        answers = {before: Answer.GOOD, after: Answer.BAD}

        def ask(at: int, left: int) -> Answer:
            note = f"at most {left - 1} more" if left > 1 else "the last step"
            return answers.get(self.ask(at, note).verdict, Answer.UNTESTABLE)

        found = search(range(low, high + 1), ask)
        untestable = tuple(self.releases[at] for at in found.untestable)
        return Change(self.releases[found.last_good], self.releases[found.first_bad], before, untestable)

    def _anchor(self, low: int, high: int) -> int:
        """A release between two that can be judged, found by halving what lies between. Raises NothingTestable."""
        gaps = [(low, high)]
        for left, right in gaps:  # it grows
            middle = (left + right) // 2
            if left < middle:
                if not self.ask(middle, "an end moves inward").cause:
                    return middle
                gaps += [(middle, right), (left, middle)]
        raise NothingTestable(self.trials[high])

    def _inward(self, end: int, anchor: int) -> int:
        """The release nearest to an end that can be judged, as far as halving finds it."""

        def ask(at: int, _: int) -> Answer:
            return Answer.GOOD if self.ask(at, "an end moves inward").cause else Answer.BAD

        towards = 1 if end < anchor else -1
        return end if end == anchor else search(range(end, anchor + towards, towards), ask).first_bad


def ranges(releases: Sequence[Release], trials: Sequence[Trial]) -> list[Range]:
    """Runs of neighbouring releases that agree."""

    def answer(pair: tuple[Release, Trial]) -> tuple[Verdict, Cause | None, str]:
        trial = pair[1]
        return trial.verdict, trial.cause, trial.reason if trial.cause else ""

    groups = [list(group) for _, group in groupby(zip(releases, trials, strict=True), answer)]
    return [Range(group[0][0], group[-1][0], group[0][1], len(group)) for group in groups]


def between(releases: Sequence[Release], change: Change) -> Sequence[Release]:
    """Those of all releases that lie between the two sides of a change."""
    return releases[releases.index(change.last) + 1 : releases.index(change.first)]


def changes(releases: Sequence[Release], trials: Sequence[Trial]) -> list[Change]:
    """Every change of the verdict; what cannot be judged lies between, unseen."""
    judged = [at for at, trial in enumerate(trials) if not trial.cause]
    return [
        Change(releases[at], releases[to], trials[at].verdict, tuple(releases[at + 1 : to]))
        for at, to in zip(judged, judged[1:], strict=False)
        if trials[at].verdict is not trials[to].verdict
    ]
