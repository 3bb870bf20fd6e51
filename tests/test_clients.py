"""Who notices, and who sends it: they do what the evidence says, and one that fails costs its own rows alone."""

import socket
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from evidence import clients, processes, servers
from evidence.clients.browsers import BROWSERS, Browser
from evidence.rows import said
from harness import place
from harness.sources import settings

CLIENTS, SERVERS = clients.KEPT.read(), servers.KEPT.read()
NAMED = dict(clients.clients())  # of websockets, one of them


@pytest.mark.parametrize("which", [NAMED.keys() - {*BROWSERS}, pytest.param({*BROWSERS}, marks=pytest.mark.weekly)])
def test_clients_say_what_the_evidence_says_past_a_proxy(which: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [client for client in clients.clients() if client[0] in which]
    with clients.serving("server.py"):  # to install it may need a proxy
        for _, ready in chosen:
            with suppress(*clients.FAILURES):
                ready()
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    found = clients.measure(chosen)
    here = which - {row["name"] for row in found if "missing" in row}
    assert [said(row) for row in found if row["name"] in here] == [said(row) for row in CLIENTS if row["name"] in here]
    assert which - here <= {*BROWSERS, *clients.MODULES}  # which a machine may lack


def test_one_that_hangs_crashes_says_junk_or_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(place, "LIMIT", 1)
    monkeypatch.setenv("PATH", str(tmp_path))
    programs = {
        "import time; time.sleep(60)": "did not end within 1 s",
        "open('/no/such/file')": "No such file or directory: 'file'",
        "pass": "Expecting value",
    }
    commands = {program: partial(clients.run, [sys.executable, "-c", program], settings()) for program in programs}
    broken = [(program, partial(lambda dial: ("1", dial), command)) for program, command in commands.items()]
    *found, node, firefox = clients.measure([*broken, *((name, NAMED[name]) for name in ("ws", "firefox"))])
    for row, words in zip(found, programs.values(), strict=True):
        assert (row["outcome"], row["control"], words in row["reason"]) == ("failed", "failed", True)
    assert (node["missing"], firefox["missing"]) == ("node is not installed", "firefox is not installed")


def test_who_got_no_101_or_does_not_open_the_control_has_failed_and_not_refused(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text('"WebSocket /other-1" [accepted]')
    client, unasked = ("websockets", NAMED["websockets"]), (9, tmp_path / "log.txt")
    with clients.serving("server.py") as broken, clients.serving("cases/none.py") as control:
        for first, second, opens in ((unasked, control, "opened"), (broken, broken, "failed")):
            found = clients.witness(client, first, second)
            assert (found["outcome"], found["control"]) == ("failed", opens)
    with pytest.raises(ConnectionRefusedError):  # the server ended with the block
        socket.create_connection(("127.0.0.1", broken[0]))


SAID = "WebSocket connection to 'x' failed"
TOLD = {
    f"{SAID}: its words\nit closed;": ("refused", None, "its words"),
    "it opened with <a>\nit closed;": ("failed", "a", None),
    "it opened with <>\na message came\nit closed;": ("opened", None, None),
    f"{SAID}: its words": ("failed", None, "no answer within 2 s"),
    f'`cat $0.log; echo \\"{SAID}: later\\" > $0.log`\nit closed;': ("refused", None, "later"),  # asked again
}


@pytest.mark.parametrize("printed", TOLD)
def test_a_browser_tells_how_far_its_page_came(printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LIMIT", 2)
    (tmp_path / "browser").write_text(f'echo "{printed}"\nsleep 60 &\nwait\n')
    found = clients.asked(Browser(("sh",), f"{tmp_path}/browser -headless").dial, "ws://127.0.0.1:9")
    assert tuple(found.values()) == TOLD[printed]


def test_the_evidence_holds_every_client_and_server_and_only_uvicorn_sends_the_header_twice() -> None:
    assert {row["name"] for row in CLIENTS} == set(NAMED)
    assert {row["version"] for row in CLIENTS if row["name"] == "websockets"} > {*clients.OLDER}
    assert {row["control"] for row in CLIENTS} == {"opened"}
    pins = [pins.split()[0].split("==") for pins in servers.SERVERS.values()]
    assert sorted(map(servers.KEPT.key, SERVERS)) == sorted((*pin, case) for pin in pins for case in servers.CASES)
    both = [(row["name"], row["case"]) for row in SERVERS if len(row["sent"]) > 1]
    assert both == [("uvicorn", "accept-headers")] * 2


def test_a_server_does_what_the_evidence_says_and_one_that_fails_costs_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UVICORN_HEADERS", "Sec-WebSocket-Protocol:evil")  # uvicorn's command takes options from there
    again = "uvicorn served:app --ws websockets --port {port}"
    failing = {"no_such_server": "click==8.5.1", "http.server --bind 127.0.0.1 {port}": "h11==0.16.0"}
    found = servers.measure({again: servers.SERVERS[again], **failing})
    assert list(map(said, found[:4])) == [said(row) for row in SERVERS if row["version"] == "0.20.0"]
    assert all("no_such_server" in row["missing"] for row in found[4:8])
    assert {row["status"] for row in found[8:]} == {"HTTP/1.0 404 File not found"}
