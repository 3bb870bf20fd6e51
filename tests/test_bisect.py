"""bisect: between which releases a verdict changed; the search with stub verdicts, and with real releases."""

import json
import random
import re
import time
from pathlib import Path

import pytest

from harness.index import Release
from harness.model import Cause, Trial, Verdict
from harness.releases import Change, NoChange, NothingTestable, bisect, changes, named, ranges, usable
from harness.words import Mistake

from .conftest import harness

LINE = re.compile(r"(?m)^(\S+) +(\d{4}-\d\d-\d\d)  (open|rejected|inconclusive) ")
ENDS = "last good: 0.19.0 (2022-10-19)\nfirst bad: 0.20.0 (2022-11-20)\n"
CAUSES = {"-": Cause.OTHER_PINS, "late": Cause.LATE, "no app": Cause.NO_APP}


def release(number: int, version: str = "", released: str = "", **more: object) -> Release:
    facts = {"withdrawn": False, "wheel": "a wheel", "requires_python": "", **more}
    return Release(version or f"0.{number}.0", released, **facts)  # type: ignore[arg-type]


def trial(word: str) -> Trial:
    verdict = {"o": Verdict.open, "r": Verdict.rejected}.get(word, Verdict.inconclusive)
    return Trial("", "", "", verdict, f"said {word}", CAUSES.get(word))


class Asked(list[int]):
    """A bisect of releases with these verdicts; itself it is the places that were judged, in order."""

    def __init__(self, words: list[str], good: int | None = None, bad: int | None = None) -> None:
        super().__init__()
        among, self.notes = [release(number) for number in range(len(words))], list[str]()

        def judging(one: Release) -> Trial:
            assert among.index(one) not in self, "asked twice"
            self.append(among.index(one))
            return trial(words[self[-1]])

        def search() -> Change:
            ends = (None if at is None else among[at] for at in (good, bad))
            return bisect(among, *ends, judging, lambda _, __, note: self.notes.append(note))

        self.search = search

    @property
    def inward(self) -> int:
        return self.notes.count("an end moves inward")

    def found(self) -> tuple[str, str, str]:
        change = self.search()
        return change.last.version, change.first.version, change.names[1]


@pytest.mark.parametrize("seed", range(40))
def test_a_break_and_a_fix_are_found_from_any_ends_that_are_given(seed: int) -> None:
    dice = random.Random(seed)
    count, words = 83, ("o", "r") if seed % 2 else ("r", "o")
    at = dice.randrange(1, count)
    verdicts = [words[0]] * at + [words[1]] * (count - at)
    before, after = dice.randrange(at), dice.randrange(at, count)
    truth = f"0.{at - 1}.0", f"0.{at}.0", "first bad" if seed % 2 else "first fixed"
    good, bad = (before, after) if seed % 2 else (after, before)
    for ends in ((good, bad), (good, None), (None, bad), (None, None)):
        asked = Asked(verdicts, *ends)
        assert asked.found() == truth, ends
        assert len(asked) <= 2 + 7 + (None in ends), ends


