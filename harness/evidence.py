"""Every release, with every implementation and case: measured, kept as data, and measured again."""

import json
import platform
import random
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path
from typing import Any

from packaging.version import Version
from tqdm import tqdm

from harness import environment, judge, shelf
from harness.environment import ROOT
from harness.index import Release
from harness.judge import Judge, Kept, Subject
from harness.model import CASES, UPSTREAM, Cause, Cell, Trial, Verdict
from harness.shelf import Interpreter, Setting

EVIDENCE = ROOT / "evidence" / "survey.json"
SCHEMA = EVIDENCE.with_name("survey.schema.json")
# With which websockets each implementation is surveyed: that of requirements-broken.txt, or the newest, which
# `auto` finds where people install today and without which websockets-sansio does not run.
PINNED, NEWEST = ("websockets", "wsproto"), ("websockets-sansio", "auto")
ROWS = PINNED + NEWEST


@dataclass(frozen=True)
class PullRequest:
    """What upstream changed: in a few words, and the line of its release notes (docs/release-notes.md of 0.51.0)."""

    number: int
    words: str
    line: int
    note: str

    @property
    def url(self) -> str:
        return f"{UPSTREAM}/pull/{self.number}"

    @property
    def release_notes(self) -> str:
        return f"{UPSTREAM}/blob/0.51.0/docs/release-notes.md?plain=1#L{self.line}"


ACCEPT = PullRequest(
    1293, "websocket.accept's headers are sent", 605, "Support extra_headers for WS accept message (#1293)"
)
CONFIG = PullRequest(
    1606, "uvicorn.Config's headers are sent", 472, "Add default headers to WebSockets implementations (#1606 & #1747)"
)
SANSIO = PullRequest(2540, "websockets-sansio comes", 194, "Add `WebSocketsSansIOProtocol` (#2540)")
AUTO = PullRequest(
    *(2985, "auto becomes websockets-sansio", 35),
    "Default `--ws auto` to `websockets-sansio` when websockets is installed (#2985)",
)
SPLIT = PullRequest(
    *(3019, "offers are split at commas", 25),
    "Split comma-separated `Sec-WebSocket-Protocol` values in the `websockets-sansio` implementation (#3019)",
)
# Where a verdict changes: release, case and the verdict that it led to.
PULL_REQUESTS = {
    ("0.17.0", "accept-headers", "rejected"): ACCEPT,
    ("0.20.0", "server-headers", "rejected"): CONFIG,
    ("0.20.0", "header-alone", "open"): CONFIG,
    ("0.35.0", "server-headers", "rejected"): SANSIO,
    ("0.35.0", "accept-headers", "rejected"): SANSIO,
    ("0.35.0", "unsplit-offer", "rejected"): SANSIO,
    ("0.50.0", "unsplit-offer", "rejected"): AUTO,
    ("0.50.1", "unsplit-offer", "open"): SPLIT,
}


@dataclass(frozen=True)
class Evidence:
    """A whole survey: when (UTC) and where it was measured and with what, each release's date, and every trial.

    The trials come in the order of the releases, of `ROWS` and of `CASES`.
    """

    measured: str
    python: str
    platform: str
    pins: dict[str, list[str]]
    specimen: str
    releases: dict[str, str]
    withdrawn: list[str]
    trials: list[Trial]

    def row(self, implementation: str, case: str) -> list[Trial]:
        """The trials of one implementation and case, in the order of the releases."""
        return [trial for trial in self.trials if (trial.implementation, trial.case) == (implementation, case)]

    def websockets(self, implementation: str) -> str:
        """The version of websockets that an implementation ran with."""
        return dict(pin.split("==") for pin in self.pins[implementation])["websockets"]

    @property
    def newest(self) -> str:
        return self.trials[-1].uvicorn


@dataclass(frozen=True)
class Range:
    """Neighbouring releases with the same verdict, and with the same reason where that is inconclusive."""

    first: Trial
    last: Trial
    count: int

    @property
    def releases(self) -> str:
        return self.first.uvicorn if self.count == 1 else f"{self.first.uvicorn} - {self.last.uvicorn}"

    @property
    def words(self) -> str:
        return f"{self.releases} {self.first.verdict.name}" + (f": {self.first.reason}" if self.first.cause else "")


