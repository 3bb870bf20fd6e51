"""Every release with every implementation and case: measured, kept as a line each, and where a verdict changes."""

import json
import platform
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

from packaging.version import Version

from evidence.rows import today
from harness import asking, place, survey
from harness.index import Index, Release
from harness.model import Cause, Trial, Verdict
from harness.releases import Range, ranges
from harness.survey import NEWEST, PINNED, ROWS

FILE = Path(__file__).resolve().with_name("survey.jsonl")
CASES = tuple(asking.cases())
PASSING = (Cause.FAILED, Cause.LATE)  # which another day or machine need not see
Line = dict[str, Any]
Lines = dict[tuple[str, str], Line]  # by release and implementation


@dataclass(frozen=True)
class PullRequest:
    """What upstream changed: in a few words, and by its release notes (the line of docs/release-notes.md in 0.51.0)."""

    number: int
    words: str
    line: int
    note: str


# By the release in which a verdict changed.
PULL_REQUESTS = {
    "0.17.0": PullRequest(
        1293, "websocket.accept's headers are sent", 605, "Support extra_headers for WS accept message"
    ),
    "0.20.0": PullRequest(
        *(1606, "uvicorn.Config's headers are sent", 472, "Add default headers to WebSockets implementations")
    ),
    "0.35.0": PullRequest(2540, "websockets-sansio comes", 194, "Add `WebSocketsSansIOProtocol`"),
    "0.50.0": PullRequest(
        *(2985, "auto becomes websockets-sansio", 35),
        "Default `--ws auto` to `websockets-sansio` when websockets is installed",
    ),
    "0.50.1": PullRequest(
        *(3019, "offers are split at commas", 25),
        "Split comma-separated `Sec-WebSocket-Protocol` values in the `websockets-sansio` implementation",
    ),
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
    """A whole survey: what it was measured with, the releases, and the trials of each implementation and case."""

    head: Line
    releases: Sequence[Release]
    trials: dict[tuple[str, str], list[Trial]]

    def websockets(self, implementation: str) -> str:
        """The version of websockets that an implementation ran with."""
        return str(dict(pin.split("==") for pin in self.head["pins"][implementation])["websockets"])

    @property
    def hidden(self) -> int:
        """How many releases at the start no implementation and case can judge."""
        columns = zip(*self.trials.values(), strict=True)
        return sum(1 for _ in takewhile(lambda column: all(one.cause for one in column), columns))

    def ranges(self, implementation: str, case: str, by_class: bool = False) -> list[Range]:
        """Runs of the other releases with the same verdict, and perhaps by the same class."""
        pairs = list(zip(self.releases, self.trials[implementation, case], strict=True))[self.hidden :]
        groups = groupby(pairs, lambda pair: by_class and pair[1].ran)
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


def measure(index: Index, interpreter: str = "", only: Iterable[str] = ()) -> tuple[Line, Lines]:
    """What was measured with, and the lines of all releases, or of some.

    Raises Unavailable, and NothingTestable where one after the other does not end in time.
    """
    questions = survey.everything(index, interpreter)
    chosen = [one for one in index.releases("uvicorn") if not only or one.version in only]
    lines: Lines = {}
    for release, trials in zip(chosen, survey.measure(questions, index, chosen), strict=True):
        for name, group in groupby(trials, lambda one: one.implementation):
            if line := _line(list(group)):
                lines[release.version, name] = {"released": release.released, **line}
    bases = [list(question.base.requirements) for question in questions]
    python, system = questions[0].base.interpreter.version, f"{platform.system()} {platform.machine()}"
    pins = {**dict.fromkeys(PINNED, bases[0]), **dict.fromkeys(NEWEST, bases[1])}
    return {"measured": today(), "python": python, "platform": system, "pins": pins}, lines


def _line(trials: Sequence[Trial]) -> Line:
    """The cases of one release and implementation, or the one reason for which none can be judged.

    Nothing where the network or the machine kept one from being judged.
    """
    if any(one.cause in PASSING for one in trials):
        return {}
    whys = [{"cause": one.cause.name, "reason": _short(one)} if one.cause else {} for one in trials]
    if whys[0] and all(why == whys[0] for why in whys):
        return whys[0]
    cases = {one.case: {one.verdict.name: one.sent, **why} for one, why in zip(trials, whys, strict=True)}
    return {"ran": next((one.ran for one in trials if one.ran), ""), "cases": cases}


def _short(trial: Trial) -> str:
    """The reason without the words that its line tells."""
    reason = trial.reason.partition("; it has ")[0] if trial.cause is Cause.NO_IMPLEMENTATION else trial.reason
    return re.sub(rf"^uvicorn (did not start: |{re.escape(trial.uvicorn)} )?", "", reason)


def write(head: Line, measured: Lines, file: Path = FILE) -> None:
    """Keep what was measured, whole or not at all. Raises Unavailable.

    Where all of it says what the file says, that stays as it is. A line that was not measured now, or for which it
    takes another Python, stays too, and tells what it was measured with once that is not what the first line tells.
    """
    was, kept = parse(file) if file.is_file() else ({}, {})
    other = Cause.OTHER_PYTHON.name
    measured = {key: line for key, line in measured.items() if key not in kept or line.get("cause") != other}
    news = {key: line for key, line in measured.items() if not _says_as_much(kept.get(key, {}), line)}
    if not news:
        return
    old = {key: line if key in measured else {"with": was, **line} for key, line in kept.items()}
    found = sorted({**old, **news}.items(), key=lambda item: (Version(item[0][0]), ROWS.index(item[0][1])))
    lines = [head]
    for version, group in groupby(found, lambda item: item[0][0]):
        members = [({"uvicorn": version, "implementation": key[1]}, line) for key, line in group]
        alike = len(members) == len(ROWS) and all(line == members[0][1] for _, line in members)
        shared = [({"uvicorn": version}, members[0][1])] if alike and "cause" in members[0][1] else members
        lines += [{**which, **line} for which, line in shared]
    place.write_whole(file, "".join(json.dumps(line) + "\n" for line in lines))


def _says_as_much(kept: Line, line: Line) -> bool:
    """Whether a line says the same; not every index knows the dates."""
    besides = {"with": 0, **({} if line["released"] else {"released": ""})}
    return {**kept, **besides} == {**line, **besides}


def parse(file: Path) -> tuple[Line, Lines]:
    """What a file was measured with, and its lines."""
    head, *lines = map(json.loads, file.read_text().splitlines())
    found = {}
    for line in lines:
        version, named = line.pop("uvicorn"), line.pop("implementation", None)
        found.update({(version, name): line for name in ([named] if named else ROWS)})
    return head, found


def read(file: Path = FILE) -> Survey:
    """The survey that is kept."""
    head, lines = parse(file)
    dates = {version: line["released"] for (version, _), line in lines.items()}
    trials = {
        (name, case): [_trial(version, name, case, lines.get((version, name), {})) for version in dates]
        for name in ROWS
        for case in CASES
    }
    return Survey(head, [Release(version, date, False, "", "") for version, date in dates.items()], trials)


def _trial(version: str, name: str, case: str, line: Line) -> Trial:
    told = line.get("cases", {}).get(case) or {"inconclusive": [], "cause": "FAILED", "reason": "not measured", **line}
    [verdict] = [one for one in Verdict if one.name in told]
    cause = Cause[told["cause"]] if "cause" in told else None
    ran = "" if cause else line["ran"]
    return Trial(version, name, case, verdict, told.get("reason", ""), cause, ran, told[verdict.name])


def words(one: Range, quoted: Callable[[str], str] = str) -> str:
    """A range in words; what stands in `quoted` comes from elsewhere."""
    return f"{one.releases} {one.trial.verdict.name}" + (f": {quoted(one.trial.reason)}" if one.trial.cause else "")
