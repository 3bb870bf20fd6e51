"""bisect and bisect-commits: what they print, and with which status they end."""

from __future__ import annotations

import re
import time

from tqdm import tqdm

from harness import commits, releases
from harness.asking import question, yes
from harness.commits import Undecided
from harness.index import Index, Release
from harness.judge import Judge, Question
from harness.model import UPSTREAM, Trial, Verdict
from harness.releases import Change, NoChange, NothingTestable
from harness.showing import Words, advise, by_hand, compare, hint, keep, line, of, onward, shown


def bisect_releases(words: Words) -> int:
    """Find the release that changed the verdict. Returns 0, 1 where nothing changed, 125 where that is undecided."""
    index = Index.configured()
    asked = question(words, index)
    change = changed_release(words, asked, index)
    if isinstance(change, int):
        return change
    last, first = change.names
    among = [one.version for one in change.untestable]
    print(f"\n{last}: {change.last.dated}")
    if among:
        print(f"cannot be judged: {', '.join(among)}")
    print(f"{first}: {change.first.dated}" + (" or one of these" if among else ""))
    print(f"what changed: {compare(change)}")
    print(f"release notes: {UPSTREAM}/releases/tag/{change.first.version}")
    all_releases = index.releases("uvicorn")
    between = all_releases[all_releases.index(change.last) + 1 : all_releases.index(change.first)]
    left = [one.version for one in between if one not in change.untestable]
    if left:
        print(f"left out between the two: {', '.join(left)} (WITHDRAWN=yes and PRE=yes search them too)")
    print(f"go on to commits: {onward('bisect-commits', words, change)}")
    return 0


def changed_release(words: Words, asked: Question, index: Index) -> Change | int:
    """The change that a bisect of the releases finds; each step is printed. Else the status, and why is printed."""
    named = [words[name] for name in ("GOOD", "BAD") if name in words]
    python, pre, withdrawn = asked.base.interpreter.version, yes(words, "PRE"), yes(words, "WITHDRAWN")
    among = releases.usable(index.releases("uvicorn"), python, pre, withdrawn, named)
    places = {word: releases.place(word, words[word], among) for word in ("GOOD", "BAD") if word in words}
    trials: list[tuple[str, Trial]] = []
    begun = time.monotonic()
    with Judge(asked, index) as judging, tqdm(disable=None, leave=False, unit="step") as bar:

        def say(release: Release, trial: Trial, note: str) -> None:
            trials.append((release.version, trial))
            line(bar, release, trial, note)

        print(f"{asked.name}, {asked.base.named()}")
        start = 0 if len(places) == 2 else min([judging.oldest(among), *places.values()])
        good, bad = (places[word] - start if word in places else None for word in ("GOOD", "BAD"))
        among = among[start:]
        if len(places) < 2:
            print(f"{len(among)} releases from {among[0].version} to {among[-1].version}", flush=True)
        try:
            change = releases.bisect(among, good, bad, lambda one: judging.release(one)[0], say)
        except NoChange as error:
            bar.close()
            print(f"\n{error}{': no change was found between them' if error.alike else ''}.")
            advise(
                words,
                [one for _, one in trials] if error.alike else [],
                len(among),
                time.monotonic() - begun,
                len(trials),
                asked,
            )
            status = 1
        except NothingTestable as error:
            bar.close()
            print(f"\nverdict: inconclusive - {error}{hint(error.trial)}")
            status = 125
        else:
            status = 0
    if asked.line and trials:
        print(f"what it printed for each: {shown(judging.printed)}/")
    ends = {} if status else {name: of(one) for name, one in (("last", change.last), ("first", change.first))}
    keep(words, "bisect", asked, ends, trials)
    return status or change


def bisect_commits(words: Words) -> int:
    """Find the commit that changed the verdict. Returns 0, 1 where an end is not as claimed, 125 undecided."""
    index = Index.configured()
    asked = question(words, index)
    ends = {name: words[name] for name in ("GOOD", "BAD") if name in words}
    if len(ends) < 2:
        change = changed_release(words, asked, index)
        if isinstance(change, int):
            return change
        versions = [change.last.version, change.first.version]
        ends = dict(zip(("GOOD", "BAD") if change.before is Verdict.open else ("BAD", "GOOD"), versions, strict=True))
        print(f"\n{change.names[0]}: {change.last.dated}, {change.names[1]}: {change.first.dated}; now its commits")
    for name, text in ends.items():
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            among = releases.usable(index.releases("uvicorn"), asked.base.interpreter.version, False, False, [])
            ends[name] = among[releases.place(name, text, among)].version
    trials: list[tuple[str, Trial]] = []
    with Judge(asked, index) as judging, commits.clone(words.get("REPO", UPSTREAM)) as checkout:
        good, bad = (commits.commit(checkout, name, ends[name]) for name in ("GOOD", "BAD"))

        def judge_one(sha: str) -> Trial:
            trials.append((sha, judging.folder(checkout, name=sha)[0]))
            return trials[-1][1]

        print(by_hand(words), flush=True)
        try:
            found, breaks, log = commits.search(checkout, good, bad, judge_one, lambda text: print(text, flush=True))
        except NoChange as error:
            print(f"\n{error}")
            return 1
        except Undecided as error:
            print(f"\nverdict: inconclusive - {error}")
            return 125
        finally:
            if asked.line and trials:
                print(f"what it printed for each: {shown(judging.printed)}/")
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
    named = [{"commit": one.sha, "subject": one.subject, "link": one.link} for one in found]
    keep(words, "bisect-commits", asked, {"first": named}, trials)
    return 0 if len(found) == 1 else 125