@dataclass(frozen=True)
class Change:
    """A release in which a verdict turned, or in which an implementation came that was rejected from its start.

    `before` is the last one that could be judged or, where the implementation came, the last one without it.
    """

    implementation: str
    case: str
    before: Trial
    after: Trial

    @property
    def came(self) -> bool:
        return self.before.cause is Cause.NO_IMPLEMENTATION

    @property
    def pull_request(self) -> PullRequest | None:
        return PULL_REQUESTS.get((self.after.uvicorn, self.case, self.after.verdict.name))


class Incomplete(Exception):
    """Some releases could not be judged for a reason that is not theirs."""


def settings_of(interpreter: Interpreter, newest: str) -> tuple[Setting, Setting]:
    """The two settings of a survey; `newest` is the newest websockets."""
    return Setting(shelf.pins(), interpreter), Setting(shelf.pins(websockets=newest), interpreter)


def survey(releases: Sequence[Release], settings: tuple[Setting, Setting], kept: Kept) -> Evidence:
    """Measure every release, as many at once as there are cores, with a progress bar.

    Raises Incomplete where the network or the machine kept a release from being judged. Whatever was
    judged is kept, so the next survey goes on from there.
    """
    trials = measure(releases, settings, kept)
    missing = [trial for trial in trials if trial.cause and not trial.cause.lasting]
    if missing:
        names = sorted({trial.uvicorn for trial in missing}, key=Version)
        raise Incomplete(
            f"{len(names)} of {len(releases)} could not be judged: {', '.join(names)} ({missing[0].reason})"
        )
    pinned, newest = (list(setting.pins) for setting in settings)
    return Evidence(
        measured=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        python=settings[0].interpreter.version,
        platform=f"{platform.system()} {platform.machine()}",
        pins={**dict.fromkeys(PINNED, pinned), **dict.fromkeys(NEWEST, newest)},
        specimen=judge.specimen(),
        releases={release.version: release.released for release in releases},
        withdrawn=[release.version for release in releases if release.withdrawn],
        trials=trials,
    )


def measure(
    releases: Sequence[Release], settings: tuple[Setting, Setting], kept: Kept | None, subject: Subject | None = None
) -> list[Trial]:
    """All trials of these releases, in order, as the evidence has them; `subject` may hold a patch."""
    with ExitStack() as stack, tqdm(total=len(releases), disable=None, leave=False, unit="release") as bar:
        judges = [stack.enter_context(Judge(setting, kept, subject)) for setting in settings]

        def one(release: Release) -> list[Trial]:
            found: list[Trial] = []
            for judging, rows in zip(judges, (PINNED, NEWEST), strict=True):
                cells = [(name, case) for name in rows for case in CASES]
                found += judging.release(release.version, cells) if release.wheel else _no_wheel(release.version, cells)
            return [_short(trial) for trial in found]

        trials: list[Trial] = []
        for release, found in zip(releases, judge.each(one, releases), strict=True):
            trials += found
            bar.set_postfix_str(release.version)
            bar.update(1)
    return trials


def _no_wheel(version: str, cells: Sequence[Cell]) -> list[Trial]:
    return [Trial(version, *cell, reason="no wheel on the index", cause=Cause.NO_WHEEL) for cell in cells]


def _short(trial: Trial) -> Trial:
    """The trial without the words that its other fields tell."""
    if trial.cause is Cause.NO_IMPLEMENTATION:
        trial.reason = trial.reason.partition("; it has ")[0]
    trial.reason = (
        trial.reason.replace(f"uvicorn {trial.uvicorn} ", "").replace("uvicorn did not start: ", "")
        if trial.cause
        else ""
    )
    return trial


