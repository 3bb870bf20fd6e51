"""Ring 0: six files that need nothing else."""

import asyncio
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from websockets.utils import accept_key

import client
import server
from harness.base import Interpreter
from harness.place import Unavailable

from .conftest import NOWHERE, RING_0, ROOT, Done, make, run

LIST = "ocpp2.0.1, ocpp2.0, ocpp1.6"
OLD_WORDS = f"InvalidHandshake: multiple subprotocols: ocpp2.0.1, {LIST}"
NEW_WORDS = f"InvalidHeader: invalid Sec-WebSocket-Protocol header: multiple values: ocpp2.0.1, {LIST}"
REJECTED = (0, f"verdict: rejected - {OLD_WORDS}")
BOTH_LINES = (
    r"(?im)^< sec-websocket-protocol: ocpp2\.0\.1   <-- from subprotocol=$(.|\n)*"
    rf"^< sec-websocket-protocol: {LIST}   <-- from headers=$"
)
# What a server may answer; KEY stands for what the client's key asks for, PORT for the server's.
OPENING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n"
)
NAMES = b"Sec-WebSocket-Protocol: "
TWO = NAMES + b"a\r\n" + NAMES + b"b\r\n\r\n"
AGREED = OPENING + NAMES + b"ocpp2.0.1\r\n\r\n"
MOVED = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: "


Answered = Callable[[bytes], str]


def ended(done: Done) -> tuple[int, str]:
    return done.returncode, done.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Interpreters for client.py: with the pinned websockets, and with the newest on the index."""
    folder = tmp_path_factory.mktemp("newest-websockets")
    subprocess.run(["uv", "venv", "-q", folder], check=True)
    subprocess.run(["uv", "pip", "install", "-q", "--python", folder, "websockets"], check=True)
    return [sys.executable, str(folder / "bin" / "python")]


@pytest.fixture
def six_files(tmp_path: Path) -> Path:
    """The six files alone, in a folder whose name has a space."""
    folder = tmp_path / "six files"
    folder.mkdir()
    for name in RING_0:
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="session")
def answered() -> Iterator[Answered]:
    """The URL at which everybody gets this answer, and then nothing more."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = bytes.fromhex(self.path[1:]).replace(b"PORT", str(listener.server_port).encode())
            self.wfile.write(answer.replace(b"KEY", accept_key(self.headers["Sec-WebSocket-Key"]).encode()))
            self.rfile.read()

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as listener:
        threading.Thread(target=listener.serve_forever, args=[0.01]).start()
        yield lambda answer: f"ws://127.0.0.1:{listener.server_port}/{answer.hex()}"
        listener.shutdown()


def test_the_pins_differ_in_uvicorn_alone_and_the_inline_ones_are_those_of_broken() -> None:
    broken, fixed = ((ROOT / f"requirements-{name}.txt").read_text().splitlines() for name in ("broken", "fixed"))
    assert set(broken) ^ set(fixed) == {"uvicorn==0.20.0", "uvicorn==0.19.0"}
    for name in ("server.py", "client.py", "cases/none.py"):
        block = (ROOT / name).read_text().partition("\n# ///\n")[0]
        assert re.findall(r'"([^"]+==[^"]+)"', block) == broken


def test_the_repair_is_one_line() -> None:
    texts = ((ROOT / name).read_text().split("\n") for name in ("server.py", "cases/none.py"))
    _, (broken, repaired) = [pair for pair in zip(*texts, strict=True) if pair[0] != pair[1]]  # first the docstring
    assert (broken.split("  #")[0], repaired) == (f'HEADERS = [("Sec-WebSocket-Protocol", "{LIST}")]', "HEADERS = []")


@pytest.mark.parametrize(("implementation", "upgrade"), [("auto", "websocket"), ("wsproto", "WebSocket")])
def test_make_shows_what_its_targets_promise(implementation: str, upgrade: str) -> None:
    broken, fixed = (make("-s", target, f"WS={implementation}") for target in ("broken", "fixed"))
    assert all(f"\n< Upgrade: {upgrade}\n" in done.stdout for done in (broken, fixed))
    assert (ended(broken), ended(fixed)) == (REJECTED, (0, "verdict: open"))
    assert re.search(BOTH_LINES, broken.stdout)
    assert fixed.stdout.count("<-- from") == 1
    shown, _, traceback = broken.stdout.partition("\n= connection is CLOSED\nTraceback (most recent call last):\n")
    assert shown.startswith("= connection is CONNECTING\n")
    assert traceback.splitlines()[-2] == f"websockets.exceptions.{OLD_WORDS}"
    frames = set(re.findall(r'(?m)^  File ".*?([^/]*/[^/]*)", line', traceback))
    of_python = {f"asyncio/{name}.py" for name in ("runners", "base_events", "tasks", "timeouts")}
    assert frames - of_python == {f"{ROOT.name}/client.py", "legacy/client.py"}


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
    make("-s", ".environments/harness/ready")
    done = make(*words.split())
    first, *others = done.stderr.splitlines()
    assert said in first
    assert (done.returncode != 0, done.stdout, len(others) < 2) == (True, "", True)  # make's own word may follow


