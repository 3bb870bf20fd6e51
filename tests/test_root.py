"""The root: two requirements files, server.py and client.py, which work without the harness."""

import ast
import base64
import contextlib
import hashlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Union

import pytest
import uvicorn

import client
import server
from harness import model

from .conftest import ROOT, Done, interruptible, run

Clients = tuple[Union[str, Path], ...]
SUBPROTOCOLS = "ocpp2.0.1, ocpp2.0, ocpp1.6"
OLD_WORDS = f"InvalidHandshake: multiple subprotocols: ocpp2.0.1, {SUBPROTOCOLS}"
NEW_WORDS = f"InvalidHeader: invalid Sec-WebSocket-Protocol header: multiple values: ocpp2.0.1, {SUBPROTOCOLS}"
OPENING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n"
)
TWO = b"Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n"
AGREED = OPENING + b"Sec-WebSocket-Protocol: ocpp2.0.1\r\n\r\n"


def pins(name: str) -> list[str]:
    return (ROOT / f"requirements-{name}.txt").read_text().splitlines()


def last_line(done: Done) -> str:
    return done.stdout.splitlines()[-1]


def url_of(listener: socket.socket) -> str:
    return f"ws://127.0.0.1:{listener.getsockname()[1]}"


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


@contextlib.contextmanager
def by_hand(python: Path, *arguments: str, cwd: Path = ROOT) -> Iterator[str]:
    """Run server.py as a person would, yield its URL once it has started, and stop it with Ctrl-C."""
    port = free_port()
    command: list[str | Path] = [python, "server.py", "--port", port, *arguments]
    with subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible) as process:
        assert process.stderr
        try:
            while process.poll() is None:
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.01)
            yield f"ws://127.0.0.1:{port}"
            process.send_signal(signal.SIGINT)
            status = process.wait(timeout=5)
        finally:
            process.kill()
        printed = process.stderr.read()
    assert status == 0, "Ctrl-C is how a person stops it, not a failure"
    assert "Shutting down" not in printed, "uvicorn waits there for clients, on Python 3.12 for ever"
    assert f"Uvicorn running on http://127.0.0.1:{port}" in printed


@contextlib.contextmanager
def serving(app: Any, **options: Any) -> Iterator[str]:
    """Serve an app with the uvicorn of the tests, in a thread."""
    running = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, **options))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        while not running.started and thread.is_alive():
            time.sleep(0.001)
        try:
            yield url_of(listener)
        finally:
            running.should_exit = running.force_exit = True
            thread.join()


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that says the same to everybody; in place of KEY it puts what the client's key asks for."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as reading, contextlib.suppress(OSError):
                    lines = dict(line.split(b": ", 1) for line in iter(reading.readline, b"\r\n") if b": " in line)
                    key = lines[b"Sec-WebSocket-Key"].strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
                    connection.sendall(answer.replace(b"KEY", base64.b64encode(hashlib.sha1(key).digest())))
                    connection.shutdown(socket.SHUT_WR)
                    reading.read()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield url_of(listener)
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def clients(newest_websockets: Path) -> Clients:
    """The Pythons that client.py runs on: with the pinned websockets, and with the newest."""
    return sys.executable, newest_websockets


def test_the_requirements_are_whole_and_differ_in_uvicorn_alone(pinned: dict[str, Path]) -> None:
    assert set(pins("broken")) ^ set(pins("fixed")) == {"uvicorn==0.20.0", "uvicorn==0.19.0"}
    # What pip and venv put in themselves is no part of them.
    listing = "from importlib.metadata import *; print(*(f'{d.name}=={d.version}' for d in distributions()))"
    for name, python in pinned.items():
        found = [pin for pin in run(python, "-c", listing).stdout.split() if not re.match("pip|setuptools", pin)]
        assert sorted(found) == sorted(pins(name))


@pytest.mark.parametrize(("name", "needs"), [("server.py", pins("broken")), ("client.py", ["websockets==10.4"])])
def test_the_inline_pins_are_those_of_requirements_broken(name: str, needs: list[str]) -> None:
    assert set(needs) <= set(pins("broken"))
    block = re.search(r"^# /// script\n(.*?)^# ///$", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)
    assert block
    assert re.findall(r'"([^"]+==[^"]+)"', block[1]) == needs


def test_the_root_and_the_trial_name_the_same_choices() -> None:
    assert {*server.IN_CONFIG, *server.IN_ACCEPT, "unsplit-offer", "none"} == set(client.CASES)
    assert set(uvicorn.config.WS_PROTOCOLS) - {"none"} < set(model.IMPLEMENTATIONS)
    assert {verdict.name: verdict.value for verdict in model.Verdict} == {"open": 0, "rejected": 1, "inconclusive": 125}