def write(evidence: Evidence, file: Path = EVIDENCE) -> None:
    """Write the evidence, whole or not at all: a line for each release and implementation. Raises Unavailable."""
    untried, lines = [], []
    for name in ROWS:
        rows = [
            (version, list(found))
            for version, found in groupby((t for t in evidence.trials if t.implementation == name), lambda t: t.uvicorn)
        ]
        for why, group in groupby(rows, lambda row: _why_untried(row[1])):
            members = list(group)
            if why:
                ends = {"first": members[0][0], "last": members[-1][0], "releases": len(members)}
                untried.append({"implementation": name, **ends, **why})
            else:
                lines += [_line(trials) for _, trials in members]
    lines.sort(key=lambda line: (Version(line["uvicorn"]), ROWS.index(line["implementation"])))
    told = [_change(change) for change in changes(evidence)]
    head = {
        name: getattr(evidence, name)
        for name in ("measured", "python", "platform", "pins", "specimen", "releases", "withdrawn")
    }
    parts = [f'"$schema": "{SCHEMA.name}"', *(f'"{name}": {json.dumps(value)}' for name, value in head.items())]
    blocks = {"changes": told, "untried": untried, "trials": lines}
    parts += [f'"{name}": [\n{_block(block)}\n]' for name, block in blocks.items()]
    environment.write_whole(file, "{\n" + ",\n".join(parts) + "\n}\n")


def _block(values: Sequence[dict[str, Any]]) -> str:
    return ",\n".join(json.dumps(value, separators=(",", ":")) for value in values)


def _why_untried(trials: Sequence[Trial]) -> dict[str, str] | None:
    """The one cause and reason that all cases share, where none could be judged."""
    found = {(trial.cause, trial.reason) for trial in trials}
    [(cause, reason), *more] = found
    return {"cause": cause.name, "reason": reason} if cause and not more else None


def _line(trials: Sequence[Trial]) -> dict[str, Any]:
    ran = next((trial.ran for trial in trials if trial.ran), "")
    cases: dict[str, dict[str, Any]] = {}
    for trial in trials:
        cases[trial.case] = {trial.verdict.name: trial.sent}
        if trial.cause:
            cases[trial.case].update(cause=trial.cause.name, reason=trial.reason)
    return {"uvicorn": trials[0].uvicorn, "implementation": trials[0].implementation, "ran": ran, "cases": cases}


def _change(change: Change) -> dict[str, Any]:
    """A change as the evidence tells it, with its sources."""
    pull_request = change.pull_request
    release = change.after.uvicorn
    return {
        "implementation": change.implementation,
        "case": change.case,
        "release": release,
        "before": change.before.verdict.name,
        "verdict": change.after.verdict.name,
        "pull_request": pull_request and pull_request.url,
        "release_notes": pull_request.release_notes if pull_request else f"{UPSTREAM}/releases/tag/{release}",
        "note": pull_request and pull_request.note,
        "compare": f"{UPSTREAM}/compare/{change.before.uvicorn}...{release}",
    }


def read(file: Path = EVIDENCE) -> Evidence:
    """Read the evidence. Raises Unavailable where there is none, or what stands in the file does not fit its schema."""
    import jsonschema  # here, for it takes a tenth of a second, and most verbs read no evidence

    data = environment.read_json(file)
    try:
        jsonschema.validate(data, json.loads(SCHEMA.read_text(encoding="utf-8")))
        del data["$schema"], data["changes"]  # the trials tell the changes
        found: dict[tuple[str, str], list[Trial]] = {}
        versions = list(data["releases"])
        for untried in data.pop("untried"):
            first, last = versions.index(untried["first"]), versions.index(untried["last"])
            for version in versions[first : last + 1]:
                why = {"cause": Cause[untried["cause"]], "reason": untried["reason"]}
                name = untried["implementation"]
                found[version, name] = [Trial(version, name, case, **why) for case in CASES]
        for line in data.pop("trials"):
            key = line["uvicorn"], line["implementation"]
            found[key] = [_trial(*key, case, line["ran"], cell) for case, cell in line["cases"].items()]
        trials = [trial for version in versions for name in ROWS for trial in found[version, name]]
        return Evidence(**data, trials=trials)
    except (jsonschema.ValidationError, ValueError, KeyError, RecursionError) as error:
        raise environment.Unavailable(f"{file.name} is no evidence of this version: run make survey") from error


