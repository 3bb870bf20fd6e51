"""One's own: any app, any script, any patch, judged on any uvicorn, and on no other."""

import difflib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import base
from harness.base import Base, Interpreter
from harness.index import Release
from harness.judge import Judge, Question

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
PORT = """
import socket, subprocess, sys, time
server = subprocess.Popen([sys.executable, "{root}/server.py", "--port", "{port}"], stderr=-3)
try:
    while server.poll() is None and socket.socket().connect_ex(("127.0.0.1", {port})):
        time.sleep(0.01)
    sys.exit(subprocess.call([sys.executable, "{root}/client.py", "ws://127.0.0.1:{port}"]))
finally:
    server.terminate()
    server.wait()
"""


def tried(line: str, *words: str, cwd: Path = ROOT, **variables: str) -> Done:
    where = [] if any(word.startswith(("UVICORN=", "SOURCE=")) for word in words) else ["UVICORN=0.20.0"]
    return harness("try", *where, f"RUN={line}", *words, cwd=cwd, **variables)


def verdict(done: Done) -> str:
    assert done.stdout, done.stderr
    return done.stdout.splitlines()[-1].removeprefix("verdict: ")


def a_patch(source: Source, file: Path, name: str, old: str, new: str) -> Path:
    before = (source("0.20.0") / name).read_text()
    assert old in before
    pair = before.splitlines(keepends=True), before.replace(old, new).splitlines(keepends=True)
    file.write_text("".join(difflib.unified_diff(*pair, f"a/{name}", f"b/{name}")))
    return file


# What surrounds it.


def test_beside_it_lies_what_a_fresh_install_brings_or_what_was_asked_for() -> None:
    line = "python -c 'import websockets, wsproto, h11, click; print(websockets.__version__)'"
    fresh = tried(line)
    newest = re.search(r"websockets==(\S+?),", fresh.stdout.splitlines()[0])
    assert newest and int(newest[1].split(".")[0]) > 10, fresh.stdout
    assert verdict(fresh) == f"open - status 0; {newest[1]}"
    assert verdict(tried(line, "WEBSOCKETS=10.4")) == "open - status 0; 10.4"
    assert verdict(tried(line, "WEBSOCKETS=none")).endswith("ModuleNotFoundError: No module named 'websockets'")
    assert tried(line, "WSPROTO=none").returncode == 1


@pytest.mark.parametrize(
    ("line", "words", "hint"),
    [
        ("python -c 'import websockets'", ["WEBSOCKETS=none"], "it may need another websockets: set WEBSOCKETS"),
        ("python -c 'import not_there.at_all'", [], "it lacks not_there: say WITH=not_there"),
        ("python -m not_there", [], "it lacks not_there: say WITH=not_there"),
    ],
)
def test_where_the_ends_lack_a_module_the_output_says_what_to_set(line: str, words: list[str], hint: str) -> None:
    done = harness("bisect", f"RUN={line}", *words)
    assert f"\n{hint}" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1


def test_a_plain_get_changes_nowhere() -> None:
    done = harness("bisect", "RUN=python tests/changes/plain_get.py")
    assert re.search(r"\n\n\S+ and \S+ are both open: no change was found", done.stdout), done.stdout + done.stderr


def surveyed(name: str, *words: str) -> list[tuple[str, str, str]]:
    """Every change that a survey of one of tests/changes prints: the two releases, and the verdict from there on."""
    needs = "WITH=asgiref typing-extensions click<8"  # so that the oldest releases fit too
    done = harness("survey", f"RUN=python tests/changes/{name}", needs, "ATONCE=2", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return [
        (last, first, {"bad": "rejected", "fixed": "open"}[kind]) for kind, first, last in FIRST.findall(done.stdout)
    ]


@pytest.mark.weekly
@pytest.mark.parametrize("name", CHANGES)
def test_a_survey_shows_every_change_there_was(name: str) -> None:
    assert surveyed(name) == [tuple(change) for change in CHANGES[name]["changes"]]


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("log_formatter.py", ["FROM=0.17.6", "TO=0.18.3"]),
        ("proxy_duplicates.py", ["FROM=0.46.0", "TO=2026-07-01"]),
        ("root_path.py", ["FROM=0.25.0", "TO=0.26.0"]),
    ],
)
def test_a_survey_between_two_ends_shows_the_changes_there(name: str, ends: list[str]) -> None:
    assert surveyed(name, *ends) == [tuple(change) for change in CHANGES[name]["changes"]]


