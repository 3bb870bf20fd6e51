"""Ring 0: six files that need nothing else."""

import os
import pty
import re
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from websockets.utils import accept_key

from client import Verdict, judge
from evidence import clients
from harness.base import Interpreter
from harness.place import Unavailable

from .conftest import NOWHERE, ROOT, Done, make, run

LIST = "ocpp2.0.1, ocpp2.0, ocpp1.6"
OLD_WORDS = f"InvalidHandshake: multiple subprotocols: ocpp2.0.1, {LIST}"
NEW_WORDS = f"InvalidHeader: invalid Sec-WebSocket-Protocol header: multiple values: ocpp2.0.1, {LIST}"
OPEN, SHOWN = (0, "verdict: open"), (0, f"verdict: rejected - {OLD_WORDS}")  # make's status, and the last line
SIX_FILES = ("README.md", "Makefile", "server.py", "client.py", "requirements-broken.txt", "requirements-fixed.txt")
RECEIVED = re.compile("(?im)^< sec-websocket-protocol: (.*)$")
BOTH = ["ocpp2.0.1   <-- from subprotocol=", f"{LIST}   <-- from headers="]
# What comes before `python` for the pinned websockets and for the newest.
WEBSOCKETS: list[list[str]] = [[], ["uv", "run", "-q", "--no-project", "--with", "websockets>=14"]]
MINORS = [pytest.param(n, marks=[] if n in (8, sys.version_info[1]) else pytest.mark.weekly) for n in range(8, 15)]
# What a server may answer, KEY being what the client's key asks for, and what it is judged.
OPENS = b"HTTP/1.1 101 Oh\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n"
NAME = b"Sec-WebSocket-Protocol: "
TWO = NAME + b"a\r\n" + NAME + b"b\r\n\r\n"
MOVED = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /" + (OPENS + TWO).hex().encode() + b"\r\n\r\n"
ANSWERS = {
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n" + TWO: "inconclusive - .*HTTP 403",
    OPENS + b"\r\n": "inconclusive - .*: the handshake opened, but no subprotocol was agreed",
    OPENS + NAME + b"mqtt\r\n\r\n": "inconclusive - .*unsupported subprotocol: mqtt",
    OPENS + NAME + b"ocpp2.0.1\r\n\r\n\x88\x02\x03\xe8": "inconclusive - ConnectionClosed",
    OPENS + NAME + b"ocpp2.0.1\r\n\r\n": "inconclusive - no answer within 1 s",
    b"": "inconclusive - no answer within 1 s",
    MOVED: "inconclusive - ",
    OPENS + NAME + b"a, b\r\n\r\n": "rejected - .*: a, b",
}


class Answer(BaseHTTPRequestHandler):
    """Everybody gets the answer that the path holds in hexadecimal digits, and then nothing more."""

    def do_GET(self) -> None:
        key = accept_key(self.headers["Sec-WebSocket-Key"]).encode()
        self.wfile.write(bytes.fromhex(self.path[1:]).replace(b"KEY", key))
        self.rfile.read()


def ended(done: Done) -> tuple[int, str]:
    return done.returncode, done.stdout.splitlines()[-1]


def test_the_pins_are_the_same_everywhere_and_the_repair_is_one_line() -> None:
    broken, fixed = ((ROOT / f"requirements-{name}.txt").read_text().splitlines() for name in ("broken", "fixed"))
    assert set(broken) ^ set(fixed) == {"uvicorn==0.20.0", "uvicorn==0.19.0"}
    texts = [(ROOT / name).read_text() for name in ("server.py", "cases/none.py", "client.py")]
    for text in texts:
        assert re.findall(r'"([^"]+==[^"]+)"', text.partition("\n# ///\n")[0]) == broken
    lines = zip(texts[0].split("\n"), texts[1].split("\n"), strict=True)
    _, (mistake, repair) = [pair for pair in lines if pair[0] != pair[1]]  # first the docstring
    assert (mistake.split("  #")[0], repair) == (f'HEADERS = [("Sec-WebSocket-Protocol", "{LIST}")]', "HEADERS = []")