@pytest.mark.parametrize("name", ["broken", "fixed"])
def test_two_terminals_show_it_with_nothing_of_the_harness(name: str, pinned: dict[str, Path], tmp_path: Path) -> None:
    for file in ("server.py", "client.py"):
        shutil.copy(ROOT / file, tmp_path)
    with by_hand(pinned[name], cwd=tmp_path) as url:
        witness = run(pinned[name], "client.py", url, cwd=tmp_path)
    if name == "broken":
        assert witness.stdout == f"verdict: rejected - {OLD_WORDS}\n"
        assert witness.returncode == 1
    else:
        message, verdict = witness.stdout.splitlines()
        assert (witness.returncode, verdict) == (0, "verdict: open")
        assert json.loads(ast.literal_eval(message.removeprefix("message: ")))["subprotocols"] == ["ocpp2.0.1"]


def test_the_newest_websockets_judges_the_same_and_asks_no_proxy(
    pinned: dict[str, Path], newest_websockets: Path
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    for case, status, last in (
        ("server-headers", 1, f"verdict: rejected - {NEW_WORDS}"),
        ("header-alone", 0, "verdict: open"),
        ("none", 0, "verdict: open"),
    ):
        with by_hand(pinned["broken"], "--case", case) as url:
            command = newest_websockets, "client.py", "--case", case, url
            witness = run(*command, http_proxy=nobody, https_proxy=nobody, all_proxy=nobody)
        assert (witness.returncode, last_line(witness)) == (status, last)


def test_where_the_header_is_alone_none_agreed_is_rejected(pinned: dict[str, Path]) -> None:
    reason = "ConnectionError: the handshake opened, but no subprotocol was agreed"
    with by_hand(pinned["fixed"], "--case", "header-alone") as url:
        for case, verdict in (("header-alone", "rejected"), ("none", "inconclusive")):
            witness = run(pinned["fixed"], "client.py", "--case", case, url)
            assert witness.stdout == f"verdict: {verdict} - {reason}\n"
            assert witness.returncode == client.Verdict[verdict].value


@pytest.mark.parametrize("ws", ["websockets", "wsproto"])
def test_ctrl_c_ends_the_server_at_once_where_a_client_stays(ws: str, pinned: dict[str, Path]) -> None:
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a"
    request = f"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n\r\n"
    with socket.socket() as staying, by_hand(pinned["fixed"], "--ws", ws, "--case", "accept-headers") as url:
        assert run(pinned["fixed"], "client.py", url).returncode == 1
        staying.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        staying.sendall(request.encode())
        assert staying.recv(100).startswith(b"HTTP/1.1 101 ")


def test_plain_http_is_told_to_use_the_client(pinned: dict[str, Path]) -> None:
    with by_hand(pinned["broken"]) as url, pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("ws:", "http:"), timeout=10)
    assert caught.value.code == 500


