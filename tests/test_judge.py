"""A base and a release go in, trials come out: nothing that is damaged is judged, and what was judged is kept."""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import environment, judge, shelf
from harness.environment import Unavailable
from harness.judge import Judge, Kept
from harness.model import Cause, Job, Observation, Trial, Verdict
from harness.shelf import Interpreter, Setting, pins

from .conftest import NO_INDEX, copy_of_the_project

pytestmark = pytest.mark.usefixtures("folder")

HERE = shelf.interpreter()
PINNED = Setting(pins(), HERE)
CELLS = [("websockets", "server-headers"), ("wsproto", "none")]
TRUE = [Verdict.rejected, Verdict.open]  # of 0.20.0
Damage = Callable[[Path], object]


@pytest.fixture
def pinned_judge() -> Iterator[Judge]:
    with Judge(PINNED) as judging:
        yield judging


def verdicts(judging: Judge, version: str = "0.20.0") -> list[Verdict]:
    return [trial.verdict for trial in judging.release(version, CELLS)]


def other_release(release: Path) -> None:
    shutil.rmtree(release)
    shutil.copytree(shelf.release("0.19.0"), release)


def other_package(release: Path) -> None:
    shutil.rmtree(release / "uvicorn")
    shutil.copytree(shelf.release("0.19.0") / "uvicorn", release / "uvicorn")


DAMAGES: dict[str, Damage] = {
    "changed": lambda release: (release / "uvicorn" / "config.py").write_text("# nothing\n"),
    "emptied": lambda release: (release / "uvicorn" / "__init__.py").write_text(""),
    "removed": lambda release: (release / "uvicorn" / "protocols" / "utils.py").unlink(),
    "added": lambda release: (release / "uvicorn" / "extra.py").write_text(""),
    "no metadata": lambda release: (release / "uvicorn-0.20.0.dist-info" / "METADATA").unlink(),
    "no record": lambda release: (release / "uvicorn-0.20.0.dist-info" / "RECORD").write_text(""),
    "another release": other_release,
    "another package": other_package,
}


def test_a_release_that_is_not_as_its_wheel_was_is_installed_again(pinned_judge: Judge) -> None:
    release = shelf.release("0.20.0")
    whole = {file.relative_to(release): file.read_bytes() for file in release.rglob("*.py")}
    assert verdicts(pinned_judge) == TRUE
    for name, damage in DAMAGES.items():
        damage(release)
        assert verdicts(pinned_judge) == TRUE, name
        assert {file.relative_to(release): file.read_bytes() for file in release.rglob("*.py")} == whole, name


