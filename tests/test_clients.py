"""Who notices: the clients say what the evidence says, and one that fails costs its own row alone."""

import sys
from pathlib import Path

import pytest

from harness import clients

KEPT = clients.read()


def test_a_client_that_hangs_crashes_or_prints_junk_costs_its_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "LIMIT", 1)
    for program, reason in (
        ("import time; time.sleep(60)", "no answer within 1 s"),
        ("raise SystemExit('gone')", "it ended with status 1; gone"),
        ("print('junk')", "it ended with status 0"),
        ("print('[' * 10**5)", "it ended with status 0"),
    ):
        (tmp_path / "program.py").write_text(program)
        prepared = clients.Prepared("1", [sys.executable, str(tmp_path / "program.py")], {})
        assert clients.run(prepared, "ws://127.0.0.1:9") == (clients.FAILED, None, reason)


def test_a_client_that_is_not_there_is_not_tried_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = clients.witness(clients.Client("ws", "dial_ws.js"), "ws://127.0.0.1:9", "ws://127.0.0.1:9")
    assert (found.outcome, found.control, found.reason) == ("not tried", "not tried", "node is not installed")


def test_the_python_clients_say_what_the_evidence_says() -> None:
    kept = {(witness.client, witness.version): witness for witness in KEPT}
    with clients.serving("server-headers") as broken, clients.serving("none") as control:
        for client in clients.CLIENTS:
            if client.program.endswith(".py"):
                found = clients.witness(client, broken, control)
                assert found == kept[found.client, found.version]


def test_the_evidence_holds_at_least_eight_that_were_tried_and_open_the_control() -> None:
    tried = [witness for witness in KEPT if witness.outcome != clients.NOT_TRIED]
    assert len(tried) >= 8
    assert {witness.control for witness in tried} == {"opened"}