def test_a_taken_port_is_one_line_of_uvicorn(pinned: dict[str, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run(pinned["broken"], "server.py", "--port", str(taken.getsockname()[1]))
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert re.match("ERROR: .*[Aa]ddress already in use", result.stderr)


def test_an_implementation_that_cannot_be_imported_is_one_line() -> None:
    program = "import runpy, sys; sys.modules['wsproto'] = None; sys.argv = ['server.py', '--ws', 'wsproto']"
    result = run(sys.executable, "-c", f"{program}; runpy.run_path('server.py', run_name='__main__')")
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert re.match(r"server.py: uvicorn 0.20.0 cannot run wsproto here \(.*wsproto.*\): try --ws", result.stderr)


def says(*messages: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for message in messages:
            await send(message)
        await receive()

    return app


def accept(subprotocol: str | None) -> dict[str, str | None]:
    return {"type": "websocket.accept", "subprotocol": subprotocol}


@pytest.mark.parametrize("ws", ["websockets", "wsproto"])
def test_a_neighbouring_failure_is_inconclusive(ws: Any, clients: Clients) -> None:
    close = {"type": "websocket.close"}
    # wsproto itself does not let the server answer "mqtt": the connection ends without a response.
    reasons = {
        says(close): "HTTP 403",
        says("what is no message"): "HTTP 500",
        says(accept("mqtt")): "unsupported subprotocol: mqtt|did not receive a valid HTTP response",
        says(accept(None), {"type": "websocket.send", "text": "{}"}): client.NOTHING,
        says(accept("ocpp2.0.1"), close): "ConnectionClosed",
    }

    def judged(app: Any) -> list[Done]:
        with serving(app, ws=ws) as url:
            return [run(python, "client.py", url) for python in clients]

    with ThreadPoolExecutor() as pool:
        for witnesses, reason in zip(pool.map(judged, reasons), reasons.values(), strict=True):
            for witness in witnesses:
                assert re.fullmatch(f"verdict: inconclusive - .*({reason}).*\n", witness.stdout)
                assert witness.returncode == 125


def test_a_server_that_says_nothing_is_inconclusive(clients: Clients, tmp_path: Path) -> None:
    """Neither to the handshake, nor after it."""
    copy = tmp_path / "client.py"
    copy.write_text((ROOT / "client.py").read_text().replace("LIMIT = 10 ", "LIMIT = 1 "))
    with socket.create_server(("127.0.0.1", 0)) as silent, serving(says(accept("ocpp2.0.1"))) as opens:
        pairs = [(python, url) for python in clients for url in (opens, url_of(silent))]
        asked = time.monotonic()
        with ThreadPoolExecutor() as pool:
            for witness in pool.map(lambda pair: run(pair[0], copy, pair[1]), pairs):
                assert (witness.returncode, witness.stdout) == (125, "verdict: inconclusive - no answer within 1 s\n")
        assert time.monotonic() - asked < 8


def test_a_closed_port_and_a_missing_websockets_are_inconclusive(clients: Clients) -> None:
    commands: dict[tuple[str | Path, ...], str] = {(python,): "ConnectionRefusedError: " for python in clients}
    commands[sys.executable, "-S"] = "ModuleNotFoundError: No module named 'websockets'"
    for command, reason in commands.items():
        witness = run(*command, "client.py", f"ws://127.0.0.1:{free_port()}")
        assert (witness.returncode, len(witness.stdout.splitlines()), witness.stderr) == (125, 1, "")
        assert witness.stdout.startswith(f"verdict: inconclusive - {reason}")


@pytest.mark.parametrize("name", ["broken", "fixed"])
def test_a_redirect_is_not_judged_as_where_it_leads(name: str, pinned: dict[str, Path], clients: Clients) -> None:
    with by_hand(pinned[name]) as other:
        answer = f"HTTP/1.1 302 Found\r\nLocation: {other}\r\nContent-Length: 0\r\n\r\n"
        with answering(answer.encode()) as url:
            assert [run(python, "client.py", url).returncode for python in clients] == [125, 125]


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n" + TWO + b"\r\n", 125, "verdict: inconclusive - .*HTTP 403"),
        (OPENING + b"Sec-WebSocket-Protocol: \xff\xe9\r\nX: \x1b[1m\xc3\r\n\r\n", 125, "verdict: inconclusive - "),
        (OPENING + b"X: \xff\xe9\r\n" + TWO + b"\r\n", 1, "verdict: rejected - .*multiple.*a, b"),
        (AGREED + b"\x82\x03\xff\xe9\x00", 0, r"message: b'\\xff\\xe9\\x00'\nverdict: open\n"),
        (AGREED + b"\x81\x06\xc3\xa9\xe2\x86\x92\n", 0, r"message: '\\xe9\\u2192\\n'\nverdict: open\n"),
        (AGREED + b"\x81\x02\xff\xe9", 125, "verdict: inconclusive - "),
    ],
    ids=["two-lines-below-101", "no-ascii-header", "two-lines-and-no-ascii", "bytes", "text", "no-text"],
)
def test_any_answer_gets_its_verdict(answer: bytes, status: int, said: str, clients: Clients) -> None:
    with answering(answer) as url:
        for python in clients:
            witness = run(python, "client.py", url, LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
            assert (witness.returncode, witness.stderr) == (status, "")
            assert re.match(said, witness.stdout)
            assert witness.stdout.isascii()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["server.py", "--case", "nope"], client.CASES),
        (["server.py", "--ws", "websockets-sansio"], uvicorn.config.WS_PROTOCOLS),
        (["server.py", "--nope"], ["--port", "--ws", "--case"]),
        (["server.py", "--port", "many"], ["--port"]),
        (["client.py", "--case", "nope"], client.CASES),
        (["client.py", "--nope"], ["--case"]),
        (["client.py", "http://127.0.0.1:9000"], ["ws://127.0.0.1:9000"]),
        (["harness/trial.py", "--case", "nope"], client.CASES),
        (["harness/trial.py", "--ws", "nope"], model.IMPLEMENTATIONS),
        (["harness/trial.py", "--nope"], ["--case", "--ws", "--quiet", "--expect", "--source"]),
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
