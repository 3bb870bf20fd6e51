"""bisect: between which releases a verdict changed; the search with stub verdicts, and with real releases."""

import random
import re
import shlex

import pytest

from harness.index import Release
from harness.model import Cause, Trial, Verdict
from harness.place import Unavailable
from harness.releases import NoChange, bisect, hint, pick, usable
from harness.words import Mistake

from .conftest import harness

VERDICTS = {"o": Verdict.open, "r": Verdict.rejected}
CAUSES = {"-": Cause.OTHER_PINS, "late": Cause.LATE, "absent": Cause.NO_APP, "gone": Cause.UNAVAILABLE}


def release(number: int, version: str = "", day: str = "", withdrawn: bool = False, python: str = "") -> Release:
    return Release(version or f"0.{number}.0", day, withdrawn, "a wheel", python)


def found(words: list[str], good: int | None, bad: int | None) -> tuple[str, list[str]]:
    """What a bisect of releases with these verdicts finds or says, and the note of each that it judged."""
    among = [release(number) for number in range(len(words))]
    asked: dict[str, str] = {}

    def judging(one: Release, note: str) -> Trial:
        assert one.version not in asked, "asked twice"
        asked[one.version] = note
        word = words[among.index(one)]
        return Trial("").settle(VERDICTS.get(word, Verdict.inconclusive), f"said {word}", CAUSES.get(word))

    try:
        first, second = (None if at is None else among[at] for at in (good, bad))
        change = bisect(among, first, second, judging)
    except (NoChange, Unavailable, Mistake) as error:
        said = str(error)
    else:
        said = f"{change.last.version}, {change.names[1]} {change.first.version}, {len(change.untestable)} between"
    return said, [*asked.values()]


@pytest.mark.parametrize("seed", range(60))
def test_a_break_and_a_fix_are_found_from_any_ends_that_are_given(seed: int) -> None:
    """Ends that cannot be judged move inward by halving."""
    dice = random.Random(seed)
    front, back = dice.choice([0, 0, 1, 3, 24, 30]), dice.choice([0, 0, 2, 9, 20, 40])
    at = dice.randrange(front + 1, 83 - back)
    old, new, name = ("o", "r", "bad") if seed % 2 else ("r", "o", "fixed")
    words = ["-"] * front + [old] * (at - front) + [new] * (83 - back - at) + ["-"] * back
    before, after = dice.randrange(front, at), dice.randrange(at, 83 - back)
    for ends in ((before, after), (before, None), (None, after), (None, None), (0, 82)):
        said, asked = found(words, *(ends if old == "o" else reversed(ends)))
        assert said == f"0.{at - 1}.0, first {name} 0.{at}.0, 0 between", ends
        inward = asked.count("an end moves inward")
        assert (inward <= 8 * (bool(front) + bool(back)), len(asked) - inward <= 9 + (None in ends)) == (True, True)


def test_what_a_bisect_says() -> None:
    for words, good, bad, said, judged in [
        ("o o - - r r", None, None, "0.1.0, first bad 0.4.0, 2 between", 6),
        ("absent absent o o r r", None, None, "0.3.0, first bad 0.4.0, 0 between", 6),  # only the oldest do not run it
        ("r o r r", None, None, "0.0.0 is rejected and 0.3.0 is rejected: no change was found", 2),
        ("o o o o", 2, None, "0.0.0 is open and 0.2.0 is open: no change was found", 3),
        ("- - o -", None, None, "0.2.0 is open: no change was found", 4),
        ("o o r r", 3, 0, "BAD, 0.0.0, is open", 2),
        ("o o r r", 1, 1, "GOOD and BAD are the same release, 0.1.0", 0),
        ("- r r r", 0, 3, "GOOD, 0.0.0, cannot be judged: said -", 4),
        ("- gone o r", None, None, "said gone", 4),
        # What can be judged nowhere, or takes too long, is given up.
        (20 * "- ", None, None, "said -", 20),
        ("o " + 81 * "late " + "r", None, None, "said late", 5),
        (9 * "absent ", None, None, "said absent", 2),
    ]:
        told, asked = found(words.split(), good, bad)
        assert (told, len(asked)) == (said, judged), words


def test_an_end_is_a_version_a_date_or_latest() -> None:
    among = [release(0), release(1, day="2021-01-02"), release(2, day="2021-01-02"), release(3, day="2021-03-04")]
    ends = {"v0.1": "0.1.0", "2021-01-02": "0.2.0", "2021-02-28": "0.2.0", "latest": "0.3.0"}
    assert {text: pick("GOOD", text, among).version for text in ends} == ends
    for text in ("0.9.0", "2021-01-01", "2021-02-30", "nope\n"):
        with pytest.raises(Mistake, match=r"GOOD.* (is no release|Invalid version|day)"):
            pick("GOOD", text, among)


def test_withdrawn_and_pre_releases_take_part_where_asked_for_or_named() -> None:
    among = [release(0), release(1, withdrawn=True), release(2, "0.2.0rc1"), release(3, python=">=3.99")]
    for given, expected in {
        "": "0.0.0",
        "WITHDRAWN=yes": "0.0.0 0.1.0",
        "PRE=yes": "0.0.0 0.2.0rc1",
        "GOOD=v0.1 BAD=2022-02-02 TO=latest": "0.0.0 0.1.0",
        "UVICORN=0.2.0.rc1 FROM=0.3.0": "0.0.0 0.2.0rc1",
    }.items():
        words = dict(word.split("=") for word in given.split())
        assert " ".join(one.version for one in usable(among, "3.11.1", words)) == expected, given


def test_what_to_set_is_said_by_the_reason() -> None:
    for reason, said in {
        "No module named not_there.at_all": "; it lacks not_there: say WITH=not_there, or set what brings it",
        "cannot import name 'a' from 'uvicorn.b'": "",
        "server rejected connection: HTTP 403": "; the app is dialed at URLPATH=, and for plain HTTP use RUN=",
    }.items():
        assert hint(Trial("", reason=reason)) == said


def test_a_bisect_says_what_it_finds_and_how_to_go_on() -> None:
    for words, said in {
        # It begins with the oldest release that the pins admit.
        "CASE=accept-headers BAD=0.18.0": r"from 0\.12\.1 to \S+\n0\.12\.1 .*\nleft out between the two: 0\.17\.0 \(",
        "RUN='python tests/changes/plain_get.py' JSON=/dev/null": r"s open: .* s: make survey 'RUN=python tests",
        "APP=cases/accept_headers.py GOOD=0.40.0": r"GOOD, 0\.40\.0, is rejected\n.*: make survey APP=cases/acc",
        "RUN='python -c \"import websockets\"' WEBSOCKETS=none": r"s rejected: .*; it may .* set WEBSOCKETS",
    }.items():
        done = harness("bisect", *shlex.split(words))
        assert re.search(said, done.stdout, re.DOTALL), done.stdout + done.stderr
        assert (done.returncode, done.stderr) == (not words.startswith("CASE"), "")
