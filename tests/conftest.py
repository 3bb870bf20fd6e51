import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from harness import base, index, judge, place
from harness.asking import app
from harness.index import Index, Release
from harness.judge import Judge, Question
from harness.model import Trial

ROOT = Path(__file__).resolve().parent.parent
Done = subprocess.CompletedProcess[str]
Judging = Callable[..., Judge]
Judged = Callable[..., Trial]
Source = Callable[[str], Path]
REPORTED = app({}, "websockets")
NOWHERE = "http://127.0.0.1:9/simple"  # an index that is not there


def run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> Done:
    """Run a command to its end, with these variables beside the environment's."""
    settings = {**os.environ, **variables}
    return subprocess.run(command, cwd=cwd, capture_output=True, errors="replace", timeout=120, env=settings)


def harness(*words: str, cwd: Path = ROOT, **variables: str) -> Done:
    return run(sys.executable, ROOT / "harness", *words, cwd=cwd, **variables)


def make(*words: str, cwd: Path = ROOT, **variables: str) -> Done:
    return run("make", *words, cwd=cwd, **variables)


def copy_of_the_project(folder: Path) -> Path:
    """The files of the project but for the tests, and nothing built, as in a fresh clone."""
    away = shutil.ignore_patterns(".*", "__pycache__", "tests")
    return Path(shutil.copytree(ROOT, folder, ignore=away))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_of_the_project(tmp_path / "project")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for what the harness of this process builds."""
    for module in (place, base, index, judge):
        monkeypatch.setattr(module, "FOLDER", tmp_path / "environments")
    return tmp_path / "environments"


@pytest.fixture(scope="session")
def releases() -> dict[str, Release]:
    """The releases of uvicorn on the index, by version."""
    return {one.version: one for one in Index.configured().releases("uvicorn")}


@pytest.fixture(scope="session")
def source(releases: dict[str, Release]) -> Source:
    """The folder of a release, which no test changes."""
    return lambda version: Index.configured().folder(releases[version])


@pytest.fixture(scope="session")
def judging() -> Judging:
    """A Judge of a question, which is about the reported app, beside the base of the cases, where it does not say."""
    cases = base.of_cases(base.Interpreter.find())

    def judge(**question: Any) -> Judge:
        apps = () if "line" in question else (REPORTED,)
        return Judge(Question(**{"base": cases, "name": "a question", "apps": apps, **question}))

    return judge


@pytest.fixture
def judged(judging: Judging, releases: dict[str, Release]) -> Judged:
    """The trial of a release, named by its version, or of a folder."""

    def judged(what: str | Path, **question: Any) -> Trial:
        with judging(**question) as judge:
            [trial] = judge.folder(what) if isinstance(what, Path) else judge.release(releases[what])
        return trial

    return judged


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """What all processes have in their environment that are started in this test."""
    monkeypatch.setenv("STARTED_BY_THE_TEST", uuid4().hex)
    return f"STARTED_BY_THE_TEST={os.environ['STARTED_BY_THE_TEST']}"


def pytest_configure() -> None:
    """Tests see the tools beside their interpreter, and the colours and make variables of no caller."""
    for name in ("NO_COLOR", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits one that is ignored
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
