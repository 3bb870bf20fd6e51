"""upstream/repro.py: one file that says the same as the evidence, and claims nothing that it did not see."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import environment, evidence, issue, shelf
from harness.judge import Subject
from harness.options import Asked
from harness.shelf import Setting

from .conftest import ROOT

REPRODUCTION = ROOT / "upstream" / "repro.py"
EVIDENCE = evidence.read()
COVERED = ("server-headers", "accept-headers", "unsplit-offer", "none")
OPENED = "HTTP/1.1 101 Switching Protocols\r\n"
# What a uvicorn that answers with `RESPONSE`, and then hangs up, looks like to the file.
CANNED = """
__version__ = "0.0"

class Config:
    def __init__(self, app, **options):
        pass

class Server:
    started = False

    def __init__(self, config):
        pass

    def run(self, sockets):
        self.started = True
        connection, _ = sockets[0].accept()
        with connection:
            connection.recv(4096)
            connection.sendall(RESPONSE)
"""


def run(command: list[str | Path], **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("version", ["0.19.0", "0.20.0", "0.50.0", EVIDENCE.newest])
def test_as_the_report_shows_it_it_says_what_the_evidence_says(version: str, tmp_path: Path) -> None:
    told = [trial for trial in EVIDENCE.trials if trial.uvicorn == version and trial.case in COVERED]
    folder = shelf.release(version)

    def status(number: int) -> int:
        trial = told[number]
        setting = Setting(tuple(EVIDENCE.pins[trial.implementation]), shelf.interpreter())
        question = Asked(setting, Subject(), (trial.implementation, trial.case), "")
        file = tmp_path / f"{number}.py"
        file.write_text(issue.source(question, version))
        python = shelf.base(setting) / "bin" / "python"
        return run([python, file], PYTHONPATH=str(folder)).returncode

    with ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(status, range(len(told))))
    assert len(told) == 16
    assert statuses == [trial.verdict.value for trial in told]


def test_it_needs_nothing_but_itself_and_uv(tmp_path: Path) -> None:
    alone = tmp_path / "repro.py"
    setting = Setting(shelf.pins(), shelf.interpreter())
    alone.write_text(issue.source(Asked(setting, Subject(), ("websockets", "server-headers"), ""), "0.20.0"))
    command = ["uv", "run", "--quiet", "--python", sys.executable, str(alone)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment.settings(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stderr
    lines = [line.lower() for line in done.stdout.splitlines()]
    assert [line for line in lines if line.startswith("sec-websocket-protocol:")] == [
        "sec-websocket-protocol: ocpp2.0.1",
        "sec-websocket-protocol: ocpp2.0.1, ocpp2.0, ocpp1.6",
    ]
    assert lines[-1] == "it names several subprotocols, and may name one."
    assert list(tmp_path.iterdir()) == [alone]


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (f"{OPENED}Sec-WebSocket-Protocol: a\r\n\r\n", 0),
        (f"{OPENED}Sec-WebSocket-Protocol: a\r\nsec-websocket-protocol:a\r\n\r\n", 1),
        (f"{OPENED}Sec-WebSocket-Protocol: a, b\r\n\r\n", 1),
        (f"{OPENED}Upgrade: websocket\r\n\r\n", 125),
        ("HTTP/1.1 403 Forbidden\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n\r\n", 125),
        ("\r\n\r\n", 125),
        ("", 125),
    ],
    ids=["one", "two lines", "a list", "none", "403", "blank", "nothing"],
)
def test_it_judges_only_a_handshake(response: str, status: int, tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text(f"RESPONSE = {response.encode()!r}\n{CANNED}")
    done = run([sys.executable, REPRODUCTION], PYTHONPATH=str(tmp_path))
    assert done.returncode == status, done.stdout + done.stderr
    assert (status == 125) == done.stdout.splitlines()[-1].startswith("Nothing to judge: ")


def test_without_uvicorn_nothing_is_judged() -> None:
    done = run([sys.executable, "-I", "-S", REPRODUCTION])
    assert done.returncode == 125
    assert done.stdout == "Nothing to judge: ModuleNotFoundError: No module named 'uvicorn'\n"