# Which uvicorn runs.


@pytest.fixture(scope="module")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own virtual environment, with another uvicorn and pytest."""
    folder = tmp_path_factory.mktemp("rival") / "venv"
    subprocess.run(["uv", "venv", "-q", "--no-project", folder], check=True)
    install = ["uv", "pip", "install", "-q", "--python", str(folder), "uvicorn==0.15.0", "pytest"]
    subprocess.run(install, check=True)
    return folder


@pytest.fixture(params=[pytest.param("here", marks=pytest.mark.weekly), "in a long path with a space"])
def tool(request: pytest.FixtureRequest, tmp_path: Path, rival: Path) -> Callable[..., Done]:
    """The tool, with the rival active; also in a copy whose path is too long for the first line of a script."""
    project = ROOT if request.param == "here" else copy_of_the_project(tmp_path / ("it's é " + "long" * 40))
    active = {"VIRTUAL_ENV": str(rival), "PATH": f"{rival / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    return lambda *words: run(sys.executable, project / "harness", *words, cwd=tmp_path, **active)


def test_uvicorn_and_python_are_those_under_test(tool: Callable[..., Done], source: Source, tmp_path: Path) -> None:
    name = "uvicorn/__init__.py"
    patch = a_patch(source, tmp_path / "my.diff", name, '__version__ = "0.20.0"', '__version__ = "0.20.0+mine"')
    (tmp_path / "test_it.py").write_text("import uvicorn\ndef test_it():\n    assert uvicorn.__version__ == '0.19.0'\n")
    shutil.copytree(source("0.19.0") / "uvicorn", tmp_path / "checkout" / "uvicorn")
    line = "RUN=uvicorn --version && python -c 'import uvicorn; print(uvicorn.__version__)'"
    for words, version in (
        (["UVICORN=0.54.0"], "0.54.0"),
        (["SOURCE=checkout"], "0.19.0"),
        (["UVICORN=0.20.0", f"PATCH={patch}"], "0.20.0+mine"),
    ):
        done = tool("try", line, *words)
        assert verdict(done) == f"open - status 0; {version}"
        said = tmp_path.joinpath(re.findall(r"what it printed: (.*)/\n", done.stdout)[0])
        assert said.is_absolute() or not said.exists()
    ends = ["GOOD=0.19.0", "BAD=0.20.0"]
    bisected = tool("bisect", "WITH=pytest", "RUN=pytest -q test_it.py", *ends)
    assert "\nfirst bad: 0.20.0 (2022-11-20)\n" in bisected.stdout, bisected.stdout + bisected.stderr
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c"]
    checkout = tmp_path / "checkout"
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "Old"], ["tag", "0.19.0"]):
        subprocess.run([*git, *command], cwd=checkout, check=True)
    shutil.copytree(source("0.20.0") / "uvicorn", checkout / "uvicorn", dirs_exist_ok=True)
    for command in (["add", "."], ["commit", "-qm", "New"], ["tag", "0.20.0"]):
        subprocess.run([*git, *command], cwd=checkout, check=True)
    found = tool("bisect-commits", "RUN=uvicorn --version | grep 0.19.0", f"REPO={checkout}", *ends)
    assert "  New\n" in found.stdout, found.stdout + found.stderr


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


# What a script is.


@pytest.fixture(scope="module")
def own_base() -> Base:
    return base.of_own(Interpreter.named(), "", "", ())


@pytest.fixture
def judged(own_base: Base, releases: dict[str, Release]) -> Callable[[str], str]:
    """The last line on 0.20.0 for a line of the shell."""

    def last_line(line: str) -> str:
        with Judge(Question(own_base, line, line=line, limit=9)) as judging:
            return judging.release(releases["0.20.0"])[0].last_line.removeprefix("verdict: ")

    return last_line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cd harness && ls model.py", "open - status 0; model.py"),
        ("FOO='a b' python -c 'import os; print(os.environ[\"FOO\"])'", "open - status 0; a b"),
        ("echo $MINE | tr a-z A-Z", "open - status 0; $5 AND MORE"),
        ("true && false", "rejected - status 1"),
        ("exit 124", "rejected - status 124"),
        ("echo verdict: open; exit 125", "inconclusive - status 125; verdict: open"),
        ("exit 126", "inconclusive - status 126"),
        ("no-such-command", "inconclusive - status 127; "),
        ("exit 200", "inconclusive - status 200"),
        ("kill -9 $$", "inconclusive - signal 9"),
        ("kill -9 $PPID", "inconclusive - "),
        ("echo a >&2; echo verdict: rejected", "open - status 0; verdict: rejected"),
    ],
)
def test_a_script_is_a_line_for_the_shell_and_its_status_is_what_git_bisect_run_takes_it_for(
    line: str, expected: str, judged: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "$5 and more")
    monkeypatch.chdir(ROOT)
    assert judged(line).startswith(expected)


def test_what_cannot_be_started_is_said_once(tmp_path: Path) -> None:
    for line in ("no-such-command x", "pytest -q"):
        done = harness("bisect", f"RUN={line}", cwd=tmp_path)
        assert done.returncode == 125
        assert len(re.findall(r"  inconclusive  ", done.stdout)) <= 2, done.stdout
    done = harness("bisect", "RUN=python nosuch.py", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "RUN: there is no file nosuch.py\n")


def test_what_a_script_prints_is_kept_up_to_a_limit(judged: Callable[[str], str]) -> None:
    assert judged("yes | head -c 30000000; echo the end") == "open - status 0; the end"
    printed = list((ROOT / ".environments" / "runs").glob("yes-head-c-30000000*/0.20.0.txt"))
    assert 1000 < printed[0].stat().st_size <= 2 << 20


def test_a_full_disk_is_inconclusive(own_base: Base, releases: dict[str, Release]) -> None:
    with Judge(Question(own_base, "full", line="echo full; exit 1")) as judging:
        judging.printed.mkdir(parents=True, exist_ok=True)
        (judging.printed / "0.20.0.txt").symlink_to("/dev/full")
        trial = judging.release(releases["0.20.0"])[0]
        (judging.printed / "0.20.0.txt").unlink()
    assert trial.last_line.startswith("verdict: inconclusive - "), trial
    assert "No space left on device" in trial.reason


def test_scripts_run_one_at_a_time_but_where_more_are_asked_for(tmp_path: Path) -> None:
    line = "RUN=mkdir alone && sleep 0.3 && rmdir alone"
    for words, expected in (([], {"open"}), (["ATONCE=3"], {"open", "rejected"})):
        file = tmp_path / "result"
        done = harness("survey", line, "FROM=0.18.1", "TO=0.19.0", f"JSON={file}", *words, cwd=tmp_path)
        assert {one["verdict"] for one in json.loads(file.read_text())["trials"]} == expected, done.stdout


@pytest.mark.parametrize(
    "ends",
    [
        ["GOOD=0.18.3", "BAD=0.21.0"],
        pytest.param([], marks=pytest.mark.weekly),
        pytest.param(["GOOD=0.19.0", "BAD=0.54.0"], marks=pytest.mark.weekly),
    ],
)
def test_a_fixed_port_finds_what_the_case_finds(ends: list[str], tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    needs = (ROOT / "server.py").read_text().split('"""')[0]
    (tmp_path / "fixed.py").write_text(needs + PORT.format(root=ROOT, port=port))
    done = harness("bisect", "RUN=python fixed.py", *ends, cwd=tmp_path)
    assert "last good: 0.19.0 (2022-10-19)\nfirst bad: 0.20.0 (2022-11-20)\n" in done.stdout, done.stdout + done.stderr
    assert "; verdict: rejected - InvalidHandshake: multiple subprotocols: ocpp2.0.1" in done.stdout
    assert "websockets==10.4" in done.stdout.splitlines()[0]


