"""Every release, with every implementation and case: measured, kept as data, and checked again."""

import dataclasses
import json
import os
import platform
import random
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path

from packaging.version import Version
from tqdm import tqdm

from harness import environments, verdicts
from harness.environments import ROOT, Pins
from harness.releases import Release
from harness.trial import CASES, Trial
from harness.verdicts import Kept, Setting

EVIDENCE = ROOT / "evidence" / "survey.json"
SANSIO = "websockets-sansio"
IMPLEMENTATIONS = ("websockets", "wsproto", SANSIO)
INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Row:
    """One trial of the survey, with the date of its release."""

    uvicorn: str
    released: str
    implementation: str
    ran: str | None
    case: str
    verdict: str
    sent: tuple[str, ...]
    detail: str


@dataclass(frozen=True)
class Evidence:
    """A whole survey: when (UTC) and where it was measured, with what, and every trial."""

    measured: str
    python: str
    platform: str
    pins: dict[str, list[str]]
    specimen: str
    withdrawn: list[str]
    trials: list[Row]


@dataclass(frozen=True)
class Range:
    """Neighbouring releases with the same verdict, and with the same reason where that is inconclusive."""

    first: Row
    last: Row
    count: int

    @property
    def verdict(self) -> str:
        return self.first.verdict


@dataclass(frozen=True)
class Plan:
    """The two settings of a survey: the reported pins, and for websockets-sansio the newest websockets."""

    reported: Setting
    newest: Setting

    def setting(self, implementation: str) -> Setting:
        return self.newest if implementation == SANSIO else self.reported


class Incomplete(Exception):
    """Some releases could not be had for a reason that is not theirs."""


def survey(releases: Sequence[Release], plan: Plan, kept: Kept) -> Evidence:
    """Measure every release, as many at once as there are cores, with a progress bar.

    Raises Incomplete where the network or the machine kept a release from being judged. Whatever was
    judged is kept, so the next survey goes on from there.
    """
    rows: list[Row] = []
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        with tqdm(total=len(releases), disable=None, leave=False, unit="release") as bar:
            for release, trials in zip(releases, pool.map(lambda r: measure(r, plan, kept), releases), strict=True):
                rows += [_row(trial, release.released) for trial in trials]
                bar.set_postfix_str(release.version)
                bar.update(1)
    finally:
        pool.shutdown(cancel_futures=True)
    missing = sorted({row.uvicorn for row in rows if _not_its_own(row)}, key=Version)
    if missing:
        reason = next(row.detail for row in rows if _not_its_own(row))
        raise Incomplete(
            f"{len(missing)} of {len(releases)} releases could not be judged: {', '.join(missing)} ({reason})"
        )
    return Evidence(
        measured=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        python=plan.reported.interpreter.version,
        platform=f"{platform.system()} {platform.machine()}",
        pins={name: list(plan.setting(name).pins.requirements) for name in IMPLEMENTATIONS},
        specimen=verdicts.specimen_digest(),
        withdrawn=[release.version for release in releases if release.withdrawn],
        trials=rows,
    )


def measure(release: Release, plan: Plan, kept: Kept) -> list[Trial]:
    """All trials of a release, sorted by implementation and case."""
    if not release.wheel:
        return _ruled_out(release, "no wheel on the index")
    if not release.admits(plan.reported.interpreter.version):
        return _ruled_out(release, f"requires Python {release.requires_python}")
    cells = [(name, case) for name in IMPLEMENTATIONS for case in CASES]
    trials = verdicts.judge(release.version, cells, plan.reported, kept)
    first, others = trials[: -len(CASES)], trials[-len(CASES) :]
    # A release without this implementation has none with another websockets either.
    if not all(f"has no {SANSIO}" in trial.detail for trial in others):
        others = verdicts.judge(release.version, [(SANSIO, case) for case in CASES], plan.newest, kept)
    return first + others


def _ruled_out(release: Release, reason: str) -> list[Trial]:
    return [Trial(release.version, name, case, detail=reason) for name in IMPLEMENTATIONS for case in CASES]


def _not_its_own(row: Row) -> bool:
    """Whether a verdict is inconclusive for a reason that another machine or day need not share."""
    own = ("no wheel", "requires Python", "depends on", "no usable wheels", " has no ", "ImportError", "ModuleNotFound")
    return row.verdict == INCONCLUSIVE and not any(reason in row.detail for reason in own)


def _row(trial: Trial, released: str) -> Row:
    return Row(
        trial.uvicorn,
        released,
        trial.implementation,
        trial.ran,
        trial.case,
        trial.verdict,
        tuple(trial.sent),
        trial.detail,
    )


