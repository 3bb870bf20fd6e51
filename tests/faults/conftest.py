"""Counts what the faults did, and says so in one line at the end; `make test-faults` keeps the counts as evidence."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import pytest

from ..conftest import ROOT, copy_of_the_project

EVIDENCE = ROOT / "evidence" / "faults.json"
TRACE = "Traceback (most recent call last)"


@dataclass
class Counts:
    faults: set[str] = field(default_factory=set)
    runs: int = 0
    wrong: int = 0
    left: int = 0
    tracebacks: int = 0


COUNTS = pytest.StashKey[Counts]()


class Field:
    """A copy of the project with short limits, in which faults are put, and commands are run and watched."""

    def __init__(self, project: Path, counts: Counts) -> None:
        self.project = project
        self.folder = project / ".environments"
        self.counts = counts

    def run(
        self, *command: str | Path, cwd: Path | None = None, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end; a traceback that it prints counts."""
        environment = {**os.environ, "PYTHONPATH": str(self.project), **variables}
        done = subprocess.run(list(command), cwd=cwd or self.project, capture_output=True, timeout=60, env=environment)
        out, err = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
        self.counts.runs += 1
        if "Fatal Python error" in err:  # the interpreter itself did not start
            return subprocess.CompletedProcess(command, done.returncode, out, err)
        self.counts.tracebacks += TRACE in err or (TRACE in out and "The exception, as a user sees it" not in out)
        return subprocess.CompletedProcess(command, done.returncode, out, err)

    def harness(
        self, *arguments: str | Path, cwd: Path | None = None, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        return self.run(sys.executable, "-m", "harness", *arguments, cwd=cwd, **variables)

    def left(self, mark: str) -> list[str]:
        """Processes whose command line has the mark, after a few seconds to end."""
        for _ in range(60):
            found = subprocess.run(["pgrep", "-af", mark], capture_output=True, text=True).stdout.splitlines()
            found = [line for line in found if "pgrep" not in line]
            if not found:
                break
            time.sleep(0.1)
        return found

    def scratch(self) -> list[str]:
        return [path.name for path in self.folder.glob("*.tmp")]


@pytest.fixture(scope="session")
def field_of_faults(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Field:
    project = copy_of_the_project(tmp_path_factory.mktemp("faults") / "project")
    limits = {
        "harness/trial.py": ("LIMIT = 30.0", "LIMIT = 3.0"),
        "harness/environment.py": ("LIMIT = 180.0", "LIMIT = 20.0"),
    }
    for name, (old, new) in limits.items():
        text = (project / name).read_text()
        assert old in text
        (project / name).write_text(text.replace(old, new))
    found = Field(project, request.config.stash[COUNTS])
    assert found.harness("bisect", "--good", "0.18.3", "--bad", "0.21.0").returncode == 0
    return found


@pytest.fixture
def fault(field_of_faults: Field, request: pytest.FixtureRequest) -> Iterator[Field]:
    """The field, with the test's name counted as a fault, and what it left behind at the end."""
    field_of_faults.counts.faults.add(request.node.name)
    yield field_of_faults
    left = field_of_faults.left(str(field_of_faults.project)) + field_of_faults.scratch()
    field_of_faults.counts.left += len(left)
    for name in field_of_faults.scratch():
        shutil.rmtree(field_of_faults.folder / name, ignore_errors=True)
    assert left == []


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COUNTS] = Counts()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call" and report.failed:
        item.config.stash[COUNTS].wrong += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counts = config.stash[COUNTS]
    if counts.runs and os.environ.get("FAULTS"):
        told = {**asdict(counts), "faults": len(counts.faults)}
        terminalreporter.write_line(
            "faults put in: {faults}, runs: {runs}, wrong verdicts: {wrong}, processes and files left: {left},"
            " tracebacks: {tracebacks}".format(**told)
        )
        head = {
            "measured": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
        }
        EVIDENCE.write_text(json.dumps({**head, **told, "names": sorted(counts.faults)}, indent=1) + "\n")


def plain_text(text: str) -> bool:
    """Whether nothing in it does more to a terminal than print."""
    return re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text) is None
