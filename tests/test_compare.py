"""What differs between surveys, from the evidence and copies of it in which something does."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness import evidence
from harness.__main__ import main
from harness.evidence import Evidence
from harness.model import Cause, Trial, Verdict

from .conftest import ROOT

KEPT = evidence.read()
Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Compare the evidence with others. Gives the exit status and what was printed."""

    def run(*others: Evidence) -> tuple[int, str]:
        files = [tmp_path / f"{number}.json" for number in range(len(others))]
        for file, other in zip(files, others, strict=True):
            evidence.write(other, file)
        status = main(["compare", str(evidence.EVIDENCE), *map(str, files)])
        return status, capsys.readouterr().out

    return run


def with_trials(change: Callable[[Trial], Trial]) -> Evidence:
    return replace(KEPT, trials=[change(trial) for trial in KEPT.trials])


def without(release: str) -> Evidence:
    releases = {version: day for version, day in KEPT.releases.items() if version != release}
    return replace(KEPT, releases=releases, trials=[trial for trial in KEPT.trials if trial.uvicorn != release])


def with_release(version: str, verdict: Verdict = Verdict.open) -> Evidence:
    newest = [trial for trial in KEPT.trials if trial.uvicorn == KEPT.newest]
    added = [replace(one, uvicorn=version, verdict=verdict, cause=None, reason="") for one in newest]
    return replace(KEPT, releases={**KEPT.releases, version: "2030-01-01"}, trials=KEPT.trials + added)


def only(version: str, name: str, **fields: object) -> Evidence:
    return with_trials(
        lambda one: replace(one, **fields) if (one.uvicorn, one.implementation) == (version, name) else one  # type: ignore[arg-type]
    )


def test_the_same_survey_differs_in_nothing(say: Say) -> None:
    status, said = say(KEPT, KEPT)
    assert status == 0
    assert said.count("none.**") == 4
    assert "| 3 |" in said


def test_a_verdict_that_differs(say: Say) -> None:
    fixed = with_trials(
        lambda one: (
            replace(one, verdict=Verdict.open)
            if one.uvicorn in ("0.30.0", "0.30.1") and one.case == "server-headers" and one.implementation == "wsproto"
            else one
        )
    )
    status, said = say(KEPT, fixed)
    assert status == 1
    assert "**Cells whose verdicts differ: 2.**" in said
    assert "| 0.30.0 - 0.30.1 | `wsproto` | `server-headers` | rejected | open | 3 |" in said
    assert "**Releases that came: none.**" in said


def test_a_release_that_came(say: Say) -> None:
    status, said = say(with_release("99.0"), with_release("99.0", Verdict.rejected))
    assert status == 1
    assert "**Cells whose verdicts differ: none.**" in said
    assert "**Releases that came: 99.0.**" in said
    assert "| 99.0 | `websockets` | `server-headers`, `accept-headers` | rejected | open | 2 |" in said
    assert "| 99.0 | `websockets` | `unsplit-offer`, `header-alone`, `none` | open | rejected | 3 |" in said


def test_a_release_that_is_gone_is_told_and_no_difference(say: Say) -> None:
    status, said = say(without("0.30.0"))
    assert status == 0
    assert "**Releases that survey 2 lacks:** 0.30.0." in said


def test_what_only_one_could_judge_is_told_with_the_reason(say: Say) -> None:
    why = {"verdict": Verdict.inconclusive, "cause": Cause.OTHER_PYTHON, "reason": "requires Python >=3.12"}
    status, said = say(only("0.40.0", "auto", **why, ran="", sent=[]))
    assert status == 0
    assert "**Cells that only one of two could judge: 5.**" in said
    assert "| 0.40.0 | `auto` | every case | judged | inconclusive: `requires Python >=3.12` | 2 |" in said


def test_another_class_is_told_and_no_difference(say: Say) -> None:
    status, said = say(only("0.40.0", "auto", ran="uvicorn.new.Protocol"))
    assert status == 0
    assert "another class or header: 5.**" in said
    assert "`WebSocketProtocol` sent `ocpp2.0.1` | `Protocol` sent `ocpp2.0.1`" in said


def test_text_from_a_file_is_no_markup(say: Say) -> None:
    bad = "`@somebody` | <img src=x>\n# [x](http://example.com) \x1b[31m"
    why = {"verdict": Verdict.inconclusive, "cause": Cause.OTHER_ANSWER, "reason": bad}
    _, said = say(only("0.40.0", "auto", **why, ran="", sent=[]))
    assert r"inconclusive: `'@somebody' \| <img src=x> # [x](http://example.com) \x1b[31m` | 2 |" in said


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"releases": {}}', "[" * 100_000])
def test_what_is_no_survey_is_refused_in_one_line(
    text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.json"
    if text is not None:
        file.write_text(text)
    assert main(["compare", str(evidence.EVIDENCE), str(file)]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "other.json is not there, or no survey" in said.err


def test_one_file_alone_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(evidence.EVIDENCE)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("files", "status"), [("evidence/survey.json evidence/survey.json", 0), ("evidence/survey.json it's;false", 2)]
)
def test_make_compare_takes_the_files_as_they_are_named(files: str, status: int) -> None:
    done = subprocess.run(["make", "compare", f"FILES={files}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == status
    assert ("differ: none" in done.stdout) is (status == 0)
    assert ("it's;false is not there" in done.stderr) is (status == 2)
