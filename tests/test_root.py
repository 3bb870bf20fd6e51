"""The root: two requirements files, server.py and client.py, which work without the harness."""

import asyncio
import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import uvicorn

import client
import server
from harness import trial

from .conftest import ROOT

SUBPROTOCOLS = "ocpp2.0.1, ocpp2.0, ocpp1.6"
OLD_WORDS = f"InvalidHandshake: multiple subprotocols: ocpp2.0.1, {SUBPROTOCOLS}"
NEW_WORDS = f"InvalidHeader: invalid Sec-WebSocket-Protocol header: multiple values: ocpp2.0.1, {SUBPROTOCOLS}"


def pins(name: str) -> list[str]:
    return (ROOT / f"requirements-{name}.txt").read_text().splitlines()


def run(python: str | Path, *arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def by_hand(python: Path, *arguments: str, cwd: Path = ROOT) -> Iterator[str]:
    """Run server.py as a person would, and yield its URL once it has started."""
    port = free_port()
    command: list[str | Path] = [python, "server.py", "--port", str(port), *arguments]
    with subprocess.Popen(command, cwd=cwd, stderr=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None:
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.01)
            yield f"ws://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=10)
    assert process.returncode == 0, "Ctrl-C is how a person stops it, not a failure"


@contextlib.contextmanager
def serving(app: Any, **options: Any) -> Iterator[str]:
    config = uvicorn.Config(app, lifespan="off", log_config=None, **options)
    with trial.serving(trial.make_server(uvicorn, config)) as url:
        yield url


def test_the_requirements_differ_in_uvicorn_alone() -> None:
    assert set(pins("broken")) ^ set(pins("fixed")) == {"uvicorn==0.20.0", "uvicorn==0.19.0"}
    assert len(pins("broken")) == len(pins("fixed"))


@pytest.mark.parametrize("name", ["broken", "fixed"])
def test_the_requirements_are_the_whole_closure(name: str, pinned: dict[str, Path]) -> None:
    assert sorted(run(pinned[name], "-m", "pip", "freeze").stdout.split()) == sorted(pins(name))


@pytest.mark.parametrize("name", ["server.py", "client.py"])
def test_the_inline_pins_are_those_of_requirements_broken(name: str) -> None:
    block = re.search(r"^# /// script\n(.*?)^# ///$", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)
    assert block
    assert re.findall(r'"([^"]+==[^"]+)"', block[1]) == pins("broken")


def test_the_root_and_the_trial_name_the_same_choices() -> None:
    assert server.CASES == client.CASES == trial.CASES
    assert server.IMPLEMENTATIONS == trial.IMPLEMENTATIONS
    assert set(trial.PROMISES) < {verdict.value for verdict in client.Verdict}


@pytest.mark.parametrize("name", ["broken", "fixed"])
def test_two_terminals_show_it_with_nothing_of_the_harness(name: str, pinned: dict[str, Path], tmp_path: Path) -> None:
    for file in ("server.py", "client.py"):
        shutil.copy(ROOT / file, tmp_path)
    with by_hand(pinned[name], cwd=tmp_path) as url:
        witness = run(pinned[name], "client.py", url, cwd=tmp_path)
    received = [line for line in witness.stdout.splitlines() if line.lower().startswith("< sec-websocket-protocol: ")]
    if name == "broken":
        assert witness.stdout.splitlines()[-1] == f"verdict: rejected - {OLD_WORDS}"
        assert (witness.returncode, len(received)) == (1, 2)
    else:
        assert witness.stdout.splitlines()[-1] == "verdict: open"
        assert (witness.returncode, len(received)) == (0, 1)
        message = next(line for line in witness.stdout.splitlines() if line.startswith("message: "))
        assert json.loads(message.removeprefix("message: "))["subprotocols"] == ["ocpp2.0.1"]


def test_the_newest_websockets_judges_the_same(pinned: dict[str, Path], newest_websockets: Path) -> None:
    for case, status, last in (
        ("server-headers", 1, f"verdict: rejected - {NEW_WORDS}"),
        ("none", 0, "verdict: open"),
    ):
        with by_hand(pinned["broken"], "--case", case) as url:
            witness = run(newest_websockets, "client.py", url)
        assert (witness.returncode, witness.stdout.splitlines()[-1]) == (status, last)


def test_a_proxy_in_the_environment_is_not_asked(
    pinned: dict[str, Path], newest_websockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with by_hand(pinned["broken"]) as url:
        assert run(newest_websockets, "client.py", url).returncode == 1


def test_plain_http_gets_a_sentence(pinned: dict[str, Path]) -> None:
    with by_hand(pinned["broken"]) as url, pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("ws:", "http:"), timeout=10)
    assert caught.value.code == 426
    assert caught.value.headers["upgrade"] == "websocket"
    assert b"Only WebSocket here" in caught.value.read()


def test_a_taken_port_is_one_line_that_says_what_to_do(pinned: dict[str, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run(pinned["broken"], "server.py", "--port", str(taken.getsockname()[1]))
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert "--port" in result.stderr


def test_an_implementation_that_this_uvicorn_lacks_is_one_line(pinned: dict[str, Path]) -> None:
    result = run(pinned["broken"], "server.py", "--port", str(free_port()), "--ws", "websockets-sansio")
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert "KeyError" in result.stderr


async def refuses(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close"})


async def fails(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("on purpose")


async def agrees_to_another(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept", "subprotocol": "mqtt"})
    await receive()


async def agrees_to_none(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "{}"})
    await receive()


async def closes_without_a_message(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept", "subprotocol": "ocpp2.0.1"})
    await send({"type": "websocket.close"})


@pytest.mark.parametrize("ws", ["websockets", "wsproto"])
@pytest.mark.parametrize(
    ("app", "reason"),
    [
        (refuses, "HTTP 403"),
        (fails, "HTTP 500"),
        # wsproto itself does not let the server answer so: the connection ends without a response.
        (agrees_to_another, "unsupported subprotocol: mqtt|did not receive a valid HTTP response"),
        (agrees_to_none, "agreed on no subprotocol"),
        (closes_without_a_message, "ConnectionClosed"),
    ],
)
@pytest.mark.parametrize("newest", [False, True], ids=["websockets-10.4", "newest-websockets"])
def test_a_neighbouring_failure_is_inconclusive(
    app: Any, reason: str, ws: Any, newest: bool, newest_websockets: Path
) -> None:
    with serving(app, ws=ws) as url:
        witness = run(newest_websockets if newest else sys.executable, "client.py", url)
    last = witness.stdout.splitlines()[-1]
    assert last.startswith("verdict: inconclusive - ")
    assert re.search(reason, last)
    assert witness.returncode == 125


def test_a_closed_port_is_inconclusive(newest_websockets: Path) -> None:
    for python in (sys.executable, newest_websockets):
        witness = run(python, "client.py", f"ws://127.0.0.1:{free_port()}")
        assert witness.returncode == 125
        assert "ConnectionRefusedError" in witness.stdout.splitlines()[-1]


@pytest.mark.slow
def test_a_server_that_never_answers_is_inconclusive(newest_websockets: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
        with ThreadPoolExecutor() as pool:
            witnesses = list(
                pool.map(lambda python: run(python, "client.py", url), (sys.executable, newest_websockets))
            )
    for witness in witnesses:
        assert witness.returncode == 125
        assert witness.stdout.splitlines()[-1] == "verdict: inconclusive - no answer within 10 s"


def test_a_server_that_opens_and_sends_nothing_is_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    async def accepts(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "ocpp2.0.1"})
        await receive()

    monkeypatch.setattr(client, "LIMIT", 0.2)
    with serving(accepts) as url:
        handshake = asyncio.run(client.dial(url, ["ocpp2.0.1"]))
    assert handshake.verdict is client.Verdict.INCONCLUSIVE
    assert "no answer" in handshake.reason


def test_two_lines_below_101_are_not_this_failure() -> None:
    answer = (
        b"HTTP/1.1 403 Forbidden\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\nContent-Length: 0\r\n\r\n"
    )

    async def dialled() -> client.Handshake:
        async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        async with await asyncio.start_server(answering, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            return await client.dial(f"ws://127.0.0.1:{port}", ["a"])

    handshake = asyncio.run(dialled())
    assert handshake.verdict is client.Verdict.INCONCLUSIVE
    assert [line for line in handshake.lines if "Protocol" in line and line.startswith("<")] == [
        "< Sec-WebSocket-Protocol: a",
        "< Sec-WebSocket-Protocol: b",
    ]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["server.py", "--case", "nope"], server.CASES),
        (["server.py", "--ws", "nope"], server.IMPLEMENTATIONS),
        (["server.py", "--nope"], ["--host", "--port", "--ws", "--case"]),
        (["server.py", "--port", "many"], ["--port"]),
        (["client.py", "--case", "nope"], client.CASES),
        (["client.py", "--nope"], ["--case"]),
        (["client.py", "http://127.0.0.1:9000"], ["ws://127.0.0.1:9000"]),
        (["harness/trial.py", "--case", "nope"], trial.CASES),
        (["harness/trial.py", "--ws", "nope"], trial.IMPLEMENTATIONS),
        (["harness/trial.py", "--nope"], ["--case", "--ws", "--json", "--expect", "--source"]),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_with_the_choices(command: list[str], said: list[str]) -> None:
    result = run(sys.executable, *command)
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert all(choice in result.stderr for choice in said)


@pytest.mark.parametrize("file", ["server.py", "client.py"])
def test_uv_runs_it_with_nothing_else_installed(file: str) -> None:
    result = run("uv", "run", "--no-project", "-q", file, "--help")
    assert result.returncode == 0
    assert "--case" in result.stdout


def test_a_verdict_that_cannot_be_printed_is_not_taken_for_another(pinned: dict[str, Path]) -> None:
    with by_hand(pinned["broken"], "--case", "none") as url, Path("/dev/full").open("w") as full:
        command: list[str | Path] = [sys.executable, "client.py", url]
        assert subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.DEVNULL).returncode == 125
