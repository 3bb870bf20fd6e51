"""A script of one's own: what it means, what lies beside it, and that no uvicorn is judged but the one under test."""

import json
import os
import re
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Done, Judging, copy_of_the_project, harness, run
from .test_commits import git, history
from .test_forks import left, running

CHANGES = json.loads((ROOT / "tests" / "changes" / "expected.json").read_text())
FIRST = re.compile(r"(?m)^first (bad|fixed): (\S+) \([\d-]+\), \S+/compare/(\S+)\.\.\.\2$")
FIXED_PORT = f"""
python {ROOT}/server.py --port PORT 2>/dev/null & trap "kill $!" EXIT
until python -c "import socket; socket.create_connection(('127.0.0.1', PORT))"; do kill -0 $! || exit 125; done
python {ROOT}/client.py ws://127.0.0.1:PORT"""


def test_a_script_is_a_line_for_the_shell(judging: Judging, releases: Any, mark: str) -> None:
    """It is judged at once, what it starts is ended, and what it prints is kept up to a limit."""
    for line, begin in {
        f"cd {ROOT}/harness && ls model.py && FOO='a b' sh -c 'echo \"$FOO\"' | tr a-z A-Z": "open - status 0; A B",
        "echo a >&2; echo verdict: rejected": "open - status 0; verdict: rejected",
        "yes | head -c 30000000; echo the end": "open - status 0; the end",
        # As each child that uvicorn spawns imports its command.
        'python -c \'import os, runpy; runpy.run_path(os.environ["PYTHONPATH"] + "/uvicorn")\'': "open - status 0",
        "true && false": "rejected - status 1",
        "yes & exec >&- 2>&-; exit 124": "rejected - status 124",
        "echo verdict: open; exit 125": "inconclusive - status 125; verdict: open",
        "no-such-command": "inconclusive - status 127; ",
    }.items():
        with judging(line=line) as judge:
            begun = time.monotonic()
            assert judge.release(releases["0.20.0"])[0].last_line.startswith(f"verdict: {begin}"), line
            assert time.monotonic() - begun < 5, line
            assert all("forks.py" in one for one in running(mark)), line
            assert sum(file.stat().st_size for file in judge.question.printed.glob("*")) <= 1 << 20, line
    assert left(mark) == []


def test_paths_are_those_of_the_folder_it_is_called_from_and_what_it_printed_is_kept(tmp_path: Path) -> None:
    script = "import sys, uvicorn\nprint('on', uvicorn.__version__)\nsys.exit(uvicorn.__version__ >= '0.19')\n"
    (tmp_path / "mine.py").write_text(script)
    done = harness("bisect", "RUN=python mine.py", "GOOD=0.18.0", "BAD=0.20.0", "JSON=found.json", cwd=tmp_path)
    where = ROOT / re.findall(r"what it printed for each: (.*)/\n", done.stdout)[0]
    told = json.loads((tmp_path / "found.json").read_text())
    assert (told["last"]["uvicorn"], told["first"]) == ("0.18.3", {"uvicorn": "0.19.0", "released": "2022-10-19"})
    for one in told["trials"]:
        assert (where / f"{one['of']}.txt").read_text() == f"on {one['of']}\n"
        assert one["reason"] == f"status {int(one['verdict'] != 'open')}; on {one['of']}"
        assert re.search(rf"(?m)^{re.escape(one['of'])} .*  {re.escape(one['reason'])}$", done.stdout)


def test_scripts_run_one_at_a_time_but_where_more_are_asked_for(tmp_path: Path) -> None:
    for words, expected in (([], {"open"}), (["ATONCE=3"], {"open", "rejected"})):
        survey = ("survey", "RUN=mkdir alone && sleep 0.3 && rmdir alone", "FROM=0.18.1", "TO=0.19.0", "JSON=result")
        done = harness(*survey, *words, cwd=tmp_path)
        trials = json.loads((tmp_path / "result").read_text())["trials"]
        assert [one["of"] for one in trials] == ["0.18.1", "0.18.2", "0.18.3", "0.19.0"], done.stdout
        assert {one["verdict"] for one in trials} == expected
        assert "what it printed for each: " in done.stdout


@pytest.mark.weekly
def test_a_fixed_port_finds_what_the_case_finds() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        line = FIXED_PORT.replace("PORT", str(probe.getsockname()[1]))
    done = harness("bisect", f"RUN={line}")
    assert "last good: 0.19.0 (2022-10-19)\nfirst bad: 0.20.0 (2022-11-20)\n" in done.stdout, done.stdout + done.stderr


