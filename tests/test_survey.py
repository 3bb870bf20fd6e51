"""The evidence: what it holds, that it is still true, and that the README and the picture say the same."""

import dataclasses
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from packaging.version import Version

from harness import clients, environments, releases, report, survey, verdicts
from harness.trial import CASES
from harness.verdicts import Kept, Setting

from .conftest import ROOT


@pytest.fixture(scope="session")
def evidence() -> survey.Evidence:
    return survey.read()


def row(version: str, verdict: str, detail: str = "") -> survey.Row:
    return survey.Row(version, "2020-01-01", "websockets", None, "none", verdict, (), detail)


def test_the_evidence_has_every_cell_of_every_release_in_order(evidence: survey.Evidence) -> None:
    versions = list(dict.fromkeys(trial.uvicorn for trial in evidence.trials))
    assert versions == sorted(versions, key=Version)
    cells = [(trial.uvicorn, trial.implementation, trial.case) for trial in evidence.trials]
    assert cells == [(version, name, case) for version in versions for name in survey.IMPLEMENTATIONS for case in CASES]


def test_no_release_up_to_the_newest_tried_is_left_out(evidence: survey.Evidence) -> None:
    newest = Version(evidence.trials[-1].uvicorn)
    listed = releases.listing("uvicorn", environments.FOLDER).releases
    assert {release.version for release in listed if Version(release.version) <= newest} == {
        trial.uvicorn for trial in evidence.trials
    }


def test_the_evidence_was_measured_with_this_specimen_and_these_pins(evidence: survey.Evidence) -> None:
    assert evidence.specimen == verdicts.specimen_digest(), "run make survey, then make readme"
    assert tuple(evidence.pins["websockets"]) == environments.read_pins().requirements


def test_every_verdict_rests_on_something(evidence: survey.Evidence) -> None:
    for trial in evidence.trials:
        if trial.verdict == "open":
            assert len(trial.sent) == 1
            assert not trial.detail
        elif trial.verdict == "rejected":
            assert len([value for line in trial.sent for value in line.split(",")]) > 1
            assert "multiple" in trial.detail
        else:
            assert trial.verdict == "inconclusive"
            assert trial.detail


def test_the_evidence_names_no_path_of_a_machine(evidence: survey.Evidence) -> None:
    for file in (ROOT / "evidence").iterdir():
        assert str(Path.home()) + "/" not in file.read_text()
        assert str(ROOT) not in file.read_text()


def test_a_part_of_the_evidence_measured_again_is_the_same(evidence: survey.Evidence) -> None:
    wanted = {"0.16.0", "0.17.0", "0.19.0", "0.20.0", "0.50.0", "0.50.1"}
    part = dataclasses.replace(evidence, trials=[trial for trial in evidence.trials if trial.uvicorn in wanted])
    assert survey.check(part, survey.plan_of(evidence.pins, None), 0, 0) == []


def test_a_verdict_changed_by_hand_is_found(evidence: survey.Evidence) -> None:
    trials = [
        dataclasses.replace(trial, verdict="rejected")
        if (trial.uvicorn, trial.implementation, trial.case) == ("0.19.0", "wsproto", "server-headers")
        else trial
        for trial in evidence.trials
        if trial.uvicorn in ("0.19.0", "0.20.0")
    ]
    part = dataclasses.replace(evidence, trials=trials)
    differences = survey.check(part, survey.plan_of(evidence.pins, None), 0, 0)
    assert len(differences) == 1
    assert differences[0].startswith("0.19.0, wsproto, server-headers: ")


def test_the_survey_of_a_few_releases_says_what_the_evidence_says(evidence: survey.Evidence, tmp_path: Path) -> None:
    wanted = {"0.3.0", "0.11.8", "0.12.0", "0.17.2", "0.20.0", "0.35.0"}
    listed = releases.listing("uvicorn", environments.FOLDER).releases
    plan = survey.plan_of(evidence.pins, None)
    chosen = [release for release in listed if release.version in wanted]
    measured = survey.survey(chosen, plan, Kept(tmp_path / "verdicts.jsonl"))
    assert measured.trials == [trial for trial in evidence.trials if trial.uvicorn in wanted]


def test_what_is_written_is_read_back_with_a_trial_a_line(evidence: survey.Evidence, tmp_path: Path) -> None:
    file = tmp_path / "evidence" / "survey.json"
    survey.write(evidence, file)
    assert survey.read(file) == evidence
    assert file.read_text() == survey.EVIDENCE.read_text()
    assert sum(line.startswith('  {"uvicorn"') for line in file.read_text().splitlines()) == len(evidence.trials)


