"""Who notices: the clients say what the evidence says, and one that fails costs its own row alone."""

import shutil
import socket
import sys
from functools import partial
from pathlib import Path

import pytest

from evidence import clients, processes
from evidence.clients.browsers import BROWSERS, Browser
from evidence.rows import said
from harness import place

KEPT = clients.KEPT.read()
NAMED = dict(clients.clients())  # of websockets, one of them


@pytest.mark.slow
def test_the_clients_say_what_the_evidence_says_also_where_a_proxy_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {*BROWSERS} | (set() if shutil.which("npm") else {*clients.MODULES})
    own = [client for client in clients.clients() if client[0] not in others]
    for _, ready in own:  # here a proxy may be needed
        ready()
    with clients.serving("server.py"):
        pass
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert list(map(said, clients.measure(own))) == [said(row) for row in KEPT if row["name"] not in others]


@pytest.mark.weekly
@pytest.mark.parametrize("name", BROWSERS)
def test_the_browsers_say_what_the_evidence_says(name: str) -> None:
    [found] = clients.measure([(name, NAMED[name])])
    if "missing" in found:
        pytest.skip(str(found))
    assert [said(found)] == [said(row) for row in KEPT if row["name"] == name]


def test_a_client_that_hangs_crashes_prints_junk_or_is_missing_costs_its_row_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(place, "LIMIT", 1)
    programs = {
        "import time; time.sleep(60)": "did not end within 1 s",
        "open('/no/such/file')": "No such file or directory: 'file'",
        "pass": "Expecting value",
    }

    def ready(program: str) -> tuple[str, clients.Dial]:
        return "1", partial(clients.run, [sys.executable, "-c", program])

    monkeypatch.setenv("PATH", str(tmp_path))
    broken = [(program, partial(ready, program)) for program in programs]
    *found, node, firefox = clients.measure([*broken, *((name, NAMED[name]) for name in ("ws", "firefox"))])
    for row, words in zip(found, programs.values(), strict=True):
        assert (row["outcome"], row["control"], words in row["reason"]) == ("failed", "failed", True)
    assert (node["missing"], firefox["missing"]) == ("node is not installed", "firefox is not installed")


def test_who_never_got_a_101_or_does_not_open_the_control_has_failed_and_not_refused(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text('"WebSocket /other-1" [accepted]')
    client, unasked = ("websockets", NAMED["websockets"]), (9, tmp_path / "log.txt")
    with clients.serving("server.py") as broken, clients.serving("cases/none.py") as control:
        for first, second, opens in ((unasked, control, "opened"), (broken, broken, "failed")):
            found = clients.witness(client, first, second)
            assert (found["outcome"], found["control"]) == ("failed", opens)
    with pytest.raises(ConnectionRefusedError):  # the server ended with the block
        socket.create_connection(("127.0.0.1", broken[0]))


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("it closed;", ("refused", None, None)),
        ("failed: its words\nit closed;", ("refused", None, "its words")),
        ("it opened with <a>\nit closed;", ("failed", "a", None)),
        ("it opened with <>\na message came\nit closed;", ("opened", None, None)),
        ("failed: its words", ("failed", None, "no answer within 2 s")),
        ("`cat $0.log; echo failed: later > $0.log`\nit closed;", ("refused", None, "later")),  # asked again
    ],
)
def test_a_browser_tells_how_far_its_page_came(
    printed: str, told: tuple[str | None, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LIMIT", 2)
    (tmp_path / "browser").write_text(f'echo "{printed}"\nsleep 60 &\nwait\n')
    browser = Browser(("sh",), f"{tmp_path}/browser", r"failed: ([^\n]+)")
    assert tuple(clients.asked(browser.dial, "ws://127.0.0.1:9").values()) == told


def test_the_evidence_holds_every_client_and_each_opens_without_the_mistake() -> None:
    assert {row["name"] for row in KEPT} == set(NAMED)
    assert {row["version"] for row in KEPT if row["name"] == "websockets"} > {*clients.OLDER}
    assert {row["control"] for row in KEPT} == {"opened"}
