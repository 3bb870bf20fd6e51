"""What the verbs print and keep: a line for a release, the next command, a hint, the result for machines."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

from tqdm import tqdm

from harness.index import Release
from harness.judge import Question
from harness.model import UPSTREAM, Trial, Verdict
from harness.place import ROOT, write_whole
from harness.releases import Change
from harness.words import typed

Words: TypeAlias = Mapping[str, str]
Bar: TypeAlias = "tqdm[NoReturn]"
CUT = 100  # characters of a reason in a line
# What a Python says where something beside uvicorn is missing, or is another version than uvicorn wants.
MISSING = re.compile(
    r"No module named '?([\w.]+)|cannot import name '\w+' from '([\w.]+)'"
    r"|module '(websockets|wsproto|h11|click)[\w.]*' has no attribute"
)


def compare(change: Change) -> str:
    return f"{UPSTREAM}/compare/{change.last.version}...{change.first.version}"


def onward(verb: str, words: Words, change: Change) -> str:
    """The make command that asks the same between the two sides of a change."""
    kept = {
        name: value for name, value in words.items() if name not in ("FROM", "TO", "JSON", "PRE", "WITHDRAWN", "ATONCE")
    }
    good, bad = (change.last, change.first) if change.before is Verdict.open else (change.first, change.last)
    return typed(verb, {**kept, "GOOD": good.version, "BAD": bad.version})


def by_hand(words: Words) -> str:
    """The command that does the same in a clone of one's own."""
    kept = {name: value for name, value in words.items() if name not in ("GOOD", "BAD", "REPO", "JSON")}
    for name in {"APP", "PATCH", "REQUIREMENTS"} & kept.keys():
        if Path(kept[name].partition(":")[0]).exists():  # seen from the clone, it would be another file or none
            kept[name] = str(Path(kept[name]).absolute())
    asked = [f"{name}={value}" for name, value in kept.items()]
    return "git bisect run " + shlex.join([sys.executable, str(ROOT / "harness"), "try", "SOURCE=.", *asked])


def line(bar: Bar, release: Release, trial: Trial, note: str) -> None:
    """Print the line of one release above the progress bar."""
    reason = trial.reason[:CUT] if trial.cause or not trial.case else ""
    parts = (f"{release.version:12} {release.released or 'no date':10}  {trial.verdict.name:12}", note, reason)
    bar.write("  ".join(part for part in parts if part).rstrip())
    sys.stdout.flush()


def advise(words: Words, alike: Sequence[Trial], count: int, took: float, judged: int, asked: Question) -> None:
    """Say what to do where both ends are alike: what the trials lack, and how to see every change."""
    if not alike:
        return
    kept = {name: value for name, value in words.items() if name not in ("GOOD", "BAD", "JSON", "REPO")}
    if not {"CASE", "APP", "RUN"} & kept.keys():
        kept["CASE"] = asked.apps[0].case
    for told in dict.fromkeys(filter(None, map(hint, alike))):
        print(told.removeprefix("; "))
    seconds = max(1, round(took / max(1, judged) * count))
    print(f"every change there was, in about {seconds} s: {typed('survey', kept)}")


def hint(trial: Trial) -> str:
    """What to set where a reason names a module that is missing, or lacks a name."""
    if trial.verdict is Verdict.open:
        return ""
    if "no subprotocol was agreed" in trial.reason:
        return "; NONE=rejected takes that for rejected" if trial.cause else ""
    if "HTTP 403" in trial.reason:
        return "; the app is dialed at URLPATH=, and for plain HTTP use RUN="
    found = MISSING.search(trial.reason)
    name = next((one.split(".")[0] for one in found.groups() if one), "") if found else ""
    if not name or name == "uvicorn":
        return ""
    if name in ("websockets", "wsproto"):
        return f"; it may need another {name}: set {name.upper()}, such as {name.upper()}=latest or a version"
    return f"; it lacks {name}: say WITH={name}, or set what brings it"


def keep(
    words: Words, verb: str, asked: Question, found: Mapping[str, object], trials: Sequence[tuple[str, Trial]]
) -> None:
    """Write the result for machines, where that was asked for."""
    if "JSON" not in words:
        return
    skip = ("lines", "traceback")
    told = [{"of": of, **{k: v for k, v in one.to_json().items() if k not in skip}} for of, one in trials]
    beside = asked.base.named() if any(one.cause is None for _, one in trials) else ""
    result = {"verb": verb, "asked": asked.name, "beside": beside, **found, "trials": told}
    write_whole(Path(words["JSON"]).absolute(), json.dumps(result, indent=1) + "\n")


def of(release: Release) -> dict[str, str]:
    return {"uvicorn": release.version, "released": release.released}


def shown(folder: Path) -> str:
    return str(folder.relative_to(ROOT))
