"""The picture: drawn from the survey alone, whole, and readable wherever it is shown."""

import dataclasses
import xml.etree.ElementTree as ElementTree

import pytest

from evidence import picture, survey
from evidence.picture import Picture
from evidence.survey import Survey
from harness.model import Cause, Verdict
from harness.survey import ROWS

SVG = "{http://www.w3.org/2000/svg}"
KEPT = survey.read()
DRAWN = Picture(KEPT).drawn()
TREE = ElementTree.fromstring(DRAWN)


def future() -> Survey:
    """The survey with a release more, which mends everything and has no wsproto."""
    trials = {}
    for (name, case), row in KEPT.trials.items():
        mended = dataclasses.replace(row[-1], uvicorn="1.0.0", verdict=Verdict.open)
        gone = dataclasses.replace(mended, verdict=Verdict.inconclusive, cause=Cause.NO_IMPLEMENTATION)
        trials[name, case] = [*row, gone if name == "wsproto" else mended]
    release = dataclasses.replace(KEPT.releases[-1], version="1.0.0", released="2027-01-09")
    return Survey([*KEPT.releases, release], trials)


def test_it_names_every_case_with_its_meaning_every_row_each_mark_and_what_changed_a_verdict() -> None:
    words = [text.text or "" for text in TREE.iter(f"{SVG}text")]
    assert {*survey.CASES} <= {*words}
    assert all(picture.MEANINGS[case] in " ".join(words) for case in survey.CASES)
    assert all(words.count(name) == len(survey.CASES) for name in ROWS)
    labels = [line.split(":")[0] for line in words if "(#" in line]
    assert labels == ["0.20.0 (#1606)", "0.17.0 (#1293)", "0.50.0 (#2985)", "0.50.1 (#3019)", "0.20.0 (#1606)"]
    marks = [mark.get("class") for mark in TREE if mark.get("class") in ("open", "rejected", "unknown", "change")]
    legend = marks[:4]
    assert len({*legend}) == 4
    assert {*legend} == {*marks[4:]}


@pytest.mark.parametrize("drawn", [DRAWN, Picture(future()).drawn()], ids=["kept", "future"])
def test_nothing_touches_the_edge_and_plain_renderers_need_nothing_that_they_lack(drawn: str) -> None:
    tree = ElementTree.fromstring(drawn)
    for text in tree.iter(f"{SVG}text"):
        x, y = float(text.get("x", "")), float(text.get("y", ""))
        # As wide as the widest of the common fonts makes it.
        size = {"title": 10, "event": 7, "case": 9.5}.get(text.get("class", ""), 6.2)
        width = len(text.text or "") * size
        left = {"end": x - width, "middle": x - width / 2}.get(text.get("text-anchor", ""), x)
        assert picture.EDGE / 2 <= left <= picture.WIDTH - picture.EDGE / 4 - width, text.text
        assert 12 < y < float(tree.get("height", "")) - 10
    assert not [word for word in ("var(", "http://www.w3.org/1999", "<script", "@import", "href") if word in drawn]
    assert "prefers-color-scheme: dark" in drawn


def test_a_release_to_come_that_mends_it_and_drops_an_implementation_is_drawn() -> None:
    drawn = Picture(future()).drawn()
    assert drawn.count(">1.0.0</text>") == 2
    assert drawn.count("<title>1.0.0 open") == 2 * 3  # cases and implementations that are left
