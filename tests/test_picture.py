"""The evidence against its schema, and what people read of it: the picture, the bullets, the table."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness import evidence, picture, readme
from harness.environment import Unavailable
from harness.model import CASES, UPSTREAM, Cause, Verdict

SVG = "{http://www.w3.org/2000/svg}"
DATA = json.loads(evidence.EVIDENCE.read_text())
KEPT = evidence.read()


def drawn() -> ElementTree.Element:
    return ElementTree.fromstring(picture.picture(KEPT))


def words() -> list[str]:
    return [text.text or "" for text in drawn().iter(f"{SVG}text")]


def test_the_schema_is_one_and_holds_the_evidence() -> None:
    schema = json.loads(evidence.SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(DATA)
    described = schema["properties"].values()
    assert all("description" in one for one in described)
    outcome = schema["$defs"]["outcome"]["oneOf"]
    assert [one["required"][0] for one in outcome] == [verdict.name for verdict in Verdict]
    assert schema["$defs"]["cause"]["enum"] == [cause.name for cause in Cause if cause.lasting]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.pop("python"),
        lambda data: data.update(agent="x"),
        lambda data: data["trials"][0].update(uvicorn="0.20.0<script>"),
        lambda data: data["trials"][0]["cases"].pop("none"),
        lambda data: data["trials"][0]["cases"]["none"].update(rejected=[]),
        lambda data: data["trials"][0]["cases"].update(none={"inconclusive": []}),
        lambda data: data["trials"].pop(),
        lambda data: data["untried"][0].update(last="9.9.9"),
        lambda data: data.update(releases=[]),
        lambda data: data["pins"].update(auto=["h11==0.16.0"]),
    ],
)
def test_a_broken_document_is_refused(spoil: Callable[[dict[str, Any]], object], tmp_path: Path) -> None:
    broken = deepcopy(DATA)
    spoil(broken)
    file = tmp_path / "survey.json"
    file.write_text(json.dumps(broken))
    with pytest.raises(Unavailable, match=r"survey\.json"):
        evidence.read(file)


def test_the_evidence_is_small_and_written_as_it_is_read(tmp_path: Path) -> None:
    evidence.write(KEPT, tmp_path / "survey.json")
    text = (tmp_path / "survey.json").read_text()
    assert text == evidence.EVIDENCE.read_text()
    assert len(text) < 125_000
    lines = [json.loads(line.rstrip(",")) for line in text.splitlines() if line.startswith('{"uvicorn"')]
    assert lines == DATA["trials"]


def test_every_change_carries_its_sources() -> None:
    assert DATA["changes"]
    for change in DATA["changes"]:
        number = change["pull_request"].rpartition("/")[2]
        assert f"#{number}" in change["note"]
        assert "release-notes.md" in change["release_notes"]
        assert change["compare"].endswith(f"...{change['release']}")


def test_the_picture_is_drawn_from_the_evidence_alone() -> None:
    assert picture.picture(KEPT) == picture.picture(evidence.read()) == picture.PICTURE.read_text()


def test_the_picture_names_every_case_with_its_meaning_and_every_row() -> None:
    text = " ".join(words())
    for case in CASES:
        assert case in words()
        assert picture.MEANINGS[case] in text
    for name in evidence.ROWS:
        assert words().count(name) == len(CASES)
    assert "the control" in text
    assert "one step a release" in text
    assert words().count("not before 0.35.0 (#2540)") == 1


def test_the_picture_labels_the_changes_with_release_and_pull_request() -> None:
    labels = [line.split(":")[0] for line in words() if "(#" in line]
    assert labels.pop(0) == "not before 0.35.0 (#2540)"
    assert labels == ["0.20.0 (#1606)", "0.17.0 (#1293)", "0.50.0 (#2985)", "0.50.1 (#3019)", "0.20.0 (#1606)"]


def test_the_legend_shows_each_mark_as_it_is_drawn() -> None:
    places: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
    for mark in drawn().iter():
        kind = mark.get("class", "")
        if kind in ("open", "rejected", "unknown", "change"):
            y = float(mark.get("y") or mark.get("d", "").split()[1])
            places[y < picture.TOP - 10].add((mark.tag, kind))
    assert places[True] == places[False]
    assert len(places[True]) == 4


def test_nothing_touches_the_edge() -> None:
    height = float(drawn().get("height", ""))
    for text in drawn().iter(f"{SVG}text"):
        x, y = float(text.get("x", "")), float(text.get("y", ""))
        # As wide as the widest of the common fonts makes it.
        size = {"title": 10, "event": 7, "case": 9.5}.get(text.get("class", ""), 6.2)
        width = len(text.text or "") * size
        left = {"end": x - width, "middle": x - width / 2}.get(text.get("text-anchor", ""), x)
        assert left >= picture.EDGE / 2, text.text
        assert left + width <= picture.WIDTH - picture.EDGE / 4, text.text
        assert 12 < y < height - 10
    for mark in drawn().iter(f"{SVG}rect"):
        if mark.get("class") != "paper":
            assert float(mark.get("x", "")) + float(mark.get("width", "")) <= picture.RIGHT + 0.1


def test_plain_renderers_need_nothing_that_they_lack() -> None:
    text = picture.picture(KEPT)
    assert not [word for word in ("var(", "http://www.w3.org/1999", "<script", "@import", "href") if word in text]
    assert "prefers-color-scheme: dark" in text


def test_the_bullets_say_who_sends_it_in_which_releases_and_what_to_change() -> None:
    server, accept, unsplit = readme.summary(KEPT).splitlines()
    pull = UPSTREAM + "/pull/"
    for bullet, since in ((server, f"0.20.0 ([#1606]({pull}1606))"), (accept, f"0.17.0 ([#1293]({pull}1293))")):
        assert bullet.endswith(
            f"Fails in every implementation since {since} (`websockets-sansio` since it came, in 0.35.0);"
            f" not mended up to {KEPT.newest}, the newest release. Change one thing: take it out there."
        )
    assert unsplit.endswith(
        f"Fails in `websockets-sansio` since 0.35.0 ([#2540]({pull}2540)) and in `auto` since 0.50.0"
        f" ([#2985]({pull}2985)), mended in 0.50.1 ([#3019]({pull}3019)). Change one thing: upgrade."
    )
    assert readme.fix_alone(KEPT).startswith(
        f"Up to 0.19.0 such an app agrees on nothing; since 0.20.0 ([#1606]({pull}1606)),"
    )


def test_the_table_names_the_class_where_a_name_has_stood_for_two() -> None:
    rows = {tuple(line.split(" | ")[:2]): line for line in readme.table(KEPT).splitlines()[2:]}
    assert len(rows) == len(evidence.ROWS) * len(CASES)
    assert "0.50.0 rejected (`WebSocketsSansIOProtocol`)" in rows["| `auto`", "`unsplit-offer`"]
    assert "Protocol" not in rows["| `websockets`", "`unsplit-offer`"]


def test_reasons_are_no_markup() -> None:
    assert readme.code("a|b `c` <b>@d</b>\n#1\x1b[0m") == r"`a\|b 'c' <b>@d</b> #1\x1b[0m`"