# Where it runs, and what comes out.


def test_paths_are_those_of_the_folder_it_is_called_from_and_what_it_printed_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import sys, uvicorn\nprint('on', uvicorn.__version__)\nsys.exit(uvicorn.__version__ >= '0.19')\n"
    )
    done = harness("bisect", "RUN=python mine.py", "GOOD=0.18.0", "BAD=0.20.0", "JSON=found.json", cwd=tmp_path)
    assert "\nfirst bad: 0.19.0 (2022-10-19)\n" in done.stdout, done.stdout + done.stderr
    where = ROOT / re.findall(r"what it printed for each: (.*)/\n", done.stdout)[0]
    told = json.loads((tmp_path / "found.json").read_text())
    assert (told["verb"], told["asked"], told["first"]["uvicorn"]) == ("bisect", "RUN=python mine.py", "0.19.0")
    for one in told["trials"]:
        assert (where / f"{one['of']}.txt").read_text() == f"on {one['of']}\n"
        assert one["reason"] == f"status {int(one['verdict'] != 'open')}; on {one['of']}"
        assert re.search(rf"(?m)^{re.escape(one['of'])} .*  {re.escape(one['reason'])}$", done.stdout)


def test_another_python_runs_it() -> None:
    for request in ("3.12", "3.10"):
        try:
            other = Interpreter.named(request)
        except Exception:
            continue
        if other.version.startswith("{}.{}.".format(*sys.version_info)):
            continue
        done = tried("python -c 'import sys, uvicorn; print(sys.version)'", f"INTERPRETER={request}")
        assert verdict(done).startswith(f"open - status 0; {other.version} ")
        assert f"Python {other.version}, " in done.stdout.splitlines()[0]
        return
    pytest.skip("there is no other Python here")