@pytest.mark.parametrize(("front", "back"), [(1, 0), (24, 0), (0, 9), (0, 50), (3, 2), (30, 20), (24, 40)])
def test_ends_that_cannot_be_judged_move_inward_by_halving(front: int, back: int) -> None:
    middle = 83 - front - back
    words = ["-"] * front + ["o"] * (middle // 2) + ["r"] * (middle - middle // 2) + ["-"] * back
    at = front + middle // 2
    for ends in ((None, None), (0, 82)):
        asked = Asked(words, *ends)
        assert asked.found() == (f"0.{at - 1}.0", f"0.{at}.0", "first bad")
        assert asked.inward <= 8 * (bool(front) + bool(back))


def test_what_lies_between_and_cannot_be_judged_is_told() -> None:
    change = Asked(["o", "o", "-", "-", "r", "r"]).search()
    assert [one.version for one in change.untestable] == ["0.2.0", "0.3.0"]


@pytest.mark.parametrize(
    ("words", "good", "bad", "error"),
    [
        ("o o o o", None, None, "0.0.0 and 0.3.0 are both open"),
        ("r o r r", None, None, "0.0.0 and 0.3.0 are both rejected"),
        ("o o r r", 3, 0, "GOOD is rejected and BAD is open: swap them"),
        ("o o r r", 0, 1, "0.1.0 is open: it is not BAD"),
        ("o o o o", 2, None, "0.0.0 and 0.2.0 are both open"),
        ("- - o -", None, None, "0.2.0 alone can be judged, and is open"),
    ],
)
def test_where_there_is_no_change_it_says_what_was_found(
    words: str, good: int | None, bad: int | None, error: str
) -> None:
    with pytest.raises(NoChange, match=f"^{re.escape(error)}$"):
        Asked(words.split(), good, bad).search()


def test_what_can_be_judged_nowhere_or_takes_too_long_is_given_up() -> None:
    for words, count in ((["-"] * 20, 20), (["late"] * 83, 3), (["o", *["late"] * 81, "r"], 5), (["no app"] * 9, 2)):
        asked = Asked(words)
        with pytest.raises(NothingTestable, match=f"said {words[1]}"):
            asked.search()
        assert len(asked) == count


def test_an_app_that_only_the_oldest_releases_do_not_run_is_searched() -> None:
    assert Asked(["no app", "no app", "o", "o", "r", "r"]).found() == ("0.3.0", "0.4.0", "first bad")


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
    with pytest.raises(Mistake, match=r"GOOD and BAD are the same release, 0\.1\.0"):
        Asked(["o", "r"], 1, 1).search()


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
    words = ["-", "o", "o", "-", "r", "late", "o", "r", "r"]
    among, trials = [release(number) for number in range(len(words))], [trial(word) for word in words]
    told = [(one.releases, one.trial.reason, one.count) for one in ranges(among, trials)]
    assert told[1] == ("0.1.0 - 0.2.0", "said o", 2)
    assert [reason.removeprefix("said ") for _, reason, _ in told] == ["-", "o", "-", "r", "late", "o", "r"]
    assert [(one.last.version, one.first.version, len(one.untestable)) for one in changes(among, trials)] == [
        ("0.2.0", "0.4.0", 1),
        ("0.4.0", "0.6.0", 1),
        ("0.6.0", "0.7.0", 0),
    ]


@pytest.mark.parametrize("ws", ["websockets", "wsproto"])
def test_the_whole_range_ends_at_0_19_0_and_0_20_0(ws: str) -> None:
    done = harness("bisect", f"WS={ws}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ENDS in done.stdout
    lines = LINE.findall(done.stdout)
    assert lines[0] == ("0.12.1", "2020-09-30", "open")  # the oldest that the pins admit
    left = [int(number) for number in re.findall(r"at most (\d+) more", done.stdout)]
    assert left == sorted(set(left), reverse=True)
    assert len({version for version, _, _ in lines}) == len(lines) <= 2 + 7
    assert re.search(rf"(?m)^go on to commits: make bisect-commits WS={ws} GOOD=0\.19\.0 BAD=0\.20\.0$", done.stdout)
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
    asked = ["CASE=unsplit-offer", "WS=websockets-sansio", "GOOD=0.51.0", "BAD=0.47.0"]
    done = harness("bisect", *asked)
    assert "last bad: 0.50.0 (2026-07-04)\nfirst fixed: 0.50.1 (2026-07-06)\n" in done.stdout, done.stdout + done.stderr
    assert "make bisect-commits CASE=unsplit-offer WS=websockets-sansio GOOD=0.50.1 BAD=0.50.0" in done.stdout
    alone = harness("bisect", *asked[:2], "BAD=0.47.0")
    assert alone.stdout.splitlines()[-6:-1] == done.stdout.splitlines()[-6:-1]


def test_ends_that_are_alike_point_to_the_survey_with_its_time() -> None:
    done = harness("bisect", "CASE=none")
    assert done.returncode == 1
    assert re.search(r"\n\n0\.12\.1 and \S+ are both open: no change was found between them\.\n", done.stdout)
    assert re.search(r"\nevery change there was, in about \d+ s: make survey CASE=none\n$", done.stdout)


def test_a_script_that_hangs_costs_its_limit_three_times() -> None:
    begun = time.monotonic()
    done = harness("bisect", "RUN=sleep 61.5", "LIMIT=0.4")
    assert (done.returncode, len(LINE.findall(done.stdout))) == (125, 3)
    assert "\nverdict: inconclusive - it did not end within 0.4 s\n" in done.stdout
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("GOOD=0.19.7", "GOOD=0.19.7 is no release that can be used here: there are "),
        ("BAD=2022-13-45", "BAD=2022-13-45 is no date, such as 2022-10-19"),
        ("BAD=0.20.0", "GOOD and BAD are the same release, 0.20.0"),
        ("PRE=perhaps", "PRE=perhaps: it is yes or no"),
    ],
)
def test_a_mistake_is_one_line(word: str, said: str) -> None:
    done = harness("bisect", "GOOD=0.20.0", word)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith(said)