def _trial(uvicorn: str, implementation: str, case: str, ran: str, cell: dict[str, Any]) -> Trial:
    [verdict] = [one for one in Verdict if one.name in cell]
    cause, sent = cell.get("cause"), cell[verdict.name]
    ran = "" if cause else ran
    return Trial(uvicorn, implementation, case, verdict, cell.get("reason", ""), cause and Cause[cause], ran, sent)


def ranges(trials: Iterable[Trial], by_class: bool = False) -> list[Range]:
    """Runs of neighbouring releases that agree; with `by_class` on the class that ran too."""
    found = []
    for _, group in groupby(trials, key=lambda t: (t.verdict, t.cause, t.reason, by_class and t.ran)):
        members = list(group)
        found.append(Range(members[0], members[-1], len(members)))
    return found


def leading(evidence: Evidence) -> list[Range]:
    """The ranges at the start that every implementation and case has in common."""
    every = [ranges(evidence.row(name, case)) for name in ROWS for case in CASES]
    common = []
    for column in zip(*every, strict=False):
        if len({(one.first.uvicorn, one.last.uvicorn, one.first.verdict, one.first.reason) for one in column}) > 1:
            break
        common.append(column[0])
    return common


def changes(evidence: Evidence) -> list[Change]:
    """Every change, by implementation and case; what cannot be judged for another reason lies between, unseen."""
    found = []
    for name in ROWS:
        for case in CASES:
            row = [t for t in evidence.row(name, case) if t.cause in (None, Cause.NO_IMPLEMENTATION)]
            for before, after in zip(row, row[1:], strict=False):
                came = before.cause and after.verdict is Verdict.rejected
                if came or {before.verdict, after.verdict} == {Verdict.open, Verdict.rejected}:
                    found.append(Change(name, case, before, after))
    return found


def check(evidence: Evidence, settings: tuple[Setting, Setting], handful: int, seed: int) -> list[str]:
    """Measure again both sides of every change that the evidence claims, and a random handful.

    Returns a line for every difference, none where the evidence holds. Raises Incomplete where something
    could not be measured.
    """
    versions = list(evidence.releases)
    asked = set(random.Random(seed).sample(versions, min(handful, len(versions))))
    for name in ROWS:
        for case in CASES:
            found = [(trial.verdict, trial.uvicorn) for trial in evidence.row(name, case)]
            for (before, one), (after, other) in zip(found, found[1:], strict=False):
                asked |= {one, other} if before is not after else set()
    claimed = [trial for trial in evidence.trials if trial.uvicorn in asked]
    wheels = {trial.uvicorn: trial.cause is not Cause.NO_WHEEL for trial in claimed}
    measured = measure([Release(version, "", False, wheel, "") for version, wheel in wheels.items()], settings, None)
    print(f"measured again: {', '.join(wheels)}")
    return differences(claimed, measured)


def differences(claimed: Sequence[Trial], measured: Sequence[Trial]) -> list[str]:
    """A line for each trial that came out otherwise than claimed. Raises Incomplete where one could not be measured."""
    # The evidence may rest on a newer Python than this one, which cannot contradict it.
    unfit = sorted({f"{new.uvicorn} {new.reason}" for new in measured if new.cause is Cause.OTHER_PYTHON})
    if unfit:
        print(f"not measured on this Python, see --python: {'; '.join(unfit)}")
    for new in measured:
        if new.cause and not new.cause.lasting:
            raise Incomplete(f"{new.uvicorn} could not be measured: {new.reason}")
    return [
        f"{old.uvicorn}, {old.implementation}, {old.case}: the evidence says {_told(old)}, measured {_told(new)}"
        for old, new in zip(claimed, measured, strict=True)
        if _told(old) != _told(new) and new.cause is not Cause.OTHER_PYTHON
    ]


def _told(trial: Trial) -> str:
    ran = f", ran {trial.ran}, sent {trial.sent}" if not trial.cause else f" ({trial.cause.name})"
    return f"{trial.verdict.name}{ran}"
