"""Every release with every implementation and case: measured, kept as rows, and where a verdict changes."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, product, takewhile
from pathlib import Path
from typing import NamedTuple

from packaging.version import Version

from evidence.rows import Kept, Row, here
from harness import asking, survey
from harness.index import Index, Release
from harness.model import Cause, Trial, Verdict
from harness.releases import Range, ranges
from harness.survey import ROWS

CASES = tuple(asking.cases())
PASSING = (Cause.FAILED, Cause.LATE, Cause.OTHER_PYTHON)  # which another day or machine need not see
# A row is one implementation on one release: the class that ran, and by case the verdict with the lines that were
# sent. Where all cases have the same reason for which none can be judged, it has that, and where all
# implementations have it too, there is one row for the release.
KEPT = Kept(
    Path(__file__).resolve().with_name("survey.jsonl"),
    lambda row: (row["uvicorn"], row.get("implementation", "")),
    Version,
)


class PullRequest(NamedTuple):
    """What upstream changed, in a few words, and the line of docs/release-notes.md in 0.51.0 that says so."""

    number: int
    line: int
    words: str


# By the release in which a verdict changed.
PULL_REQUESTS = {
    "0.17.0": PullRequest(1293, 605, "websocket.accept's headers are sent"),
    "0.20.0": PullRequest(1606, 472, "uvicorn.Config's headers are sent"),
    "0.35.0": PullRequest(2540, 194, "websockets-sansio comes"),
    "0.50.0": PullRequest(2985, 35, "auto becomes websockets-sansio"),
    "0.50.1": PullRequest(3019, 25, "offers are split at commas"),
}


@dataclass(frozen=True)
class Change:
    """A release in which a verdict turned, or in which an implementation `came` that was rejected from its start.

    `before` is the last one that could be judged or, where the implementation came, the last one without it.
    """

    implementation: str
    case: str
    before: Release
    after: Release
    verdict: Verdict
    came: bool


@dataclass(frozen=True)
class Survey:
    """A whole survey: its rows, the releases, and the trials of each implementation and case."""

    rows: Sequence[Row]
    releases: Sequence[Release]
    trials: dict[tuple[str, str], list[Trial]]

    def websockets(self, implementation: str) -> str:
        """The version of websockets that an implementation ran with, on the newest release."""
        return str([row["websockets"] for row in self.rows if row.get("implementation") == implementation][-1])

    @property
    def hidden(self) -> int:
        """How many releases at the start no implementation and case can judge."""
        columns = zip(*self.trials.values(), strict=True)
        return sum(1 for _ in takewhile(lambda column: all(one.cause for one in column), columns))

    def ranges(self, implementation: str, case: str) -> list[Range]:
        """Runs of the other releases with the same verdict by the same class."""
        pairs = list(zip(self.releases, self.trials[implementation, case], strict=True))[self.hidden :]
        groups = groupby(pairs, lambda pair: pair[1].ran)
        return [one for _, group in groups for one in ranges(*zip(*group, strict=True))]

    def changes(self) -> list[Change]:
        """Every change; what cannot be judged for another reason than a missing implementation lies between, unseen."""
        found = []
        for cell, trials in self.trials.items():
            pairs = zip(self.releases, trials, strict=True)
            row = [(at, one) for at, one in pairs if one.cause in (None, Cause.NO_IMPLEMENTATION)]
            for (at, before), (to, after) in zip(row, row[1:], strict=False):
                came = before.cause is not None and after.verdict is Verdict.rejected
                if came or (not before.cause and not after.cause and before.verdict is not after.verdict):
                    found.append(Change(*cell, at, to, after.verdict, came))
        return found


def measure(index: Index, interpreter: str = "", only: Iterable[str] = ()) -> list[Row]:
    """The rows of all releases, or of some.

    Raises Unavailable, and NothingTestable where one after the other does not end in time.
    """
    questions = survey.everything(index, interpreter)
    chosen = [one for one in index.releases("uvicorn") if not only or one.version in only]
    pins = {app.ws: dict(pin.split("==") for pin in one.base.requirements) for one in questions for app in one.apps}
    dates = {row["uvicorn"]: row["released"] for row in KEPT.read()}  # not every index knows them
    found: list[Row] = []
    for release, trials in zip(chosen, survey.measure(questions, index, chosen), strict=True):
        about = {"released": release.released or dates.get(release.version, ""), **here()}
        about["python"] = questions[0].base.interpreter.version
        told = {name: _told(list(group)) for name, group in groupby(trials, lambda one: one.implementation)}
        one = told[ROWS[0]]
        if "cause" in one and all(one == other for other in told.values()):
            found.append({"uvicorn": release.version, **about, **one})
            continue
        for name, one in told.items():
            which = {"uvicorn": release.version, "implementation": name}
            found.append({**which, **about, "websockets": pins[name]["websockets"], **one})
    return found


def _told(trials: Sequence[Trial]) -> Row:
    """The cases of one release and implementation, or the one reason for which none can be judged."""
    for one in trials:
        if one.cause in PASSING:
            return {"missing": one.reason}
    whys = [{"cause": one.cause.name, "reason": _short(one)} if one.cause else {} for one in trials]
    if whys[0] and all(why == whys[0] for why in whys):
        return whys[0]
    cases = {one.case: {one.verdict.name: one.sent, **why} for one, why in zip(trials, whys, strict=True)}
    return {"ran": next((one.ran for one in trials if one.ran), ""), "cases": cases}


def _short(trial: Trial) -> str:
    """The reason without the words that its row tells."""
    reason = trial.reason.partition("; it has ")[0] if trial.cause is Cause.NO_IMPLEMENTATION else trial.reason
    return re.sub(rf"^uvicorn (did not start: |{re.escape(trial.uvicorn)} )?", "", reason)


def read() -> Survey:
    """The survey that is kept."""
    rows = KEPT.read()
    of = {KEPT.key(row): row for row in rows}
    releases = {row["uvicorn"]: Release(row["uvicorn"], row["released"], False, "", "") for row in rows}
    trials = {}
    for name, case in product(ROWS, CASES):
        told = ((version, of.get((version, name)) or of.get((version, ""), {})) for version in releases)
        trials[name, case] = [_trial(version, name, case, row) for version, row in told]
    return Survey(rows, list(releases.values()), trials)


def _trial(version: str, name: str, case: str, row: Row) -> Trial:
    """What a row, or the part of it that is about one case, says of that."""
    told = row.get("cases", {}).get(case) or {"inconclusive": [], "cause": "FAILED", "reason": "not measured", **row}
    [verdict] = [one for one in Verdict if one.name in told]
    cause = Cause[told["cause"]] if "cause" in told else None
    trial = Trial(version, name, case, ran="" if cause else row["ran"], sent=told[verdict.name])
    return trial.judged(verdict, told.get("reason", ""), cause)


def words(one: Range, quoted: Callable[[str], str] = str) -> str:
    """A range in words, with the reason, or with the class that `auto` stood for; `quoted` quotes what is not ours."""
    why = f": {quoted(one.trial.reason)}" if one.trial.cause else ""
    ran = f" ({quoted(one.trial.ran.rpartition('.')[2])})" if one.trial.implementation == "auto" else ""
    return f"{one.releases} {one.trial.verdict.name}{why or ran}"