def write(evidence: Evidence, file: Path = EVIDENCE) -> None:
    """Write the evidence with one trial a line, whole or not at all."""
    fields = {field.name: getattr(evidence, field.name) for field in dataclasses.fields(evidence)}
    trials = ",\n".join("  " + json.dumps(dataclasses.asdict(row)) for row in fields.pop("trials"))
    head = "".join(f"{json.dumps(name)}: {json.dumps(value)},\n" for name, value in fields.items())
    file.parent.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as new:
        new.write(f'{{\n{head}"trials": [\n{trials}\n]\n}}\n')
    Path(new.name).chmod(0o644)
    Path(new.name).replace(file)


def read(file: Path = EVIDENCE) -> Evidence:
    """Read the evidence. Raises ValueError or TypeError where it is not what `write` wrote."""
    data = json.loads(file.read_text())
    trials = [Row(**{**trial, "sent": tuple(trial["sent"])}) for trial in data.pop("trials")]
    return Evidence(**data, trials=trials)


def rows(evidence: Evidence, implementation: str, case: str) -> list[Row]:
    """The trials of one implementation and case, in the order of the releases."""
    return [row for row in evidence.trials if (row.implementation, row.case) == (implementation, case)]


def ranges(trials: Iterable[Row]) -> list[Range]:
    """Runs of neighbouring releases that agree."""
    found = []
    for _, group in groupby(trials, key=lambda row: (row.verdict, few_words(row))):
        members = list(group)
        found.append(Range(members[0], members[-1], len(members)))
    return found


def few_words(row: Row) -> str:
    """Why a row is inconclusive, without what differs from one release to the next; empty for a verdict."""
    if row.verdict != INCONCLUSIVE:
        return ""
    words = row.detail.replace(f"uvicorn=={row.uvicorn} ", "").replace(f"uvicorn {row.uvicorn} ", "")
    return words.split(" (")[0].replace("depends on ", "requires ").removeprefix("uvicorn did not start: ")


def check(evidence: Evidence, plan: Plan, handful: int, seed: int) -> list[str]:
    """Measure again both sides of every change that the evidence claims, and a random handful.

    Returns a line for every difference, none where the evidence holds.
    """
    claimed: dict[str, list[Row]] = {}
    for row in evidence.trials:
        claimed.setdefault(row.uvicorn, []).append(row)
    asked = set(random.Random(seed).sample(sorted(claimed), min(handful, len(claimed))))
    for name in IMPLEMENTATIONS:
        for case in CASES:
            found = [(row.verdict, row.uvicorn) for row in rows(evidence, name, case)]
            for (before, one), (after, other) in zip(found, found[1:], strict=False):
                asked |= {one, other} if before != after else set()
    chosen = [_release(claimed[version]) for version in claimed if version in asked]
    with tempfile.TemporaryDirectory() as nowhere, ThreadPoolExecutor(os.cpu_count()) as pool:
        kept = Kept(Path(nowhere) / "verdicts.jsonl")
        measured = dict(
            zip([r.version for r in chosen], pool.map(lambda r: measure(r, plan, kept), chosen), strict=True)
        )
    print(f"measured again: {', '.join(measured)}")
    pairs = [
        (old, new)
        for version, trials in measured.items()
        for old, new in zip(claimed[version], (_row(trial, "") for trial in trials), strict=True)
    ]
    # The evidence may rest on a newer Python than this one, which cannot contradict it.
    unfit = sorted({new.detail for _, new in pairs if "does not satisfy Python" in new.detail})
    if unfit:
        print(f"not measured on this Python, see --python: {'; '.join(unfit)}")
    return [
        f"{old.uvicorn}, {old.implementation}, {old.case}: the evidence says {_told(old)}, measured {_told(new)}"
        for old, new in pairs
        if _told(old) != _told(new) and new.detail not in unfit
    ]


def _told(row: Row) -> str:
    return f"{row.verdict}, ran {row.ran}, sent {list(row.sent)}"


def _release(trials: Sequence[Row]) -> Release:
    ruled_out = trials[0].detail == "no wheel on the index"
    return Release(trials[0].uvicorn, trials[0].released, False, not ruled_out, "")


def plan_of(pins: dict[str, list[str]], python: str | None) -> Plan:
    """The plan that a survey with these pins had."""
    interpreter = environments.find_interpreter(python)
    return Plan(*(Setting(Pins(tuple(pins[name])), interpreter) for name in ("websockets", SANSIO)))
