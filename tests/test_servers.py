"""Who sends it: the evidence of the other servers, and that one which fails costs its own rows alone."""

import dataclasses

import pytest

from harness import servers
from harness.environment import Unavailable

KEPT = servers.read()


def test_the_evidence_has_every_case_of_every_server() -> None:
    expected = [(server.name, server.version, case) for server in servers.SERVERS for case in servers.OFFERS]
    assert [(row.server, row.version, row.case) for row in KEPT] == expected
    assert all(row.status.startswith("HTTP/1.1 101") == bool(row.scope) for row in KEPT)


@pytest.mark.parametrize("number", [0, 2], ids=["uvicorn", "hypercorn"])
def test_a_server_asked_again_does_what_the_evidence_says(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UVICORN_HEADERS", "Sec-WebSocket-Protocol:evil")  # uvicorn's command takes options from there
    server = servers.SERVERS[number]
    assert servers.ask(server) == [row for row in KEPT if (row.server, row.version) == (server.name, server.version)]


def test_a_server_that_crashes_or_hangs_costs_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LIMIT", 0.5)
    monkeypatch.setattr(servers, "OFFERS", {"none": "ocpp2.0.1"})
    for command, words in (
        (("no_such_server",), "did not start"),
        (("http.server", "--bind", "127.0.0.1", "{port}"), "HTTP/1."),
    ):
        [row] = servers.ask(dataclasses.replace(servers.SERVERS[0], command=command))
        assert words in row.status
        assert ("refuses" in servers.told(row)) == (words == "HTTP/1.")
        assert row.sent == ()
    monkeypatch.setattr(servers, "SERVERS", [dataclasses.replace(servers.SERVERS[0], command=("no_such_server",))])
    with pytest.raises(Unavailable, match="no server could be had"):
        servers.survey()


def test_the_table_shows_who_sends_both_and_escapes_what_others_say() -> None:
    rows = servers.table(KEPT).splitlines()
    assert rows[2].startswith("| uvicorn 0.20.0 | --header | `ocpp2.0.1` and `ocpp2.0.1, ocpp2.0, ocpp1.6` |")
    hostile = dataclasses.replace(KEPT[0], status="x|<b>`", logged="a|b")
    assert servers.told(hostile) == "refuses: `x\\|<b>'`, logs `a\\|b`"
