"""try, bisect, bisect-commits and survey: what they print, and with which status they end."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import commits, releases, survey
from harness.asking import question
from harness.index import Index, Release
from harness.judge import Judge, Question
from harness.model import UPSTREAM, Trial, plain
from harness.place import ROOT, write_whole
from harness.releases import Change, NoChange
from harness.words import Words, typed

CUT = 100  # characters of a reason in a line


def usable(words: Words, asked: Question, index: Index) -> list[Release]:
    """The releases that the words speak of. Raises Mistake where there are none."""
    return releases.usable(index.releases("uvicorn"), asked.base.interpreter.version, words)


def try_one(words: Words) -> int:
    """Judge one uvicorn and print what `make broken` prints. Returns the verdict's exit status."""
    index = Index.configured()
    asked = question(words, index)
    with Judge(asked, index) as judging, kept(words, "try", asked) as result:
        if "SOURCE" in words:
            name = words["SOURCE"]
            [found] = judging.folder(Path(name).resolve())
        else:
            release = releases.pick("UVICORN", words.get("UVICORN", "latest"), usable(words, asked, index))
            name = release.version
            [found] = judging.release(release)
        result["trials"].append((name, found))
        beside = "" if found.cause else asked.base.described()
        print(*filter(None, (f"uvicorn {found.uvicorn or plain(name)}", asked.name, beside)), sep=", ")
        for text in filter(None, (*found.lines, found.traceback)):
            print(text)
    print(found.last_line)
    return int(found.verdict.value)


def bisect_releases(words: Words) -> int:
    """Find the release that changed the verdict. Returns 0. Raises NoChange, Unavailable."""
    index = Index.configured()
    change = changed_release(words, question(words, index), index)
    last, first = change.names
    among = [one.version for one in change.untestable]
    print(f"\n{last}: {change.last.dated}")
    if among:
        print(f"cannot be judged: {', '.join(among)}")
    print(f"{first}: {change.first.dated}" + (" or one of these" if among else ""))
    print(f"what changed: {change.link}")
    print(f"release notes: {UPSTREAM}/releases/tag/{change.first.version}")
    between = releases.between(index.releases("uvicorn"), change)
    left = [one.version for one in between if one not in change.untestable]
    if left:
        print(f"left out between the two: {', '.join(left)} (WITHDRAWN=yes and PRE=yes search them too)")
    print(f"go on to commits: {typed('bisect-commits', {**words, **change.ends})}")
    return 0


def changed_release(words: Words, asked: Question, index: Index) -> Change:
    """The change that a bisect of the releases finds; each step is printed. Raises NoChange, Unavailable."""
    begun = time.monotonic()

    def judge_one(release: Release, note: str) -> Trial:
        [trial] = judging.release(release)
        result["trials"].append((release.version, trial))
        print(columns(f"{release.version:12} {release.released or 'no date':10}", trial, note), flush=True)
        return trial

    with Judge(asked, index) as judging, kept(words, "bisect", asked) as result:
        among = usable(words, asked, index)
        ends = {word: releases.pick(word, words[word], among) for word in ("GOOD", "BAD") if word in words}
        print(f"{asked.name}, {asked.base.described()}", flush=True)
        if len(ends) < 2:
            among = among[min([judging.oldest(among), *map(among.index, ends.values())]) :]
            print(f"{len(among)} releases from {among[0].version} to {among[-1].version}", flush=True)
        try:
            change = releases.bisect(among, ends.get("GOOD"), ends.get("BAD"), judge_one)
        except NoChange as error:
            seconds = max(1, round((time.monotonic() - begun) / len(result["trials"]) * len(among)))
            every = typed("survey", words if words.keys() & {"APP", "RUN"} else {"CASE": asked.apps[0].case, **words})
            raise NoChange(f"{error}\nevery change there was, in about {seconds} s: {every}") from None
        for side, one in (("last", change.last), ("first", change.first)):
            result[side] = {"uvicorn": one.version, "released": one.released}
    return change


