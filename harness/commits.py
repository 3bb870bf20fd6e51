"""Which commit of uvicorn changed a handshake: git's own bisect, in a clone of its own."""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import environment
from harness.environment import Unavailable
from harness.model import UPSTREAM, Trial, plain, printable
from harness.search import Answer, Direction, NoChange

# Nothing of the user's configuration runs in the clone or changes what git says.
QUIET = (
    *("-c", "advice.detachedHead=false", "-c", "core.hooksPath=/dev/null", "-c", "log.showSignature=false"),
    *("-c", "core.fsmonitor=false", "-c", "transfer.fsckObjects=false", "-c", "core.autocrlf=false"),
    *("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30"),
)


class NoHistory(Unavailable):
    """Why there is no history of uvicorn to search, and what to do."""


@dataclass(frozen=True)
class Commit:
    """A commit as a bug report names it; `link` is that of its pull request, or empty."""

    sha: str
    author: str
    date: str
    subject: str
    link: str


@contextmanager
def clone(repository: str) -> Iterator[Path]:
    """A clone that is gone when the block is left. Raises NoHistory where there is nothing to search."""
    if not shutil.which("git"):
        raise NoHistory("git is not installed: install it, then run this again")
    with environment.scratch("history") as folder:
        checkout = folder / "uvicorn"
        path = Path(repository)
        with contextlib.suppress(RuntimeError):  # a user that is not there
            path = path.expanduser()
        # A local repository's objects are read where they are, and never written.
        origin, shared = (str(path.resolve()), ["--shared"]) if path.exists() else (repository, [])
        try:
            _git(folder, "clone", "--quiet", "--no-checkout", "--template=", *shared, "--", origin, str(checkout))
        except Unavailable as error:
            reason = f"cannot clone {plain(repository)} ({plain(str(error))})"
            raise NoHistory(f"{reason}: give the path or the URL of a git repository of uvicorn") from None
        if _git(checkout, "rev-parse", "--is-shallow-repository").strip() == "true":
            raise NoHistory(f"{plain(repository)} is a shallow clone: run git fetch --unshallow --tags in it first")
        if not _git(checkout, "log", "--all", "--max-count=1", "--format=%h", "--", "uvicorn/__init__.py"):
            raise NoHistory(f"{plain(repository)} is no git repository of uvicorn: give the path or the URL of one")
        yield checkout


def search(
    checkout: Path, good_and_bad: Sequence[str], judging: Callable[[str], Trial], direction: Direction
) -> tuple[list[Commit], str]:
    """Run git bisect between two revisions, and return the commits that may be the first bad and git's log.

    `judging` judges the checkout as it stands, at the revision that it is told; prints a line for every commit
    judged. Raises NoHistory where a revision is missing or is no uvicorn, NoChange where one is not as claimed.
    """
    ends = []
    for revision in good_and_bad:
        try:
            ends.append(
                _git(checkout, "rev-parse", "--quiet", "--verify", "--end-of-options", f"{revision}^{{commit}}").strip()
            )
        except Unavailable:
            raise NoHistory(
                f"there is no tag {plain(revision)} in this repository: run git fetch --tags in it, or name another"
            ) from None
        if not _git(checkout, "ls-tree", ends[-1], "--", "uvicorn/__init__.py"):
            raise NoHistory(f"{plain(revision)} has no uvicorn package: give a git repository of uvicorn")
    for revision, sha, expected in zip(good_and_bad, ends, (direction.before, direction.after), strict=True):
        _git(checkout, "checkout", "--quiet", "--force", sha)
        trial = judging(revision)
        if trial.verdict is not expected:
            reason = f" - {trial.reason}" if trial.reason else ""
            raise NoChange(f"{plain(revision)} is not {expected.name}: {trial.verdict.name}{reason}")
    old, new = direction.terms
    subjects = dict(line.split(" ", 1) for line in _git(checkout, "log", "--format=%H %s", *ends).splitlines())
    _git(checkout, "bisect", "start", f"--term-old={old}", f"--term-new={new}", ends[1], ends[0])
    while not (found := _suspects(checkout, old, new)):
        at = _git(checkout, "rev-parse", "HEAD").strip()
        trial = judging(at)
        reason = f"  ({trial.reason})" if trial.cause else ""
        print(f"{at[:12]}  {trial.verdict.name:12}  {plain(subjects.get(at, ''))}{reason}", flush=True)
        word = {Answer.GOOD: old, Answer.BAD: new}.get(direction.answer(trial), "skip")
        with contextlib.suppress(Unavailable):  # so git ends where only skipped commits are left; the refs tell
            _git(checkout, "bisect", word)
    return [_describe(checkout, sha) for sha in found], "\n".join(
        map(printable, _git(checkout, "bisect", "log").splitlines())
    )


def _suspects(checkout: Path, old: str, new: str) -> list[str]:
    """The commits that may be the first bad, by git's own refs; none as long as one of them can still be judged."""
    refs = dict(
        line.split(" ")
        for line in _git(
            checkout, "for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/bisect"
        ).splitlines()
    )
    good = [sha for name, sha in refs.items() if name.startswith(f"{old}-")]
    skipped = [sha for name, sha in refs.items() if name.startswith("skip-")]
    suspects = _git(checkout, "rev-list", refs[new], "--not", *good).split()
    return suspects if set(suspects) <= {refs[new], *skipped} else []


def _describe(checkout: Path, sha: str) -> Commit:
    shown = _git(checkout, "show", "--no-patch", "--date=short", "--format=%an%x00%ad%x00%s%x00%b", sha)
    author, date, subject, body = shown.rstrip("\n").split("\0", 3)
    # A squashed pull request ends its subject with (#N), a merged one says "Merge pull request #N".
    numbers = re.findall(r"\(#(\d+)\)$|^Merge pull request #(\d+)", subject) or re.findall(r"()\(#(\d+)\)$", body)
    number = next((part for parts in numbers for part in parts if part), "")
    return Commit(sha, plain(author), date, plain(subject), f"{UPSTREAM}/pull/{number}" if number else "")


def _git(folder: Path, *arguments: str) -> str:
    """What git prints. Raises Unavailable in its own words."""
    return environment.run(["git", *QUIET, *arguments], folder, environment.git_settings())
