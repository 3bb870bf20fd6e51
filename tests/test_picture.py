"""The picture: drawn from the survey alone, whole, and readable wherever it is shown."""

import dataclasses
import xml.etree.ElementTree as ElementTree

from evidence import picture, survey
from evidence.picture import Picture
from harness.model import Cause, Verdict
from harness.survey import ROWS

SVG = "{http://www.w3.org/2000/svg}"
KEPT = survey.read()
DRAWN = Picture(KEPT).drawn()
TREE = ElementTree.fromstring(DRAWN)
WORDS = [text.text or "" for text in TREE.iter(f"{SVG}text")]


def test_it_names_every_case_with_its_meaning_every_row_and_what_changed_a_verdict() -> None:
    for case in survey.CASES:
        assert case in WORDS
        assert picture.MEANINGS[case] in " ".join(WORDS)
    assert all(WORDS.count(name) == len(survey.CASES) for name in ROWS)
    labels = [line.split(":")[0] for line in WORDS if "(#" in line]
    assert labels == ["0.20.0 (#1606)", "0.17.0 (#1293)", "0.50.0 (#2985)", "0.50.1 (#3019)", "0.20.0 (#1606)"]


def test_the_legend_shows_each_mark_as_it_is_drawn() -> None:
    places: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
    for mark in TREE.iter():
        kind = mark.get("class", "")
        if kind in ("open", "rejected", "unknown", "change"):
            y = float(mark.get("y") or mark.get("d", "").split()[1])
            places[y < picture.TOP - 10].add((mark.tag, kind))
    assert places[True] == places[False]
    assert len(places[True]) == 4


def test_nothing_touches_the_edge_and_plain_renderers_need_nothing_that_they_lack() -> None:
    height = float(TREE.get("height", ""))
    for text in TREE.iter(f"{SVG}text"):
        x, y = float(text.get("x", "")), float(text.get("y", ""))
        # As wide as the widest of the common fonts makes it.
        size = {"title": 10, "event": 7, "case": 9.5}.get(text.get("class", ""), 6.2)
        width = len(text.text or "") * size
        left = {"end": x - width, "middle": x - width / 2}.get(text.get("text-anchor", ""), x)
        assert picture.EDGE / 2 <= left <= picture.WIDTH - picture.EDGE / 4 - width, text.text
        assert 12 < y < height - 10
    assert not [word for word in ("var(", "http://www.w3.org/1999", "<script", "@import", "href") if word in DRAWN]
    assert "prefers-color-scheme: dark" in DRAWN


def test_a_release_to_come_that_mends_it_and_drops_an_implementation_is_drawn() -> None:
    trials = {}
    for (name, case), row in KEPT.trials.items():
        last = dataclasses.replace(row[-1], uvicorn="1.0.0")
        gone = last.judged(Verdict.inconclusive, "has no wsproto", Cause.NO_IMPLEMENTATION)
        mended = dataclasses.replace(gone, cause=None, reason="", verdict=Verdict.open)
        trials[name, case] = [*row, gone if name == "wsproto" else mended]
    release = dataclasses.replace(KEPT.releases[-1], version="1.0.0", released="2027-01-09")
    drawn = Picture(dataclasses.replace(KEPT, releases=[*KEPT.releases, release], trials=trials)).drawn()
    assert drawn.count(">1.0.0</text>") == 2
    assert drawn.count("<title>1.0.0 open") == 2 * 3  # cases and implementations that are left
    assert ">2027</text>" not in drawn  # its year is too narrow for a name