def bisect_commits(words: Words) -> int:
    """Find the commit that changed the verdict. Returns 0, or 125 for one of several. Raises NoChange, Unavailable."""
    index = Index.configured()
    asked = question(words, index)
    ends = {name: words[name] for name in ("GOOD", "BAD") if name in words}
    if len(ends) < 2:
        change = changed_release(words, asked, index)
        ends = change.ends
        print(f"\n{change.names[0]}: {change.last.dated}, {change.names[1]}: {change.first.dated}; now its commits")
    for name, text in ends.items():
        if releases.DAY.fullmatch(text) or text == "latest":
            ends[name] = releases.pick(name, text, usable({}, asked, index)).version
    with Judge(asked, index) as judging, commits.clone(words.get("REPO", UPSTREAM)) as checkout:
        good, bad = (commits.commit(checkout, name, ends[name]) for name in ("GOOD", "BAD"))

        def judge_one(sha: str) -> Trial:
            [trial] = judging.folder(checkout, name=sha)
            result["trials"].append((sha, trial))
            return trial

        print(by_hand(words), flush=True)
        with kept(words, "bisect-commits", asked) as result:
            found, breaks, log = commits.search(checkout, good, bad, judge_one, lambda text: print(text, flush=True))
            result["first"] = [{"commit": one.sha, "subject": one.subject, "link": one.link} for one in found]
        print(f"\n{log}\n")
        first = "first bad commit" if breaks else "first fixed commit"
        if len(found) > 1:
            print(f"{first}: one of these, the others cannot be judged")
        for one in found:
            about = f"{one.author}, {one.date}, {one.link or 'no pull request named'}"
            print(f"{first}: {one.sha}\n  {one.subject}\n  {about}")
            undone = commits.reverted(checkout, one.sha, bad if breaks else good)
            if undone:
                print(f"  reverted later by {undone.sha}\n  {undone.subject}, {undone.date}")
    return 0 if len(found) == 1 else 125


def survey_releases(words: Words) -> int:
    """Judge every release, and show the ranges and each change. Returns 0, or 125 where nothing could be judged.

    Where no word says of what, it is of every case and implementation.
    """
    index = Index.configured()
    one_question = words.keys() - {"FROM", "TO", "PRE", "WITHDRAWN", "INTERPRETER", "JSON"}
    asked = (question(words, index),) if one_question else survey.everything(index, words.get("INTERPRETER", ""))
    among = usable(words, asked[0], index)
    among = among[: among.index(releases.pick("TO", words.get("TO", "latest"), among)) + 1]
    if "FROM" in words:
        among = among[among.index(releases.pick("FROM", words["FROM"], among)) :]
    else:
        with Judge(asked[0], index) as judging:
            among = among[judging.oldest(among) :]
    for one in asked:
        print(f"{one.name}, {one.base.described()}", flush=True)
    with kept(words, "survey", asked[0]) as result:
        found = survey.measure(asked, index, among)
        told = [(release.version, trial) for release, each in zip(among, found, strict=True) for trial in each]
        result["trials"] += told
    for trials in zip(*found, strict=True):
        print("" if one_question else f"\n{trials[0].implementation}, {trials[0].case}")
        for alike in releases.ranges(among, trials):
            print(columns(f"{alike.releases:18}", alike.trial))
        for change in releases.changes(among, trials):
            print(f"{change.names[1]}: {change.first.dated}, {change.link}")
            if one_question:
                print(f"  its commit: {typed('bisect-commits', {**words, **change.ends})}")
    return 0 if any(not trial.cause for _, trial in told) else 125


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
def kept(words: Words, verb: str, asked: Question) -> Iterator[dict[str, Any]]:
    """The record that a verb fills in: its `trials`, each with the name of what was judged, and what it finds.

    At the end, also of a search that fails, the folder with what a script printed is named, and the file of JSON= is
    written where something was judged. Raises Unavailable.
    """
    found: dict[str, Any] = {"trials": []}
    try:
        yield found
    finally:
        trials = found.pop("trials")
        if asked.printed.is_dir():
            print(f"what it printed for each: {asked.printed.relative_to(ROOT)}/")
        if "JSON" in words and trials:
            skip = ("lines", "traceback")
            told = [{"of": of, **{k: v for k, v in one.to_json().items() if k not in skip}} for of, one in trials]
            beside = asked.base.described() if any(one.cause is None for _, one in trials) else ""
            result = {"verb": verb, "asked": asked.name, "beside": beside, **found, "trials": told}
            write_whole(Path(words["JSON"]).absolute(), json.dumps(result, indent=1) + "\n")
