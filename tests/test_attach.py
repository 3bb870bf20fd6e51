"""What gets attached to an issue, and who notices the failure."""

import getpass
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness import attach, clients, environments
from harness.verdicts import Setting

from .conftest import ROOT


@pytest.fixture(scope="module")
def document() -> str:
    setting = Setting(environments.read_pins(), environments.find_interpreter())
    return attach.report(setting, "0.20.0", "0.19.0", "websockets", "server-headers")


def test_the_report_shows_the_line_that_is_too_many(document: str) -> None:
    assert (
        "\n+< sec-websocket-protocol: ocpp2.0.1, ocpp2.0, ocpp1.6   <-- from headers= in uvicorn.Config\n" in document
    )
    assert "this handshake is `rejected`, with 0.19.0 it is `open`" in document
    assert "has 2 `Sec-WebSocket-Protocol` lines, that of 0.19.0 has 1 `Sec-WebSocket-Protocol` line." in document


def test_the_report_measures_what_it_says() -> None:
    setting = Setting(environments.read_pins(), environments.find_interpreter())
    document = attach.report(setting, "0.20.0", "0.19.0", "wsproto", "none")
    assert "this handshake is `open`, with 0.19.0 it is `open`" in document


def test_the_report_holds_nothing_of_this_machine(document: str) -> None:
    for private in (str(ROOT), str(Path.home()) + "/", socket.gethostname(), f"/{getpass.getuser()}/", sys.prefix):
        assert private not in document


def test_the_report_fits_a_comment(document: str) -> None:
    assert len(document) < 60_000


def test_the_report_carries_both_files_whole(document: str) -> None:
    for name in ("server.py", "client.py"):
        assert f"```python\n{(ROOT / name).read_text()}```" in document


@pytest.mark.slow
def test_the_steps_of_the_report_show_the_failure(document: str, tmp_path: Path) -> None:
    for name in ("server.py", "client.py"):
        shutil.copy(ROOT / name, tmp_path)
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 9000)) == 0:
            pytest.skip("port 9000 is taken")
    steps = document.split("```sh\n")[1].split("```")[0]
    done = subprocess.run(["bash", "-c", steps], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "verdict: rejected - InvalidHandshake: multiple subprotocols" in done.stdout


def test_a_client_that_hangs_or_crashes_costs_its_row_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, program in (("hangs.py", "import time; time.sleep(60)"), ("crashes.py", "raise SystemExit('gone')")):
        (tmp_path / name).write_text(program)
    monkeypatch.setattr(clients, "LIMIT", 1)
    for name, reason in (("hangs.py", "no answer within 1 s"), ("crashes.py", "it ended with status 1; gone")):
        prepared = clients.Prepared("1", [sys.executable, str(tmp_path / name)], {})
        assert clients.run(prepared, "ws://127.0.0.1:9") == (clients.FAILED, None, reason)


def test_a_client_that_is_not_there_is_not_tried_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = clients.witness(clients.Client("ws", "dial_ws.js"), "ws://127.0.0.1:9", "ws://127.0.0.1:9")
    assert (found.outcome, found.control, found.reason) == ("not tried", "not tried", "node is not installed")


def test_the_python_clients_say_what_the_evidence_says() -> None:
    kept = {(witness.client, witness.version): witness for witness in clients.read()}
    with clients.serving("server-headers") as broken, clients.serving("none") as control:
        for client in clients.CLIENTS:
            if client.program.endswith(".py"):
                found = clients.witness(client, broken, control)
                assert found == kept[found.client, found.version]
