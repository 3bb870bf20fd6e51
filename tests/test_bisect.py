"""bisect: between which releases a verdict changed; the search with stub verdicts, and with real releases."""

import random
import re
import shlex

import pytest

from harness.index import Release
from harness.model import Cause, Trial, Verdict
from harness.releases import NoChange, NothingTestable, bisect, changes, named, ranges, usable
from harness.words import Mistake

from .conftest import harness

PLAIN = "python tests/changes/plain_get.py"
LINE = re.compile(r"(?m)^(\S+) +\d{4}-\d\d-\d\d  (?:open|rejected|inconclusive) ")
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
        good, bad = ends if old == "o" else reversed(ends)
        said, asked = found(words, good, bad)
        assert said == f"0.{at - 1}.0, first {name} 0.{at}.0", ends
        inward = asked.count("an end moves inward")
        assert inward <= 8 * (bool(front) + bool(back)), ends
        assert len(asked) - inward <= 2 + 7 + (None in ends), ends


@pytest.mark.parametrize(
    ("words", "good", "bad", "said", "judged"),
    [
        ("o o - - r r", None, None, "0.1.0, first bad 0.4.0, not 0.2.0, not 0.3.0", 6),
        ("absent absent o o r r", None, None, "0.3.0, first bad 0.4.0", 6),  # only the oldest do not run it
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
        ("nope\n", "GOOD: Invalid version: 'nope"),
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


@pytest.mark.parametrize(
    ("words", "most", "status", "said"),
    [
        # It begins with the oldest release that the pins admit.
        ("CASE=accept-headers BAD=0.18.0", 7, 0, r"\n0\.12\.1 .*\nleft out between the two: 0\.17\.0 \("),
        ("CASE=accept-headers BAD=0.17.1 WITHDRAWN=yes", 7, 0, r"\nfirst bad: 0\.17\.0 \((?!.*left out)"),
        ("CASE=unsplit-offer WS=websockets-sansio BAD=0.47.0 GOOD=0.54.0", 6, 0, r" BAD=0\.50\.0 GOOD=0\.50\.1\n$"),
        (
            f"RUN='{PLAIN}' ATONCE=2 JSON=/dev/null",
            2,
            1,
            rf" both open: .*, in about \d+ s: .* RUN='{PLAIN}' ATONCE=2\n$",
        ),
        ("RUN='python -c \"import websockets\"' WEBSOCKETS=none", 2, 1, r" both rejected: .*\nit .* set WEBSOCKETS"),
        ("RUN='sleep 61.5' LIMIT=0.4", 3, 125, r"\nverdict: inconclusive - it did not end within 0\.4 s\n$"),
        ("RUN='pytest -q'", 2, 125, r"\nverdict: inconclusive - status 127; pytest here is of another Python"),
    ],
)
def test_a_bisect_says_what_it_finds_and_how_to_go_on(words: str, most: int, status: int, said: str) -> None:
    done = harness("bisect", *shlex.split(words))
    assert re.search(said, done.stdout, re.DOTALL), done.stdout + done.stderr
    assert (done.returncode, done.stderr, "\033" in done.stdout) == (status, "", False)
    lines = LINE.findall(done.stdout)
    assert len(set(lines)) == len(lines) <= most
    left = [int(number) for number in re.findall(r"at most (\d+) more", done.stdout)]
    assert left == sorted(set(left), reverse=True)
