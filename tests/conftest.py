import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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
    for name in ("NO_COLOR", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CASE", "WS"):
        monkeypatch.delenv(name, raising=False)


def pytest_configure() -> None:
    import sys

    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
