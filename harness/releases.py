"""Between which two releases a verdict changed, and where it changed at all."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby

from packaging.utils import canonicalize_version
from packaging.version import Version

from harness.index import Release
from harness.model import UPSTREAM, Cause, Trial, Verdict
from harness.place import Unavailable
from harness.search import Answer, search
from harness.words import Mistake, Words, meant

DAY = re.compile(r"\d{4}-\d\d-\d\d")
GOOD, BAD = Verdict.open, Verdict.rejected
LATE = 3  # how often one may not end in time before it is no use to go on
Judging = Callable[[Release, str], Trial]  # of a release, with a note that says why it is judged
# What to set where a verdict has such words. The first are Python's: what lies beside uvicorn is missing, or too old.
LACKS = r"(?:No module named '?|cannot import name '\w+' from '|module '(?=websockets|wsproto|h11|click))"
HINTS = {
    rf"{LACKS}(websockets|wsproto)\b": "it may need another {name}: set {NAME}, such as {NAME}=latest or a version",
    rf"{LACKS}(?!uvicorn\b)(\w+)": "it lacks {name}: say WITH={name}, or set what brings it",
    "inconclusive .*no subprotocol was agreed": "NONE=rejected takes that for rejected",
    "inconclusive .*HTTP 403": "the app is dialed at URLPATH=, and for plain HTTP use RUN=",
}


class NoChange(Exception):
    """The ends are alike, or not what they were said to be."""


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
        words = ("GOOD", "BAD") if self.before is GOOD else ("BAD", "GOOD")
        return dict(zip(words, (self.last.version, self.first.version), strict=True))

    @property
    def link(self) -> str:
        return f"{UPSTREAM}/compare/{self.last.version}...{self.first.version}"


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


def usable(releases: Sequence[Release], python: str, words: Words) -> list[Release]:
    """Those that this Python may install; pre-releases and withdrawn ones only where the words ask for all or name one.

    Raises Mistake where there are none.
    """
    ends = ("UVICORN", "GOOD", "BAD", "FROM", "TO")
    asked = {canonicalize_version(words[name].strip()) for name in ends if name in words}
    found = [one for one in releases if one.admits(python)]
    if words.get("PRE") != "yes":
        found = [one for one in found if not one.prerelease or canonicalize_version(one.version) in asked]
    if words.get("WITHDRAWN") != "yes":
        found = [one for one in found if not one.withdrawn or canonicalize_version(one.version) in asked]
    if not found:
        raise Mistake(f"no release of uvicorn runs on Python {python}: INTERPRETER names another")
    return found


def pick(word: str, text: str, releases: Sequence[Release]) -> Release:
    """The release that is named by its version, a date (the newest up to that day) or `latest`.

    Raises Mistake where it is not there.
    """
    fitting = list(releases)
    if DAY.fullmatch(text):
        day = str(meant(word, date.fromisoformat, text))
        fitting = [one for one in releases if one.released and one.released <= day]
    elif text != "latest":
        version = meant(word, Version, text)
        fitting = [one for one in releases if Version(one.version) == version]
    if not fitting:
        there = f"{releases[0].version} to {releases[-1].version}"
        raise Mistake(f"{word}={text} is no release that can be used here: there are {there}")
    return fitting[-1]


def hint(trial: Trial) -> str:
    """What to set where a trial is not open, as the end of a sentence; empty where that is not known."""
    for pattern, advice in HINTS.items():
        found = re.search(pattern, trial.last_line)
        if found and trial.verdict is not GOOD:
            name = found[found.lastindex or 0]
            return "; " + advice.format(name=name, NAME=name.upper())
    return ""


def give_up(trials: Sequence[Trial]) -> None:
    """Raises Unavailable where it is no use to go on: several do not end in time, or neither of the first two can be
    started, which is not uvicorn's affair."""
    causes = [one.cause for one in trials]
    if causes.count(Cause.LATE) >= LATE or causes == [Cause.NO_APP] * 2:
        raise untestable(trials[-1])


def untestable(trial: Trial) -> Unavailable:
    """What to raise where it matters that one cannot be judged."""
    return Unavailable(trial.reason + hint(trial))


