"""Who sends it: the evidence of the other servers, and that one which fails costs its own rows alone."""

import pytest

from evidence import processes, servers
from evidence.rows import said

KEPT = servers.KEPT.read()


def test_the_evidence_has_every_case_of_every_server_and_tells_who_sends_both() -> None:
    pins = [pins.split()[0].split("==") for pins, _ in servers.SERVERS]
    assert sorted(map(servers.KEPT.key, KEPT)) == sorted((*pin, case) for pin in pins for case in servers.OFFERS)
    assert all(row["status"].startswith(servers.SWITCHED) == bool(row["scope"]) for row in KEPT)
    told = servers.told(KEPT)
    assert "Both lines of `accept-headers` go out behind: uvicorn 0.20.0 and uvicorn 0.54.0.\n" in told
    assert "| uvicorn 0.20.0 | --header | `ocpp2.0.1` and `ocpp2.0.1, ocpp2.0, ocpp1.6` |" in told
    hostile = {**KEPT[0], "status": "x|<b>`", "logged": "a|b"}
    assert servers.cell(hostile) == "refuses: `x\\|<b>'`, logs `a\\|b`"


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 3], ids=["hypercorn", "uvicorn"])
def test_a_server_asked_again_does_what_the_evidence_says(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UVICORN_HEADERS", "Sec-WebSocket-Protocol:evil")  # uvicorn's command takes options from there
    found = servers.measure([servers.SERVERS[number]])
    name = servers.KEPT.key(found[0])[:2]
    assert [said(row) for row in found] == [said(row) for row in KEPT if servers.KEPT.key(row)[:2] == name]


@pytest.mark.parametrize(
    ("command", "words"),
    [("no_such_server", "no_such_server"), ("http.server --bind 127.0.0.1 {port}", "HTTP/1.0 404 File not found")],
    ids=["crashes", "answers no handshake"],
)
def test_a_server_that_fails_costs_its_own_rows(command: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LIMIT", 5)
    monkeypatch.setattr(servers, "OFFERS", {"none": "ocpp2.0.1"})
    [row] = servers.measure([(servers.SERVERS[3][0], command)])
    assert words in row.get("missing", "") or row["status"] == words