def test_without_the_network_the_survey_says_what_is_missing(
    tmp_path: Path, evidence: survey.Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    setting = Setting(environments.read_pins(), environments.find_interpreter())
    release = releases.Release("0.20.0", "2022-11-20", False, True, "")
    with pytest.raises(survey.Incomplete, match=r"1 of 1 releases could not be judged: 0\.20\.0"):
        survey.survey([release], survey.Plan(setting, setting), Kept(tmp_path / "verdicts.jsonl"))


def test_ranges_join_neighbours_that_agree_for_the_same_reason() -> None:
    found = survey.ranges(
        [
            row("1.0", "inconclusive", "no wheel on the index"),
            row("1.1", "inconclusive", "uvicorn==1.1 depends on websockets==8.*"),
            row("1.2", "inconclusive", "uvicorn==1.2 depends on websockets==8.*"),
            row("1.3", "open"),
            row("1.4", "rejected", "InvalidHandshake: multiple subprotocols: a, b"),
            row("1.5", "rejected", "InvalidHandshake: multiple subprotocols: a, c"),
        ]
    )
    assert [(one.first.uvicorn, one.last.uvicorn, one.verdict, one.count) for one in found] == [
        ("1.0", "1.0", "inconclusive", 1),
        ("1.1", "1.2", "inconclusive", 2),
        ("1.3", "1.3", "open", 1),
        ("1.4", "1.5", "rejected", 2),
    ]


def test_the_picture_is_drawn_from_the_evidence_and_marks_every_change(evidence: survey.Evidence) -> None:
    assert report.PICTURE.read_text() == report.picture(evidence), "run make readme"
    image = ElementTree.parse(report.PICTURE).getroot()
    texts = [text.text or "" for text in image.iter("{http://www.w3.org/2000/svg}text")]
    for label in (
        "0.17.0 #1293: accept-headers fails",
        "0.20.0 #1606: server-headers fails",
        "0.50.1 #3019: unsplit-offer fixed",
    ):
        assert label in texts
    assert "<script" not in report.PICTURE.read_text()
    assert "prefers-color-scheme: dark" in report.PICTURE.read_text()


@pytest.mark.slow
def test_the_readme_says_what_the_evidence_and_the_commands_say(pinned: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "cogapp", "-I", ".", "--check", "--diff", "README.md"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, f"run make readme\n{checked.stdout}{checked.stderr}"


def test_the_readme_traces_each_line_to_the_code_that_sends_it() -> None:
    setting = Setting(environments.read_pins(), environments.find_interpreter())
    program = (
        "import inspect, json; from uvicorn.protocols.websockets import websockets_impl as w, wsproto_impl as p;"
        "print(json.dumps([inspect.getsource(f) for f in (w.WebSocketProtocol.__init__, w.WebSocketProtocol.asgi_send,"
        "w.WebSocketProtocol.process_subprotocol, p.WSProtocol.send)]))"
    )
    sources = {}
    for version in ("0.19.0", "0.20.0"):
        python = environments.for_release(version, setting.pins, setting.interpreter)
        printed = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=True).stdout
        sources[version] = json.loads(printed)
    init, send, process, wsproto = sources["0.20.0"]
    assert "server_state.default_headers" in init
    assert "self.accepted_subprotocol" in send
    assert "return self.accepted_subprotocol" in process
    assert "subprotocol=subprotocol" in wsproto
    assert "self.default_headers" in wsproto
    init, _, _, wsproto = sources["0.19.0"]
    assert "default_headers" not in init + wsproto


def test_transcripts_leave_out_what_differs_between_runs_and_machines() -> None:
    text = (
        "< Sec-WebSocket-Accept: RMVRBRa/zWClH4xq+CzQjS06jOSI=\n> Sec-WebSocket-Key: QEaMyVBy5essp+09J9RkAA==\n"
        "< date: Mon, 23 Nov 2026 09:47:55 GMT\n> Host: 127.0.0.1:58843\n> User-Agent: Python/3.11 websockets/10.4\n"
        f"{ROOT}/client.py, Python 3.11.7"
    )
    assert report.elide(text) == (
        "< Sec-WebSocket-Accept: ...\n> Sec-WebSocket-Key: ...\n< date: ...\n> Host: 127.0.0.1:PORT\n"
        "> User-Agent: Python/3.x websockets/10.4\n/path/to/uvicorn-1778/client.py, Python 3.x"
    )


def test_the_evidence_of_the_clients_holds_at_least_eight_that_were_tried() -> None:
    tried = [witness for witness in clients.read() if witness.outcome != clients.NOT_TRIED]
    assert len(tried) >= 8
    assert {witness.control for witness in tried} == {"opened"}
