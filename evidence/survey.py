"""Every release with every implementation and case: measured, kept as rows, and where a verdict changes."""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby, product, takewhile
from typing import NamedTuple

from packaging.version import Version

from evidence.rows import Kept, Row, here
from harness import asking, releases, survey
from harness.index import Index, Release
from harness.model import Cause, Trial, Verdict
from harness.releases import Change, Range
from harness.survey import ROWS

CASES = tuple(asking.cases())
PASSING = (Cause.FAILED, Cause.UNAVAILABLE, Cause.LATE, Cause.OTHER_PYTHON)  # which another day or machine need not see
# A row is one implementation on one release: the class that ran, and by case the verdict with the lines that were
# sent. Where all cases have the same reason for which none can be judged, it has that, and where all
# implementations have it too, there is one row for the release.
KEPT = Kept("survey", lambda row: (Version(row["uvicorn"]), row.get("implementation", "")))
UNTOLD = {"inconclusive": [], "cause": "FAILED", "reason": "not measured"}  # what a row does not tell of a case
# What upstream changed in a release that turned a verdict or brought an implementation.
PULL_REQUESTS = {
    "0.17.0": (1293, "websocket.accept's headers are sent"),
    "0.20.0": (1606, "uvicorn.Config's headers are sent"),
    "0.35.0": (2540, "websockets-sansio comes"),
    "0.50.0": (2985, "auto becomes websockets-sansio"),
    "0.50.1": (3019, "offers are split at commas"),
}


class Survey(NamedTuple):
    """How many releases at the start cannot be judged; the others, and by implementation and case a trial of each."""

    hidden: int
    releases: Sequence[Release]
    trials: dict[tuple[str, str], list[Trial]]

    def ranges(self, implementation: str, case: str) -> list[Range]:
        return releases.ranges(self.releases, self.trials[implementation, case])

    def changes(self, implementation: str, case: str) -> list[Change]:
        return releases.changes(self.releases, self.trials[implementation, case])


def measure(interpreter: str = "", only: Iterable[str] = ()) -> list[Row]:
    """The rows of all releases, or of some. Raises Unavailable, also where it is no use to go on."""
    index = Index.configured()
    questions = survey.everything(index, interpreter)
    chosen = [one for one in index.releases("uvicorn") if not only or one.version in only]
    websockets = {app.ws: one.base.versions["websockets"] for one in questions for app in one.apps}
    found: list[Row] = []
    for release, trials in zip(chosen, survey.measure(questions, index, chosen), strict=True):
        about = {"released": release.released, **here(), "python": questions[0].base.interpreter.version}
        told = {name: _told(list(group)) for name, group in groupby(trials, lambda one: one.implementation)}
        first = told[ROWS[0]]
        if "cause" in first and all(one == first for one in told.values()):
            found.append({"uvicorn": release.version, **about, **first})
            continue
        for name, one in told.items():
            which = {"uvicorn": release.version, "implementation": name}
            found.append({**which, **about, "websockets": websockets[name], **one})
    return found


def _told(trials: Sequence[Trial]) -> Row:
    """The cases of one release and implementation, or the one reason for which none can be judged."""
    for one in trials:
        if one.cause in PASSING:
            return {"missing": one.reason}
    beside = rf"^uvicorn (did not start: |{re.escape(trials[0].uvicorn)} )?|; it has .*"  # its row tells that
    whys = [{"cause": one.cause.name, "reason": re.sub(beside, "", one.reason)} if one.cause else {} for one in trials]
    if whys[0] and all(why == whys[0] for why in whys):
        return whys[0]
    cases = {one.case: {one.verdict.name: one.sent, **why} for one, why in zip(trials, whys, strict=True)}
    return {"ran": next((one.ran for one in trials if one.ran), ""), "cases": cases}


def read() -> Survey:
    """The survey that is kept."""
    found = KEPT.read()
    hidden = sum(1 for _ in takewhile(lambda row: "implementation" not in row, found))
    rows = {(row["uvicorn"], row.get("implementation", "")): row for row in found[hidden:]}
    listed = {row["uvicorn"]: Release(row["uvicorn"], row["released"], False, "", "") for row in rows.values()}

    def trial(version: str, name: str, case: str) -> Trial:
        row = rows.get((version, name)) or rows.get((version, ""), {})
        told = row.get("cases", {}).get(case) or {**UNTOLD, **row}
        [verdict] = [one for one in Verdict if one.name in told]
        cause, reason = Cause[told["cause"]] if "cause" in told else None, told.get("reason", "")
        return Trial(version, name, case, verdict, reason, cause, row.get("ran", ""), told[verdict.name])

    trials = {row: [trial(version, *row) for version in listed] for row in product(ROWS, CASES)}
    return Survey(hidden, list(listed.values()), trials)
