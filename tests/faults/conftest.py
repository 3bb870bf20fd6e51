"""Counts what the faults did, and says so in one line at the end; `make test-faults` keeps the counts as evidence."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ..conftest import ROOT, Done, copy_of_the_project, run
from ..test_forks import left

collect_ignore_glob = [] if os.environ.get("FAULTS") else ["test_*.py"]
EVIDENCE = ROOT / "evidence" / "faults.json"
SEED = int(os.environ.get("SEED", "1778"))
TRACE = "Traceback (most recent call last)"
HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # to a terminal
STATUS = {"open": 0, "rejected": 1, "inconclusive": 125}
CHANGE = ["0.19.0", "0.20.0"]
ENDS = ("GOOD=0.18.3", "BAD=0.21.0")
COUNTS = Counter(faults=0, runs=0, wrong=0, left=0, tracebacks=0)  # wrong: neither true nor inconclusive


def never(kind: str, happened: bool, what: object) -> None:
    """Count what must never happen, and fail where it did."""
    COUNTS[kind] += happened
    assert not happened, what


class Field:
    """A copy of the project in which faults are put, and where commands are run and watched."""

    def __init__(self, project: Path) -> None:
        self.project, self.folder = project, project / ".environments"
        self.failed = 0

    def run(self, *command: str | Path, cwd: str | Path | None = None, **variables: str) -> Done:
        """Run a command to its end; a traceback that it prints counts, but for a rejected handshake's."""
        done = run(*command, cwd=Path(cwd or self.project), **variables)
        COUNTS["runs"] += 1
        shown = "\nwebsockets.exceptions.InvalidHandshake: multiple" in done.stdout
        never("tracebacks", TRACE in done.stderr or (TRACE in done.stdout and not shown), done)
        return done

    def verb(self, *words: str | Path, cwd: str | Path | None = None, **variables: str) -> Done:
        return self.run(sys.executable, self.project / "harness", *words, cwd=cwd, **variables)

    def signalled(self, words: Sequence[str | Path], signal: Callable[[subprocess.Popen[str]], object]) -> Done:
        """Run a verb that gets a signal meanwhile, to its end."""
        command = [sys.executable, self.project / "harness", *words]
        process = subprocess.Popen(command, stdout=-1, stderr=-1, text=True)
        signal(process)
        out, err = process.communicate(timeout=60)
        COUNTS["runs"] += 1
        never("tracebacks", "Traceback" in err, err)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def judged(self, truth: str, done: Done) -> str:
        """The verdict that a command printed, held against the true one; it is empty where there is none."""
        lines = [line for line in done.stdout.splitlines() if line.startswith("verdict: ")]
        word = lines[-1].split()[1] if lines else ""
        never("wrong", word not in (truth, "inconclusive", "") or len(lines) > 1, done)
        never("wrong", done.returncode in (0, 1) and STATUS.get(word) != done.returncode, done)
        assert done.returncode == STATUS.get(word, done.returncode), done
        return word

    def tries(self, truth: str, *words: str | Path, **variables: str) -> str:
        return self.judged(truth, self.verb("try", *words, **variables))

    def bisects(self, *words: str | Path, **variables: str) -> bool:
        """Whether the change was found; another one than the true one is wrong."""
        done = self.verb("bisect", *ENDS, *words, **variables)
        if " or one of these\n" in done.stdout:  # it says which could not be judged
            return False
        found = re.findall(r"(?m)^(?:last good|first bad): (\S+) \(", done.stdout)
        never("wrong", found != CHANGE if found else done.returncode in (0, 1), done)
        assert (done.returncode == 0) == bool(found), done
        return bool(found)

    def heals(self) -> bool:
        """Whether both come out right without a further fault."""
        return together([lambda: self.tries("rejected", "UVICORN=0.20.0"), self.bisects]) == ["rejected", True]

    def release(self, version: str) -> Path:
        return next(self.folder.glob(f"releases/{version}-*"))

    @property
    def base(self) -> Path:
        return max(self.folder.glob("bases/*"), key=lambda path: (path / "loguru").is_dir())

    def scratch(self) -> list[str]:
        return [path.name for path in self.folder.glob("*.tmp")]


def together(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """What several functions return, run at once."""
    with ThreadPoolExecutor(len(functions)) as pool:
        return [one.result() for one in [pool.submit(function) for function in functions]]


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Field:
    os.environ["STARTED_BY_FAULTS"] = uuid4().hex  # so that what is left can be told
    project = copy_of_the_project(tmp_path_factory.mktemp("faults") / "project")
    file = project / "harness" / "place.py"
    assert "LIMIT = 180.0" in file.read_text()
    file.write_text(file.read_text().replace("LIMIT = 180.0", "LIMIT = 20.0"))
    found = Field(project)
    assert found.heals()
    assert found.tries("open", "UVICORN=0.20.0", "RUN=true") == "open"
    subprocess.run(["cp", "-a", found.folder, found.folder.with_name("whole")], check=True)
    return found


@pytest.fixture
def fault(everything: Field, request: pytest.FixtureRequest) -> Iterator[Field]:
    """The field, where each test counts as a fault and must leave nothing behind."""
    COUNTS["faults"] += 1
    if request.session.testsfailed > everything.failed:  # each begins with what is whole
        everything.failed = request.session.testsfailed
        subprocess.run(["rm", "-rf", everything.folder], check=True)
        subprocess.run(["cp", "-a", everything.folder.with_name("whole"), everything.folder], check=True)
    yield everything
    if everything.scratch():  # of a run that was killed, or could not do it: the next one does
        everything.tries("open", "UVICORN=0.19.0", "RUN=true")
    remains = left(f"STARTED_BY_FAULTS={os.environ['STARTED_BY_FAULTS']}") + everything.scratch()
    for name in everything.scratch():
        shutil.rmtree(everything.folder / name, ignore_errors=True)
    COUNTS["left"] += len(remains)
    assert remains == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not COUNTS["runs"]:
        return
    terminalreporter.write_line(
        "faults put in: {faults}, runs: {runs}, wrong verdicts: {wrong}, processes and files left: {left},"
        " tracebacks: {tracebacks}".format(**COUNTS)
    )
    if not config.option.keyword:  # of one kind, it is no evidence
        head = {
            "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
        }
        failed = sum(len(terminalreporter.stats.get(outcome, [])) for outcome in ("failed", "error"))
        EVIDENCE.write_text(json.dumps({**head, **COUNTS, "failed": failed}, indent=1) + "\n")
