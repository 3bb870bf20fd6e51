"""The trial: one uvicorn, one verdict, and the two commands of the Makefile that show it."""

import contextlib
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
from typing import Any

import pytest

from harness.environment import packages
from harness.judge import Forks
from harness.model import Job, Trial, Verdict

from .conftest import ROOT, Done, copy_of_the_project, harness, interruptible, make, run
from .pins import find_python

LIST = "ocpp2.0.1, ocpp2.0, ocpp1.6"
WORDS = f"InvalidHandshake: multiple subprotocols: ocpp2.0.1, {LIST}"
NONE = "ConnectionError: the handshake opened, but no subprotocol was agreed"
CASES = ("server-headers", "accept-headers", "unsplit-offer", "header-alone", "none")
CLASSES = {"websockets": "websockets_impl.WebSocketProtocol", "wsproto": "wsproto_impl.WSProtocol"}
NO_FORK = """
import os, runpy, sys
del os.fork
sys.argv = ["harness/trial.py", *sys.argv[1:]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def try_it(python: Path | str, *arguments: str | Path, project: Path = ROOT) -> Done:
    return run(python, "-I", project / "harness" / "trial.py", *arguments)


def last_line(done: Done) -> str:
    return done.stdout.splitlines()[-1]


def judged(python: Path, *cells: tuple[str, str]) -> list[Trial]:
    """What the trial says to the harness of the uvicorn that is installed beside an interpreter."""
    base = Forks(python)
    try:
        return [trial for trial, _ in base.ask(Job(str(packages(python.parent.parent)), list(cells)))]
    finally:
        base.close()


@pytest.mark.parametrize("name", ["broken", "fixed"])
def test_both_releases_judge_every_case_with_both_implementations(name: str, pinned: dict[str, Path]) -> None:
    for trial in judged(pinned[name], *[(ws, case) for ws in CLASSES for case in CASES]):
        several = trial.case == "accept-headers" or (name, trial.case) == ("broken", "server-headers")
        none = (name, trial.case) == ("fixed", "header-alone")
        assert trial == Trial(
            uvicorn="0.20.0" if name == "broken" else "0.19.0",
            implementation=trial.implementation,
            case=trial.case,
            verdict=Verdict.rejected if several or none else Verdict.open,
            reason=WORDS if several else NONE if none else "",
            ran=f"uvicorn.protocols.websockets.{CLASSES[trial.implementation]}",
            sent=["ocpp2.0.1", LIST] if several else [] if none else ["ocpp2.0.1"],
        )


def test_the_exit_status_is_what_git_bisect_run_reads(pinned: dict[str, Path], tmp_path: Path) -> None:
    no_package = f"inconclusive - there is no uvicorn package in {tmp_path.name}"
    no_sansio = "inconclusive - uvicorn 0.20.0 has no websockets-sansio; it has auto, websockets, wsproto"
    for arguments, status, verdict in (
        (["--case", "server-headers"], 1, f"rejected - {WORDS}"),
        (["--case", "none"], 0, "open"),
        (["--ws", "websockets-sansio"], 125, no_sansio),
        (["--source", str(tmp_path)], 125, no_package),
        (["--case", "server-headers", "--expect", "rejected"], 0, f"rejected - {WORDS}"),
        (["--case", "none", "--expect", "rejected"], 1, "open"),
        (["--ws", "websockets-sansio", "--expect", "rejected"], 125, no_sansio),
    ):
        result = try_it(pinned["broken"], "--quiet", *arguments)
        assert (result.returncode, result.stdout) == (status, f"verdict: {verdict}\n"), arguments
    with Path("/dev/full").open("w") as full:
        command: list[str | Path] = [pinned["broken"], "-I", "harness/trial.py"]
        assert subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.DEVNULL).returncode == 125


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise ImportError('half-written commit')", "import failed: ImportError: half-written commit"),
        ("raise KeyboardInterrupt", "import failed: KeyboardInterrupt:"),
        ("raise SystemExit(0)", "import failed: SystemExit: 0"),
        ("import os; os._exit(0)", "its process ended with status 0 and no verdict"),
        ("import os; os._exit(1)", "its process ended with status 1 and no verdict"),
        ("import os; os.kill(os.getpid(), 9)", "its process was ended by signal 9"),
        ("import os; os.kill(os.getpid(), 2)", "import failed: KeyboardInterrupt:"),
        ("import os; os.fork() and os._exit(0)", "its process ended with status 0 and no verdict"),
        ("import os; os.fork()", "uvicorn says that its version is None"),
        ("print('verdict: open')", "uvicorn says that its version is None"),
        ("import os; [os.write(fd, b'verdict: open\\n') for fd in (1, 2)]", "uvicorn says that its version is None"),
        ("__version__ = '0.20.0\\nverdict: open'", r"uvicorn says that its version is '0.20.0\nverdict: open'"),
        ("__version__ = 20", "uvicorn says that its version is 20"),
        ("__version__ = '0.20.0'", "AttributeError: module 'uvicorn' has no attribute 'config'"),
    ],
)
def test_whatever_uvicorn_does_the_reason_is_true(program: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "uvicorn").mkdir()
    (tmp_path / "uvicorn" / "__init__.py").write_text(f"{program}\n")
    result = try_it(sys.executable, "--source", tmp_path, "--quiet")
    assert (result.returncode, result.stderr) == (125, "")
    assert result.stdout == f"verdict: inconclusive - {reason}\n"


def test_a_uvicorn_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path / "project")
    trial = project / "harness" / "trial.py"
    trial.write_text(trial.read_text().replace("\nLIMIT = 30.0 ", "\nLIMIT = 1.0 "))
    (tmp_path / "uvicorn").mkdir()
    (tmp_path / "uvicorn" / "__init__.py").write_text(
        "import os, pathlib, subprocess, time\n"
        "children = [subprocess.Popen(['sleep', '60'], start_new_session=new).pid for new in (False, True)]\n"
        f"pathlib.Path({str(tmp_path / 'pids')!r}).write_text(','.join(map(str, [os.getpid(), *children])))\n"
        "time.sleep(60)\n"
    )
    result = try_it(sys.executable, "--source", tmp_path, "--quiet", project=project)
    assert result.stdout == "verdict: inconclusive - it did not end within 1 s\n"
    assert result.returncode == 125
    pids = (tmp_path / "pids").read_text()
    assert len(pids.split(",")) == 3
    assert set(run("ps", "-o", "state=", "-p", pids).stdout.split()) <= {"Z"}  # ended, if not yet forgotten by init


def test_an_app_error_is_in_the_reason(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    server = (project / "server.py").read_text()
    (project / "server.py").write_text(server.replace('scope["subprotocols"][0]', 'scope["no such key"]'))
    result = try_it(sys.executable, project=project)
    assert result.returncode == 125
    assert last_line(result).endswith("HTTP 500; the server logged KeyError: 'no such key'")


def test_a_folder_that_is_not_as_it_was_installed_is_damaged(tmp_path: Path) -> None:
    assert harness("try", "--uvicorn", "0.20.0").returncode == 1
    for number, (change, difference) in enumerate(
        {
            "echo '#' >> uvicorn/logging.py": "uvicorn/logging.py is not what was installed",
            ": > uvicorn/logging.py": "uvicorn/logging.py is not what was installed",
            "rm uvicorn/logging.py": "uvicorn/logging.py is not there",
            "touch uvicorn/added.py": "uvicorn/added.py was not installed",
            ": > uvicorn-0.20.0.dist-info/RECORD": "uvicorn-0.20.0.dist-info/RECORD is empty",
            ":": "",
        }.items()
    ):
        folder = shutil.copytree(ROOT / ".environments" / "uvicorn" / "0.20.0", tmp_path / str(number))
        assert run("sh", "-c", change, cwd=folder).returncode == 0
        said = f"inconclusive - uvicorn 0.20.0 is damaged: {difference}" if difference else f"rejected - {WORDS}"
        result = try_it(sys.executable, "--source", folder, "--quiet")
        assert (result.returncode, result.stdout) == (125 if difference else 1, f"verdict: {said}\n")


def test_the_verdicts_are_the_same_where_there_is_no_fork(pinned: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "uvicorn").mkdir()
    (tmp_path / "uvicorn" / "__init__.py").write_text("import os\nos._exit(0)\n")
    for arguments, status, verdict in (
        ([], 1, f"rejected - {WORDS}"),
        (["--case", "none", "--ws", "wsproto", "--expect", "open"], 0, "open"),
        (["--source", str(tmp_path)], 125, "inconclusive - its process ended with status 0 and no verdict"),
    ):
        result = run(pinned["broken"], "-c", NO_FORK, *arguments, "--quiet")
        assert (result.returncode, result.stdout, result.stderr) == (status, f"verdict: {verdict}\n", "")


def test_make_broken_and_fixed_show_what_their_names_promise(pinned: dict[str, Path]) -> None:
    order = [
        *("uvicorn 0.20.0, websockets 10.4", "The scope, as the server saw it:", "'subprotocols': ['ocpp2.0.1']"),
        *("The handshake, as the client saw it", ": ocpp2.0.1   <-- from subprotocol= in websocket.accept"),
        *(f": {LIST}   <-- from headers= in uvicorn.Config", "Traceback (most recent call last):"),
        *(f"websockets.exceptions.{WORDS}", "As `make broken` says: the handshake is rejected."),
        *(f"verdict: rejected - {WORDS}\n", "uvicorn 0.19.0, websockets 10.4"),
        *("As `make fixed` says: the handshake is open.", "verdict: open\n"),
    ]
    with ThreadPoolExecutor(8) as pool:  # at once and in a row
        for result in pool.map(lambda ws: make("broken", "fixed", f"WS={ws}"), [*CLASSES] * 3):
            assert result.returncode == 0
            places = [result.stdout.index(part) for part in order]
            assert places == sorted(places)
            assert "\033" not in result.stdout


def test_make_says_so_where_it_is_otherwise(pinned: dict[str, Path]) -> None:
    for name, setting, because, last in (
        ("broken", "CASE=none", "the app does not send the header itself", "open"),
        ("fixed", "CASE=accept-headers", "the response names more than one subprotocol", "rejected - "),
        ("fixed", "CASE=header-alone", "the response names no subprotocol", "rejected - "),
        ("broken", "WS=websockets-sansio", "nothing could be judged", "inconclusive - "),
    ):
        result = make(name, setting)
        assert result.returncode != 0
        assert f"\nNot as `make {name}` says, in this case: {because}.\nverdict: {last}" in result.stdout


def test_make_alone_prints_a_line_for_every_target() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    printed = make().stdout.splitlines()
    assert [line.split()[1] for line in printed[: len(targets)]] == targets
    assert {"broken", "fixed", "test", "clean"} < set(targets)


def test_make_refuses_what_it_does_not_know_in_one_line(pinned: dict[str, Path]) -> None:
    for arguments, words in (
        (["broken", "CASE=nope"], "invalid choice: 'nope'"),
        (["broken", "UVICORN=0.31.0"], "make broken does not take UVICORN; it takes CASE WS"),
        (["survey", "CASE=none"], "make survey does not take CASE; it takes INTERPRETER OUTPUT"),
    ):
        result = make(*arguments)
        ours = [line for line in result.stderr.splitlines() if not re.match(r"make: \*\*\* \[", line)]
        assert (result.returncode, result.stdout, len(ours)) == (2, "", 1)
        assert words in ours[0]


def test_without_an_index_make_says_what_to_do_and_leaves_nothing_that_is_trusted(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path / "project")
    folders = [folder for folder in os.environ["PATH"].split(os.pathsep) if not Path(folder, "uv").exists()]
    no_uv = {"PATH": os.pathsep.join(folders), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    uv = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9", "UV_HTTP_RETRIES": "0", "UV_CACHE_DIR": str(tmp_path / "cache")}
    for variables in (uv, uv, no_uv):
        result = make("broken", f"PYTHON={sys.executable}", cwd=project, **variables)
        assert result.returncode != 0
        assert "Could not install requirements-broken.txt, check the network and the index: " in result.stderr
        assert ("No matching distribution" in result.stderr) == (variables is no_uv)
        assert "verdict" not in result.stdout
        assert list((project / ".environments").iterdir()) == []


def test_a_variable_of_the_environment_that_a_target_does_not_know_is_not_meant_for_it(pinned: dict[str, Path]) -> None:
    result = make("-s", "broken", APP="production", OUTPUT="somewhere", CASE="none")
    assert result.stdout.splitlines()[-1] == "verdict: open"


@pytest.mark.slow
def test_an_interrupted_build_leaves_no_process_and_no_environment(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    apart: dict[str, Any] = {"start_new_session": True, "preexec_fn": interruptible}
    with subprocess.Popen(["make", "broken"], cwd=project, stderr=subprocess.DEVNULL, **apart) as process:
        while not list(project.glob(".environments/building-*/new/bin/python")):
            assert process.poll() is None
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=20) != 0
    deadline = time.monotonic() + 10
    while str(project) in run("ps", "-A", "-ww", "-o", "args").stdout:
        assert time.monotonic() < deadline
    assert list((project / ".environments").iterdir()) == []


@pytest.mark.slow
def test_first_runs_at_once_agree(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: make("broken", cwd=project), range(3)))
    assert {result.returncode for result in results} == {0}
    assert {last_line(result) for result in results} == {f"verdict: rejected - {WORDS}"}
    assert [path.name for path in (project / ".environments").iterdir()] == ["broken"]


def on_a_terminal(*command: str, **environment: str) -> str:
    """What a command prints where its output is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, cwd=ROOT, stdout=theirs, env={**os.environ, **environment}) as process:
        os.close(theirs)
        printed = b""
        with contextlib.suppress(OSError):  # Linux says so where the other side has closed; macOS, that nothing comes
            while chunk := os.read(ours, 65536):
                printed += chunk
    os.close(ours)
    assert process.returncode == 0
    return printed.decode()


def test_colour_is_for_terminals_that_want_it(pinned: dict[str, Path]) -> None:
    assert "\033[1;33m< Sec-WebSocket-Protocol" in on_a_terminal("make", "broken", TERM="xterm")
    assert "\033" not in on_a_terminal("make", "broken", TERM="xterm", NO_COLOR="1")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_the_root_runs_on_every_python_from_3_8(version: str, tmp_path: Path) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    subprocess.run(["uv", "venv", "-q", "--python", python, tmp_path / "venv"], check=True)
    install = ["uv", "pip", "install", "-q", "--no-deps", "--python", str(tmp_path / "venv")]
    for name, verdict in (("broken", Verdict.rejected), ("fixed", Verdict.open)):
        subprocess.run([*install, "-r", ROOT / f"requirements-{name}.txt"], check=True)
        trials = judged(tmp_path / "venv" / "bin" / "python", *[(ws, "server-headers") for ws in CLASSES])
        assert [trial.verdict for trial in trials] == [verdict, verdict]


def test_it_runs_by_hand_too_where_its_folder_is_on_the_path(pinned: dict[str, Path]) -> None:
    result = run(pinned["broken"], "harness/trial.py", "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (1, f"verdict: rejected - {WORDS}\n", "")
