"""Which commit of uvicorn changed a verdict: git's own bisect, in a clone of its own. What git says, counts."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.git import attempt, git
from harness.model import UPSTREAM, Cause, Trial, Verdict, plain, printable
from harness.place import Unavailable, scratch
from harness.releases import LATE, NoChange

SHA = r"(?m)^([0-9a-f]{40,64})"  # where a line begins, as no subject does
PACKAGE = ("--", "uvicorn/__init__.py")


@dataclass(frozen=True)
class Commit:
    sha: str
    author: str
    date: str
    subject: str
    body: str  # as it was written; the others are fit for a terminal

    @property
    def link(self) -> str:
        """That of its pull request, by the end of a squashed one's subject or the begin of a merged one's; or empty."""
        pull = re.search(r"\(#(\d+)\)$", self.subject) or re.search(r"^Merge pull request #(\d+)", self.subject)
        return f"{UPSTREAM}/pull/{pull[1]}" if pull else ""


def described(checkout: Path, *which: str) -> list[Commit]:
    """The commits that `git log` names, newest first."""
    log = git(checkout, "log", "-z", "--date=short", "--format=%H%n%an%n%ad%n%s%n%b", *which)
    entries = [entry.split("\n", 4) for entry in log.split("\0") if entry]
    return [Commit(sha, plain(author), date, plain(subject), body) for sha, author, date, subject, body in entries]


@contextlib.contextmanager
def clone(repository: str) -> Iterator[Path]:
    """A clone that is gone when the block is left. Raises Unavailable where there is nothing to search."""
    if not shutil.which("git"):
        raise Unavailable("git is not installed: install it, then run this again")
    with scratch("history") as folder:
        checkout, path = folder / "uvicorn", Path(repository)
        with contextlib.suppress(RuntimeError):  # a user that is not there
            path = path.expanduser()
        origin = str(path.resolve()) if os.path.lexists(path) else repository
        # A local repository's objects are read where they are, and never written.
        options = ("--quiet", "--shared", "--no-checkout", "--template=", "--origin=origin")
        try:
            git(folder, "clone", *options, "--", origin, str(checkout))
        except Unavailable as error:
            wanted = "REPO is the path or the URL of a git repository of uvicorn"
            raise Unavailable(f"cannot clone {repository} ({error}): {wanted}") from None
        # Files that a clone left behind, git would fetch one by one, or not at all.
        promised = r"remote\..*\.(promisor|partialclonefilter)"
        if attempt(folder, "-C", origin, "config", "--get-regexp", promised)[0] == 0:
            how = "run git fetch --refetch --no-filter in it, or clone anew"
            raise Unavailable(f"{repository} is a partial clone: {how}")
        if git(checkout, "rev-parse", "--is-shallow-repository").strip() == "true":
            raise Unavailable(f"{repository} is a shallow clone: run git fetch --unshallow --tags in it first")
        if not git(checkout, "log", "--all", "--max-count=1", "--format=%h", *PACKAGE):
            raise Unavailable(f"{repository} is no git repository of uvicorn: REPO is the path or the URL of one")
        yield checkout


def commit(checkout: Path, word: str, revision: str) -> str:
    """The full name of a tag, branch or commit. Raises Unavailable where it is not there, or is no uvicorn."""
    # What a local repository calls origin/main is another commit than the main that was cloned from it.
    origin = git(checkout, "config", "remote.origin.url").rstrip("\n")
    for folder, name in ((origin, revision), (".", revision), (".", f"origin/{revision}")):
        wanted = ("--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
        status, printed, _ = attempt(checkout, "-C", folder, "rev-parse", *wanted)
        if not status:
            break
    else:
        raise Unavailable(f"{word}: there is no {revision} in this repository: git fetch --tags there, or name another")
    sha = printed.strip()
    if not git(checkout, "ls-tree", sha, *PACKAGE):
        raise Unavailable(f"{word}={revision} has no uvicorn package: name another commit")
    return sha


def search(
    checkout: Path, good: str, bad: str, judging: Callable[[str], Trial], say: Callable[[str], None]
) -> tuple[list[Commit], bool, str]:
    """Run git bisect between two commits, GOOD and BAD, in whichever order.

    `judging` judges the checkout as it stands, at the commit that it is told; `say` gets a line for every commit.
    Returns the commits of which one is the first, whether that is a break, and git's log. Raises NoChange where an end
    is not as claimed, Unavailable with git's words or the reason why an end cannot be judged.
    """
    trials: dict[str, Trial] = {}

    def judged(sha: str) -> Trial:
        """The trial of the checkout, from which it is put back: a uvicorn may write to its own files."""
        trials[sha] = trial = judging(sha)
        if [one.cause for one in trials.values()].count(Cause.LATE) >= LATE:
            raise Unavailable(trial.reason)
        try:
            git(checkout, "reset", "--quiet", "--hard", sha)
            git(checkout, "clean", "--quiet", "-ffdx")
        except Unavailable as error:
            raise Unavailable(f"git cannot put the checkout back: {plain(str(error))}") from None
        return trial

    def bisect(*words: str) -> str:
        return "\n".join(attempt(checkout, "bisect", *words)[1:])

    for word, sha, wanted in (("GOOD", good, Verdict.open), ("BAD", bad, Verdict.rejected)):
        git(checkout, "checkout", "--quiet", "--force", sha)
        trial = judged(sha)
        if trial.cause:
            raise Unavailable(f"{word}, {sha[:12]}, cannot be judged: {trial.reason}")
        if trial.verdict is not wanted:
            raise NoChange(f"{word}, {sha[:12]}, is not {wanted.name}: {trial.last_line.removeprefix('verdict: ')}")
    breaks = bool(git(checkout, "rev-list", "--max-count=1", bad, f"^{good}"))
    old, new = ("good", "bad") if breaks else ("broken", "fixed")
    first, last = (good, bad) if breaks else (bad, good)
    terms = {trials[first].verdict: old, trials[last].verdict: new}
    said = bisect("start", f"--term-old={old}", f"--term-new={new}", last, first)
    # Either the first one, or all that it could be, with a line for each.
    while not (found := re.findall(rf"{SHA} is the first {new} commit$", said) or re.findall(f"{SHA}$", said)):
        [at] = described(checkout, "-1")
        if at.sha in trials:
            raise Unavailable(f"{plain(said)} (git cannot go on from {at.sha[:12]})")
        trial = judged(at.sha)
        reason = f"  ({trial.reason[:100]})" if trial.reason and (trial.cause or not trial.case) else ""
        say(f"{at.sha[:12]}  {trial.verdict.name:12}  {at.subject}{reason}")
        said = bisect(terms.get(trial.verdict, "skip"), at.sha)
    steps = "\n".join(map(printable, git(checkout, "bisect", "log").rstrip("\n").split("\n")))
    return described(checkout, "--no-walk=unsorted", *found), breaks, steps


def reverted(checkout: Path, sha: str, until: str) -> Commit | None:
    """The commit up to `until` or on the main branch that reverts another, by what its message says."""
    [one] = described(checkout, "-1", sha)
    number = one.link.rpartition("/")[2]
    told = rf"\b[Rr]everts?\b[^\n]*#{number}\b" if number else "(?!)"
    # The clone's only branch is the repository's main one; there may be none.
    for other in described(checkout, until, "--branches", f"^{sha}"):
        message = f"{other.subject}\n{other.body}"
        named = re.findall(r"This reverts commit ([0-9a-f]{7,64})", message)
        by_name = other.subject.startswith(f'Revert "{one.subject}"') or re.search(told, message)
        if any(map(sha.startswith, named)) or (by_name and not other.subject.startswith('Revert "Revert')):
            return other
    return None