@pytest.mark.weekly  # two of them stand in harness/README.md
@pytest.mark.parametrize("name", CHANGES)
def test_a_survey_shows_every_change_there_was(name: str) -> None:
    needs = "WITH=asgiref typing-extensions click<8"  # so that the oldest releases fit too
    done = harness("survey", f"RUN=python tests/changes/{name}", needs, "ATONCE=2")
    verdicts = {"bad": "rejected", "fixed": "open"}
    found = [[last, first, verdicts[kind]] for kind, first, last in FIRST.findall(done.stdout)]
    assert found == CHANGES[name]["changes"], done.stdout + done.stderr


def test_beside_it_lies_what_a_fresh_install_brings_but_for_what_is_left_out() -> None:
    told = "import websockets, h11, click; print(websockets.__version__)"
    done = harness("try", "WSPROTO=none", f"RUN=! python -c 'import wsproto' && python -c '{told}'")
    newest = re.search(r"websockets==((\d+)\S*?)(,|$)", done.stdout.splitlines()[0])
    assert newest and int(newest[2]) > 10, done.stdout
    assert done.stdout.endswith(f"\nverdict: open - status 0; {newest[1]}\n")


def test_uvicorn_and_python_are_those_under_test(source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another environment is active, whose path has a space, so that its tools begin with #!/bin/sh, as do ours
    where the tool's path has a space, and is too long for the first line of a script."""
    venv, project = tmp_path / "my venv", copy_of_the_project(tmp_path / ("it's é " + "long" * 40))
    run("uv", "venv", "-q", "--no-project", venv).check_returncode()
    run("uv", "pip", "install", "-q", "--python", venv, "uvicorn==0.15.0", "pytest").check_returncode()
    monkeypatch.setenv("VIRTUAL_ENV", str(venv))
    monkeypatch.setenv("PATH", f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}")
    line, ends = "RUN=uvicorn --version | grep -e", ("GOOD=0.19.0", "BAD=0.20.0")

    def tool(verb: str, *words: str) -> Done:
        return run(sys.executable, project / "harness", verb, *words, cwd=tmp_path, LC_ALL="C")

    checkout = history(tmp_path / "checkout", {version: source(version) for version in ("0.19.0", "0.20.0")})
    file = checkout / "uvicorn" / "__init__.py"
    file.write_text(file.read_text().replace("0.20.0", "0.20.0+mine"))
    (tmp_path / "my.diff").write_text(f"{git(checkout, 'diff')}\n")
    told = f"{line} 0.20.0.mine && python -c 'import uvicorn; print(uvicorn.__version__)'"
    for words in (["SOURCE=checkout"], ["UVICORN=0.20.0", "PATCH=my.diff"]):
        done = tool("try", told, *words)
        assert done.stdout.endswith("\nverdict: open - status 0; 0.20.0+mine\n"), done.stdout + done.stderr
    (tmp_path / "test_it.py").write_text("import uvicorn\ndef test_it():\n    assert uvicorn.__version__ == '0.19.0'\n")
    done = tool("bisect", f"{line} 0.19 -e 0.20 && pytest -q test_it.py", "WITH=pytest", *ends)
    assert "\nfirst bad: 0.20.0 (2022-11-20)\n" in done.stdout, done.stdout + done.stderr
    done = tool("bisect-commits", f"{line} 0.19", "REPO=checkout", *ends)
    assert "  Version 0.20.0\n" in done.stdout, done.stdout + done.stderr
    for refused, reason in {
        "pytest -q": "pytest here is of another Python than the uvicorn under test: say WITH=pytest",
        f"'{venv}/bin/uvicorn' --version": "it imported another uvicorn, ",
        f"cd {source('0.19.0')} && python -c 'import uvicorn'": "it imported another uvicorn, ",
    }.items():
        done = tool("try", "UVICORN=0.20.0", f"RUN={refused}")
        assert re.search(rf"\nverdict: inconclusive - .*{reason}", done.stdout), done.stdout + done.stderr
    project = project.rename(tmp_path / "a:b")
    done = tool("try", "UVICORN=0.20.0", "RUN=true")
    assert "verdict: inconclusive - PATH cannot hold " in done.stdout, done.stdout + done.stderr
