"""One's own: any app, any script, any patch, judged beside what it needs, on any uvicorn, and on no other."""

import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Done, Judged, Source, copy_of_the_project, harness, run
from .test_commits import commit, new

CHANGES = json.loads((ROOT / "tests" / "changes" / "expected.json").read_text())
FIRST = re.compile(r"(?m)^first (bad|fixed): (\S+) \([\d-]+\), \S+/compare/(\S+)\.\.\.\2$")


def verdict(done: Done) -> str:
    assert done.stdout, done.stderr
    return done.stdout.splitlines()[-1].removeprefix("verdict: ")


def test_beside_it_lies_what_a_fresh_install_brings_but_for_what_is_left_out() -> None:
    told = "import websockets, h11, click; print(websockets.__version__)"
    done = harness("try", "WSPROTO=none", f"RUN=! python -c 'import wsproto' && python -c '{told}'")
    newest = re.search(r"websockets==(\S+?)(,|$)", done.stdout.splitlines()[0])
    assert newest and int(newest[1].split(".")[0]) > 10, done.stdout
    assert verdict(done) == f"open - status 0; {newest[1]}"


@pytest.mark.weekly  # two of them stand in harness/README.md
@pytest.mark.parametrize("name", CHANGES)
def test_a_survey_shows_every_change_there_was(name: str) -> None:
    needs = "WITH=asgiref typing-extensions click<8"  # so that the oldest releases fit too
    done = harness("survey", f"RUN=python tests/changes/{name}", needs, "ATONCE=2")
    verdicts = {"bad": "rejected", "fixed": "open"}
    found = [[last, first, verdicts[kind]] for kind, first, last in FIRST.findall(done.stdout)]
    assert found == CHANGES[name]["changes"], done.stdout + done.stderr


@pytest.fixture(scope="module")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own virtual environment, with another uvicorn and pytest, which begin with #!/bin/sh for the space."""
    folder = tmp_path_factory.mktemp("rival") / "my venv"
    subprocess.run(["uv", "venv", "-q", "--no-project", folder], check=True)
    subprocess.run(["uv", "pip", "install", "-q", "--python", folder, "uvicorn==0.15.0", "pytest"], check=True)
    return folder


@pytest.fixture
def active(rival: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rival is what a user has activated."""
    monkeypatch.setenv("VIRTUAL_ENV", str(rival))
    monkeypatch.setenv("PATH", f"{rival / 'bin'}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("active")
def test_uvicorn_and_python_are_those_under_test(source: Source, tmp_path: Path) -> None:
    """Also where the tool's path has a space, and is too long for the first line of a script."""
    project = copy_of_the_project(tmp_path / ("it's é " + "long" * 40))
    name, checkout, line = "uvicorn/__init__.py", new(tmp_path / "checkout"), "RUN=uvicorn --version | grep -e"

    def tool(verb: str, *words: str) -> Done:
        return run(sys.executable, project / "harness", verb, "WITH=pytest", *words, cwd=tmp_path, LC_ALL="C")

    before = (source("0.20.0") / name).read_text().splitlines(keepends=True)
    after = [line.replace("0.20.0", "0.20.0+mine") for line in before]
    (tmp_path / "my.diff").write_text("".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}")))
    for version in ("0.19.0", "0.20.0"):
        # With the time of now: to git, a file of the same size and time is the same.
        shutil.copytree(source(version), checkout, copy_function=shutil.copyfile, dirs_exist_ok=True)
        commit(checkout, f"To {version}", version)
    told = f"{line} 0.20.0 && python -c 'import uvicorn; print(uvicorn.__version__)'"
    for words, version in ((["SOURCE=checkout"], "0.20.0"), (["UVICORN=0.20.0", "PATCH=my.diff"], "0.20.0+mine")):
        assert verdict(tool("try", told, *words)) == f"open - status 0; {version}"
    (tmp_path / "test_it.py").write_text("import uvicorn\ndef test_it():\n    assert uvicorn.__version__ == '0.19.0'\n")
    bisected = tool("bisect", f"{line} 0.19 -e 0.20 && pytest -q test_it.py", "GOOD=0.19.0", "BAD=0.20.0")
    assert "\nfirst bad: 0.20.0 (2022-11-20)\n" in bisected.stdout, bisected.stdout + bisected.stderr
    found = tool("bisect-commits", f"{line} 0.19", f"REPO={checkout}", "GOOD=0.19.0", "BAD=0.20.0")
    assert "  To 0.20.0\n" in found.stdout, found.stdout + found.stderr


@pytest.mark.usefixtures("active")
def test_another_environments_uvicorn_is_refused(rival: Path, judged: Judged, source: Source) -> None:
    imported = "it imported another uvicorn, "
    for line, reason in {
        "pytest -q": "pytest here is of another Python than the uvicorn under test: say WITH=pytest",
        f"'{rival}/bin/uvicorn' --version": imported,
        f"cd {source('0.19.0')} && python -c 'import uvicorn'": imported,
    }.items():
        trial = judged("0.20.0", line=line)
        assert (trial.verdict.name, reason in trial.reason) == ("inconclusive", True), trial.reason


def test_where_path_cannot_hold_the_project_nothing_is_judged(tmp_path: Path) -> None:
    done = run(sys.executable, copy_of_the_project(tmp_path / "a:b") / "harness", "try", "UVICORN=0.20.0", "RUN=true")
    assert (done.returncode, verdict(done).startswith("inconclusive - PATH cannot hold ")) == (125, True)
