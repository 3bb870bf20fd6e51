"""Which commit of uvicorn changed a verdict: git's own bisect, in a clone of its own. What git says, counts."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.git import QUIET, git, settings
from harness.model import UPSTREAM, Cause, Trial, Verdict, plain, printable
from harness.place import Unavailable, execute, scratch
from harness.releases import LATE, NoChange


class NoHistory(Unavailable):
    """Why there is no history of uvicorn to search, and what to do."""


class Undecided(Exception):
    """What git says where it cannot tell a commit."""


@dataclass(frozen=True)
class Commit:
    """A commit as a bug report names it; `link` is that of its pull request, or empty."""

    sha: str
    author: str
    date: str
    subject: str
    link: str


@contextlib.contextmanager
def clone(repository: str) -> Iterator[Path]:
    """A clone that is gone when the block is left. Raises NoHistory where there is nothing to search."""
    if not shutil.which("git"):
        raise NoHistory("git is not installed: install it, then run this again")
    with scratch("history") as folder:
        checkout, path = folder / "uvicorn", Path(repository)
        with contextlib.suppress(RuntimeError):  # a user that is not there
            path = path.expanduser()
        # A local repository's objects are read where they are, and never written.
        origin, shared = (str(path.resolve()), ["--shared"]) if os.path.lexists(path) else (repository, [])
        if path.is_dir():
            _whole(path, repository)
        try:
            options = ("--quiet", "--no-checkout", "--template=", "--origin=origin", *shared)
            git(folder, "clone", *options, "--", origin, str(checkout))
        except Unavailable as error:
            reason = f"cannot clone {plain(repository)} ({plain(str(error))})"
            raise NoHistory(f"{reason}: REPO is the path or the URL of a git repository of uvicorn") from None
        if git(checkout, "rev-parse", "--is-shallow-repository").strip() == "true":
            raise NoHistory(f"{plain(repository)} is a shallow clone: run git fetch --unshallow --tags in it first")
        if not git(checkout, "log", "--all", "--max-count=1", "--format=%h", "--", "uvicorn/__init__.py"):
            raise NoHistory(f"{plain(repository)} is no git repository of uvicorn: REPO is the path or the URL of one")
        yield checkout


def _whole(path: Path, repository: str) -> None:
    """Raises NoHistory for a clone that left files behind, which git would fetch one by one, or not at all."""
    status, partial, _ = execute(
        ["git", *QUIET, "config", "--get-regexp", r"remote\..*\.(promisor|partialclonefilter)"], path, settings()
    )
    if not status and partial:
        raise NoHistory(
            f"{plain(repository)} is a partial clone: run git fetch --refetch --no-filter in it, or clone anew"
        )


def commit(checkout: Path, word: str, revision: str) -> str:
    """The full name of a tag, branch or commit. Raises NoHistory where it is not there, or is no uvicorn."""
    # What a local repository calls origin/main is another commit than the main that was cloned from it.
    origin = Path(git(checkout, "config", "remote.origin.url").rstrip("\n"))
    sha = ""
    for folder, name in ((origin, revision), (checkout, revision), (checkout, f"origin/{revision}")):
        with contextlib.suppress(Unavailable):
            command = ("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
            sha = sha or git(folder, *command).strip()
    if not sha:
        raise NoHistory(
            f"{word}: there is no {plain(revision)} in this repository: git fetch --tags there, or name another"
        )
    if not git(checkout, "ls-tree", sha, "--", "uvicorn/__init__.py"):
        raise NoHistory(f"{word}={plain(revision)} has no uvicorn package: name another commit")
    return sha


def search(
    checkout: Path, good: str, bad: str, judging: Callable[[str], Trial], say: Callable[[str], None]
) -> tuple[list[Commit], bool, str]:
    """Run git bisect between two commits, GOOD and BAD, in whichever order.

    `judging` judges the checkout as it stands, at the commit that it is told; `say` gets a line for every commit.
    Returns the commits of which one is the first, whether that is a break, and git's log. Raises NoChange where an end
    is not as claimed, Undecided with git's words or the reason why an end cannot be judged.
    """
    late = 0

    def judged(sha: str) -> Trial:
        nonlocal late
        trial = judging(sha)
        late += trial.cause is Cause.LATE
        if late >= LATE:
            raise Undecided(trial.reason)
        _put_back(checkout, sha)
        return trial

    for word, sha, wanted in (("GOOD", good, Verdict.open), ("BAD", bad, Verdict.rejected)):
        git(checkout, "checkout", "--quiet", "--force", sha)
        trial = judged(sha)
        if trial.cause:
            raise Undecided(f"{word}, {sha[:12]}, cannot be judged: {trial.reason}")
        if trial.verdict is not wanted:
            raise NoChange(f"{word}, {sha[:12]}, is not {wanted.name}: {trial.last_line.removeprefix('verdict: ')}")
    breaks = execute(["git", *QUIET, "merge-base", "--is-ancestor", bad, good], checkout, settings())[0] != 0
    old, new = ("good", "bad") if breaks else ("broken", "fixed")
    words = {Verdict.open: old if breaks else new, Verdict.rejected: new if breaks else old}
    log = git(checkout, "log", "--format=%H %s", good, bad)
    subjects = dict(line.split(" ", 1) for line in log.rstrip("\n").split("\n"))
    ends = (bad, good) if breaks else (good, bad)
    # A subject may say the same, but no line begins with it.
    first, at = re.compile(rf"(?m)^([0-9a-f]{{40,64}}) is the first {new} commit$"), ""
    status, said = _bisect(checkout, "start", f"--term-old={old}", f"--term-new={new}", *ends)
    while not status and not first.search(said):
        before, at = at, git(checkout, "rev-parse", "HEAD").strip()
        if at == before:
            raise Undecided(f"git cannot go on from {at[:12]}: {plain(said)}")
        trial = judged(at)
        reason = f"  ({trial.reason[:100]})" if trial.reason and (trial.cause or not trial.case) else ""
        say(f"{at[:12]}  {trial.verdict.name:12}  {plain(subjects.get(at, ''))}{reason}")
        status, said = _bisect(checkout, words.get(trial.verdict, "skip"), at)
    skipped = "only 'skip'ped commits left" in said
    found = re.findall(r"(?m)^([0-9a-f]{40,64})$", said) if skipped else first.findall(said)
    if not found:
        raise Undecided(plain(said))
    steps = "\n".join(map(printable, git(checkout, "bisect", "log").rstrip("\n").split("\n")))
    return [described(checkout, sha) for sha in found], breaks, steps


def reverted(checkout: Path, sha: str, until: str) -> Commit | None:
    """The commit up to `until` or on the main branch that reverts another, by what its message says."""
    one = described(checkout, sha)
    number = one.link.rpartition("/")[2]
    told = rf"\b[Rr]everts?\b[^\n]*#{number}\b" if number else "(?!)"
    # As a glob, the main branch may be absent.
    log = git(checkout, "log", "-z", "--format=%H%n%B", until, "--glob=refs/remotes/origin/HEA[D]", f"^{sha}")
    for entry in filter(None, log.split("\0")):
        other, _, message = entry.partition("\n")
        named = re.findall(r"This reverts commit ([0-9a-f]{7,64})", message)
        title = plain(message.partition("\n\n")[0])
        by_name = title.startswith(f'Revert "{one.subject}"') or re.search(told, message)
        if any(map(sha.startswith, named)) or (by_name and not title.startswith('Revert "Revert')):
            return described(checkout, other)
    return None


def described(checkout: Path, sha: str) -> Commit:
    shown = git(checkout, "show", "--no-patch", "--date=short", "--format=%an%x00%ad%x00%s%x00%b", sha)
    author, date, subject, body = shown.rstrip("\n").split("\0", 3)
    # A squashed pull request ends its subject with (#N), a merged one says "Merge pull request #N".
    numbers = re.findall(r"\(#(\d+)\)$|^Merge pull request #(\d+)", subject) or re.findall(r"()\(#(\d+)\)$", body)
    number = next((part for parts in numbers for part in parts if part), "")
    return Commit(sha, plain(author), date, plain(subject), f"{UPSTREAM}/pull/{number}" if number else "")


def _bisect(checkout: Path, *words: str) -> tuple[int, str]:
    status, printed, errors = execute(["git", *QUIET, "bisect", *words], checkout, settings())
    return status, f"{printed}\n{errors}"


def _put_back(checkout: Path, sha: str) -> None:
    """Undo what a judged uvicorn did to its own files. Raises Undecided with git's words."""
    try:
        git(checkout, "reset", "--quiet", "--hard", sha)
        git(checkout, "clean", "--quiet", "-ffdx")
    except Unavailable as error:
        raise Undecided(f"git cannot put the checkout back: {plain(str(error))}") from None
