"""What the verbs print and keep: a line for a release, the next command, the result for machines."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.judge import Judge
from harness.model import UPSTREAM, Trial
from harness.place import ROOT, write_whole
from harness.releases import Change
from harness.words import Words, typed

CUT = 100  # characters of a reason in a line


def compare(change: Change) -> str:
    return f"{UPSTREAM}/compare/{change.last.version}...{change.first.version}"


def by_hand(words: Words) -> str:
    """The command that does the same in a clone of one's own."""
    absolute = {}
    for name in words.keys() & {"APP", "PATCH", "REQUIREMENTS"}:
        if Path(words[name].partition(":")[0]).exists():  # seen from the clone, it would be another file or none
            absolute[name] = str(Path(words[name]).absolute())
    tool = ("git", "bisect", "run", sys.executable, str(ROOT / "harness"), "try", "SOURCE=.")
    return typed("try", {**words, **absolute}, *tool)


def columns(name: str, trial: Trial, note: str = "") -> str:
    """The line of a release or of several: its verdict, and the reason of what is no verdict, or of a script."""
    reason = trial.reason[:CUT] if trial.cause or not trial.case else ""
    return "  ".join(filter(None, (name, f"{trial.verdict.name:12}", note, reason))).rstrip()


@contextlib.contextmanager
def kept(words: Words, verb: str, judge: Judge) -> Iterator[dict[str, Any]]:
    """What a verb fills in for machines: its `trials`, each with the name of what was judged, and what it finds.

    At the end, also of a search that fails, the folder with what a script printed is named, and the file of JSON= is
    written where something was judged. Raises Unavailable.
    """
    found: dict[str, Any] = {"trials": []}
    try:
        yield found
    finally:
        asked, trials = judge.question, found.pop("trials")
        if asked.line and judge.printed.is_dir():
            print(f"what it printed for each: {judge.printed.relative_to(ROOT)}/")
        if "JSON" in words and trials:
            skip = ("lines", "traceback")
            told = [{"of": of, **{k: v for k, v in one.to_json().items() if k not in skip}} for of, one in trials]
            beside = asked.base.named() if any(one.cause is None for _, one in trials) else ""
            result = {"verb": verb, "asked": asked.name, "beside": beside, **found, "trials": told}
            write_whole(Path(words["JSON"]).absolute(), json.dumps(result, indent=1) + "\n")
