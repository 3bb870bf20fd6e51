"""What the verbs print and keep: a line for a release, the next command, a hint, the result for machines."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.judge import Judge, Question
from harness.model import UPSTREAM, Trial, Verdict
from harness.place import ROOT, write_whole
from harness.releases import Change
from harness.words import Words, for_verb

Trials = Sequence[tuple[str, Trial]]  # each with the name of what was judged
CUT = 100  # characters of a reason in a line
# What a Python says where something beside uvicorn is missing, or is another version than uvicorn wants.
MISSING = re.compile(
    r"No module named '?([\w.]+)|cannot import name '\w+' from '([\w.]+)'"
    r"|module '(websockets|wsproto|h11|click)[\w.]*' has no attribute"
)


def compare(change: Change) -> str:
    return f"{UPSTREAM}/compare/{change.last.version}...{change.first.version}"


def by_hand(words: Words) -> str:
    """The command that does the same in a clone of one's own."""
    kept = for_verb("try", words)
    for name in {"APP", "PATCH", "REQUIREMENTS"} & kept.keys():
        if Path(kept[name].partition(":")[0]).exists():  # seen from the clone, it would be another file or none
            kept[name] = str(Path(kept[name]).absolute())
    asked = [f"{name}={value}" for name, value in kept.items()]
    return "git bisect run " + shlex.join([sys.executable, str(ROOT / "harness"), "try", "SOURCE=.", *asked])


def columns(name: str, trial: Trial, note: str = "") -> str:
    """The line of a release or of several: its verdict, and the reason of what is no verdict, or of a script."""
    reason = trial.reason[:CUT] if trial.cause or not trial.case else ""
    return "  ".join(filter(None, (name, f"{trial.verdict.name:12}", note, reason))).rstrip()


def hint(trial: Trial) -> str:
    """What to set where a reason names a module that is missing, or lacks a name."""
    if trial.verdict is Verdict.open:
        return ""
    if "no subprotocol was agreed" in trial.reason:
        return "; NONE=rejected takes that for rejected" if trial.cause else ""
    if "HTTP 403" in trial.reason:
        return "; the app is dialed at URLPATH=, and for plain HTTP use RUN="
    found = MISSING.search(trial.reason)
    name = next(filter(None, found.groups())).split(".")[0] if found else ""
    if name in ("", "uvicorn"):
        return ""
    if name in ("websockets", "wsproto"):
        return f"; it may need another {name}: set {name.upper()}, such as {name.upper()}=latest or a version"
    return f"; it lacks {name}: say WITH={name}, or set what brings it"


def told_place(judge: Judge, of: str = "") -> None:
    """Name the folder with what a script printed, where there is one."""
    if judge.question.line and judge.printed.is_dir():
        print(f"what it printed{of}: {judge.printed.relative_to(ROOT)}/")


def keep(words: Words, verb: str, asked: Question, found: Mapping[str, object], trials: Trials) -> None:
    """Write the result for machines, where that was asked for."""
    if "JSON" in words:
        skip = ("lines", "traceback")
        told = [{"of": of, **{k: v for k, v in one.to_json().items() if k not in skip}} for of, one in trials]
        beside = asked.base.named() if any(one.cause is None for _, one in trials) else ""
        result = {"verb": verb, "asked": asked.name, "beside": beside, **found, "trials": told}
        write_whole(Path(words["JSON"]).absolute(), json.dumps(result, indent=1) + "\n")
