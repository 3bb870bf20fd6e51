"""Who notices: the clients say what the evidence says, and one that fails costs its own row alone."""

import dataclasses
import shutil
import socket
import sys
from functools import partial
from pathlib import Path

import pytest

from evidence import clients, rows
from evidence.clients import browsers
from evidence.clients.browsers import BROWSERS, Browser
from harness import place
from harness.place import Unavailable

KEPT = clients.read()
NAMED = dict(clients.clients())  # of websockets, one of them


@pytest.mark.slow
def test_the_clients_say_what_the_evidence_says_also_where_a_proxy_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {browser.name for browser in BROWSERS} | (set() if shutil.which("npm") else {"ws", "undici"})
    own = [client for client in clients.clients() if client[0] not in others]
    for _, ready in own:  # here a proxy may be needed
        ready()
    with clients.serving("server.py"), clients.serving("cases/none.py"):
        pass
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert clients.measure(own) == [row for row in KEPT if row.name not in others]


@pytest.mark.weekly
@pytest.mark.parametrize("browser", BROWSERS, ids=lambda browser: browser.name)
def test_the_browsers_say_what_the_evidence_says(browser: Browser) -> None:
    [found] = clients.measure([(browser.name, NAMED[browser.name])])
    if not found.tried():
        pytest.skip(str(found.reason))
    [kept] = [row for row in KEPT if row.name == browser.name]
    assert found == dataclasses.replace(kept, version=found.version)


def test_a_client_that_hangs_crashes_prints_junk_or_is_missing_costs_its_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "LIMIT", 1)
    programs = {
        "import time; time.sleep(60)": "did not end within 1 s",
        "open('/no/such/file')": "No such file or directory: 'file'",
        "pass": "Expecting value",
        "print('{}')": "'opened'",
        "print(1)": "not iterable",
    }

    def ready(program: str) -> tuple[str, clients.Dial]:
        return "1", partial(clients.run, [sys.executable, "-c", program])

    def missing() -> tuple[str, clients.Dial]:
        return place.run(["/no/such/program"], tmp_path), ready("pass")[1]

    tried = [(str(number), partial(ready, program)) for number, program in enumerate(programs)]
    *found, last = clients.measure([*tried, ("missing", missing)])
    for row, words in zip(found, programs.values(), strict=True):
        assert (row.outcome, row.control) == ("failed", "failed")
        assert words in str(row.reason)
    assert (last.outcome, last.control, last.reason) == (
        "not tried",
        "not tried",
        "cannot run program: No such file or directory",
    )


def test_who_never_got_a_101_or_does_not_open_the_control_has_failed_and_not_refused(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text('"WebSocket /other-1" [accepted]')
    client, unasked = ("websockets", NAMED["websockets"]), (9, tmp_path / "log.txt")
    with clients.serving("server.py") as broken:
        for first in (broken, unasked):
            found = clients.witness(client, first, broken)
            assert (found.outcome, found.control) == ("failed", "failed")
    with pytest.raises(ConnectionRefusedError):  # the server ended with the block
        socket.create_connection(("127.0.0.1", broken[0]))


@pytest.mark.parametrize(
    ("prints", "opened", "subprotocol", "error"),
    [
        ("it closed;", False, None, ""),
        ("failed: its words\nit closed;", False, None, "its words"),
        ("it opened with <a>\nit closed;", True, "a", ""),
        ("it opened with <a>\na message came\nit closed;", True, "a", None),
    ],
)
def test_a_browser_tells_how_far_its_page_came(
    prints: str, opened: bool, subprotocol: str | None, error: str | None, tmp_path: Path
) -> None:
    told = _browser(tmp_path, f"printf '{prints}'").dial("ws://127.0.0.1:9")
    assert told == {"opened": opened, "subprotocol": subprotocol, "error": error}


def test_a_browser_that_keeps_its_words_is_asked_again(tmp_path: Path) -> None:
    tries = f'echo >> {tmp_path}/tries; [ "$(wc -l < {tmp_path}/tries)" = 2 ] && echo "failed: its words"'
    assert _browser(tmp_path, f"{tries}\necho 'it closed;'").dial("ws://127.0.0.1:9")["error"] == "its words"


def test_a_browser_that_says_nothing_or_is_missing_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsers, "LIMIT", 0.2)
    with pytest.raises(Unavailable, match="no answer within"):
        _browser(tmp_path, "").dial("ws://127.0.0.1:9")
    monkeypatch.setenv("PATH", "")
    for name, reason in (("ws", "node and npm"), ("firefox", "firefox"), ("webkitgtk", "Xvfb")):
        with pytest.raises(Unavailable, match=f"^{reason} (is|are) not installed"):
            NAMED[name]()


def _browser(folder: Path, script: str) -> Browser:
    (folder / "browser").write_text(f"#!/bin/sh\n{script}\nsleep 60 &\nwait\n")
    (folder / "browser").chmod(0o755)
    return Browser("any", (str(folder / "browser"),), "", r"failed: ([^\n]+)")


def test_what_could_not_be_tried_replaces_nothing_and_what_says_the_same_stays(tmp_path: Path) -> None:
    def row(name: str, version: str, outcome: str = "opened", day: str = "2026-01-01") -> clients.Row:
        return clients.Row(name, version, outcome, None, None, "opened", measured=day)

    file, later = tmp_path / "kept.jsonl", "2026-02-02"
    rows.write(file, [row("b", "9.0"), row("b", "10.0"), row("a", "1"), row("c", "1"), row("d", "1"), row("e", "1")])
    again = [row("b", "9.0", "not tried"), row("b", "10.0", "refused", later), row("a", "1", "opened", later)]
    rows.write(file, [*again, row("c", "2", "opened", later), row("d", "", "not tried"), row("f", "", "not tried")])
    kept = [(one.name, one.version, one.outcome, one.measured == later) for one in rows.read(clients.Row, file)]
    assert kept == [
        ("a", "1", "opened", False),
        ("b", "9.0", "opened", False),
        ("b", "10.0", "refused", True),
        ("c", "2", "opened", True),
        ("d", "1", "opened", False),
        ("e", "1", "opened", False),
    ]


def test_the_evidence_holds_every_client_and_the_sentences_follow_it() -> None:
    assert {row.name for row in KEPT} == set(NAMED)
    assert {row.control for row in KEPT} == {"opened"}
    assert "| aiohttp 3.14.5 | opened | the client reports `ocpp2.0.1`: it works, and" in clients.table(KEPT)
    told = clients.summary([row for row in KEPT if row.name in ("websockets", "httpx-ws")])
    assert told.startswith("Of 2 clients 1 refuse the connection: websockets 10.4/12.0/13.0/13.1/14.0/17.4. With httpx")
    assert told.endswith("finds no match. Without the header (`cases/none.py`, the control) all of them open.")
    assert clients.words(KEPT) == (
        "What websockets says of it: 10.4 to 13.0 `InvalidHandshake: multiple subprotocols: …`;"
        " 13.1 `InvalidHeaderValue: invalid Sec-WebSocket-Protocol header: multiple values: …`;"
        " 14.0 to 17.4 `InvalidHeader: invalid Sec-WebSocket-Protocol header: multiple values: …`."
    )
