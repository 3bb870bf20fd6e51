"""bisect: between which releases a verdict changed; the search with stub verdicts, and with real releases."""

import json
import random
import re
import time
from pathlib import Path

import pytest

from harness.index import Release
from harness.model import Cause, Trial, Verdict
from harness.releases import NoChange, NothingTestable, bisect, changes, named, ranges, usable
from harness.words import Mistake

from .conftest import harness

LINE = re.compile(r"(?m)^(\S+) +(\d{4}-\d\d-\d\d)  (open|rejected|inconclusive) ")
VERDICTS = {"o": Verdict.open, "r": Verdict.rejected}
CAUSES = {"-": Cause.OTHER_PINS, "x": Cause.OTHER_PINS, "late": Cause.LATE, "absent": Cause.NO_APP}


def release(number: int, version: str = "", released: str = "", **more: object) -> Release:
    facts = {"withdrawn": False, "wheel": "a wheel", "requires_python": "", **more}
    return Release(version or f"0.{number}.0", released, **facts)  # type: ignore[arg-type]


def trial(word: str) -> Trial:
    return Trial("", "", "", VERDICTS.get(word, Verdict.inconclusive), f"said {word}", CAUSES.get(word))


def found(words: list[str], good: int | None = None, bad: int | None = None) -> tuple[str, list[str]]:
    """What a bisect of releases with these verdicts finds or says, and the note of each that it judged."""
    among = [release(number) for number in range(len(words))]
    asked: dict[str, str] = {}

    def say(one: Release, _: Trial, note: str) -> None:
        assert one.version not in asked, "asked twice"
        asked[one.version] = note

    first, second = (None if at is None else among[at] for at in (good, bad))
    try:
        change = bisect(among, first, second, lambda one: trial(words[among.index(one)]), say)
    except (NoChange, NothingTestable, Mistake) as error:
        return str(error), list(asked.values())
    without = "".join(f", not {one.version}" for one in change.untestable)
    return f"{change.last.version}, {change.names[1]} {change.first.version}{without}", list(asked.values())


@pytest.mark.parametrize("seed", range(40))
def test_a_break_and_a_fix_are_found_from_any_ends_that_are_given(seed: int) -> None:
    dice = random.Random(seed)
    count, words = 83, ("o", "r") if seed % 2 else ("r", "o")
    at = dice.randrange(1, count)
    before, after = dice.randrange(at), dice.randrange(at, count)
    good, bad = (before, after) if seed % 2 else (after, before)
    for ends in ((good, bad), (good, None), (None, bad), (None, None)):
        said, asked = found([words[0]] * at + [words[1]] * (count - at), *ends)
        assert said == f"0.{at - 1}.0, first {'bad' if seed % 2 else 'fixed'} 0.{at}.0", ends
        assert len(asked) <= 2 + 7 + (None in ends), ends


