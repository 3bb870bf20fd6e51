"""Who sends it: the evidence of the other servers, and that one which fails costs its own rows alone."""

import pytest

from evidence import servers
from evidence.rows import said

KEPT = servers.KEPT.read()


def test_the_evidence_has_every_case_of_every_server_and_uvicorn_alone_sends_the_header_twice() -> None:
    pins = [pins.split()[0].split("==") for pins in servers.SERVERS.values()]
    assert sorted(map(servers.KEPT.key, KEPT)) == sorted((*pin, case) for pin in pins for case in servers.CASES)
    both = [(row["name"], row["case"]) for row in KEPT if len(row["sent"]) > 1]
    assert both == [("uvicorn", "accept-headers")] * 2


@pytest.mark.slow
def test_a_server_asked_again_does_what_the_evidence_says_and_one_that_fails_costs_its_own_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UVICORN_HEADERS", "Sec-WebSocket-Protocol:evil")  # uvicorn's command takes options from there
    again = "uvicorn served:app --ws websockets --port {port}"
    failing = {"no_such_server": "click==8.5.1", "http.server --bind 127.0.0.1 {port}": "h11==0.16.0"}
    found = servers.measure({again: servers.SERVERS[again], **failing})
    assert list(map(said, found[:4])) == [said(row) for row in KEPT if row["version"] == "0.20.0"]
    assert all("no_such_server" in row["missing"] for row in found[4:8])
    assert {row["status"] for row in found[8:]} == {"HTTP/1.0 404 File not found"}
