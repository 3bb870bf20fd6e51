"""The picture: whole, and readable wherever it is shown, also with the releases to come."""

import dataclasses
import xml.etree.ElementTree as ElementTree

from evidence import picture, survey
from harness.model import Cause, Verdict
from harness.survey import ROWS

SVG = "{http://www.w3.org/2000/svg}"


def test_it_has_every_case_row_and_change_and_a_release_that_mends_all_and_drops_an_implementation() -> None:
    kept = survey.read()
    for row in kept.trials.values():
        mended = dataclasses.replace(row[-1], uvicorn="1.0.0", verdict=Verdict.open)
        gone = dataclasses.replace(mended, verdict=Verdict.inconclusive, cause=Cause.NO_IMPLEMENTATION)
        row.append(gone if mended.implementation == "wsproto" else mended)
    later = dataclasses.replace(kept.releases[-1], version="1.0.0", released="2027-01-09")
    drawn = picture.Picture(survey.Survey(kept.hidden, [*kept.releases, later], kept.trials)).drawn()
    tree = ElementTree.fromstring(drawn)
    words = [text.text or "" for text in tree.iter(f"{SVG}text")]
    assert all(picture.MEANINGS[case] in " ".join(words) for case in survey.CASES)
    assert all(words.count(name) == len(survey.CASES) for name in ROWS)
    changes = ["0.20.0", "1.0.0", "0.17.0", "1.0.0", "0.50.0", "0.50.1", "0.20.0"]
    assert [line.split(" ")[0] for line in words if "(#" in line or line == "1.0.0"] == changes
    assert drawn.count("<title>1.0.0 open") == 2 * 3  # cases and implementations that are left
    for text in tree.iter(f"{SVG}text"):  # as wide as the widest of the common fonts makes it
        size = {"title": 10, "event": 7, "case": 9.5}.get(text.get("class", ""), 6.2)
        width, x = len(text.text or "") * size, float(text.get("x", ""))
        left = {"end": x - width, "middle": x - width / 2}.get(text.get("text-anchor", ""), x)
        assert picture.EDGE / 2 <= left <= picture.WIDTH - picture.EDGE / 4 - width, text.text
        assert 12 < float(text.get("y", "")) < float(tree.get("height", "")) - 10
    assert not [word for word in ("var(", "<script", "@import", "href") if word in drawn]  # for plain renderers
