"""The evidence: what it holds, how it is kept, that it is still true, and that page and picture say the same."""

import dataclasses
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from packaging.version import Version

from evidence import clients, library, picture, pythons, servers, survey
from evidence.rows import Kept, Row, said
from harness.index import Index
from harness.model import Cause, Trial, Verdict
from harness.survey import ROWS

from .conftest import NOWHERE, ROOT, make, run

KEPT = survey.read()
# What was measured by other means: by implementation and case, the releases in which the verdict changes.
KNOWN = {
    ("websockets", "server-headers"): ["first bad 0.20.0"],
    ("websockets", "accept-headers"): ["first bad 0.17.0"],
    ("websockets", "header-alone"): ["first fixed 0.20.0"],
    ("wsproto", "accept-headers"): ["first bad 0.17.0"],
    ("websockets-sansio", "unsplit-offer"): ["first fixed 0.50.1"],
    ("auto", "unsplit-offer"): ["first bad 0.50.0", "first fixed 0.50.1"],
}


def test_the_survey_has_every_release_and_the_verdicts_change_where_they_are_known_to() -> None:
    versions = list(dict.fromkeys(row["uvicorn"] for row in survey.KEPT.read()))
    listed = [one.version for one in Index.configured().releases("uvicorn")]
    assert versions == sorted(versions, key=Version) == listed[: len(versions)]
    changes = {cell: [f"{one.names[1]} {one.first.version}" for one in KEPT.changes(*cell)] for cell in KEPT.trials}
    assert {cell: changes[cell] for cell in KNOWN} == KNOWN
    assert {change.split()[-1] for found in changes.values() for change in found} <= survey.PULL_REQUESTS.keys()
    for trial in (trial for row in KEPT.trials.values() for trial in row):
        named = [value for line in trial.sent for value in line.split(",")]
        if trial.verdict is Verdict.open:
            assert len(trial.sent) == 1 and trial.ran.startswith("uvicorn.protocols.websockets.")
        elif trial.verdict is Verdict.rejected:
            assert len(named) == 0 if trial.case == "header-alone" else len(named) > 1
        else:
            assert trial.reason and trial.cause not in (None, *survey.PASSING)


def test_a_part_of_it_measured_again_says_the_same_and_changes_no_byte(tmp_path: Path) -> None:
    some = ("0.3.0", "0.11.8", "0.12.0", "0.16.0", "0.17.0", "0.17.2", "0.19.0", "0.20.0", "0.35.0", "0.50.0", "0.50.1")
    found = survey.measure(only=some)
    assert {row["uvicorn"] for row in found} == set(some)
    copy = dataclasses.replace(survey.KEPT, folder=tmp_path)
    shutil.copy(survey.KEPT.file, tmp_path)
    copy.write([{**row, "measured": "2030-01-01"} for row in found])
    assert copy.file.read_text() == survey.KEPT.file.read_text()


def test_what_another_day_or_python_can_judge_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    causes = dict(zip(ROWS, (Cause.FAILED, Cause.LATE, Cause.OTHER_PYTHON, Cause.FAILED), strict=True))
    trials = [Trial("0.20.0", name, case, reason="why", cause=causes[name]) for name, case in KEPT.trials]
    monkeypatch.setattr("harness.survey.measure", lambda *_: [trials])
    assert [row["missing"] for row in survey.measure(only=["0.20.0"])] == ["why"] * len(ROWS)


def test_what_differs_is_written_and_what_is_missing_or_the_same_stays(tmp_path: Path) -> None:
    def rows(*lines: str) -> list[Row]:
        return [dict(zip(("name", "version", "outcome", "measured"), line.split(), strict=True)) for line in lines]

    kept = Kept("kept", lambda row: (row["name"], "" if row["name"] == "loose" else row["version"]), tmp_path)
    before = ("a 1 opened before", "b 9 opened before", "b 10 opened before", "d 1 opened before")
    kept.write(rows("c 1 opened before", "loose 1 opened before", *before))
    found = rows("b 10 refused later", "a 1 opened later", "c 2 opened later", "loose 2 opened later")
    kept.write([*found, *({"name": name, "version": "9", "missing": "why"} for name in ("b", "e"))])
    changed = ["b 10 refused later", "c 2 opened later", "d 1 opened before", "loose 1 opened before"]
    assert [" ".join(row.values()) for row in kept.read()] == ["a 1 opened before", "b 9 opened before", *changed]


