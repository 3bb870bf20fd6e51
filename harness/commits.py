"""Which commit of uvicorn changed a verdict: git's own bisect, in a clone of its own. What git says, counts."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.git import attempt, git
from harness.model import UPSTREAM, Trial, Verdict, plain, printable
from harness.place import Unavailable, scratch
from harness.releases import NoChange, give_up

# A local repository's objects are read where they are, and never written. Its branches keep their names.
CLONE = ("clone", "--quiet", "--shared", "--no-checkout", "--template=", "--origin=cloned")
BRANCHES = tuple(f"--config=remote.cloned.fetch=+refs/{kind}/*:refs/{kind}/*" for kind in ("heads", "remotes"))


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
    """A clone of a path or URL, gone when the block is left: each name means there what it means in the repository.

    Raises Unavailable, also where commits or files are missing: git would take what is left for all there is.
    """
    where = os.path.expanduser(repository)  # noqa: PTH111 - a user that is not there is git's affair
    with scratch("history") as folder:
        checkout = folder / "checkout"
        git(folder, "-C", str(Path.cwd()), *CLONE, *BRANCHES, "--", where, str(checkout))
        if attempt(Path.cwd(), "-C", where, "config", "--get-regexp", r"^remote\..*\.promisor$")[0] == 0:
            raise Unavailable("REPO is a partial clone: run git fetch --refetch --no-filter in it, or clone anew")
        if git(checkout, "rev-parse", "--is-shallow-repository").strip() == "true":
            raise Unavailable("REPO is a shallow clone: run git fetch --unshallow --tags in it first")
        yield checkout


def commit(checkout: Path, word: str, revision: str) -> str:
    """The full name of a tag, branch or commit. Raises Unavailable where it is not there."""
    name = f"{revision}^{{commit}}"
    status, sha, _ = attempt(checkout, "rev-parse", "--quiet", "--verify", "--end-of-options", name)
    if status:
        raise Unavailable(f"{word}: there is no {revision} in this repository: git fetch --tags there, or name another")
    return sha.strip()


def search(
    checkout: Path, good: str, bad: str, judging: Callable[[str], Trial], say: Callable[[str], None]
) -> tuple[list[Commit], bool, str]:
    """Run git bisect between two commits, GOOD and BAD, in whichever order.

    `judging` judges the checkout as it stands, at the commit that it is told; `say` gets a line for every commit.
    Returns the commits of which one is the first, whether that is a break, and git's log. Raises NoChange where an end
    is not as claimed, and Unavailable with git's words or the reason why an end cannot be judged.
    """
    trials: dict[str, Trial] = {}

    def judged(sha: str) -> Trial:
        """The trial of the checkout, from which it is put back: a uvicorn may write to its own files."""
        trials[sha] = trial = judging(sha)
        give_up([*trials.values()])
        git(checkout, "reset", "--quiet", "--hard", sha)
        git(checkout, "clean", "--quiet", "-ffdx")
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
    # Either the first one, or all that it could be, in lines that begin as no subject does.
    while not (found := re.findall(rf"(?m)^([0-9a-f]{{40,64}})(?: is the first {new} commit)?$", said)):
        [at] = described(checkout, "-1")
        if at.sha in trials:
            raise Unavailable(f"{said} (git cannot go on from {at.sha[:12]})")
        trial = judged(at.sha)
        reason = f"  ({trial.reason[:100]})" if trial.reason and (trial.cause or not trial.case) else ""
        say(f"{at.sha[:12]}  {trial.verdict.name:12}  {at.subject}{reason}")
        said = bisect(terms.get(trial.verdict, "skip"), at.sha)
    steps = "\n".join(map(printable, git(checkout, "bisect", "log").rstrip("\n").split("\n")))
    return described(checkout, "--no-walk=unsorted", *found), breaks, steps


def reverted(checkout: Path, sha: str, until: str) -> Commit | None:
    """The commit up to `until` or on the main branch that reverts another, by what its message says."""
    [one] = described(checkout, "-1", sha)
    pull, title = one.link.rpartition("/")[2] or "none", re.sub(r" \(#\d+\)$", "", one.subject)
    # By its sha, its subject or its pull request; who reverts its revert names the subject and the number too.
    named = re.compile(
        rf'(?m)This reverts commit {sha[:7]}|\ARevert "{re.escape(title)}(?: \(#{pull}\))?"'
        rf'|^(?!Revert "Revert).*\b[Rr]everts?\b.*#{pull}\b'
    )
    newer = described(checkout, "--ignore-missing", until, "cloned/HEAD", f"^{sha}")
    return next((other for other in newer if named.search(f"{other.subject}\n{other.body}")), None)
