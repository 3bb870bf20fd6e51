"""Who sends it: the evidence of the other servers, and that one which fails costs its own rows alone."""

import dataclasses

import pytest

from evidence import processes, servers

KEPT = servers.read()


def test_the_evidence_has_every_case_of_every_server() -> None:
    pins = [pins.split()[0].split("==") for pins, _ in servers.SERVERS]
    expected = sorted((*pin, case) for pin in pins for case in servers.OFFERS)
    assert sorted(row.key() for row in KEPT) == expected
    assert all(row.status.startswith(servers.SWITCHED) == bool(row.scope) for row in KEPT)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 2], ids=["uvicorn", "hypercorn"])
def test_a_server_asked_again_does_what_the_evidence_says(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UVICORN_HEADERS", "Sec-WebSocket-Protocol:evil")  # uvicorn's command takes options from there
    found = servers.measure([servers.SERVERS[number]])
    assert found == [row for row in KEPT if (row.name, row.version) == (found[0].name, found[0].version)]


@pytest.mark.parametrize(
    ("command", "words", "tried"),
    [("no_such_server", "did not start", False), ("http.server --bind 127.0.0.1 {port}", "HTTP/1.", True)],
    ids=["crashes", "answers no handshake"],
)
def test_a_server_that_fails_costs_its_own_rows(
    command: str, words: str, tried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LIMIT", 5)
    monkeypatch.setattr(servers, "OFFERS", {"none": "ocpp2.0.1"})
    [row] = servers.measure([(servers.SERVERS[0][0], command)])
    assert (row.tried(), row.sent) == (tried, [])
    assert words in row.status
    assert ("refuses" in servers.cell(row)) == tried


def test_the_table_shows_who_sends_both_and_escapes_what_others_say() -> None:
    both = "| uvicorn 0.20.0 | --header | `ocpp2.0.1` and `ocpp2.0.1, ocpp2.0, ocpp1.6` |"
    assert both in servers.table(KEPT)
    assert "behind uvicorn 0.20.0 and uvicorn 0.54.0 both lines go out" in servers.summary(KEPT)
    hostile = dataclasses.replace(KEPT[0], status="x|<b>`", logged="a|b")
    assert servers.cell(hostile) == "refuses: `x\\|<b>'`, logs `a\\|b`"