# An app.


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("with spaces") / "my app"
    folder.mkdir()
    (folder / "server.py").write_text(MINE)
    (folder / "client.py").write_text("raise SystemExit('not this one')\n")
    return folder


def test_an_app_in_another_folder_is_bisected_as_its_case_is(mine: Path) -> None:
    asked = ["APP=server.py", "WITH=starlette", "WEBSOCKETS=10.4", "URLPATH=/ws/1?twice=yes", "BAD=0.18.0"]
    done = harness("bisect", *asked, cwd=mine)
    assert "last good: 0.16.0 (2021-12-08)\nfirst bad: 0.17.0.post1 (2022-01-24)\n" in done.stdout, done.stderr


def test_a_module_is_found_from_the_current_folder_and_headers_are_uvicorns(mine: Path) -> None:
    asked = ["APP=server:app", "WITH=starlette", "URLPATH=/ws/1", "OFFER=a, ocpp1.6"]
    plain = harness("try", "UVICORN=0.20.0", *asked, cwd=mine)
    assert verdict(plain) == "open"
    twice = harness("try", "UVICORN=0.20.0", *asked, "HEADER=Sec-WebSocket-Protocol: x\nX-More: y", cwd=mine)
    assert twice.returncode == 1
    assert re.search(r"(?mi)^< sec-websocket-protocol: x   <-- from headers=", twice.stdout)
    assert re.search(r"(?mi)^< x-more: y$", twice.stdout)
