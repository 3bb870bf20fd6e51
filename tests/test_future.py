"""A uvicorn to come: `websockets` means websockets-sansio, or is no more. What is said of it must stay true."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness import evidence, picture, readme, shelf
from harness.__main__ import main
from harness.evidence import Evidence
from harness.index import Listing, Release, listing
from harness.judge import Judge
from harness.model import CASES, Cause, Trial, Verdict
from harness.shelf import Setting

KEPT = evidence.read()
SANSIO = "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol"
SANSIO_RAN = SANSIO.replace(":", ".")
FUTURE = Release("99.0.0", "2031-01-01", False, True, "")


def future(folder: Path, line: str) -> Path:
    """A copy of the newest release as 99.0.0, with that line in place of the one that maps `websockets`."""
    newest = shelf.release(KEPT.newest)
    new = folder / FUTURE.version
    shutil.copytree(newest / "uvicorn", new / "uvicorn")
    info = new / f"uvicorn-{FUTURE.version}.dist-info"
    info.mkdir()
    text = (newest / f"uvicorn-{KEPT.newest}.dist-info" / "METADATA").read_text()
    (info / "METADATA").write_text(text.replace(f"Version: {KEPT.newest}", f"Version: {FUTURE.version}"))
    replace_in(new / "uvicorn" / "__init__.py", re.escape(KEPT.newest), FUTURE.version)
    replace_in(new / "uvicorn" / "config.py", r'^    "websockets": ".*",\n', line)
    return new


def replace_in(file: Path, pattern: str, new: str) -> None:
    text, count = re.subn(pattern, new, file.read_text(), flags=re.MULTILINE)
    assert count == 1
    file.write_text(text)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return future(tmp_path_factory.mktemp("mapped"), f'    "websockets": "{SANSIO}",\n')


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return future(tmp_path_factory.mktemp("without"), "")


@pytest.fixture(scope="module")
def settings() -> tuple[Setting, Setting]:
    interpreter = shelf.interpreter()
    return evidence.settings_of(interpreter, listing("websockets").newest(interpreter.version))


@pytest.fixture(scope="module")
def newest(settings: tuple[Setting, Setting]) -> Iterator[Judge]:
    with Judge(settings[1]) as judging:
        yield judging


def survey(folder: Path, settings: tuple[Setting, Setting], monkeypatch: pytest.MonkeyPatch) -> Evidence:
    """The evidence as it would be with that release after the newest, written and read again."""
    monkeypatch.setattr(shelf, "release", lambda version: folder)
    trials = evidence.measure([FUTURE], settings, None)
    found = replace(KEPT, releases={**KEPT.releases, FUTURE.version: FUTURE.released}, trials=[*KEPT.trials, *trials])
    evidence.write(found, folder.parent / "survey.json")
    return evidence.read(folder.parent / "survey.json")


def of(found: Evidence, implementation: str) -> dict[str, Trial]:
    return {one.case: one for one in found.trials if (one.uvicorn, one.implementation) == ("99.0.0", implementation)}


def test_the_class_that_ran_is_recorded_whatever_the_name(mapped: Path, newest: Judge) -> None:
    found = [trial for trial, _ in newest.folder(mapped, [("websockets", case) for case in CASES])]
    assert {trial.ran for trial in found} == {SANSIO_RAN}
    assert [trial.verdict.name for trial in found] == ["rejected", "rejected", "open", "open", "open"]


def test_a_name_that_is_gone_is_inconclusive_with_those_that_are_there(without: Path, newest: Judge) -> None:
    [(trial, _)] = newest.folder(without, [("websockets", "server-headers")])
    assert (trial.verdict, trial.cause, trial.ran) == (Verdict.inconclusive, Cause.NO_IMPLEMENTATION, "")
    assert trial.reason == "uvicorn 99.0.0 has no websockets; it has auto, websockets-sansio, wsproto"


def test_try_of_a_folder_without_the_name_ends_with_the_verdict(
    without: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["try", "--source", os.fspath(without)]) == 125
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("verdict: inconclusive - uvicorn 99.0.0 has no websockets; it has auto")


@pytest.mark.parametrize(("which", "said"), [("mapped", "ImportError"), ("without", "99.0.0 has no websockets")])
def test_try_without_arguments_still_answers(
    which: str,
    said: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = request.getfixturevalue(which)
    monkeypatch.setattr(shelf, "release", lambda version: folder)
    monkeypatch.setattr("harness.__main__.listing_of", lambda package: Listing((FUTURE,), ""))
    assert main(["try"]) == 125
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("verdict: inconclusive - uvicorn ")
    assert said in last


def test_a_survey_with_the_name_mapped_says_what_ran_or_why_nothing_did(
    mapped: Path, settings: tuple[Setting, Setting], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = survey(mapped, settings, monkeypatch)
    # The pinned websockets is too old for the class that the name stands for.
    assert {one.cause for one in of(found, "websockets").values()} == {Cause.MISSING_IMPORT}
    assert {one.ran for one in of(found, "auto").values()} == {SANSIO_RAN}
    assert "99.0.0 inconclusive: `ImportError" in readme.table(found)
    assert readme.summary(found) == readme.summary(KEPT).replace(KEPT.newest, found.newest)


def test_a_survey_with_the_name_mapped_and_the_newest_websockets_names_the_class(
    mapped: Path, settings: tuple[Setting, Setting], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = survey(mapped, (settings[1], settings[1]), monkeypatch)
    assert {one.ran for one in of(found, "websockets").values()} == {SANSIO_RAN}
    row = next(line for line in readme.table(found).splitlines() if "`websockets` | `none`" in line)
    assert row.endswith(f"{KEPT.newest} open (`WebSocketProtocol`)<br>99.0.0 open (`WebSocketsSansIOProtocol`) |")


def test_a_survey_without_the_name_says_so_and_stays_true(
    without: Path, settings: tuple[Setting, Setting], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = survey(without, settings, monkeypatch)
    assert {one.reason for one in of(found, "websockets").values()} == {"has no websockets"}
    assert "99.0.0 inconclusive: `has no websockets`" in readme.table(found)
    assert readme.summary(found) == readme.summary(KEPT).replace(KEPT.newest, found.newest)
    assert evidence.changes(found) == evidence.changes(KEPT)
    assert "From 99.0.0 on uvicorn has no websockets." in picture.picture(found)
    assert "no websockets up to" not in picture.picture(found)
