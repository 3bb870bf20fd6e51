import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import environment, shelf

ROOT = Path(__file__).resolve().parent.parent
Done = subprocess.CompletedProcess[str]
NO_INDEX = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}


def run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> Done:
    """Run a command to its end, with these variables beside the environment's."""
    environment = {**os.environ, **variables}
    return subprocess.run(list(command), cwd=cwd, capture_output=True, text=True, timeout=120, env=environment)


def harness(*arguments: str | Path, cwd: Path = ROOT, project: Path = ROOT, **variables: str) -> Done:
    """`python -m harness` of a project, in any current folder."""
    return run(sys.executable, "-m", "harness", *arguments, cwd=cwd, PYTHONPATH=str(project), **variables)


def make(*arguments: str, cwd: Path = ROOT, **variables: str) -> Done:
    return run("make", *arguments, cwd=cwd, **variables)


def copy_of_the_project(folder: Path) -> Path:
    """The tracked files and nothing built, as in a fresh clone."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("Makefile", "server.py", "client.py", "requirements-broken.txt", "requirements-fixed.txt")
    for name in (*names, "requirements-harness.txt"):
        shutil.copy(ROOT / name, folder)
    for name in ("harness", "evidence", "upstream"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project of the test's own, with nothing built."""
    return copy_of_the_project(tmp_path / "project")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for what the harness of this process builds."""
    for module in (environment, shelf):
        monkeypatch.setattr(module, "FOLDER", tmp_path / "environments")
    return tmp_path / "environments"


def interruptible() -> None:
    """For `preexec_fn`: a background job of a script inherits a SIGINT that is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def pinned() -> dict[str, Path]:
    """The interpreters of the environments that `make broken` and `make fixed` use, by the targets' names."""
    names = ("broken", "fixed")
    subprocess.run(["make", "-s", *(f".environments/{name}/ready" for name in names)], cwd=ROOT, check=True)
    return {name: ROOT / ".environments" / name / "bin" / "python" for name in names}


@pytest.fixture(scope="session")
def newest_websockets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the newest websockets on the index, for client.py."""
    folder = tmp_path_factory.mktemp("newest-websockets")
    subprocess.run(["uv", "venv", "-q", folder], check=True)
    subprocess.run(["uv", "pip", "install", "-q", "--python", folder, "websockets"], check=True)
    return folder / "bin" / "python"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see the tools beside their interpreter, and the colours and make variables of no caller."""
    for name in ("NO_COLOR", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CASE", "WS", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.delenv(name, raising=False)


def pytest_configure() -> None:
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
