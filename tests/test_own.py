"""One's own: any app, any command, any patch, judged on any uvicorn."""

import difflib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import ROOT

MINE = """
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket


async def endpoint(websocket: WebSocket) -> None:
    offered = websocket.scope["subprotocols"]
    headers = [(b"sec-websocket-protocol", b"ocpp2.0.1, ocpp1.6")] if websocket.query_params.get("twice") else []
    await websocket.accept(subprotocol=offered[0], headers=headers)
    await websocket.receive_text()


app = Starlette(routes=[WebSocketRoute("/ws/{number}", endpoint)])
"""
OCPP = "from ocpp_asgi.app import ASGIApplication\n\napp = ASGIApplication()\n"
ON_THE_LOOP = "import uvicorn\n\nuvicorn.Config(None).setup_event_loop()\n"
ON_YAML = """
# /// script
# dependencies = ["uvicorn==0.13.0", "tomli-w"]
# ///
import sys
import tempfile

import tomli_w
import uvicorn

with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
    try:
        uvicorn.Config(None, log_config=file.name)
    except ImportError as error:
        print(error)
        sys.exit("PyYAML" not in str(error))
sys.exit(125)
"""
LINE = re.compile(r"^(\S+) +\d{4}-\d\d-\d\d  (open|rejected|inconclusive) ", re.MULTILINE)


def harness(*arguments: str | Path, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, env=variables)


def try_command(command: str, *more: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    return harness("try", "--uvicorn", "0.20.0", "--run", command, *more, cwd=cwd)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("with spaces") / "my app"
    folder.mkdir()
    (folder / "server.py").write_text(MINE)
    (folder / "client.py").write_text("raise SystemExit('not this one')\n")
    return folder


def test_an_app_in_another_folder_is_bisected_as_the_survey_says_of_its_case(mine: Path) -> None:
    asked = ["--app", str(mine / "server.py:app"), "--with", "starlette", "--path", "/ws/1?twice=yes"]
    result = harness("bisect", *asked, "--good", "0.14.0", "--bad", "0.18.0")
    assert "last good: 0.16.0 (2021-12-08)\nfirst bad: 0.17.0.post1 (2022-01-24)\n" in result.stdout, result.stderr
    assert "\nwhat changed: https://github.com/Kludex/uvicorn/compare/0.16.0...0.17.0.post1\n" in result.stdout
    assert "\nrelease notes: https://github.com/Kludex/uvicorn/releases/tag/0.17.0.post1\n" in result.stdout


def test_an_app_that_does_not_send_the_header_opens_without_a_message(mine: Path) -> None:
    asked = ["--app", "server.py", "--with", "starlette", "--path", "/ws/1", "--offer", "a,ocpp1.6"]
    result = harness("try", "--uvicorn", "0.20.0", *asked, cwd=mine)
    assert result.stdout.splitlines()[-1] == "verdict: open", result.stdout + result.stderr
    assert "'subprotocols': ['a', 'ocpp1.6']" in result.stdout


def test_a_module_is_found_from_the_current_folder_and_headers_are_uvicorns(mine: Path) -> None:
    asked = ["--app", "server:app", "--with", "starlette", "--path", "/ws/1", "--header", "Sec-WebSocket-Protocol: x"]
    assert harness("try", "--uvicorn", "0.19.0", *asked, cwd=mine).returncode == 0
    result = harness("try", "--uvicorn", "0.20.0", *asked, "--header", "X-More: y", cwd=mine)
    assert result.returncode == 1
    assert "< sec-websocket-protocol: x   <-- from headers= in uvicorn.Config" in result.stdout
    assert "< x-more: y" in result.stdout


@pytest.mark.slow
def test_for_the_reporters_library_before_0_4_0_the_same_release_is_a_fix(tmp_path: Path) -> None:
    """That it is the first bad one for 0.4.0 is a command of the README."""
    (tmp_path / "central.py").write_text(OCPP)
    asked = ["--app", "central.py", "--header", "Sec-WebSocket-Protocol: ocpp1.6", "--offer", "ocpp1.6"]
    needs = ["--with", "ocpp-asgi==0.3.0 jsonschema<4.18", "--case", "header-alone", "--find", "fix", "--bad", "0.21.0"]
    fixed = harness("bisect", *asked, *needs, cwd=tmp_path)
    assert "last bad: 0.19.0 (2022-10-19)\nfirst fixed: 0.20.0 (2022-11-20)\n" in fixed.stdout, fixed.stderr


@pytest.mark.parametrize(("offer", "status"), [("mqtt,ocpp1.6", 0), ("mqtt", 125)])
def test_the_readmes_mended_app_picks_what_it_speaks(offer: str, status: int) -> None:
    asked = ["--app", "tests/apps/chat.py:mended", "--with", "fastapi", "--path", "/ws", "--offer", offer]
    done = harness("try", "--uvicorn", "0.20.0", *asked)
    assert done.returncode == status, done.stdout


def test_where_the_app_rules_out_a_pin_the_output_says_what_ran(mine: Path) -> None:
    asked = ["--app", str(mine / "server.py"), "--with", "starlette click>=8", "--path", "/ws/1"]
    result = harness("try", "--uvicorn", "0.20.0", *asked)
    assert result.returncode == 0, result.stdout
    assert re.search(r"^in place of a pin, which something else rules out: click==8\.", result.stdout, re.MULTILINE)
    assert "websockets 10.4, wsproto 1.2.0" in result.stdout


def test_an_app_that_cannot_be_imported_or_started_says_why(tmp_path: Path) -> None:
    for text, reason in (
        ("import starlette_is_not_here\n", "importing mine.py:app failed: ModuleNotFoundError"),
        ("raise SystemExit(0)\n", "importing mine.py:app failed: SystemExit: 0"),
        ("other = 1\n", "importing mine.py:app failed: AttributeError"),
        (
            "async def app(scope, receive, send):\n    raise OSError('no database')\n",
            "the server logged OSError: no database",
        ),
    ):
        (tmp_path / "mine.py").write_text(text)
        result = harness("try", "--uvicorn", "0.20.0", "--app", "mine.py", cwd=tmp_path)
        assert result.returncode == 125
        assert reason in result.stdout.splitlines()[-1]


def test_the_lifespan_of_an_app_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "ready = []\n"
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    if scope['type'] == 'lifespan':\n"
        "        ready.append(1)\n"
        "        await send({'type': 'lifespan.startup.complete'})\n"
        "        await receive()\n"
        "        return await send({'type': 'lifespan.shutdown.complete'})\n"
        "    assert ready\n"
        "    await send({'type': 'websocket.accept', 'subprotocol': 'ocpp2.0.1'})\n"
    )
    for version in ("0.19.0", "0.54.0"):
        result = harness("try", "--uvicorn", version, "--app", "mine.py", cwd=tmp_path)
        assert result.stdout.splitlines()[-1] == "verdict: open", result.stdout


def test_a_script_that_knows_nothing_of_this_finds_a_break_and_a_fix(tmp_path: Path) -> None:
    """0.36.0, "Support custom IOLOOPs (#2435)", took `Config.setup_event_loop()` away, as 0.36.1 says; 0.45.0:
    "Raise helpful `ImportError` when PyYAML is missing for YAML log config (#2906)"."""
    (tmp_path / "loop.py").write_text(ON_THE_LOOP)
    result = harness("bisect", "--run", "python loop.py", cwd=tmp_path)
    assert "last good: 0.35.0 (2025-06-28)\nfirst bad: 0.36.0 (2025-09-20)\n" in result.stdout, result.stderr
    printed = (ROOT / ".environments" / "runs" / "0.36.0.txt").read_text()
    assert "AttributeError" in printed
    (tmp_path / "log.py").write_text(ON_YAML)
    result = harness("bisect", "--run", "python -I log.py", "--find", "fix", cwd=tmp_path)
    assert "last bad: 0.44.0 (2026-04-06)\nfirst fixed: 0.45.0 (2026-04-21)\n" in result.stdout, result.stderr


@pytest.mark.parametrize(
    ("command", "status", "last"),
    [
        ("sh -c 'kill -9 $$'", 125, "inconclusive - signal 9"),
        ("sh -c 'exit 3'", 1, "rejected - status 3"),
        ("sh -c 'exit 127'", 1, "rejected - status 127"),
        ("sh -c 'exit 200'", 125, "inconclusive - status 200"),
        ("sh -c 'echo verdict: open; exit 125'", 125, "inconclusive - status 125; verdict: open"),
        ("sh -c 'echo verdict: rejected >&2'", 0, "open - status 0; verdict: rejected"),
        ("echo $HOME `true` && false", 0, "open - status 0; $HOME `true` && false"),
        ("no-such-command", 125, "inconclusive - cannot run no-such-command: it is not there"),
        ("uvicorn --version", 0, "open - status 0; Running uvicorn 0.20.0 with"),
    ],
)
def test_a_commands_status_is_what_git_bisect_run_takes_it_for(command: str, status: int, last: str) -> None:
    result = try_command(command)
    assert result.stdout.splitlines()[-1].startswith(f"verdict: {last}")
    assert result.returncode == status


def test_a_command_that_hangs_or_leaves_a_child_behind_leaves_nothing_running(tmp_path: Path) -> None:
    for command in ("sh -c 'sleep 61.25 & sleep 61.25'", "sh -c 'setsid sleep 61.25 & exit 0'"):
        begun = time.monotonic()
        result = try_command(command, "--limit", "0.5")
        assert result.stdout.startswith(("verdict: inconclusive - it did not end within 0.5 s", "verdict: open"))
        assert time.monotonic() - begun < 30
        found = subprocess.run(["pgrep", "-f", "^sleep 61.25$"], capture_output=True, text=True).stdout
        assert found == ""


def make_patch(folder: Path, old: str, new: str) -> Path:
    name = "uvicorn/protocols/websockets/websockets_impl.py"
    harness("try", "--uvicorn", "0.20.0")
    before = (ROOT / ".environments" / "uvicorn" / "0.20.0" / name).read_text()
    assert old in before
    pair = before.splitlines(keepends=True), before.replace(old, new).splitlines(keepends=True)
    (folder / "mine.diff").write_text("".join(difflib.unified_diff(*pair, f"a/{name}", f"b/{name}")))
    return folder / "mine.diff"


def test_a_patched_copy_is_judged_and_never_half_of_a_patch(tmp_path: Path) -> None:
    patch = make_patch(tmp_path, "in server_state.default_headers", "in []")
    shelf = ROOT / ".environments" / "uvicorn"
    assert harness("try", "--uvicorn", "0.20.0", "--patch", patch).stdout.endswith("verdict: open\n")
    assert harness("try", "--source", shelf / "0.20.0", "--patch", patch).stdout.endswith("verdict: open\n")
    assert harness("try", "--uvicorn", "0.20.0").returncode == 1
    harness("try", "--uvicorn", "0.18.0")
    for which in (["--uvicorn", "0.18.0"], ["--source", shelf / "0.18.0"]):
        refused = harness("try", *which, "--patch", patch)
        assert refused.returncode == 125
        assert "verdict: inconclusive - the patch does not apply: error: patch failed: uvicorn/" in refused.stdout
    (tmp_path / "nothing.diff").write_text(
        "diff --git a/docs/x.md b/docs/x.md\n--- a/docs/x.md\n+++ b/docs/x.md\n@@ -1 +1 @@\n-a\n+b\n"
    )
    nothing = harness("try", "--uvicorn", "0.20.0", "--patch", tmp_path / "nothing.diff")
    assert nothing.stdout.splitlines()[-1] == "verdict: inconclusive - the patch changes nothing in uvicorn/"


def test_with_a_patch_a_bisect_asks_about_every_release_that_takes_it(tmp_path: Path) -> None:
    patch = make_patch(tmp_path, "in server_state.default_headers", "in []")
    result = harness("bisect", "--patch", patch, "--good", "0.19.0", "--bad", "0.21.0")
    assert next(word for _, word in LINE.findall(result.stdout)) == "inconclusive"
    assert "0.21.0 is open, not rejected" in result.stderr


def test_runs_that_do_not_agree_are_inconclusive(tmp_path: Path) -> None:
    count = tmp_path / "count"
    (tmp_path / "flaky.py").write_text(
        f"from pathlib import Path\nfile = Path({str(count)!r})\nn = len(file.read_text()) if file.exists() else 0\n"
        "file.write_text('x' * (n + 1))\nraise SystemExit(n in (1, 3))\n"
    )
    result = try_command("python flaky.py", "--runs", "5", cwd=tmp_path)
    assert result.stdout == "verdict: inconclusive - 3 of 5 open\n"
    assert count.read_text() == "xxxxx"
    assert harness("try", "--uvicorn", "0.20.0", "--runs", "3").returncode == 1


def test_the_result_for_machines_says_what_was_asked_and_found(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    result = harness("bisect", "--good", "2022-10-31", "--bad", "2022-12-31", "--json", file)
    assert result.returncode == 0, result.stderr
    found = json.loads(file.read_text())
    assert found["last"] == {"uvicorn": "0.19.0", "released": "2022-10-19"}
    assert found["first"] == {"uvicorn": "0.20.0", "released": "2022-11-20"}
    assert {one["of"]: one["verdict"] for one in found["trials"]} == {"0.19.0": "open", "0.20.0": "rejected"}
    assert found["pins"][0] == "websockets==10.4"
    assert set(found) == set(json.loads((ROOT / "evidence" / "result.schema.json").read_text())["properties"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--app", "nosuch.py:app"], "there is no file nosuch.py"),
        (["--app", "a b:app"], "is no app, such as"),
        (["--app", "m", "--case", "none"], "--app goes with --case header-alone"),
        (["--app", "m", "--path", "ws\nx"], "is no path of a URL"),
        (["--app", "m", "--header", "no colon"], "is no header, such as"),
        (["--app", "m", "--header", "A: b\r\nC: d"], "is no header, such as"),
        (["--app", "m", "--offer", "a b"], "are no subprotocols"),
        (["--app", "m", "--with=--index-url=http://127.0.0.1:9"], "such as fastapi"),
        (["--app", "m", "--requirements", "nosuch.txt"], "there is no file nosuch.txt"),
        (["--offer", "a"], "--offer go with --app"),
        (["--with", "a"], "go with --app or --run"),
        (["--run", "true", "--case", "none"], "--run goes without"),
        (["--patch", "nosuch.diff"], "there is no file nosuch.diff"),
        (["--runs", "0"], "above zero"),
        (["--run", "true", "--limit", "-1"], "above zero"),
        (["--run", "sh -c 'x"], "No closing quotation"),
        (["--uvicorn", "../../x"], "is no version"),
        (["--websockets", "../../../x"], "is no version"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_meant_is_one_line_and_status_2(arguments: list[str], words: str) -> None:
    result = harness("try", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
