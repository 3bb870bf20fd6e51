"""Who notices: the clients say what the evidence says, and one that fails costs its own row alone."""

import dataclasses
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest

from harness import clients
from harness.clients import browsers
from harness.clients.browsers import BROWSERS, Browser, NotInstalled
from harness.clients.libraries import LIBRARIES

KEPT = {(witness.client, witness.version): witness for witness in clients.read()}


def test_a_client_that_hangs_crashes_or_prints_junk_costs_its_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "LIMIT", 1)
    (tmp_path / "log.txt").write_text("")
    for program, reason in (
        ("import time; time.sleep(60)", "no answer within 1 s"),
        ("raise SystemExit('gone')", "it ended with status 1; gone"),
        ("pass", "it ended with status 0"),
        ("print('junk')", "Expecting value"),
        ("print('{}')", "'opened'"),
        ("print('[' * 10**5)", "maximum recursion depth"),
    ):
        (tmp_path / "program.py").write_text(program)
        dial = partial(clients.run, [sys.executable, str(tmp_path / "program.py")])
        outcome, subprotocol, said = clients.ask("any", "1", dial, (9, tmp_path / "log.txt"))
        assert (outcome, subprotocol) == ("failed", None)
        assert reason in str(said)


def test_a_client_that_is_not_there_is_not_tried_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    missing = [client for client in clients.CLIENTS if client.name in ("ws", "firefox", "webkitgtk")]
    found = [clients.witness(client, (9, tmp_path), (9, tmp_path)) for client in missing]
    assert {(one.outcome, one.control) for one in found} == {("not tried", "not tried")}
    reasons = ["node and npm are not installed", "firefox is not installed", "Xvfb is not installed"]
    assert [one.reason for one in found] == reasons


def test_the_python_clients_say_what_the_evidence_says() -> None:
    with clients.serving("server-headers") as broken, clients.serving("none") as control:
        for client in map(clients.of_library, LIBRARIES):
            found = clients.witness(client, broken, control)
            assert found == KEPT[found.client, found.version]


def test_a_client_that_never_got_a_101_has_failed_and_not_refused(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text('"WebSocket /other-1" [accepted]')
    for client in map(clients.of_library, LIBRARIES):
        found = clients.witness(client, (9, tmp_path / "log.txt"), (9, tmp_path / "log.txt"))
        assert (found.outcome, found.control) == ("failed", "failed")


@pytest.fixture
def accepted(tmp_path: Path) -> tuple[int, Path]:
    """The port and the log of a server that sent its 101 to the client `any`."""
    (tmp_path / "log.txt").write_text('"WebSocket /any-1" [accepted]')
    return 9, tmp_path / "log.txt"


@pytest.mark.parametrize(("control", "outcome"), [(None, "refused"), ("slow", "failed")])
def test_who_does_not_open_the_control_has_not_refused(
    control: str | None, outcome: str, accepted: tuple[int, Path]
) -> None:
    said = iter(
        [
            {"opened": False, "subprotocol": None, "error": "no"},
            {"opened": not control, "subprotocol": None, "error": control},
        ]
    )
    client = clients.Client("any", lambda: ("1", lambda _: next(said)))
    found = clients.witness(client, accepted, accepted)
    assert (found.outcome, found.reason, found.control) == (outcome, "no", "failed" if control else "opened")


def test_a_damaged_client_costs_its_row_alone(tmp_path: Path, accepted: tuple[int, Path]) -> None:
    def ready() -> tuple[str, clients.Dial]:
        return (tmp_path / "package.json").read_text(), lambda _: {}

    gone = partial(clients.run, [str(tmp_path / "python")])
    for client in (clients.Client("any", ready), clients.Client("any", lambda: ("1", gone))):
        found = clients.witness(client, accepted, accepted)
        assert (found.outcome, found.control) == ("failed", "failed")


@pytest.mark.weekly
@pytest.mark.parametrize("browser", BROWSERS, ids=lambda browser: browser.name)
def test_the_browsers_say_what_the_evidence_says(browser: Browser) -> None:
    try:
        browser.program()
    except NotInstalled as missing:
        pytest.skip(str(missing))
    kept = next(witness for witness in KEPT.values() if witness.client == browser.name)
    with clients.serving("server-headers") as broken, clients.serving("none") as control:
        found = clients.witness(clients.of_browser(browser), broken, control)
    assert found == dataclasses.replace(kept, version=found.version)


@pytest.mark.parametrize(
    ("prints", "told"),
    [
        ("it closed;", {"opened": False, "subprotocol": None, "error": ""}),
        ("failed: its words\nit closed;", {"opened": False, "subprotocol": None, "error": "its words"}),
        ("it opened with <a>\nit closed;", {"opened": True, "subprotocol": "a", "error": ""}),
        ("it opened with <a>\na message came\nit closed;", {"opened": True, "subprotocol": "a", "error": None}),
    ],
)
def test_a_browser_tells_how_far_its_page_came(prints: str, told: object, tmp_path: Path) -> None:
    (tmp_path / "browser").write_text(f"#!/bin/sh\nprintf '{prints}'\nsleep 60 &\nwait\n")
    (tmp_path / "browser").chmod(0o755)
    browser = Browser("any", (str(tmp_path / "browser"),), (), r"failed: ([^\n]+)")
    assert browser.dial("ws://127.0.0.1:9") == told


def test_a_browser_that_keeps_its_words_is_asked_again(tmp_path: Path) -> None:
    tries = f'echo >> {tmp_path}/tries; [ "$(wc -l < {tmp_path}/tries)" = 2 ] && echo "failed: its words"'
    (tmp_path / "browser").write_text(f"#!/bin/sh\n{tries}\necho 'it closed;'\nsleep 60 &\nwait\n")
    (tmp_path / "browser").chmod(0o755)
    told = Browser("any", (str(tmp_path / "browser"),), (), r"failed: ([^\n]+)").dial("ws://127.0.0.1:9")
    assert told == {"opened": False, "subprotocol": None, "error": "its words"}


def test_a_browser_that_says_nothing_has_failed(accepted: tuple[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsers, "LIMIT", 0.2)
    browser = Browser("any", (str(shutil.which("tail")),), ("-f", "/dev/null"), "(.*)")
    outcome, _, reason = clients.ask("any", "1", browser.dial, accepted)
    assert (outcome, reason) == ("failed", "no answer within 0.2 s")


def test_the_evidence_holds_three_browsers_and_more_than_eight_that_open_the_control() -> None:
    tried = [witness for witness in KEPT.values() if witness.outcome != clients.NOT_TRIED]
    assert {browser.name for browser in BROWSERS} <= {witness.client for witness in tried}
    assert len(tried) > 8
    assert {witness.control for witness in tried} == {"opened"}
