"""The evidence: what it holds, that it is still true, and that the README says the same."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.version import Version

from harness import environment, evidence, index, judge, readme, shelf
from harness.evidence import NEWEST, PINNED, ROWS, Evidence
from harness.judge import Kept
from harness.model import CASES, Cause, Verdict
from harness.shelf import Setting

from .conftest import ROOT, copy_of_the_project, harness

# What was measured by other means: by implementation and case, the releases in which the verdict changes.
KNOWN = {
    ("websockets", "server-headers"): [("0.20.0", "rejected")],
    ("websockets", "accept-headers"): [("0.17.0", "rejected")],
    ("websockets", "unsplit-offer"): [],
    ("websockets", "header-alone"): [("0.20.0", "open")],
    ("wsproto", "server-headers"): [("0.20.0", "rejected")],
    ("wsproto", "accept-headers"): [("0.17.0", "rejected")],
    ("websockets-sansio", "unsplit-offer"): [("0.35.0", "rejected"), ("0.50.1", "open")],
    ("auto", "unsplit-offer"): [("0.50.0", "rejected"), ("0.50.1", "open")],
    ("auto", "server-headers"): [("0.20.0", "rejected")],
}


@pytest.fixture(scope="module")
def kept() -> Evidence:
    return evidence.read()


def settings_of(kept: Evidence) -> tuple[Setting, Setting]:
    interpreter = shelf.interpreter()
    return Setting(tuple(kept.pins[PINNED[0]]), interpreter), Setting(tuple(kept.pins[NEWEST[0]]), interpreter)


def part_of(kept: Evidence, *versions: str) -> Evidence:
    trials = [trial for trial in kept.trials if trial.uvicorn in versions]
    return dataclasses.replace(kept, trials=trials, releases={name: kept.releases[name] for name in versions})


def test_it_has_every_cell_of_every_release_in_order(kept: Evidence) -> None:
    versions = list(kept.releases)
    assert versions == sorted(versions, key=Version)
    cells = [(trial.uvicorn, trial.implementation, trial.case) for trial in kept.trials]
    assert cells == [(version, name, case) for version in versions for name in ROWS for case in CASES]
    listed = index.listing("uvicorn").releases
    newest = Version(kept.newest)
    assert {release.version for release in listed if Version(release.version) <= newest} == set(versions)


def test_the_verdicts_change_where_they_are_known_to(kept: Evidence) -> None:
    found: dict[tuple[str, str], list[tuple[str, str]]] = {cell: [] for cell in KNOWN}
    for change in evidence.changes(kept):
        if (change.implementation, change.case) in KNOWN:
            found[change.implementation, change.case].append((change.after.uvicorn, change.after.verdict.name))
    assert found == KNOWN
    assert {trial.verdict for trial in kept.row("websockets", "none") if not trial.cause} == {Verdict.open}


def test_it_was_measured_with_this_server_client_and_these_pins(kept: Evidence) -> None:
    assert kept.specimen == judge.specimen(), "run make survey, then make readme"
    assert tuple(kept.pins["websockets"]) == shelf.pins()


def test_every_verdict_rests_on_something(kept: Evidence) -> None:
    for trial in kept.trials:
        if trial.verdict is Verdict.open:
            assert len(trial.sent) == 1
            assert trial.ran.startswith("uvicorn.protocols.websockets.")
        elif trial.verdict is Verdict.rejected:
            named = [value for line in trial.sent for value in line.split(",")]
            assert len(named) == 0 if trial.case == "header-alone" else len(named) > 1
        else:
            assert trial.reason
            assert trial.cause
            assert trial.cause.lasting


def test_it_names_no_path_of_a_machine() -> None:
    for file in (ROOT / "evidence").iterdir():
        assert str(Path.home()) + "/" not in file.read_text()
        assert str(ROOT) not in file.read_text()


def test_a_part_of_it_measured_again_is_the_same(kept: Evidence) -> None:
    part = part_of(kept, "0.16.0", "0.17.0", "0.19.0", "0.20.0", "0.50.0", "0.50.1")
    assert evidence.check(part, settings_of(kept), 0, 0) == []


def test_a_verdict_changed_by_hand_is_found(kept: Evidence) -> None:
    part = part_of(kept, "0.19.0", "0.20.0")
    place = next(n for n, trial in enumerate(part.trials) if (trial.implementation, trial.case) == ("wsproto", "none"))
    part.trials[place] = dataclasses.replace(part.trials[place], verdict=Verdict.rejected)
    [difference] = evidence.check(part, settings_of(kept), 0, 0)
    assert difference.startswith("0.19.0, wsproto, none: ")


def test_a_survey_of_a_few_releases_says_what_it_says(kept: Evidence, tmp_path: Path) -> None:
    wanted = ("0.3.0", "0.11.8", "0.12.0", "0.17.2", "0.20.0", "0.35.0")
    chosen = [release for release in index.listing("uvicorn").releases if release.version in wanted]
    measured = evidence.survey(chosen, settings_of(kept), Kept(tmp_path / "verdicts.jsonl"))
    assert measured.trials == part_of(kept, *wanted).trials


def test_what_is_written_is_read_back_with_a_line_for_each_release_and_implementation(
    kept: Evidence, tmp_path: Path
) -> None:
    file = tmp_path / "survey.json"
    evidence.write(kept, file)
    assert evidence.read(file) == kept
    assert file.read_text() == evidence.EVIDENCE.read_text()
    tried = {(t.uvicorn, t.implementation) for t in kept.trials if not (t.cause and t.cause.lasting)}
    lines = [line for line in file.read_text().splitlines() if line.startswith('{"uvicorn"')]
    assert len(lines) == len(tried)


def test_without_the_network_nothing_is_called_measured_or_overwritten(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path / "project")
    before = (project / "evidence" / "survey.json").read_bytes()
    nowhere = {
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "UV_HTTP_RETRIES": "0",
        "UV_CACHE_DIR": str(tmp_path / "cold"),
    }
    for verb, status in (("check-evidence", 1), ("survey", 2), ("clients", 2)):
        done = harness(verb, cwd=project, project=project, **nowhere)
        assert done.returncode == status, done.stdout + done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert (project / "evidence" / "survey.json").read_bytes() == before


def test_a_cause_of_the_machine_is_not_written_as_evidence() -> None:
    machine = {cause for cause in Cause if not cause.lasting}
    assert {Cause.UNAVAILABLE, Cause.DAMAGED, Cause.ENDED, Cause.NO_ANSWER, Cause.NOT_STARTED} <= machine


@pytest.mark.slow
def test_the_readme_says_what_the_evidence_and_the_commands_say(pinned: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "cogapp", "-I", ".", "--check", "--diff", "README.md"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, f"run make readme\n{checked.stdout}{checked.stderr}"


def test_the_readme_traces_each_line_to_the_code_that_sends_it() -> None:
    text = {
        version: shelf.release(version) / "uvicorn" / "protocols" / "websockets" for version in ("0.19.0", "0.20.0")
    }
    old, new = (
        {name: (folder / name).read_text() for name in ("websockets_impl.py", "wsproto_impl.py")}
        for folder in text.values()
    )
    assert "return self.accepted_subprotocol" in new["websockets_impl.py"]
    assert "self.extra_headers" in new["websockets_impl.py"]
    for name in ("websockets_impl.py", "wsproto_impl.py"):
        assert "default_headers" in new[name]
        assert "default_headers" not in old[name]


def test_transcripts_leave_out_what_differs_between_runs_and_machines() -> None:
    text = (
        "< Sec-WebSocket-Accept: RMVRBRa/zWClH4xq+CzQjS06jOSI=\n> Sec-WebSocket-Key: QEaMyVBy5essp+09J9RkAA==\n"
        "< date: Mon, 23 Nov 2026 09:47:55 GMT\n> Host: 127.0.0.1:58843\n> User-Agent: Python/3.11 websockets/10.4\n"
        f"{ROOT}/client.py, Python 3.11.7"
    )
    assert readme.elide(text) == (
        "< Sec-WebSocket-Accept: ...\n> Sec-WebSocket-Key: ...\n< date: ...\n> Host: 127.0.0.1:PORT\n"
        "> User-Agent: Python/3.x websockets/10.4\n/path/to/uvicorn-1778/client.py, Python 3.x"
    )


def test_evidence_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(environment.Unavailable):
        evidence.read(tmp_path / "x.json")