@pytest.mark.parametrize(("front", "back"), [(1, 0), (24, 0), (0, 9), (0, 50), (3, 2), (30, 20), (24, 40)])
def test_ends_that_cannot_be_judged_move_inward_by_halving(front: int, back: int) -> None:
    middle = 83 - front - back
    words = ["-"] * front + ["o"] * (middle // 2) + ["r"] * (middle - middle // 2) + ["-"] * back
    at = front + middle // 2
    for ends in ((None, None), (0, 82)):
        said, asked = found(words, *ends)
        assert said == f"0.{at - 1}.0, first bad 0.{at}.0"
        assert asked.count("an end moves inward") <= 8 * (bool(front) + bool(back))


@pytest.mark.parametrize(
    ("words", "good", "bad", "said", "judged"),
    [
        ("o o - - r r", None, None, "0.1.0, first bad 0.4.0, not 0.2.0, not 0.3.0", 6),
        ("absent absent o o r r", None, None, "0.3.0, first bad 0.4.0", 6),  # only the oldest do not run it
        ("o o o o", None, None, "0.0.0 and 0.3.0 are both open", 2),
        ("r o r r", None, None, "0.0.0 and 0.3.0 are both rejected", 2),
        ("o o o o", 2, None, "0.0.0 and 0.2.0 are both open", 3),
        ("- - o -", None, None, "0.2.0 alone can be judged, and is open", 4),
        ("o o r r", 3, 0, "GOOD is rejected and BAD is open: swap them", 2),
        ("o o r r", 0, 1, "0.1.0 is open: it is not BAD", 2),
        ("o o r r", 1, 1, "GOOD and BAD are the same release, 0.1.0", 0),
        # What can be judged nowhere, or takes too long, is given up.
        (20 * "- ", None, None, "said -", 20),
        (83 * "late ", None, None, "said late", 3),
        ("o " + 81 * "late " + "r", None, None, "said late", 5),
        (9 * "absent ", None, None, "said absent", 2),
    ],
)
def test_what_a_bisect_says(words: str, good: int | None, bad: int | None, said: str, judged: int) -> None:
    told, asked = found(words.split(), good, bad)
    assert (told, len(asked)) == (said, judged)


def test_an_end_is_a_version_a_date_or_latest() -> None:
    dates = ["", "2021-01-02", "2021-01-02", "2021-03-04"]
    among = [release(number, released=date) for number, date in enumerate(dates)]
    for text, expected in (("0.1.0", 1), ("v0.2", 2), ("2021-01-02", 2), ("2021-02-28", 2), ("latest", 3)):
        assert named("GOOD", text, among) == among[expected]
    for text, words in (
        ("0.9.0", "GOOD=0.9.0 is no release that can be used here: there are 0.0.0 to 0.3.0"),
        ("2021-01-01", "GOOD=2021-01-01 is no release"),
        ("2021-02-30", "GOOD=2021-02-30 is no date, such as 2022-10-19"),
        ("nope\n", r"GOOD: 'nope' is no version, such as 0.20.0"),
    ):
        with pytest.raises(Mistake, match=words):
            named("GOOD", text, among)


def test_withdrawn_releases_and_pre_releases_take_part_where_they_are_asked_for_or_named() -> None:
    among = [release(0), release(1, withdrawn=True), release(2, "0.2.0rc1"), release(3, requires_python=">=3.99")]
    for asked, expected in (
        ((False, False, []), "0.0.0"),
        ((False, True, []), "0.0.0 0.1.0"),
        ((True, False, []), "0.0.0 0.2.0rc1"),
        ((False, False, ["v0.1", "2022-02-02", "latest"]), "0.0.0 0.1.0"),
        ((False, False, ["0.2.0.rc1", "0.3.0"]), "0.0.0 0.2.0rc1"),
    ):
        assert [one.version for one in usable(among, "3.11.1", *asked)] == expected.split()


def test_every_range_and_every_change_of_a_survey() -> None:
    words = ["-", "x", "o", "o", "-", "r", "late", "o", "r", "r"]
    among, trials = [release(number) for number in range(len(words))], [trial(word) for word in words]
    told = [(one.releases, one.trial.reason, one.count) for one in ranges(among, trials)]
    assert told[2] == ("0.2.0 - 0.3.0", "said o", 2)
    assert [reason.removeprefix("said ") for _, reason, _ in told] == ["-", "x", "o", "-", "r", "late", "o", "r"]
    changed = [(one.last.version, one.first.version, len(one.untestable)) for one in changes(among, trials)]
    assert changed == [("0.3.0", "0.5.0", 1), ("0.5.0", "0.7.0", 1), ("0.7.0", "0.8.0", 0)]


def test_the_whole_range_ends_at_0_19_0_and_0_20_0() -> None:
    done = harness("bisect", "WS=wsproto", "ATONCE=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "last good: 0.19.0 (2022-10-19)\nfirst bad: 0.20.0 (2022-11-20)\n" in done.stdout
    lines = LINE.findall(done.stdout)
    assert lines[0] == ("0.12.1", "2020-09-30", "open")  # the oldest that the pins admit
    assert len({version for version, _, _ in lines}) == len(lines) <= 2 + 7
    left = [int(number) for number in re.findall(r"at most (\d+) more", done.stdout)]
    assert left == sorted(set(left), reverse=True)
    assert done.stdout.endswith("go on to commits: make bisect-commits WS=wsproto GOOD=0.19.0 BAD=0.20.0\n")
    assert "\033" not in done.stdout + done.stderr


def test_headers_in_accept_began_to_be_sent_in_a_withdrawn_release(tmp_path: Path) -> None:
    done = harness("bisect", "CASE=accept-headers", "BAD=0.18.0")
    assert "last good: 0.16.0 (2021-12-08)\nfirst bad: 0.17.0.post1 (2022-01-24)\n" in done.stdout
    assert "\nleft out between the two: 0.17.0 (" in done.stdout
    asked = ["CASE=accept-headers", "GOOD=2021-12-31", "BAD=0.17.1", "WITHDRAWN=yes", f"JSON={tmp_path / 'a'}"]
    done = harness("bisect", *asked)
    assert "last good: 0.16.0 (2021-12-08)\nfirst bad: 0.17.0 (2022-01-14)\n" in done.stdout, done.stdout + done.stderr
    assert "left out" not in done.stdout
    told = json.loads((tmp_path / "a").read_text())
    assert (told["last"]["uvicorn"], told["first"]) == ("0.16.0", {"uvicorn": "0.17.0", "released": "2022-01-14"})
    assert {one["of"]: one["verdict"] for one in told["trials"]}["0.17.0"] == "rejected"


def test_a_fix_is_found_where_good_is_the_later_one() -> None:
    done = harness("bisect", "CASE=unsplit-offer", "WS=websockets-sansio", "BAD=0.47.0")
    assert "last bad: 0.50.0 (2026-07-04)\nfirst fixed: 0.50.1 (2026-07-06)\n" in done.stdout, done.stdout + done.stderr
    assert "make bisect-commits CASE=unsplit-offer WS=websockets-sansio BAD=0.50.0 GOOD=0.50.1" in done.stdout


def test_ends_that_are_alike_point_to_the_survey_with_its_time() -> None:
    done = harness("bisect", "CASE=none", "ATONCE=2", "JSON=/dev/null")
    assert done.returncode == 1
    assert re.search(r"\n\n0\.12\.1 and \S+ are both open: no change was found between them\.\n", done.stdout)
    assert re.search(r"\nevery change there was, in about \d+ s: make survey CASE=none ATONCE=2\n$", done.stdout)


def test_a_script_that_hangs_costs_its_limit_three_times() -> None:
    begun = time.monotonic()
    done = harness("bisect", "RUN=sleep 61.5", "LIMIT=0.4")
    assert (done.returncode, len(LINE.findall(done.stdout))) == (125, 3)
    assert "\nverdict: inconclusive - it did not end within 0.4 s\n" in done.stdout
    assert time.monotonic() - begun < 20