def test_the_picture_has_every_case_row_and_change_and_the_releases_to_come() -> None:
    later = dataclasses.replace(KEPT.releases[-1], version="1.0.0", released="2027-01-09")
    trials = {}
    for cell, row in KEPT.trials.items():  # it mends all, and drops an implementation
        mended = dataclasses.replace(row[-1], uvicorn="1.0.0", verdict=Verdict.open)
        gone = dataclasses.replace(mended, verdict=Verdict.inconclusive, cause=Cause.NO_IMPLEMENTATION)
        trials[cell] = [*row, gone if "wsproto" in cell else mended]
    drawn = picture.Picture(survey.Survey(KEPT.hidden, [*KEPT.releases, later], trials)).drawn()
    texts = ElementTree.fromstring(drawn).findall(".//{*}text")
    words = [text.text or "" for text in texts]
    assert all(picture.MEANINGS[case] in " ".join(words) for case in survey.CASES)
    assert all(words.count(name) == len(survey.CASES) for name in ROWS)
    changes = ["0.20.0", "1.0.0", "0.17.0", "1.0.0", "0.50.0", "0.50.1", "0.20.0"]
    assert [line.split(" ")[0] for line in words if "(#" in line or line == "1.0.0"] == changes
    assert drawn.count("<title>1.0.0 open") == 2 * 3  # cases and implementations that are left
    for text in texts:  # as wide as the widest of the common fonts makes it
        size = {"title": 10, "event": 7, "case": 9.5}.get(text.get("class", ""), 6.2)
        width, x = len(text.text or "") * size, float(text.get("x", ""))
        left = {"end": x - width, "middle": x - width / 2}.get(text.get("text-anchor", ""), x)
        assert picture.EDGE / 2 <= left <= picture.WIDTH - picture.EDGE / 4 - width, text.text


def test_page_and_picture_are_up_to_date_and_offline_nothing_is_overwritten(project: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tests" / "apps", project / "tests" / "apps")  # with which the library is measured
    cold = {name: str(tmp_path / "cold") for name in ("UV_CACHE_DIR", "PIP_CACHE_DIR")}
    nowhere = {"UV_DEFAULT_INDEX": NOWHERE, "UV_HTTP_RETRIES": "0", "PIP_INDEX_URL": NOWHERE, "PIP_RETRIES": "0"}
    where = {"PATH": str(tmp_path), "PYENV_ROOT": str(tmp_path), **nowhere, **cold}
    done = run(sys.executable, "-m", "evidence", "evidence", cwd=project, **where)
    assert done.returncode == 125, done.stdout + done.stderr
    for part in ("survey", "clients", "servers", "library"):
        assert f"{part}: not measured: " in done.stdout
    for kept in (ROOT / "evidence").glob("*.*"):
        text = kept.read_text()
        assert text == (project / "evidence" / kept.name).read_text(), "run `make readme`"
        assert f"{Path.home()}/" not in text and str(ROOT) not in text


@pytest.mark.weekly
def test_what_is_not_here_keeps_its_rows_and_what_was_spoilt_is_measured_again(project: Path, tmp_path: Path) -> None:
    for folder in ("harness", "tests/apps"):  # with its times, for make; the library's app
        shutil.copytree(ROOT / folder, project / folder, dirs_exist_ok=True)
    (project / ".environments").symlink_to(ROOT / ".environments")
    tools = tmp_path / "tools"
    tools.mkdir()
    here = {tool.name: tool for folder in ("/usr/bin", "/bin") for tool in Path(folder).iterdir()}
    for name, tool in here.items():
        if not name.startswith(("chrom", "firefox", "google-", "node", "npm", "Xvfb")):
            (tools / name).symlink_to(tool)
    spoilt = project / "evidence" / "survey.jsonl"
    spoilt.write_text(spoilt.read_text().replace('"server-headers": {"rejected"', '"server-headers": {"open"', 1))
    (project / "evidence" / "library.jsonl").unlink()
    done = make("evidence", cwd=project, PATH=str(tools), PYENV_ROOT=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "clients: not measured: " in done.stdout
    for kept in (survey.KEPT, clients.KEPT, servers.KEPT, library.KEPT, pythons.KEPT):
        again = dataclasses.replace(kept, folder=project / "evidence")
        assert list(map(said, again.read())) == list(map(said, kept.read()))


def test_a_verb_that_is_none_is_refused() -> None:
    done = run(sys.executable, "-m", "evidence", "clientz")
    assert (done.returncode, done.stderr) == (2, "clientz is no verb (clients?): clients, servers, evidence, page\n")
