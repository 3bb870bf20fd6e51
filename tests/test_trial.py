"""The trial: one uvicorn, one verdict, and the two commands of the Makefile that show it."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .conftest import ROOT

LIST = "ocpp2.0.1, ocpp2.0, ocpp1.6"
FIELDS = ["uvicorn", "implementation", "case", "verdict", "ran", "sent", "detail"]
CLASSES = {"websockets": "websockets_impl.WebSocketProtocol", "wsproto": "wsproto_impl.WSProtocol"}


def try_it(python: Path | str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [python, "-I", "harness/trial.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def make(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )


def copy_of_the_project(folder: Path) -> Path:
    """The tracked files and no environments, as in a fresh clone."""
    for name in ("Makefile", "server.py", "client.py", "requirements-broken.txt", "requirements-fixed.txt"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "harness", folder / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_both_releases_judge_every_case_with_both_implementations(pinned: dict[str, Path]) -> None:
    for name, version, rejected in (
        ("broken", "0.20.0", {"server-headers", "accept-headers"}),
        ("fixed", "0.19.0", {"accept-headers"}),
    ):
        cases = ["server-headers", "accept-headers", "unsplit-offer", "none"]
        result = try_it(pinned[name], "--json", "--ws", *CLASSES, "--case", *cases)
        trials = [json.loads(line) for line in result.stdout.splitlines()]
        assert [(t["implementation"], t["case"]) for t in trials] == [(ws, case) for ws in CLASSES for case in cases]
        assert result.returncode == 1
        for t in trials:
            assert list(t) == FIELDS
            assert t["uvicorn"] == version
            assert t["ran"] == f"uvicorn.protocols.websockets.{CLASSES[t['implementation']]}"
            assert t["verdict"] == ("rejected" if t["case"] in rejected else "open")
            assert t["sent"] == (["ocpp2.0.1", LIST] if t["case"] in rejected else ["ocpp2.0.1"])
            words = f"InvalidHandshake: multiple subprotocols: ocpp2.0.1, {LIST}"
            assert t["detail"] == (words if t["case"] in rejected else "")


def test_an_implementation_that_cannot_be_had_is_inconclusive_with_uvicorns_own_error(pinned: dict[str, Path]) -> None:
    result = try_it(pinned["broken"], "--ws", "websockets-sansio")
    assert result.returncode == 125
    last = result.stdout.splitlines()[-1]
    assert last == "verdict: inconclusive - uvicorn 0.20.0 has no websockets-sansio (KeyError: 'websockets-sansio')"


def test_the_exit_status_is_what_git_bisect_run_reads(pinned: dict[str, Path]) -> None:
    for arguments, status in (
        (["--case", "server-headers"], 1),
        (["--case", "none"], 0),
        (["--case", "none", "--ws", "websockets-sansio"], 125),
        (["--case", "none", "server-headers", "--ws", "auto", "websockets-sansio"], 1),
        (["--case", "none", "--ws", "auto", "websockets-sansio"], 125),
        (["--case", "server-headers", "--expect", "rejected"], 0),
        (["--case", "none", "--expect", "rejected"], 1),
        (["--ws", "websockets-sansio", "--expect", "rejected"], 125),
    ):
        assert try_it(pinned["broken"], *arguments).returncode == status, arguments


def test_a_uvicorn_that_cannot_be_imported_is_inconclusive(tmp_path: Path) -> None:
    (tmp_path / "uvicorn").mkdir()
    (tmp_path / "uvicorn" / "__init__.py").write_text("raise ImportError('half-written commit')\n")
    result = try_it(sys.executable, "--source", tmp_path)
    assert result.returncode == 125
    assert result.stdout.splitlines()[-1] == "verdict: inconclusive - import failed: ImportError: half-written commit"


def test_an_app_error_is_in_the_reason(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    server = (project / "server.py").read_text()
    (project / "server.py").write_text(server.replace('scope["subprotocols"][0]', 'scope["no such key"]'))
    command = [sys.executable, "-I", str(project / "harness" / "trial.py")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 125
    assert result.stdout.splitlines()[-1].endswith("HTTP 500; the server logged KeyError: 'no such key'")


def test_make_broken_and_fixed_show_what_their_names_promise(pinned: dict[str, Path]) -> None:
    for ws in ("websockets", "wsproto"):
        result = make("broken", "fixed", f"WS={ws}")
        assert result.returncode == 0
        order = [
            "uvicorn 0.20.0, websockets 10.4",
            "The scope, as the server saw it:",
            "'subprotocols': ['ocpp2.0.1']",
            "The handshake, as the client saw it",
            ": ocpp2.0.1   <-- from subprotocol= in websocket.accept",
            f": {LIST}   <-- from headers= in uvicorn.Config",
            "Traceback (most recent call last):",
            f"websockets.exceptions.InvalidHandshake: multiple subprotocols: ocpp2.0.1, {LIST}",
            "The promise of `broken` held",
            "verdict: rejected",
            "uvicorn 0.19.0, websockets 10.4",
            "The promise of `fixed` held",
            "verdict: open",
        ]
        places = [result.stdout.index(part) for part in order]
        assert places == sorted(places)
        assert "\033" not in result.stdout


def test_make_says_so_where_the_promise_does_not_hold(pinned: dict[str, Path]) -> None:
    for arguments, reason, last in (
        (["broken", "CASE=none"], "because the app no longer sends the header itself", "verdict: open"),
        (["fixed", "CASE=accept-headers"], "because the response names more than one", "verdict: rejected"),
        (["broken", "WS=websockets-sansio"], "because nothing could be judged", "verdict: inconclusive"),
    ):
        result = make(*arguments)
        assert result.returncode != 0
        assert f"The promise of `{arguments[0]}` did not hold for this case, {reason}" in result.stdout
        assert result.stdout.splitlines()[-1].startswith(last)


def test_make_alone_prints_a_line_for_every_target() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    printed = make().stdout.splitlines()
    assert [line.split()[1] for line in printed[: len(targets)]] == targets
    assert {"broken", "fixed", "test", "clean"} < set(targets)


def test_an_unknown_case_is_one_line_of_ours(pinned: dict[str, Path]) -> None:
    result = make("broken", "CASE=nope")
    assert result.returncode != 0
    assert "invalid choice: 'nope'" in result.stderr
    assert "Traceback" not in result.stderr


def test_without_an_index_make_says_what_to_do_and_leaves_nothing_that_is_trusted(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    for _ in range(2):
        result = make("broken", cwd=project, PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull)
        assert result.returncode != 0
        assert "No matching distribution" in result.stderr
        assert "check the network" in result.stderr
        assert "verdict" not in result.stdout
        assert list((project / ".environments").iterdir()) == []


@pytest.mark.slow
def test_an_interrupted_build_leaves_no_process_and_no_environment(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    command = ["make", "broken"]
    with subprocess.Popen(command, cwd=project, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        while not list(project.glob(".environments/building.*/bin/python")):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=20) != 0
    with pytest.raises(ProcessLookupError):
        for _ in range(200):
            os.killpg(process.pid, 0)
            time.sleep(0.05)
    assert list((project / ".environments").iterdir()) == []


@pytest.mark.slow
def test_first_runs_at_once_agree(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: make("broken", cwd=project), range(3)))
    assert {result.returncode for result in results} == {0}
    assert {result.stdout.splitlines()[-1].split(" - ")[0] for result in results} == {"verdict: rejected"}
    assert [path.name for path in (project / ".environments").iterdir()] == ["broken"]


def on_a_terminal(*command: str, **environment: str) -> str:
    """What a command prints where its output is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, cwd=ROOT, stdout=theirs, env={**os.environ, **environment}) as process:
        os.close(theirs)
        printed = b""
        # Linux says "I/O error" where the other side has closed; macOS says nothing more comes.
        try:
            while chunk := os.read(ours, 65536):
                printed += chunk
        except OSError:
            pass
    os.close(ours)
    assert process.returncode == 0
    return printed.decode()