@pytest.mark.parametrize(("implementation", "upgrade"), [("auto", "websocket"), ("wsproto", "WebSocket")])
def test_make_shows_what_its_targets_promise(implementation: str, upgrade: str) -> None:
    broken, fixed = (make("-s", target, f"WS={implementation}") for target in ("broken", "fixed"))
    assert all(f"\n< Upgrade: {upgrade}\n" in done.stdout for done in (broken, fixed))
    assert (ended(broken), ended(fixed)) == (SHOWN, OPEN)
    assert (RECEIVED.findall(broken.stdout), RECEIVED.findall(fixed.stdout)) == (BOTH, BOTH[:1])
    shown, _, traceback = broken.stdout.partition("\n= connection is CLOSED\nTraceback (most recent call last):\n")
    assert shown.startswith("= connection is CONNECTING\n")
    assert traceback.splitlines()[-2] == f"websockets.exceptions.{OLD_WORDS}"
    frames = set(re.findall(r'(?m)^  File ".*?([^/]*/[^/]*)", line', traceback))
    assert {frame for frame in frames if "asyncio/" not in frame} == {f"{ROOT.name}/client.py", "legacy/client.py"}


def test_make_names_the_two_commands_first_and_every_target_and_refuses_what_it_does_not_know() -> None:
    printed = make().stdout
    assert [line.split()[:2] for line in printed.splitlines()[:3]] == [["make", "broken"], ["make", "fixed"], []]
    [targets] = re.findall(r"(?m)^\.PHONY: help (.*)$", (ROOT / "Makefile").read_text())
    assert set(re.findall(r"[a-z-]+", targets)) <= set(re.findall(r"[a-z-]+", printed))
    make("-s", ".environments/harness/ready")
    for words, said in {
        "broken UVICORN=0.31.0": "make broken knows WS and PYTHON, not UVICORN",
        "broken case=none": "make broken knows WS and PYTHON, not case",
        "try UVICORM=0.31.0": "make try does not know UVICORM (UVICORN?); it knows UVICORN, SOURCE, CASE",
        "bisect SCRIPT=x": "make bisect does not know SCRIPT; it knows GOOD, BAD, CASE",
    }.items():
        done = make("-s", *words.split())
        first, *others = done.stderr.splitlines()  # make's own word may follow
        assert said in first
        assert (done.returncode != 0, done.stdout, len(others) < 2) == (True, "", True)


@pytest.mark.slow
@pytest.mark.parametrize("minor", MINORS)
def test_the_six_files_alone_do_all_of_it_on_every_python(minor: int, tmp_path: Path) -> None:
    """In a folder whose name has a space. A build that fails or is stopped leaves nothing."""
    try:
        python = Interpreter.find(f"3.{minor}").path
    except Unavailable:
        pytest.skip(f"no Python 3.{minor} here")
    folder = tmp_path / "six files"
    folder.mkdir()
    for name in SIX_FILES:
        shutil.copy(ROOT / name, folder)
    (tmp_path / "uv").write_text("#!/bin/sh\nfor last; do :; done; mkdir $last; kill $PPID\n")  # make's shell
    (tmp_path / "uv").chmod(0o755)
    fails = {"UV_CACHE_DIR": str(tmp_path / "cache"), "UV_DEFAULT_INDEX": NOWHERE, "UV_HTTP_RETRIES": "0"}
    for variables in (fails, {"PATH": f"{tmp_path}:{os.environ['PATH']}"}):
        assert make("broken", cwd=folder, **variables).returncode != 0
        assert not list((folder / ".environments").iterdir())
    makes = [make(f"PYTHON={python}", target, cwd=folder) for target in ("broken", "fixed")]
    assert [ended(done) for done in makes] == [SHOWN, OPEN]
    for fixed, status in (([], 1), (["--with", "uvicorn==0.19.0"], 0)):
        assert run("uv", "run", "-q", *fixed, "client.py", cwd=folder, UV_PYTHON=python).returncode == status
    shutil.copy(folder / "requirements-fixed.txt", folder / "requirements-broken.txt")
    wrong = make(f"PYTHON={python}", "broken", cwd=folder)  # built anew
    assert "make broken: that is not what an unchanged server.py shows" in wrong.stderr
    assert wrong.returncode != 0


