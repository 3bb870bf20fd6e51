"""The evidence: what it holds, how it is kept, that it is still true, and that the page says the same."""

import dataclasses
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from packaging.version import Version

from evidence import clients, library, pythons, servers, survey
from evidence.rows import Kept, Row, said
from harness import base
from harness.index import Index
from harness.model import Cause, Trial, Verdict
from harness.survey import ROWS

from .conftest import NOWHERE, ROOT, Done, make, run

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
    ran = [one.ran.rpartition(".")[2] for one in KEPT.trials["auto", "none"] if one.uvicorn in ("0.49.0", "0.50.0")]
    assert ran == ["WebSocketProtocol", "WebSocketsSansIOProtocol"]
    pinned = {row["websockets"] for row in survey.KEPT.read() if row.get("implementation") == "websockets"}
    assert pinned == {base.pins()["websockets"]}
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
    found = survey.measure(only=["0.20.0"])
    assert [(row["implementation"], row["missing"]) for row in found] == [(name, "why") for name in ROWS]


def test_what_differs_is_written_and_what_is_missing_or_the_same_stays(tmp_path: Path) -> None:
    def rows(*lines: str) -> list[Row]:
        return [dict(zip(("name", "version", "outcome", "measured"), line.split(), strict=True)) for line in lines]

    kept = Kept("kept", lambda row: (row["name"], "" if row["name"] == "loose" else row["version"]), folder=tmp_path)
    before = ("a 1 opened before", "b 9 opened before", "b 10 opened before", "d 1 opened before")
    kept.write(rows("c 1 opened before", "loose 1 opened before", *before))
    found = rows("b 10 refused later", "a 1 opened later", "c 2 opened later", "loose 2 opened later")
    kept.write([*found, *({"name": name, "version": "9", "missing": "why"} for name in ("b", "e"))])
    changed = ["b 10 refused later", "c 2 opened later", "d 1 opened before", "loose 1 opened before"]
    assert [" ".join(row.values()) for row in kept.read()] == ["a 1 opened before", "b 9 opened before", *changed]


def evidence(folder: Path, *words: str, **variables: str) -> Done:
    return run(sys.executable, "-m", "evidence", *words, cwd=folder, **variables)


def files(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in (folder / "evidence").iterdir() if file.is_file()}


def test_the_page_and_the_picture_are_up_to_date_and_without_the_network_nothing_is_overwritten(
    project: Path, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "tests" / "apps", project / "tests" / "apps")  # with which the library is measured
    cold = {name: str(tmp_path / "cold") for name in ("UV_CACHE_DIR", "PIP_CACHE_DIR")}
    nowhere = {"UV_DEFAULT_INDEX": NOWHERE, "UV_HTTP_RETRIES": "0", "PIP_INDEX_URL": NOWHERE, "PIP_RETRIES": "0"}
    done = evidence(project, "evidence", PATH=str(tmp_path), PYENV_ROOT=str(tmp_path), **nowhere, **cold)
    assert done.returncode == 125, done.stdout + done.stderr
    for part in ("survey", "clients", "servers", "library"):
        assert f"{part}: not measured: " in done.stdout
    assert files(project) == files(ROOT), "run `.environments/harness/bin/python -m evidence page`"
    assert not [text for text in files(ROOT).values() if f"{Path.home()}/" in text or str(ROOT) in text]


@pytest.mark.weekly
def test_without_browsers_and_node_their_rows_stay_and_what_was_spoilt_is_measured_again(
    project: Path, tmp_path: Path
) -> None:
    for folder in ("harness", "tests/apps"):  # with its times, for make; the library's app
        shutil.copytree(ROOT / folder, project / folder, dirs_exist_ok=True)
    (project / ".environments").symlink_to(ROOT / ".environments")
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in (*Path("/usr/bin").iterdir(), *Path("/bin").iterdir()):
        if not tool.name.startswith(("chrom", "firefox", "google-", "node", "npm", "Xvfb")):
            with suppress(FileExistsError):
                (tools / tool.name).symlink_to(tool)
    spoilt = project / "evidence" / "survey.jsonl"
    spoilt.write_text(spoilt.read_text().replace('"server-headers": {"rejected"', '"server-headers": {"open"', 1))
    (project / "evidence" / "library.jsonl").unlink()
    done = make("evidence", cwd=project, PATH=str(tools), PYENV_ROOT=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "clients: not measured: " in done.stdout
    for kept in (survey.KEPT, clients.KEPT, servers.KEPT, library.KEPT, pythons.KEPT):
        again = dataclasses.replace(kept, folder=project / "evidence")
        assert list(map(said, again.read())) == list(map(said, kept.read()))


def test_a_verb_or_a_word_that_is_none_is_refused() -> None:
    done = evidence(ROOT, "clientz")
    assert (done.returncode, done.stderr) == (2, "clientz is no verb (clients?): clients, servers, evidence, page\n")
    assert evidence(ROOT, "servers", "CASE=none").returncode == 2