def test_colour_is_for_terminals_that_want_it(pinned: dict[str, Path]) -> None:
    assert "\033[1;33m< Sec-WebSocket-Protocol" in on_a_terminal("make", "broken")
    assert "\033" not in on_a_terminal("make", "broken", NO_COLOR="1")


def find_python(version: str) -> str | None:
    """An interpreter of a version, on PATH or kept by pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    kept = sorted(pyenv.glob(f"{version}.*/bin/python"))
    command = ["uv", "python", "find", "--system", "--no-python-downloads", str(kept[-1]) if kept else version]
    found = subprocess.run(command, capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else None


def test_runs_at_once_and_runs_in_a_row_agree(pinned: dict[str, Path]) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: make("broken", "fixed"), range(20)))
    for result in results:
        assert result.returncode == 0
        verdicts = [line for line in result.stdout.splitlines() if line.startswith("verdict: ")]
        assert [verdict.split()[1] for verdict in verdicts] == ["rejected", "open"]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_the_root_runs_on_every_python_from_3_8(version: str, tmp_path: Path) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    for name, status in (("broken", 1), ("fixed", 0)):
        environment = tmp_path / name
        subprocess.run(["uv", "venv", "-q", "--python", python, environment], check=True)
        requirements = ROOT / f"requirements-{name}.txt"
        subprocess.run(["uv", "pip", "install", "-q", "--python", environment, "-r", requirements], check=True)
        for ws in CLASSES:
            assert try_it(environment / "bin" / "python", "--ws", ws).returncode == status


def test_it_runs_by_hand_too_where_its_folder_is_on_the_path(pinned: dict[str, Path]) -> None:
    result = subprocess.run([pinned["broken"], "harness/trial.py", "--quiet"], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.startswith("verdict: rejected - InvalidHandshake: multiple subprotocols")
