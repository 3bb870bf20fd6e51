"""Which commit of uvicorn changed a handshake: the real `git bisect run`, in a clone of its own."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from client import Verdict
from harness.bisection import Direction, NoChange

# No hook of the user's configuration runs in the clone.
QUIET = ("-c", "advice.detachedHead=false", "-c", "core.hooksPath=/dev/null")


class NoHistory(Exception):
    """Why there is no history of uvicorn to search, and what to do."""


@dataclass(frozen=True)
class Commit:
    """A commit as a bug report names it; `pull_request` is a number with its #, or empty."""

    sha: str
    author: str
    date: str
    subject: str
    pull_request: str


@contextmanager
def clone(repository: str) -> Iterator[Path]:
    """A clone that is gone when the block is left. Raises NoHistory where there is nothing to search."""
    if not shutil.which("git"):
        raise NoHistory("git is not installed: install it, then run this again")
    with tempfile.TemporaryDirectory(prefix="uvicorn-history-") as folder:
        checkout = Path(folder) / "uvicorn"
        path = Path(repository).expanduser()
        origin = str(path.resolve()) if path.exists() else repository  # git runs elsewhere
        cloned = _git(Path(folder), "clone", "--quiet", "--no-local", "--", origin, str(checkout))
        if cloned.returncode:
            reason = (cloned.stderr.strip().splitlines() or ["git clone failed"])[-1]
            raise NoHistory(
                f"cannot clone {repository} ({reason}): give the path or the URL of a git repository of uvicorn"
            )
        if _git(checkout, "rev-parse", "--is-shallow-repository").stdout.strip() == "true":
            raise NoHistory(f"{repository} is a shallow clone: run git fetch --unshallow --tags in it first")
        if not _git(checkout, "log", "--all", "--max-count=1", "--format=%h", "--", "uvicorn/__init__.py").stdout:
            raise NoHistory(f"{repository} is no git repository of uvicorn: give the path or the URL of one")
        yield checkout


def search(
    checkout: Path, good: str, bad: str, command: Sequence[str], direction: Direction
) -> tuple[list[Commit], str]:
    """Run git bisect from `good` to `bad`, and return the commits that may be the first bad and the log.

    `command` judges the checkout that it runs in: 0 before the change, 1 after it, 125 not to be told.
    Raises NoHistory where a revision is missing or is no uvicorn, NoChange where one is not as claimed.
    """
    for revision in (good, bad):
        if _git(checkout, "rev-parse", "--quiet", "--verify", f"{revision}^{{commit}}").returncode:
            raise NoHistory(
                f"there is no tag {revision} in this repository: run git fetch --tags in it, or name another"
            )
        if _git(checkout, "cat-file", "-e", f"{revision}:uvicorn/__init__.py").returncode:
            raise NoHistory(f"{revision} has no uvicorn package: give a git repository of uvicorn")
    for revision, expected, status in ((good, direction.before, 0), (bad, direction.after, 1)):
        _must(checkout, "checkout", "--quiet", "--force", revision)
        judged = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
        if judged.returncode != status:
            last = (judged.stdout.strip().splitlines() or [judged.stderr.strip()])[-1]
            raise NoChange(f"{revision} is not {expected.value}: {last.removeprefix('verdict: ')}")
    old, new = ("good", "bad") if direction.before is Verdict.OPEN else ("broken", "fixed")
    _must(checkout, "bisect", "start", f"--term-old={old}", f"--term-new={new}", bad, good)
    with subprocess.Popen(
        ["git", *QUIET, "bisect", "run", *command], cwd=checkout, stdout=subprocess.PIPE, text=True, env=_environment()
    ) as process:
        assert process.stdout
        printed = []
        for line in process.stdout:
            printed.append(line)
            if line.startswith(("Bisecting:", "[", "verdict:")):
                print(f"  {line.rstrip()}", flush=True)
    log = _must(checkout, "bisect", "log")
    output = "".join(printed)
    exact = re.search(rf"^([0-9a-f]{{40,64}}) is the first '?{new}'? commit", output, re.MULTILINE)
    among = re.search(r"could be any of:\n((?:[0-9a-f]{40,64}\n)+)", output)
    if not exact and not among:
        raise NoHistory(f"git bisect run ended with status {process.returncode}: {(printed or [''])[-1].strip()}")
    return [_describe(checkout, sha) for sha in ([exact[1]] if exact else among[1].split() if among else [])], log


def shell(command: Sequence[str]) -> str:
    """A command as one pastes it."""
    return shlex.join(command)


def _describe(checkout: Path, sha: str) -> Commit:
    shown = _must(checkout, "show", "--no-patch", "--date=short", "--format=%an%x00%ad%x00%s%x00%b", sha)
    author, date, subject, body = shown.split("\0", 3)
    # A squashed pull request ends its subject with (#N), a merged one says "Merge pull request #N".
    numbers = re.findall(r"\(#(\d+)\)$|^Merge pull request #(\d+)", subject) or re.findall(r"()\(#(\d+)\)$", body)
    number = next((part for parts in numbers for part in parts if part), "")
    return Commit(sha, author, date, subject, f"#{number}" if number else "")


def _environment() -> dict[str, str]:
    """No variable that points git at another repository, as hooks set them, and git's words in English."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith("GIT_CONFIG")
    }
    return {**kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def _git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["git", *QUIET, *arguments], cwd=folder, capture_output=True, text=True, env=_environment())


def _must(folder: Path, *arguments: str) -> str:
    done = _git(folder, *arguments)
    if done.returncode:
        raise NoHistory(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout
