"""One's own: any app, any script, any patch, judged beside what it needs, on any uvicorn, and on no other."""

import contextlib
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base import Interpreter
from harness.model import Trial
from harness.place import Unavailable
from harness.showing import hint

from .conftest import ROOT, Done, copy_of_the_project, harness, run

Source = Callable[[str], Path]
CHANGES = json.loads((ROOT / "tests" / "changes" / "expected.json").read_text())
FIRST = re.compile(r"(?m)^first (bad|fixed): (\S+) \([\d-]+\), \S+/compare/(\S+)\.\.\.\2$")
MINE = """
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

async def endpoint(websocket):
    offered = websocket.scope["subprotocols"]
    headers = [(b"sec-websocket-protocol", b"ocpp2.0.1, ocpp1.6")] if websocket.query_params.get("twice") else []
    await websocket.accept(subprotocol=offered[0], headers=headers)
    await websocket.receive_text()

app = Starlette(routes=[WebSocketRoute("/ws/{number}", endpoint)])
"""


def tried(line: str, *words: str) -> Done:
    return harness("try", "UVICORN=0.20.0", f"RUN={line}", *words)


def verdict(done: Done) -> str:
    assert done.stdout, done.stderr
    return done.stdout.splitlines()[-1].removeprefix("verdict: ")


# What surrounds it.


def test_beside_it_lies_what_a_fresh_install_brings_or_what_was_asked_for() -> None:
    line = "python -c 'import websockets, wsproto, h11, click; print(websockets.__version__)'"
    fresh = tried(line)
    newest = re.search(r"websockets==(\S+?),", fresh.stdout.splitlines()[0])
    assert newest and int(newest[1].split(".")[0]) > 10, fresh.stdout
    assert verdict(fresh) == f"open - status 0; {newest[1]}"
    assert verdict(tried(line, "WEBSOCKETS=10.4")) == "open - status 0; 10.4"
    assert verdict(tried(line, "WSPROTO=none")).endswith("ModuleNotFoundError: No module named 'wsproto'")


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("ModuleNotFoundError: No module named 'not_there.at_all'", "; it lacks not_there: say WITH=not_there, "),
        ("/usr/bin/python: No module named not_there", "; it lacks not_there: say WITH=not_there, "),
        ("ImportError: cannot import name 'a' from 'websockets.b'", "; it may need another websockets: set WEBSOCKETS"),
        ("AttributeError: module 'click' has no attribute 'b'", "; it lacks click: say WITH=click, "),
        ("ImportError: cannot import name 'a' from 'uvicorn.b'", ""),
        ("InvalidStatusCode: server rejected WebSocket connection: HTTP 403", "; the app is dialed at URLPATH="),
        ("no subprotocol was agreed", "; NONE=rejected takes that for rejected"),
    ],
)
def test_what_to_set_is_said_by_the_reason(reason: str, said: str) -> None:
    told = hint(Trial("", reason=reason))
    assert told.startswith(said) if said else not told


def test_where_the_ends_lack_a_module_the_output_says_what_to_set() -> None:
    done = harness("bisect", "RUN=python -c 'import websockets'", "WEBSOCKETS=none")
    assert "\nit may need another websockets: set WEBSOCKETS" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1


def test_a_plain_get_changes_nowhere() -> None:
    done = harness("bisect", "RUN=python tests/changes/plain_get.py")
    assert re.search(r"\n\n\S+ and \S+ are both open: no change was found", done.stdout), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        *(pytest.param(name, [], marks=pytest.mark.weekly) for name in CHANGES),
        ("log_formatter.py", ["FROM=0.17.6", "TO=0.18.3"]),
        ("proxy_duplicates.py", ["FROM=0.46.0", "TO=2026-07-01"]),
    ],
)
def test_a_survey_shows_every_change_there_was(name: str, ends: list[str]) -> None:
    needs = "WITH=asgiref typing-extensions click<8"  # so that the oldest releases fit too
    done = harness("survey", f"RUN=python tests/changes/{name}", needs, "ATONCE=2", *ends)
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = {"bad": "rejected", "fixed": "open"}
    found = [[last, first, verdicts[kind]] for kind, first, last in FIRST.findall(done.stdout)]
    assert found == CHANGES[name]["changes"]


# Which uvicorn runs.


@pytest.fixture(scope="module")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own virtual environment, with another uvicorn and pytest."""
    folder = tmp_path_factory.mktemp("rival") / "venv"
    subprocess.run(["uv", "venv", "-q", "--no-project", folder], check=True)
    subprocess.run(["uv", "pip", "install", "-q", "--python", folder, "uvicorn==0.15.0", "pytest"], check=True)
    return folder


@pytest.fixture(params=[pytest.param("here", marks=pytest.mark.weekly), "in a long path with a space"])
def tool(request: pytest.FixtureRequest, tmp_path: Path, rival: Path) -> Callable[..., Done]:
    """The tool, with the rival active; also in a copy whose path is too long for the first line of a script."""
    project = ROOT if request.param == "here" else copy_of_the_project(tmp_path / ("it's é " + "long" * 40))
    active = {"VIRTUAL_ENV": str(rival), "PATH": f"{rival / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    return lambda *words: run(sys.executable, project / "harness", *words, cwd=tmp_path, **active)


def test_uvicorn_and_python_are_those_under_test(tool: Callable[..., Done], source: Source, tmp_path: Path) -> None:
    name, checkout, ends = "uvicorn/__init__.py", tmp_path / "checkout", ["GOOD=0.19.0", "BAD=0.20.0"]
    before = (source("0.20.0") / name).read_text().splitlines(keepends=True)
    after = [line.replace("0.20.0", "0.20.0+mine") for line in before]
    (tmp_path / "my.diff").write_text("".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}")))
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q", checkout], check=True)
    for version in ("0.19.0", "0.20.0"):
        # With the time of now: to git, a file of the same size and time is the same.
        shutil.copytree(source(version), checkout, copy_function=shutil.copyfile, dirs_exist_ok=True)
        for command in (["add", "uvicorn"], ["commit", "-qm", f"To {version}"], ["tag", version]):
            subprocess.run([*git, *command], cwd=checkout, check=True)
    line = "RUN=uvicorn --version && python -c 'import uvicorn; print(uvicorn.__version__)'"
    for words, version in (
        (["UVICORN=0.54.0"], "0.54.0"),
        (["SOURCE=checkout"], "0.20.0"),
        (["UVICORN=0.20.0", "PATCH=my.diff"], "0.20.0+mine"),
    ):
        assert verdict(tool("try", line, *words)) == f"open - status 0; {version}"
    (tmp_path / "test_it.py").write_text("import uvicorn\ndef test_it():\n    assert uvicorn.__version__ == '0.19.0'\n")
    bisected = tool("bisect", "WITH=pytest", "RUN=pytest -q test_it.py", *ends)
    assert "\nfirst bad: 0.20.0 (2022-11-20)\n" in bisected.stdout, bisected.stdout + bisected.stderr
    found = tool("bisect-commits", "RUN=uvicorn --version | grep 0.19.0", f"REPO={checkout}", *ends)
    assert "  To 0.20.0\n" in found.stdout, found.stdout + found.stderr


def test_another_environments_uvicorn_is_refused(tool: Callable[..., Done], rival: Path, source: Source) -> None:
    elsewhere = source("0.19.0")
    for line, reason in (
        ("pytest -q", "pytest here is of another Python than the uvicorn under test: say WITH=pytest"),
        (f"{rival}/bin/python -c 'import uvicorn'", "it imported another uvicorn, "),
        (f"{rival}/bin/uvicorn --version", "it imported another uvicorn, "),
        (f"cd {elsewhere} && python -c 'import uvicorn'", "it imported another uvicorn, "),
        (f"PYTHONPATH={elsewhere}:$PYTHONPATH python -c 'import uvicorn'", "it imported another uvicorn, "),
    ):
        done = tool("try", "UVICORN=0.20.0", f"RUN={line}")
        assert (done.returncode, reason in verdict(done)) == (125, True), done.stdout + done.stderr


def test_where_path_cannot_hold_the_project_nothing_is_judged(tmp_path: Path) -> None:
    done = run(sys.executable, copy_of_the_project(tmp_path / "a:b") / "harness", "try", "UVICORN=0.20.0", "RUN=true")
    assert (done.returncode, verdict(done).startswith("inconclusive - PATH cannot hold ")) == (125, True)


def test_another_python_runs_it() -> None:
    for other in {"3.10", "3.11", "3.12", "3.13"} - {"{}.{}".format(*sys.version_info)}:
        with contextlib.suppress(Unavailable):
            version = Interpreter.named(other).version
            done = tried("python -c 'import sys, uvicorn; print(sys.version)'", f"INTERPRETER={other}")
            assert verdict(done).startswith(f"open - status 0; {version} ")
            assert f"Python {version}, " in done.stdout.splitlines()[0]
            return
    pytest.skip("there is no other Python here")


# An app.


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "my app"
    folder.mkdir()
    (folder / "server.py").write_text(MINE)
    (folder / "client.py").write_text("raise SystemExit('not this one')\n")
    return folder


def test_an_app_in_another_folder_is_bisected_as_its_case_is(mine: Path) -> None:
    asked = ["APP=server.py", "WITH=starlette", "WEBSOCKETS=10.4", "URLPATH=/ws/1?twice=yes", "BAD=0.18.0"]
    done = harness("bisect", *asked, cwd=mine)
    assert "last good: 0.16.0 (2021-12-08)\nfirst bad: 0.17.0.post1 (2022-01-24)\n" in done.stdout, done.stderr


def test_a_module_is_found_from_the_current_folder_and_headers_are_uvicorns(mine: Path) -> None:
    asked = ["UVICORN=0.20.0", "APP=server:app", "WITH=starlette", "URLPATH=/ws/1", "OFFER=a, ocpp1.6"]
    assert verdict(harness("try", *asked, cwd=mine)) == "open"
    twice = harness("try", *asked, "HEADER=Sec-WebSocket-Protocol: x\nX-More: y", cwd=mine)
    assert twice.returncode == 1
    assert re.search(r"(?mi)^< sec-websocket-protocol: x   <-- from headers=", twice.stdout)
    assert re.search(r"(?mi)^< x-more: y$", twice.stdout)