def bisect(releases: Sequence[Release], good: Release | None, bad: Release | None, judging: Judging) -> Change:
    """Judge both ends, then search between them.

    `good` and `bad` are the ends that are known, in whichever order. An end that is not known is the oldest or the
    newest release; one that cannot be judged moves inward. Raises Mistake, NoChange, and Unavailable where nothing can
    be judged.
    """
    if good and good == bad:
        raise Mistake(f"GOOD and BAD are the same release, {good.version}")
    said = {releases.index(end): verdict for end, verdict in ((good, GOOD), (bad, BAD)) if end}
    trials = _Trials(releases, judging, said)
    newest = len(releases) - 1
    sides = [(min(said, default=0), max(said, default=newest))]
    if len(said) == 1:  # a break lies after a good release and before a bad one, a fix on the other side
        [end] = said
        sides = [(end, newest), (0, end)] if good else [(0, end), (end, newest)]
        sides = [(low, high) for low, high in sides if low < high] or [(end, end)]
    for low, high in sides[:-1]:
        with suppress(NoChange):
            return trials.change(low, high)
    return trials.change(*sides[-1])


@dataclass
class _Trials:
    """The trials of one bisect, each made once; `said` is what the ends that were given are said to be."""

    releases: Sequence[Release]
    judging: Judging
    said: Mapping[int, Verdict]
    made: dict[int, Trial] = field(default_factory=dict)

    def ask(self, at: int, note: str = "an end moves inward") -> Trial:
        if at not in self.made:
            self.made[at] = self.judging(self.releases[at], note)
            give_up(list(self.made.values()))
            if self.made[at].cause is Cause.UNAVAILABLE:  # another one would say nothing of what is there
                raise untestable(self.made[at])
        return self.made[at]

    def change(self, low: int, high: int) -> Change:
        """The change between two ends, or what they become where they cannot be judged."""
        testable = [end for end in (low, high) if not self.ask(end, "an end").cause] or [self._within(low, high)]
        ends = self._inward(low, testable[0]), self._inward(high, testable[-1])
        before, after = (self.made[at].verdict for at in ends)
        for end, verdict in ((low, before), (high, after)):
            if self.said.get(end, verdict) is not verdict:
                name = f"{'GOOD' if self.said[end] is GOOD else 'BAD'}, {self.releases[end].version},"
                if self.made[end].cause:  # another one cannot show that it is not what it was said to be
                    raise Unavailable(f"{name} cannot be judged: {self.made[end].reason}{hint(self.made[end])}")
                raise NoChange(f"{name} is {verdict.name}")
        if before is after:
            told = " and ".join(f"{self.releases[at].version} is {before.name}" for at in sorted({*ends}))
            hints = dict.fromkeys(hint(self.made[at]) for at in ends)
            raise NoChange(f"{told}: no change was found{''.join(hints)}")
        answers = {before: Answer.GOOD, after: Answer.BAD}

        def ask(at: int, left: int) -> Answer:
            note = f"at most {left - 1} more" if left > 1 else "the last step"
            return answers.get(self.ask(at, note).verdict, Answer.UNTESTABLE)

        found = search(range(ends[0], ends[1] + 1), ask)
        among = tuple(self.releases[at] for at in found.untestable)
        return Change(self.releases[found.last_good], self.releases[found.first_bad], before, among)

    def _within(self, low: int, high: int) -> int:
        """A place between two that can be judged, found with ever finer steps. Raises Unavailable."""
        step = high - low
        while step > 1:
            step = (step + 1) // 2
            for at in range(high - step, low, -step):
                if not self.ask(at).cause:
                    return at
        raise untestable(self.made[high])

    def _inward(self, end: int, testable: int) -> int:
        """The place nearest to an end that can be judged, as far as halving finds it."""

        def ask(at: int, _: int) -> Answer:
            return Answer.GOOD if self.ask(at).cause else Answer.BAD

        towards = 1 if end < testable else -1
        return end if end == testable else search(range(end, testable + towards, towards), ask).first_bad


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
