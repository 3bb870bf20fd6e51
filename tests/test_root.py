"""Ring 0: six files that need nothing else."""

import base64
import contextlib
import hashlib
import os
import pty
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
from typing import Any

import pytest
import uvicorn

import client

from .conftest import NOWHERE, RING_0, ROOT, Done, interruptible, make, run

LIST = "ocpp2.0.1, ocpp2.0, ocpp1.6"
OLD_WORDS = f"InvalidHandshake: multiple subprotocols: ocpp2.0.1, {LIST}"
NEW_WORDS = f"InvalidHeader: invalid Sec-WebSocket-Protocol header: multiple values: ocpp2.0.1, {LIST}"
OPENING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n"
)
TWO = b"Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n"
BOTH_LINES = (
    r"(?im)^< sec-websocket-protocol: ocpp2\.0\.1   <-- from subprotocol=$(.|\n)*"
    rf"^< sec-websocket-protocol: {LIST}   <-- from headers=$"
)


def pins(name: str) -> list[str]:
    return (ROOT / f"requirements-{name}.txt").read_text().splitlines()


def last_line(done: Done) -> str:
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def newest_websockets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the newest websockets on the index, for client.py."""
    folder = tmp_path_factory.mktemp("newest-websockets")
    subprocess.run(["uv", "venv", "-q", folder], check=True)
    subprocess.run(["uv", "pip", "install", "-q", "--python", folder, "websockets"], check=True)
    return folder / "bin" / "python"


@pytest.fixture
def six_files(tmp_path: Path) -> Path:
    """The six files alone, in a folder whose name has a space."""
    folder = tmp_path / "six files"
    folder.mkdir()
    for name in RING_0:
        shutil.copy(ROOT / name, folder)
    return folder


@contextlib.contextmanager
def by_hand(python: Path, file: str = "server.py", *options: str) -> Iterator[str]:
    """Run a server as a person would, yield its URL once it has started, and stop it with Ctrl-C."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    command: list[str | Path] = [python, file, "--port", port, *options]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible) as process:
        assert process.stderr
        try:
            while process.poll() is None:
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", int(port))):
                    break
                time.sleep(0.01)
            yield f"ws://127.0.0.1:{port}"
            process.send_signal(signal.SIGINT)
            process.wait(timeout=5)
        finally:
            process.kill()
        printed = process.stderr.read()
    if "websocket.connect" in printed:
        assert "Traceback" not in printed
        assert "event={'type': 'websocket.disconnect', 'code': 100" in printed


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
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def serving(*messages: Any, ws: Any = "websockets") -> Iterator[str]:
    """An app that says these messages, behind the uvicorn of the tests."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for message in messages:
            await send(message)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    running = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, ws=ws))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        while not running.started and thread.is_alive():
            time.sleep(0.001)
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            running.should_exit = running.force_exit = True
            thread.join()


def test_the_requirements_differ_in_uvicorn_alone() -> None:
    assert set(pins("broken")) ^ set(pins("fixed")) == {"uvicorn==0.20.0", "uvicorn==0.19.0"}


@pytest.mark.parametrize("name", ["server.py", "client.py", "cases/none.py"])
def test_the_inline_pins_are_those_of_requirements_broken(name: str) -> None:
    block = re.search(r"^# /// script\n(.*?)^# ///$", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)
    assert block
    assert re.findall(r'"([^"]+==[^"]+)"', block[1]) == pins("broken")


def test_the_repair_is_one_line() -> None:
    pairs = zip(
        (ROOT / "server.py").read_text().split("\n"), (ROOT / "cases" / "none.py").read_text().split("\n"), strict=True
    )
    _, (broken, repaired) = [pair for pair in pairs if pair[0] != pair[1]]  # the first is the docstring
    assert (broken.split("  #")[0], repaired) == (f'HEADERS = [("Sec-WebSocket-Protocol", "{LIST}")]', "HEADERS = []")


@pytest.mark.parametrize("options", [[], ["WS=wsproto"]])
def test_make_shows_what_its_targets_promise(options: list[str], pinned: dict[str, Path]) -> None:
    broken, fixed = make("-s", "broken", *options), make("-s", "fixed", *options)
    assert (broken.returncode, fixed.returncode) == (0, 0)
    shown = broken.stdout.splitlines()
    assert shown[0] == "= connection is CONNECTING"
    assert re.search(BOTH_LINES, broken.stdout)
    assert shown[-2:] == [f"websockets.exceptions.{OLD_WORDS}", f"verdict: rejected - {OLD_WORDS}"]
    frames = set(re.findall(r'^  File ".*?([^/]*/[^/]*)", line', broken.stdout, re.MULTILINE))
    assert frames - {f"{ROOT.name}/client.py"} <= {
        *("asyncio/runners.py", "asyncio/base_events.py", "asyncio/tasks.py", "asyncio/timeouts.py"),
        "legacy/client.py",
    }
    assert "= connection is CLOSED" in shown[: shown.index("Traceback (most recent call last):")]
    assert (last_line(fixed), fixed.stdout.count("<-- from")) == ("verdict: open", 1)


def test_make_says_so_where_it_shows_something_else(six_files: Path) -> None:
    (six_files / "requirements-fixed.txt").write_text((six_files / "requirements-broken.txt").read_text())
    done = make("fixed", cwd=six_files)
    assert done.returncode != 0
    assert "make fixed: this is not what it shows with server.py as it was" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("broken UVICORN=0.31.0", "make broken knows WS and PYTHON, not UVICORN"),
        ("broken case=none", "make broken knows WS and PYTHON, not case"),
        ("try UVICORM=0.31.0", "make try does not know UVICORM (UVICORN?); it knows UVICORN, SOURCE, CASE"),
        ("bisect SCRIPT=x", "make bisect does not know SCRIPT; it knows GOOD, BAD, CASE"),
    ],
)
def test_make_refuses_a_word_that_it_does_not_know_in_one_line(words: str, said: str) -> None:
    done = make(*words.split())
    assert done.returncode != 0
    assert (done.stdout, said in done.stderr.splitlines()[0]) == ("", True)


def test_make_alone_names_the_two_commands_first_and_every_target() -> None:
    printed = make().stdout.splitlines()
    assert [line.split()[1] for line in printed[:2]] == ["broken", "fixed"]
    assert printed[2] == ""
    targets = re.search(r"^\.PHONY: help (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    named = [name for name in re.findall(r"[a-z-]+", targets[1]) if name != "readme"]
    assert all(re.search(rf"\b{name}\b", "\n".join(printed)) for name in named)


@pytest.mark.slow
def test_the_six_files_alone_do_all_of_it_and_build_anew_what_changed(six_files: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        firsts = list(pool.map(lambda _: make("broken", cwd=six_files), range(4)))
    assert {(done.returncode, last_line(done)) for done in firsts} == {(0, f"verdict: rejected - {OLD_WORDS}")}
    assert sorted(path.name for path in (six_files / ".environments").iterdir()) == ["broken"]
    (six_files / ".environments" / "broken" / "ready").unlink()  # as where a build was killed half-way
    assert "Building" in make("broken", cwd=six_files).stderr
    assert "Building" not in make("broken", cwd=six_files).stderr
    os.utime(six_files / "requirements-broken.txt")
    assert "Building" in make("broken", cwd=six_files).stderr
    assert run("uv", "run", "-q", "client.py", cwd=six_files).returncode == 1
    assert run("uv", "run", "-q", "--with", "uvicorn==0.19.0", "client.py", cwd=six_files).returncode == 0
    assert "No rule" in make("try", cwd=six_files).stderr


def test_without_an_index_make_says_so_and_leaves_nothing(six_files: Path, tmp_path: Path) -> None:
    done = make(
        "broken", cwd=six_files, UV_CACHE_DIR=str(tmp_path / "cache"), UV_DEFAULT_INDEX=NOWHERE, UV_HTTP_RETRIES="0"
    )
    assert done.returncode != 0
    assert not list((six_files / ".environments").iterdir())


@pytest.mark.parametrize("name", ["broken", "fixed"])
def test_two_terminals_by_hand_show_the_same(name: str, pinned: dict[str, Path], newest_websockets: Path) -> None:
    nobody = "http://127.0.0.1:9"
    words = {pinned[name]: OLD_WORDS, newest_websockets: NEW_WORDS}
    with by_hand(pinned[name]) as url:
        for python, rejected in words.items():
            witness = run(python, "client.py", url, http_proxy=nobody, https_proxy=nobody, all_proxy=nobody)
            if name == "broken":
                assert (witness.returncode, last_line(witness)) == (1, f"verdict: rejected - {rejected}")
                assert re.search(BOTH_LINES, witness.stdout)
            else:
                assert (witness.returncode, last_line(witness)) == (0, "verdict: open")
                assert re.search(
                    r'^\{"type": "websocket", .*"raw_path": "/".*\["host", "127', witness.stdout, re.MULTILINE
                )


def test_the_repaired_app_is_a_server_too(pinned: dict[str, Path]) -> None:
    with by_hand(pinned["broken"], "cases/none.py") as url:
        assert last_line(run(pinned["broken"], "client.py", url)) == "verdict: open"


def test_plain_http_is_told_to_use_the_client(pinned: dict[str, Path]) -> None:
    with by_hand(pinned["broken"]) as url, pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("ws:", "http:"), timeout=10)
    assert caught.value.code == 500


def test_a_neighbouring_failure_is_inconclusive_in_one_line(newest_websockets: Path) -> None:
    close = {"type": "websocket.close"}
    accept = {"type": "websocket.accept"}
    for messages, reason in (
        ([close], "HTTP 403"),
        (["what is no message"], "HTTP 500"),
        ([{**accept, "subprotocol": "mqtt"}], "unsupported subprotocol: mqtt"),
        ([accept], "the handshake opened, but no subprotocol was agreed"),
        ([{**accept, "subprotocol": "ocpp2.0.1"}, close], "ConnectionClosed"),
    ):
        with serving(*messages) as url:
            for python in (sys.executable, newest_websockets):
                witness = run(python, "client.py", url)
                assert re.fullmatch(f"verdict: inconclusive - .*({reason}).*", last_line(witness))
                assert (witness.returncode, "Traceback" in witness.stdout) == (125, False)


def test_a_server_that_says_nothing_is_inconclusive(newest_websockets: Path, tmp_path: Path) -> None:
    """Neither to the handshake, nor after it."""
    copy = tmp_path / "client.py"
    copy.write_text((ROOT / "client.py").read_text().replace('["ocpp2.0.1"], 10', '["ocpp2.0.1"], 1'))
    accept = {"type": "websocket.accept", "subprotocol": "ocpp2.0.1"}
    with socket.create_server(("127.0.0.1", 0)) as silent, serving(accept) as opens:
        pairs = [
            (python, url)
            for python in (sys.executable, newest_websockets)
            for url in (opens, f"ws://127.0.0.1:{silent.getsockname()[1]}")
        ]
        with ThreadPoolExecutor() as pool:
            for witness in pool.map(lambda pair: run(pair[0], copy, pair[1]), pairs):
                assert (witness.returncode, last_line(witness)) == (125, "verdict: inconclusive - no answer within 1 s")


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n" + TWO + b"\r\n", 125, "inconclusive - .*HTTP 403"),
        (b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:9\r\nContent-Length: 0\r\n\r\n", 125, "inconclusive - .*"),
        (OPENING + b"X: \xff\xe9\r\n" + TWO + b"\r\n", 1, "rejected - .*multiple.*a, b"),
        (OPENING + b"Sec-WebSocket-Protocol: a, b\r\n\r\n", 1, "rejected - .*multiple.*a, b"),
    ],
    ids=["two-lines-below-101", "redirect", "two-lines-and-no-ascii", "two-in-one-line"],
)
def test_any_answer_gets_its_verdict(answer: bytes, status: int, said: str, newest_websockets: Path) -> None:
    with answering(answer) as url:
        for python in (sys.executable, newest_websockets):
            witness = run(python, "client.py", url)
            assert witness.returncode == status
            assert re.fullmatch(f"verdict: {said}", last_line(witness))


def test_a_crash_or_a_missing_piece_never_ends_with_the_status_of_a_verdict(pinned: dict[str, Path]) -> None:
    refused = run(sys.executable, "client.py", "ws://127.0.0.1:9")
    assert (refused.returncode, last_line(refused)[:45]) == (125, "verdict: inconclusive - ConnectionRefusedError"[:45])
    missing = run(sys.executable, "-S", "client.py", "ws://127.0.0.1:9")
    assert (missing.returncode, last_line(missing)) == (
        125,
        "verdict: inconclusive - ModuleNotFoundError: No module named 'websockets'",
    )
    with Path("/dev/full").open("w") as full:
        command: list[str | Path] = [pinned["fixed"], "client.py"]
        assert subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.DEVNULL).returncode == 125
    assert run(sys.executable, "client.py", "--nope").returncode == 2


@pytest.mark.parametrize(
    "version", ["10.4", *(pytest.param(one, marks=pytest.mark.weekly) for one in ("12.0", "13.0", "13.1", "14.0"))]
)
def test_the_words_of_every_websockets_are_known(version: str) -> None:
    with serving(
        {"type": "websocket.accept", "subprotocol": "a", "headers": [(b"sec-websocket-protocol", b"b")]}
    ) as url:
        witness = run("uv", "run", "-q", "--no-project", "--with", f"websockets=={version}", "python", "client.py", url)
    assert witness.returncode == 1
    assert any(words in last_line(witness) for words in client.SEVERAL)


def test_colour_is_for_terminals_that_want_it(pinned: dict[str, Path]) -> None:
    def printed(**variables: str) -> bytes:
        ours, theirs = pty.openpty()
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | variables
        command = [str(pinned["broken"]), "client.py"]
        subprocess.run(command, cwd=ROOT, stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):
            while chunk := os.read(ours, 1 << 16):
                said += chunk
        os.close(ours)
        return said

    assert b"\033[" in printed(TERM="xterm")
    assert b"\033[" not in printed(TERM="dumb")
    assert b"\033[" not in printed(TERM="xterm", NO_COLOR="1")
    assert "\033[" not in run(pinned["broken"], "client.py", TERM="xterm").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "version", ["3.8", *(pytest.param(f"3.{minor}", marks=pytest.mark.weekly) for minor in range(9, 15))]
)
def test_the_root_runs_on_every_python_from_3_8(version: str, six_files: Path) -> None:
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found = [*map(str, pyenv.glob(f"{version}.*/bin/python")), shutil.which(f"python{version}")]
    if not found[0]:
        pytest.skip(f"no Python {version} here")
    for name in ("broken", "fixed"):
        done = make(f"PYTHON={found[0]}", name, cwd=six_files)
        assert (done.returncode, last_line(done).split(" - ")[0]) == (
            0,
            f"verdict: {'rejected' if name == 'broken' else 'open'}",
        )
