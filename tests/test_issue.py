"""The report: the parts of uvicorn's issue form in order, measured, and nothing in it of the machine that measured."""

import getpass
import re
import socket
import sys
from pathlib import Path

import pytest

from harness import issue, shelf
from harness.shelf import Setting

from .conftest import ROOT, Done, harness, run

APP = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
"""


@pytest.fixture(scope="module")
def done() -> Done:
    assert harness("bisect", "--good", "0.19.0", "--bad", "0.20.0").returncode == 0
    return harness("report")


def test_its_parts_stand_in_the_order_of_the_forms_fields(done: Done) -> None:
    parts = re.findall(r"^###? .*|^<summary>.*|<summary>[^<]*", done.stdout, re.MULTILINE)
    assert list(dict.fromkeys(part.removeprefix("<summary>") for part in parts)) == [
        *("### Initial Checks", "### Discussion Link", "### Description", "### Example Code"),
        *("### Python, Uvicorn & OS Version", "pip freeze", "Traceback", "Both handshakes"),
        *("Bisected", "A proposal, proven by `make upstream`"),
    ]
    assert done.stdout.startswith("# Sec-WebSocket-Protocol is sent twice")
    assert done.stdout.count("- [x] ") == 2
    assert "Rejected since 0.20.0, by https://github.com/Kludex/uvicorn/pull/1606" in done.stdout
    assert "\nRunning uvicorn 0.20.0 with CPython 3." in done.stdout
    assert "\n+< sec-websocket-protocol: ocpp2.0.1, ocpp2.0, ocpp1.6\n" in done.stdout
    assert "\nfirst bad: 0.20.0 (2022-11-20)\n" in done.stdout
    assert done.stderr == ""


def test_its_example_alone_shows_the_failure(done: Done, tmp_path: Path) -> None:
    (tmp_path / "repro.py").write_text(done.stdout.split("```python\n")[1].split("```")[0])
    python = shelf.base(Setting(shelf.pins(), shelf.interpreter())) / "bin" / "python"
    shown = run(python, tmp_path / "repro.py", cwd=tmp_path, PYTHONPATH=str(shelf.release("0.20.0")))
    assert shown.returncode == 1
    assert shown.stdout.endswith("It names several subprotocols, and may name one.\n")


def test_it_holds_nothing_of_this_machine(done: Done) -> None:
    for private in (str(ROOT), str(Path.home()) + "/", socket.gethostname(), f"/{getpass.getuser()}/", sys.prefix):
        assert private not in done.stdout


def test_it_measures_what_it_says() -> None:
    text = harness("report", "--ws", "wsproto", "--case", "none").stdout
    assert text.count("the handshake opens") == 2
    assert "### Example Code" in text
    assert harness("report", "--ws", "websockets-sansio").returncode == 2


def test_what_other_servers_do_is_told_where_it_matters() -> None:
    assert (
        "| hypercorn "
        in harness("report", "--case", "accept-headers", "--broken", "0.17.1", "--fixed", "0.16.0").stdout
    )


def test_ones_own_app_is_the_example(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(APP)
    asked = ["--app", "mine.py", "--header", "Sec-WebSocket-Protocol: x`y<b>"]
    text = harness("report", *asked, cwd=tmp_path).stdout
    assert f"```python\n{APP.rstrip()}\n```" in text
    assert str(tmp_path) not in text


def test_text_of_others_cannot_break_out() -> None:
    hostile = "a``````b\n<script>\x1b[2J\u202e\n" + "x" * 10**6
    block = issue.fenced(hostile, "text")
    fence = block.split("text")[0]
    assert len(fence) == 7
    assert block.count(fence) == 2
    assert "\x1b" not in block
    assert max(map(len, block.splitlines())) <= issue.LINE
    assert issue.inline("`<b>`\n@all") == "`\u02bc<b>\u02bc @all`"


def test_a_traceback_keeps_no_path_of_a_machine() -> None:
    lines = 'File "/home/me/x/site-packages/h11/_a.py", line 1\n  File "/home/me/app.py", line 2'
    assert issue.public(lines) == 'File "site-packages/h11/_a.py", line 1\n  File "app.py", line 2'
