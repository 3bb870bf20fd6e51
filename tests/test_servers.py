"""Who sends it: the evidence of the other servers, and that one which fails costs its own rows alone."""

import pytest

from evidence import servers
from evidence.rows import said

KEPT = servers.KEPT.read()


def test_the_evidence_has_every_case_of_every_server_and_uvicorn_alone_sends_the_header_twice() -> None:
    pins = [pins.split()[0].split("==") for pins in servers.SERVERS.values()]
    assert sorted(map(servers.KEPT.key, KEPT)) == sorted((*pin, case) for pin in pins for case in servers.OFFERS)
    assert all(row["status"].startswith(servers.SWITCHED) == bool(row["scope"]) for row in KEPT)
    both = [(row["name"], row["case"]) for row in KEPT if len(row["sent"]) > 1]
    assert both == [("uvicorn", "accept-headers")] * 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hypercorn", "uvicorn"])
def test_a_server_asked_again_does_what_the_evidence_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UVICORN_HEADERS", "Sec-WebSocket-Protocol:evil")  # uvicorn's command takes options from there
    found = servers.measure({line: pins for line, pins in servers.SERVERS.items() if line.startswith(name)})
    assert [said(row) for row in found] == [said(row) for row in KEPT if row["name"] == name]


@pytest.mark.parametrize(
    ("command", "words"),
    [("no_such_server", "no_such_server"), ("http.server --bind 127.0.0.1 {port}", "HTTP/1.0 404 File not found")],
    ids=["crashes", "answers no handshake"],
)
def test_a_server_that_fails_costs_its_own_rows(command: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "OFFERS", {"none": "ocpp2.0.1"})
    [row] = servers.measure({command: "uvicorn==0.20.0 websockets==10.4 h11==0.16.0 click==7.1.2"})
    assert words in row.get("missing", "") or row["status"] == words
