"""try and survey: what they print, and with which status they end."""

from __future__ import annotations

from pathlib import Path

from harness import releases, survey
from harness.asking import question, yes
from harness.index import Index
from harness.judge import Judge
from harness.model import plain
from harness.releases import NothingTestable
from harness.showing import CUT, Words, compare, hint, keep, onward, shown
from harness.words import Mistake


def try_one(words: Words) -> int:
    """Judge one uvicorn and print what `make broken` prints. Returns the verdict's exit status."""
    if "SOURCE" in words and "UVICORN" in words:
        raise Mistake("SOURCE and UVICORN each name what is judged: give one")
    index = Index.configured()
    asked = question(words, index)
    with Judge(asked, index) as judging:
        if "SOURCE" in words:
            found, name = judging.folder(Path(words["SOURCE"]).resolve(), observed=True)[0], words["SOURCE"]
        else:
            among = releases.usable(
                index.releases("uvicorn"), asked.base.interpreter.version, False, False, [words.get("UVICORN", "")]
            )
            release = among[releases.place("UVICORN", words.get("UVICORN", "latest"), among)]
            found, name = judging.release(release, observed=True)[0], release.version
        beside = asked.base.named() if found.cause is None else ""
    print(f"uvicorn {found.uvicorn or plain(name)}, {asked.name}", *([beside] if beside else []), sep=", ")
    for text in filter(None, (*found.lines, found.traceback)):
        print(text)
    if asked.line and judging.printed.is_dir():
        print(f"what it printed: {shown(judging.printed)}/")
    keep(words, "try", asked, {}, [(name, found)])
    print(found.last_line, flush=True)
    return int(found.verdict.value)


def survey_releases(words: Words) -> int:
    """Judge every release, and show the ranges and each change. Returns 0, 125 where nothing could be judged."""
    index = Index.configured()
    subject = words.keys() & {"APP", "RUN", "CASE"}
    idle = words.keys() - {"FROM", "TO", "PRE", "WITHDRAWN", "INTERPRETER", "JSON"}
    if not subject and idle:
        raise Mistake(f"{', '.join(sorted(idle))}: say of what, with CASE, APP or RUN")
    asked = (question(words, index),) if subject else survey.everything(index, words.get("INTERPRETER", ""))
    named = [words[name] for name in ("FROM", "TO") if name in words]
    among = releases.usable(
        index.releases("uvicorn"), asked[0].base.interpreter.version, yes(words, "PRE"), yes(words, "WITHDRAWN"), named
    )
    high = releases.place("TO", words.get("TO", "latest"), among)
    with Judge(asked[0], index) as judging:
        low = releases.place("FROM", words["FROM"], among) if "FROM" in words else judging.oldest(among[: high + 1])
    if low > high:
        raise Mistake(f"FROM={words['FROM']} is later than TO={words.get('TO', 'latest')}")
    among = among[low : high + 1]
    for each in asked:
        print(f"{each.name}, {each.base.named()}", flush=True)
    try:
        found = survey.measure(asked, index, among)
    except NothingTestable as error:
        print(f"verdict: inconclusive - {error}{hint(error.trial)}")
        return 125
    for (ws, case), trials in survey.rows(found).items():
        print("" if subject else f"\n{ws}, {case}")
        for one in releases.ranges(among, trials):
            reason = one.trial.reason[:CUT] if one.trial.cause or not ws else ""
            print("  ".join(filter(None, (f"{one.releases:18}", f"{one.trial.verdict.name:12}", reason))).rstrip())
        for change in releases.changes(among, trials):
            print(f"{change.names[1]}: {change.first.dated}, {compare(change)}")
            if subject:
                print(f"  its commit: {onward('bisect-commits', words, change)}")
    told = [(release.version, trial) for release, trials in zip(among, found, strict=True) for trial in trials]
    keep(words, "survey", asked[0], {}, told)
    return 0 if any(not trial.cause for _, trial in told) else 125
