"""A script of one's own: what its line, its status, its folder and its output mean."""

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base import Interpreter, of_own
from harness.index import Release
from harness.judge import Judge
from harness.model import Verdict

from .conftest import ROOT, harness

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


@pytest.fixture
def judge(judging: Callable[..., Judge]) -> Callable[[str], Judge]:
    own = of_own(Interpreter.named(), "", "", ())
    return lambda line: judging(base=own, line=line, limit=9)


@pytest.fixture
def release(releases: dict[str, Release]) -> Release:
    return releases["0.20.0"]


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
    line: str, expected: str, judge: Callable[[str], Judge], release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "$5 and more")
    monkeypatch.chdir(ROOT)
    with judge(line) as judging:
        assert judging.release(release)[0].last_line.startswith(f"verdict: {expected}")


def test_what_a_script_prints_is_kept_up_to_a_limit(judge: Callable[[str], Judge], release: Release) -> None:
    with judge("yes | head -c 30000000; echo the end") as judging:
        assert judging.release(release)[0].last_line == "verdict: open - status 0; the end"
        assert 1000 < (judging.printed / "0.20.0.txt").stat().st_size <= 2 << 20


def test_a_full_disk_is_inconclusive(judge: Callable[[str], Judge], release: Release) -> None:
    with judge("echo full; exit 1") as judging:
        judging.printed.mkdir(parents=True)
        (judging.printed / "0.20.0.txt").symlink_to("/dev/full")
        [trial] = judging.release(release)
        (judging.printed / "0.20.0.txt").unlink()
    assert (trial.verdict, "No space left on device" in trial.reason) == (Verdict.inconclusive, True)


def test_what_cannot_be_started_is_said_once(tmp_path: Path) -> None:
    for line in ("no-such-command x", "pytest -q"):
        done = harness("bisect", f"RUN={line}", cwd=tmp_path)
        assert (done.returncode, done.stdout.count("  inconclusive  ")) == (125, 2), done.stdout
    done = harness("bisect", "RUN=python nosuch.py", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "RUN: there is no file nosuch.py\n")


def test_scripts_run_one_at_a_time_but_where_more_are_asked_for(tmp_path: Path) -> None:
    line = "RUN=mkdir alone && sleep 0.3 && rmdir alone"
    for words, expected in (([], {"open"}), (["ATONCE=3"], {"open", "rejected"})):
        file = tmp_path / "result"
        done = harness("survey", line, "FROM=0.18.1", "TO=0.19.0", f"JSON={file}", *words, cwd=tmp_path)
        trials = json.loads(file.read_text())["trials"]
        assert [one["of"] for one in trials] == ["0.18.1", "0.18.2", "0.18.3", "0.19.0"], done.stdout
        assert {one["verdict"] for one in trials} == expected


@pytest.mark.parametrize("ends", [["GOOD=0.18.3", "BAD=0.21.0"], pytest.param([], marks=pytest.mark.weekly)])
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


def test_paths_are_those_of_the_folder_it_is_called_from_and_what_it_printed_is_kept(tmp_path: Path) -> None:
    script = "import sys, uvicorn\nprint('on', uvicorn.__version__)\nsys.exit(uvicorn.__version__ >= '0.19')\n"
    (tmp_path / "mine.py").write_text(script)
    done = harness("bisect", "RUN=python mine.py", "GOOD=0.18.0", "BAD=0.20.0", "JSON=found.json", cwd=tmp_path)
    assert "\nfirst bad: 0.19.0 (2022-10-19)\n" in done.stdout, done.stdout + done.stderr
    where = ROOT / re.findall(r"what it printed for each: (.*)/\n", done.stdout)[0]
    told = json.loads((tmp_path / "found.json").read_text())
    assert (told["verb"], told["asked"], told["first"]["uvicorn"]) == ("bisect", "RUN=python mine.py", "0.19.0")
    for one in told["trials"]:
        assert (where / f"{one['of']}.txt").read_text() == f"on {one['of']}\n"
        assert one["reason"] == f"status {int(one['verdict'] != 'open')}; on {one['of']}"
        assert re.search(rf"(?m)^{re.escape(one['of'])} .*  {re.escape(one['reason'])}$", done.stdout)