def test_two_terminals_show_the_same_and_no_proxy_is_followed() -> None:
    proxies = [f"{name}=http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "all_proxy")]
    with clients.serving("server.py") as (port, log), clients.serving("cases/none.py") as (control, _):
        urls = [f"ws://127.0.0.1:{one}" for one in (port, port, control, control)]
        ways = zip(WEBSOCKETS * 2, urls, strict=True)
        done = [run(*before, "env", *proxies, "python", "client.py", url) for before, url in ways]
        unread = run("sh", "-c", f"python client.py {urls[2]} > /dev/full")
        logged = log.read_text()
    rejected = [(1, f"verdict: rejected - {words}") for words in (OLD_WORDS, NEW_WORDS)]
    assert [ended(one) for one in done] == [*rejected, OPEN, OPEN]
    assert unread.returncode == 125
    assert [RECEIVED.findall(one.stdout) for one in done] == [BOTH, BOTH, BOTH[:1], BOTH[:1]]
    assert all(re.search(r'(?m)^\{"type": "websocket", .*"raw_path": "/"', one.stdout) for one in done[2:])
    assert "event={'type': 'websocket.disconnect', 'code': 100" in logged
    assert "Traceback" not in logged


@pytest.mark.parametrize("answer", ANSWERS)
def test_any_answer_gets_its_verdict_and_no_redirect_is_followed(answer: bytes, tmp_path: Path) -> None:
    hasty = tmp_path / "client.py"
    hasty.write_text((ROOT / "client.py").read_text().replace('["ocpp2.0.1"], 10', '["ocpp2.0.1"], 1'))
    file = hasty if "within" in ANSWERS[answer] else "client.py"
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as listener:
        threading.Thread(target=listener.serve_forever, args=[0.01], daemon=True).start()
        url = f"ws://127.0.0.1:{listener.server_port}/{answer.hex()}"
        done = [run(*before, "python", file, url) for before in WEBSOCKETS]
        listener.shutdown()
    for one in done:
        status, last = ended(one)
        assert re.match(f"verdict: {ANSWERS[answer]}", last)
        assert status == Verdict[last.split()[1]].value
        assert ("Traceback" in one.stdout) == (status == 1)


def test_what_every_websockets_says_is_known() -> None:
    said = [row["reason"].split(": ", 1)[1] for row in clients.KEPT.read() if row["name"] == "websockets"]
    assert {judge(Exception(words))[0] for words in said} == {Verdict.rejected}  # type: ignore[no-untyped-call]


def test_a_crash_or_a_missing_piece_never_ends_with_the_status_of_a_verdict() -> None:
    dial = ("client.py", "ws://127.0.0.1:9")
    missing = "verdict: inconclusive - ModuleNotFoundError: No module named 'websockets'"
    assert ended(run("python", "-S", *dial)) == (125, missing)
    status, last = ended(run("python", *dial))
    assert (status, last.split(":")[1]) == (125, " inconclusive - ConnectionRefusedError")
    assert run("python", "client.py", "--nope").returncode == 2


@pytest.mark.parametrize("variables", ["TERM=xterm NO_COLOR=", "TERM=dumb NO_COLOR=", "TERM=xterm NO_COLOR=1"])
def test_colour_is_for_terminals_that_want_it(variables: str, capfd: pytest.CaptureFixture[str]) -> None:
    pty.spawn(["env", *variables.split(), "make", "-s", "broken"])
    assert ("\033[1;33m< sec-websocket-protocol" in capfd.readouterr().out) == (variables == "TERM=xterm NO_COLOR=")