def test_make_alone_names_the_two_commands_first_and_every_target() -> None:
    printed = make().stdout
    assert [line.split()[:2] for line in printed.splitlines()[:3]] == [["make", "broken"], ["make", "fixed"], []]
    [targets] = re.findall(r"(?m)^\.PHONY: help (.*)$", (ROOT / "Makefile").read_text())
    assert set(re.findall(r"[a-z-]+", targets)) <= set(re.findall(r"[a-z-]+", printed))


@pytest.mark.slow
def test_the_six_files_alone_do_all_of_it_and_build_anew_what_changed(six_files: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        firsts = list(pool.map(lambda _: make("broken", cwd=six_files), range(4)))
    assert {ended(done) for done in firsts} == {REJECTED}
    built = six_files / ".environments" / "broken"
    assert [*built.parent.iterdir(), *built.glob("new*")] == [built]
    (built / "ready").unlink()  # as where a build was killed half-way
    assert ["Building" in make("broken", cwd=six_files).stderr for _ in range(2)] == [True, False]
    assert run("uv", "run", "-q", "client.py", cwd=six_files).returncode == 1
    assert run("uv", "run", "-q", "--with", "uvicorn==0.19.0", "client.py", cwd=six_files).returncode == 0
    assert "No rule" in make("try", cwd=six_files).stderr
    shutil.copy(six_files / "requirements-fixed.txt", six_files / "requirements-broken.txt")
    wrong = make("broken", cwd=six_files)
    assert "make broken: this is not what it shows with server.py as it was" in wrong.stderr
    assert wrong.returncode != 0


def test_a_build_that_fails_or_is_stopped_says_so_and_leaves_nothing(six_files: Path, tmp_path: Path) -> None:
    stopped = tmp_path / "tools" / "uv"
    stopped.parent.mkdir()
    stopped.write_text("#!/bin/sh\nfor last; do :; done; mkdir $last; kill $PPID\n")
    stopped.chmod(0o755)
    for variables in (
        {"UV_CACHE_DIR": str(tmp_path / "cache"), "UV_DEFAULT_INDEX": NOWHERE, "UV_HTTP_RETRIES": "0"},
        {"PATH": f"{stopped.parent}:{os.environ['PATH']}"},
    ):
        assert make("broken", cwd=six_files, **variables).returncode != 0
        assert not list((six_files / ".environments").iterdir())


@pytest.mark.parametrize(
    ("file", "pins"), [("server.py", "broken"), ("server.py", "fixed"), ("cases/none.py", "broken")]
)
def test_two_terminals_by_hand_show_the_same(file: str, pins: str, pinned: dict[str, Path], pythons: list[str]) -> None:
    nobody = "http://127.0.0.1:9"
    command = [str(pinned[pins]), file, "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            started = (re.search(r"running on http(://[\d.:]+)", line) for line in process.stderr)
            dial = ("client.py", "ws" + next(filter(None, started))[1])
            done = [run(one, *dial, http_proxy=nobody, https_proxy=nobody, all_proxy=nobody) for one in pythons]
            process.send_signal(signal.SIGINT)
            log = process.communicate(timeout=5)[1]
        finally:
            process.kill()
    assert "Traceback" not in log
    assert "event={'type': 'websocket.disconnect', 'code': 100" in log
    if (file, pins) == ("server.py", "broken"):
        assert [ended(one) for one in done] == [(1, f"verdict: rejected - {words}") for words in (OLD_WORDS, NEW_WORDS)]
        assert all(re.search(BOTH_LINES, one.stdout) for one in done)
    else:
        assert [ended(one) for one in done] == [(0, "verdict: open")] * 2
        assert all(re.search(r'(?m)^\{"type": "websocket", .*"raw_path": "/"', one.stdout) for one in done)


def test_plain_http_is_told_to_use_the_client() -> None:
    app: Any = server.app
    with pytest.raises(AssertionError, match=r"dial it with client\.py"):
        asyncio.run(app({"type": "http"}, None, None))


@pytest.mark.parametrize(
    ("answer", "verdict", "reason"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n" + TWO, "inconclusive", "HTTP 403"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "inconclusive", "HTTP 500"),
        (OPENING + b"\r\n", "inconclusive", "the handshake opened, but no subprotocol was agreed"),
        (OPENING + NAMES + b"mqtt\r\n\r\n", "inconclusive", "unsupported subprotocol: mqtt"),
        (AGREED + b"\x88\x02\x03\xe8", "inconclusive", "ConnectionClosed"),
        (AGREED, "inconclusive", "no answer within 1 s"),
        (b"", "inconclusive", "no answer within 1 s"),
        (MOVED + b"ws://localhost:PORT/" + (OPENING + TWO).hex().encode() + b"\r\n\r\n", "inconclusive", ""),
        (MOVED + b"/" + (OPENING + TWO).hex().encode() + b"\r\n\r\n", "inconclusive", ""),
        (OPENING + b"X: \xff\xe9\r\n" + TWO, "rejected", "a, b"),
        (OPENING + NAMES + b"a, b\r\n\r\n", "rejected", "a, b"),
    ],
)
def test_any_answer_gets_its_verdict_and_no_redirect_is_followed(
    answer: bytes, verdict: str, reason: str, answered: Answered, pythons: list[str], tmp_path: Path
) -> None:
    """In one line, but for the traceback of what is rejected."""
    hasty = tmp_path / "client.py"
    hasty.write_text((ROOT / "client.py").read_text().replace('["ocpp2.0.1"], 10', '["ocpp2.0.1"], 1'))
    for python in pythons:
        witness = run(python, hasty if "within" in reason else "client.py", answered(answer))
        status, last = ended(witness)
        assert re.fullmatch(f"verdict: {verdict} - .*{reason}.*", last)
        assert status == client.Verdict[verdict].value
        assert ("Traceback" in witness.stdout) == (verdict == "rejected")


@pytest.mark.weekly
@pytest.mark.parametrize("version", ["12.0", "13.0", "13.1", "14.0"])
def test_the_words_of_every_websockets_are_known(version: str, answered: Answered) -> None:
    with_it = ("uv", "run", "-q", "--no-project", "--with", f"websockets=={version}", "python")
    status, last = ended(run(*with_it, "client.py", answered(OPENING + TWO)))
    assert status == 1
    assert re.fullmatch(r"verdict: rejected - .*multiple.*: a, b", last)


def test_a_crash_or_a_missing_piece_never_ends_with_the_status_of_a_verdict(pinned: dict[str, Path]) -> None:
    python = sys.executable
    status, last = ended(run(python, "client.py", "ws://127.0.0.1:9"))
    assert (status, last.split(":")[1]) == (125, " inconclusive - ConnectionRefusedError")
    missing = "verdict: inconclusive - ModuleNotFoundError: No module named 'websockets'"
    assert ended(run(python, "-S", "client.py", "ws://127.0.0.1:9")) == (125, missing)
    with Path("/dev/full").open("w") as full:
        command = [str(pinned["fixed"]), "client.py"]
        assert subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.DEVNULL).returncode == 125
    assert run(python, "client.py", "--nope").returncode == 2


def test_colour_is_for_terminals_that_want_it(
    pinned: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [str(pinned["broken"]), str(ROOT / "client.py")]
    shown = []
    for term, no_color in (("xterm", ""), ("dumb", ""), ("xterm", "1")):
        monkeypatch.setenv("TERM", term)
        monkeypatch.setenv("NO_COLOR", no_color)
        pty.spawn(command)
        shown.append(capfd.readouterr().out)
    shown.append(run(*command, TERM="xterm", NO_COLOR="").stdout)
    assert ["\033[1;33m< sec-websocket-protocol" in one for one in shown] == [True, False, False, False]


@pytest.mark.slow
@pytest.mark.parametrize(
    "version", ["3.8", *(pytest.param(f"3.{minor}", marks=pytest.mark.weekly) for minor in range(9, 15))]
)
def test_the_root_runs_on_every_python_from_3_8(version: str, six_files: Path) -> None:
    try:
        python = f"PYTHON={Interpreter.named(version).path}"
    except Unavailable:
        pytest.skip(f"no Python {version} here")
    assert ended(make(python, "broken", cwd=six_files)) == REJECTED
    assert ended(make(python, "fixed", cwd=six_files)) == (0, "verdict: open")