def test_a_damaged_release_that_cannot_be_had_again_is_not_judged(
    pinned_judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = shelf.release("0.20.0")
    pinned_judge.forks()
    for name, value in {**NO_INDEX, "UV_CACHE_DIR": str(tmp_path / "cold")}.items():
        monkeypatch.setenv(name, value)
    DAMAGES["changed"](release)
    trials = pinned_judge.release("0.20.0", CELLS)
    assert {(trial.verdict, trial.cause) for trial in trials} == {(Verdict.inconclusive, Cause.UNAVAILABLE)}


BASE_DAMAGES: dict[str, Damage] = {
    "emptied": lambda inside: (inside / "h11" / "_connection.py").write_text(""),
    "removed": lambda inside: (inside / "websockets" / "legacy" / "server.py").unlink(),
    "no distribution": lambda inside: shutil.rmtree(inside / "wsproto-1.2.0.dist-info"),
    "no interpreter": lambda inside: (inside.parent.parent.parent / "bin" / "python").unlink(),
    "another interpreter": lambda inside: replaced_by_true(inside.parent.parent.parent / "bin" / "python"),
    "no list": lambda inside: (inside.parent.parent.parent / "pins.txt").unlink(),
}


def replaced_by_true(python: Path) -> None:
    python.unlink()
    python.symlink_to(shutil.which("true") or "/bin/true")


@pytest.mark.parametrize("name", BASE_DAMAGES)
def test_a_base_that_is_not_as_it_was_built_is_built_again(name: str, pinned_judge: Judge) -> None:
    inside = environment.packages(shelf.base(PINNED))
    before = sorted(path.name for path in inside.iterdir())
    BASE_DAMAGES[name](inside)
    assert verdicts(pinned_judge) == TRUE
    assert sorted(path.name for path in inside.iterdir()) == before


@pytest.mark.parametrize("moment", ["before", "after"])
def test_when_the_process_that_judges_ends_nothing_is_waited_for(moment: str, pinned_judge: Judge) -> None:
    process = pinned_judge.forks()._process
    process.send_signal(signal.SIGSTOP if moment == "after" else signal.SIGKILL)
    if moment == "before":
        process.wait()
    threading.Timer(0.1, process.kill).start()
    for _ in range(2):
        trials = pinned_judge.release("0.20.0", CELLS)
        assert {(trial.verdict, trial.cause) for trial in trials} == {(Verdict.inconclusive, Cause.UNAVAILABLE)}


def test_when_the_process_that_judges_ends_while_its_stdin_is_open_nothing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = '{"versions": {}, "altered": ""}'
    program = f"import subprocess\nsubprocess.Popen(['sleep', '5'], stdout=2)\nprint({ready!r})\n"
    (tmp_path / "trial.py").write_text(program)
    monkeypatch.setattr(judge, "TRIAL", tmp_path / "trial.py")
    forks = judge.Forks(Path(sys.executable))
    forks._process.wait()
    with pytest.raises(Unavailable, match="has ended"):
        forks.ask(Job(str(tmp_path), CELLS))


class Counting(Judge):
    """Says the same of everything, and counts how often it was asked."""

    says = Trial("0.20.0", "websockets", "none", Verdict.open)
    asked = 0

    def observe(self, version: str, cells: object, observed: bool = True) -> list[tuple[Trial, Observation]]:
        self.asked += 1
        return [(self.says, Observation())]


def times_asked(file: Path, setting: Setting, version: str, cell: tuple[str, str], says: Trial = Counting.says) -> int:
    counting = Counting(setting, Kept(file))
    counting.says = says
    assert counting.release(version, [cell]) == [says]
    return counting.asked


def test_a_verdict_is_kept_for_what_it_was_measured_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, cell = tmp_path / "verdicts.jsonl", ("websockets", "none")
    assert times_asked(file, PINNED, "0.20.0", cell) == 1
    assert times_asked(file, PINNED, "0.20.0", cell) == 0
    for setting in (
        Setting(pins(websockets="11.0.3"), HERE),
        Setting(pins(), Interpreter("/another/python", HERE.version)),
        Setting(pins(), Interpreter(HERE.path, "3.99.0")),
    ):
        assert times_asked(file, setting, "0.20.0", cell) == 1
    assert times_asked(file, PINNED, "0.19.0", cell) == 1
    assert times_asked(file, PINNED, "0.20.0", ("wsproto", "none")) == 1
    assert times_asked(file, PINNED, "0.20.0", ("websockets", "unsplit-offer")) == 1
    project = copy_of_the_project(tmp_path / "project")
    monkeypatch.setattr(judge, "ROOT", project)
    monkeypatch.setattr(judge, "TRIAL", project / "harness" / "trial.py")
    assert times_asked(file, PINNED, "0.20.0", cell) == 0
    for name in ("server.py", "client.py", "harness/trial.py", "harness/model.py"):
        text = (project / name).read_text()
        (project / name).write_text(f"{text}\n")
        assert times_asked(file, PINNED, "0.20.0", cell) == 1, name
        (project / name).write_text(text)
        assert times_asked(file, PINNED, "0.20.0", cell) == 0, name
    Kept(file, fresh=True)
    assert times_asked(file, PINNED, "0.20.0", cell) == 1


@pytest.mark.parametrize("cause", Cause)
def test_what_may_be_otherwise_tomorrow_is_not_kept(cause: Cause, tmp_path: Path) -> None:
    file, cell = tmp_path / "verdicts.jsonl", ("websockets", "none")
    says = Trial("0.20.0", *cell, reason="why", cause=cause)
    assert times_asked(file, PINNED, "0.20.0", cell, says) == 1
    assert times_asked(file, PINNED, "0.20.0", cell, says) == (0 if cause.lasting else 1)
    lasting = {"NO_WHEEL", "OTHER_PYTHON", "OTHER_PINS", "NO_IMPLEMENTATION", "MISSING_IMPORT", "OTHER_ANSWER"}
    assert cause.lasting == (cause.name in lasting)


def test_verdicts_that_cannot_be_read_are_a_reason(tmp_path: Path) -> None:
    (tmp_path / "verdicts.jsonl").mkdir()
    with pytest.raises(Unavailable, match="cannot read"):
        Kept(tmp_path / "verdicts.jsonl")


@pytest.mark.skipif(not os.geteuid(), reason="no file is read-only for root")
def test_verdicts_that_cannot_be_written_are_judged_again(tmp_path: Path) -> None:
    (tmp_path / "verdicts.jsonl").touch(0o444)
    for _ in range(2):
        assert times_asked(tmp_path / "verdicts.jsonl", PINNED, "0.20.0", ("websockets", "none")) == 1


def test_a_folder_is_judged_as_it_stands_each_time(pinned_judge: Judge, tmp_path: Path) -> None:
    shutil.copytree(shelf.release("0.20.0") / "uvicorn", tmp_path / "uvicorn")
    file = tmp_path / "uvicorn" / "protocols" / "websockets" / "websockets_impl.py"
    text = file.read_text()
    for _ in range(2):
        for content, verdict in (
            (text, Verdict.rejected),
            (text.replace("server_state.default_headers", "[]"), Verdict.open),
        ):
            file.write_text(content)
            [(trial, _)] = pinned_judge.folder(tmp_path, CELLS[:1])
            assert (trial.uvicorn, trial.verdict) == ("0.20.0", verdict)
