"""A script of one's own: what its line, its status, its folder and its output mean, and what it leaves behind."""

import json
import re
import socket
import time
from pathlib import Path

import pytest

from harness.index import Release

from .conftest import ROOT, Judging, harness
from .test_forks import left, running

TOLD = "import os; print(os.path.exists('model.py'), os.environ['FOO'], os.environ['MINE'])"
CONNECT = "import socket; socket.create_connection(('127.0.0.1', PORT))"
FIXED_PORT = f"""
python {ROOT}/server.py --port PORT 2>/dev/null & trap "kill $!" EXIT
until python -c "{CONNECT}" 2>/dev/null; do kill -0 $! || exit 125; done
python {ROOT}/client.py ws://127.0.0.1:PORT"""


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        (f"cd harness && FOO='a b' python -c \"{TOLD}\" | tr a-z A-Z", "open - status 0; TRUE A B $5 AND MORE"),
        ("echo a >&2; echo verdict: rejected", "open - status 0; verdict: rejected"),
        ("yes | head -c 30000000; echo the end", "open - status 0; the end"),
        ("setsid sh -c 'setsid sleep 60 & exec sleep 60' & exit 0", "open - status 0"),
        ("true && false", "rejected - status 1"),
        ("yes & exec >&- 2>&-; exit 124", "rejected - status 124"),
        ("echo verdict: open; exit 125", "inconclusive - status 125; verdict: open"),
        ("no-such-command", "inconclusive - status 127; "),
        ("kill -9 $$", "inconclusive - signal 9"),
    ],
)
def test_a_script_is_a_line_for_the_shell_and_its_status_is_what_git_bisect_run_takes_it_for(
    line: str, verdict: str, judging: Judging, releases: dict[str, Release], mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is judged at once, what it starts is ended, and what it prints is kept up to a limit."""
    monkeypatch.setenv("MINE", "$5 and more")
    monkeypatch.chdir(ROOT)
    with judging(line=line) as judge:
        begun = time.monotonic()
        assert judge.release(releases["0.20.0"])[0].last_line.startswith(f"verdict: {verdict}")
        assert time.monotonic() - begun < 5
        assert all("forks.py" in one for one in running(mark))
        assert sum(file.stat().st_size for file in judge.printed.glob("*")) <= 1 << 20
    assert left(mark) == []


def test_a_full_disk_is_inconclusive(judging: Judging, releases: dict[str, Release]) -> None:
    with judging(line="echo full; exit 1") as judge:
        judge.printed.mkdir(parents=True)
        (judge.printed / "0.20.0.txt").symlink_to("/dev/full")
        [trial] = judge.release(releases["0.20.0"])
        (judge.printed / "0.20.0.txt").unlink()
    assert (trial.verdict.name, "No space left on device" in trial.reason) == ("inconclusive", True)


def test_scripts_run_one_at_a_time_but_where_more_are_asked_for(tmp_path: Path) -> None:
    for words, expected in (([], {"open"}), (["ATONCE=3"], {"open", "rejected"})):
        survey = ("survey", "RUN=mkdir alone && sleep 0.3 && rmdir alone", "FROM=0.18.1", "TO=0.19.0", "JSON=result")
        done = harness(*survey, *words, cwd=tmp_path)
        trials = json.loads((tmp_path / "result").read_text())["trials"]
        assert [one["of"] for one in trials] == ["0.18.1", "0.18.2", "0.18.3", "0.19.0"], done.stdout
        assert {one["verdict"] for one in trials} == expected


@pytest.mark.weekly
def test_a_fixed_port_finds_what_the_case_finds(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        line = FIXED_PORT.replace("PORT", str(probe.getsockname()[1]))
    done = harness("bisect", f"RUN={line}", cwd=tmp_path)
    assert "last good: 0.19.0 (2022-10-19)\nfirst bad: 0.20.0 (2022-11-20)\n" in done.stdout, done.stdout + done.stderr
    assert "; verdict: rejected - InvalidHandshake: multiple subprotocols: ocpp2.0.1" in done.stdout


def test_paths_are_those_of_the_folder_it_is_called_from_and_what_it_printed_is_kept(tmp_path: Path) -> None:
    script = "import sys, uvicorn\nprint('on', uvicorn.__version__)\nsys.exit(uvicorn.__version__ >= '0.19')\n"
    (tmp_path / "mine.py").write_text(script)
    done = harness("bisect", "RUN=python mine.py", "GOOD=0.18.0", "BAD=0.20.0", "JSON=found.json", cwd=tmp_path)
    where = ROOT / re.findall(r"what it printed for each: (.*)/\n", done.stdout)[0]
    told = json.loads((tmp_path / "found.json").read_text())
    assert (told["verb"], told["asked"]) == ("bisect", "RUN=python mine.py")
    assert (told["last"]["uvicorn"], told["first"]) == ("0.18.3", {"uvicorn": "0.19.0", "released": "2022-10-19"})
    for one in told["trials"]:
        assert (where / f"{one['of']}.txt").read_text() == f"on {one['of']}\n"
        assert one["reason"] == f"status {int(one['verdict'] != 'open')}; on {one['of']}"
        assert re.search(rf"(?m)^{re.escape(one['of'])} .*  {re.escape(one['reason'])}$", done.stdout)
