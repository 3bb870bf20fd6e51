"""bisect-commits: histories made of released uvicorns, and random ones that are held against `git bisect run`."""

import os
import random
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import commits
from harness.model import UPSTREAM, Cause, Trial, Verdict
from harness.place import Unavailable

from .conftest import harness, run

VERDICTS = {"good": Verdict.open, "bad": Verdict.rejected}
CAUSES = {"skip": Cause.FAILED, "late": Cause.LATE}
WRITES = "echo bad, it wrote this itself > uvicorn/__init__.py; touch uvicorn/new.py"
NO_FILTER = "git config filter.lfs.required true; mkdir -p .git/info; echo '* filter=lfs' > .git/info/attributes"
GIT = ("git", "-c", "init.defaultBranch=main", "-c", "user.name=Ada Lovelace", "-c", "user.email=a@b.c")
DATES = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2022-11-20T12:00:00+0000")


def git(folder: Path, *words: str, check: bool = True) -> str:
    done = run(*GIT, *words, cwd=folder, GIT_CONFIG_GLOBAL="/dev/null", **DATES)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


def new(folder: Path) -> Path:
    (folder / "uvicorn").mkdir(parents=True)
    git(folder, "init", "--quiet")
    return folder


def commit(repository: Path, message: str, text: str = "") -> str:
    """Commit the tree as it stands, with this text in uvicorn/__init__.py where there is any."""
    if text:
        (repository / "uvicorn" / "__init__.py").write_text(text)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(repository, "rev-parse", "HEAD")


def history(folder: Path, versions: Mapping[str, Path], subject: str = "Version {}") -> Path:
    """A repository with a commit for each of these folders, tagged with its name."""
    package = new(folder) / "uvicorn"
    for version, where in versions.items():
        shutil.rmtree(package)
        # With the time of now: git takes a file of the same size, time and inode for the same.
        shutil.copytree(where / "uvicorn", package, ignore=shutil.ignore_patterns("*.pyc"), copy_function=shutil.copy)
        commit(folder, subject.format(version))
        git(folder, "tag", version)
    return folder


def line_of(folder: Path, words: str) -> Path:
    """A history in one line of stand-ins for uvicorn, each good, bad, skip or late, tagged v0, v1, ..."""
    repository = new(folder)
    for number, word in enumerate(words.split()):
        commit(repository, f"Number {number}", f"{word} {number}\n")
        git(repository, "tag", f"v{number}")
    return repository


def found(repository: Path | str, good: str, bad: str, spoil: str = WRITES) -> list[str]:
    """The commits that the search names, each judged once, by the word that its __init__.py begins with.

    `spoil` is a shell line that runs in the checkout after each judgement of a step.
    """
    judged: set[str] = set()
    with commits.clone(str(repository)) as checkout:
        ends = commits.commit(checkout, "GOOD", good), commits.commit(checkout, "BAD", bad)

        def judging(sha: str) -> Trial:
            assert (checkout / ".git" / "HEAD").read_text() == f"{sha}\n"
            assert sha not in judged
            judged.add(sha)
            [file] = (checkout / "uvicorn").iterdir()
            word = file.read_text().split()[0]
            if sha not in ends:
                run("sh", "-c", spoil, cwd=checkout).check_returncode()
            return Trial("").settle(VERDICTS.get(word, Verdict.inconclusive), word, CAUSES.get(word))

        return [one.sha for one in commits.search(checkout, *ends, judging, lambda _: None)[0]]


def random_history(repository: Path, dice: random.Random) -> dict[str, str]:
    """Branches and merges with breaks, fixes and skips anywhere; the word of each commit."""
    words: dict[str, str] = {}
    broken: set[str] = set()
    length = dice.randint(4, 14)
    lie = f"{'f' * 40} is the first bad commit"
    while len(words) < length or not {"good", "bad"} <= {*words.values()}:
        near = [*words][-4:]
        parents = dice.sample(near, min(len(near), dice.choice((1, 1, 2))))
        breaks = any(one in broken for one in parents) != (dice.random() < 0.2)
        word = "skip" if dice.random() < 0.12 else "bad" if breaks else "good"
        commit(repository, "The tree", f"{word} {len(words)}\n")
        links = [f"-p{one}" for one in parents]
        sha = git(repository, "commit-tree", "HEAD^{tree}", *links, "-m", f"{lie}\x0bMore {len(words)}", "-m", lie)
        words[sha] = word
        broken |= {sha} if breaks else set()
    return words


def gits_own(repository: Path, good: str, bad: str) -> list[str]:
    """What `git bisect run` finds; nothing where git cannot tell."""
    breaks = git(repository, "rev-list", "--max-count=1", bad, f"^{good}")
    old, new, *ends = ("good", "bad", bad, good) if breaks else ("bad", "good", good, bad)
    judge = f"read word rest < uvicorn/__init__.py; case $word in {old}) exit 0;; {new}) exit 1;; *) exit 125;; esac"
    git(repository, "checkout", "--quiet", "--force", ends[0])  # which run judges where nothing is left to test
    git(repository, "bisect", "start", *ends, check=False)
    said = "bisect run success"
    while said.endswith("bisect run success"):  # as git 2.39 says where there is a second merge base to test
        said = git(repository, "bisect", "run", "sh", "-c", judge, check=False)
    git(repository, "bisect", "reset", check=False)
    return re.findall(r"(?m)^([0-9a-f]{40})(?: is the first bad commit)?$", said)


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(n, marks=pytest.mark.weekly) for n in range(6, 100))])
def test_random_histories_end_as_with_git_bisect_run(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    repository = new(tmp_path / "uvicorn")
    words = random_history(repository, dice)
    for _ in range(2):
        good, bad = (dice.choice([sha for sha in words if words[sha] == end]) for end in ("good", "bad"))
        expected = gits_own(repository, good, bad)
        try:
            assert sorted(found(repository, good, bad)) == sorted(expected)
        except Unavailable as error:
            assert not expected, error


def test_where_it_cannot_go_on_it_says_why(tmp_path: Path) -> None:
    repository = line_of(tmp_path / "uvicorn", "good late late late bad")
    for spoil, said in {
        "touch .git/index.lock": r"index\.lock.*File exists",
        "rm -rf .git/refs/bisect": r"^status: waiting .* \(git cannot go on from \w{12}\)$",
        NO_FILTER: "filter 'lfs' failed",
        WRITES: "^late$",  # the third one
    }.items():
        with pytest.raises(Unavailable, match=said):
            found(repository, "v0", "v4", spoil)


def test_names_mean_what_they_mean_in_the_repository_wherever_that_is(tmp_path: Path) -> None:
    shas = git(
        line_of(tmp_path / "upstream", "good good good bad bad bad bad"), "rev-list", "--reverse", "main"
    ).split()
    git(tmp_path, "clone", "--quiet", "upstream", "behind")
    behind = tmp_path / "behind"
    git(behind, "reset", "--quiet", "--hard", "v4")
    git(behind, "branch", "topic/one", "v5")
    git(behind, "worktree", "add", "--quiet", "--detach", "../tree", "v1")
    with commits.clone(str(behind)) as checkout:
        for name, number in (("main", 4), ("origin/main", 6), ("topic/one", 5), ("HEAD", 4), (shas[2][:9], 2)):
            assert commits.commit(checkout, "BAD", name) == shas[number], name
        for name in ("v9", "-v", "v0..v1"):
            with pytest.raises(Unavailable, match="GOOD: there is no "):
                commits.commit(checkout, "GOOD", name)
    for place in (os.path.relpath(behind), tmp_path / "tree", behind.as_uri()):
        assert found(place, "v0", "topic/one") == [shas[3]], place
    git(behind, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", "--depth", "1", behind.as_uri(), "shallow")
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", behind.as_uri(), "partial")
    for lacks, advice in (("shallow", "fetch --unshallow"), ("partial", "fetch --refetch"), ("absent", "not exist")):
        with pytest.raises(Unavailable, match=advice):
            found(tmp_path / lacks, "v0", "v1")


def test_who_reverted_it_is_named_wherever_that_is_and_however_it_says_so(tmp_path: Path) -> None:
    repository = new(tmp_path / "uvicorn")
    reverts = {
        "Add this (#11)": "Take it away\n\nThis reverts commit {sha}.",
        "Add that (#12)": 'Revert "Add that" (#22)',
        "Add more (#13)": "Undo more (#23)\n\nReverts Kludex/uvicorn#13",
        "Merge pull request #14 from a/b": "Revert what #14 brought",
        "Add foo": 'Revert "Add foobar"',
        "Stay (#1)": 'Revert "Revert "Stay (#1)" (#24)',
        "Stay too (#2)": "Mend what #11, #13 and #2 broke",
    }
    added = [commit(repository, subject) for subject in reverts]
    for sha, message in zip(added, reverts.values(), strict=True):
        commit(repository, message.format(sha=sha))
    with commits.clone(str(repository)) as checkout:
        named = [commits.reverted(checkout, sha, added[-1]) for sha in added]
        git(checkout, "update-ref", "-d", "refs/remotes/cloned/HEAD")  # as where no branch was checked out
        assert commits.reverted(checkout, added[0], added[-1]) is None
    subjects = [message.partition("\n")[0] for message in reverts.values()]
    assert [one and one.subject for one in named] == [*subjects[:4], None, None, None]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, source: Any) -> Path:
    """A commit for each of some releases, and one branch that mended 0.20.0."""
    versions = {version: source(version) for version in ("0.18.2", "0.18.3", "0.19.0", "0.20.0", "0.21.0")}
    repository = history(tmp_path_factory.mktemp("git") / "it's uvicorn", versions, "Version {} (#1003)")
    git(repository, "checkout", "--quiet", "-b", "mended", "0.20.0")
    (repository / "uvicorn" / "mended.py").touch()
    commit(repository, "Mend it here")
    git(repository, "checkout", "--quiet", "main")
    return repository


def test_the_commit_is_found_and_the_repository_is_not_touched(released: Path) -> None:
    files = {file: file.stat().st_mtime_ns for file in released.rglob("*")}
    done = harness("bisect-commits", f"REPO={released}", "GOOD=0.18.2", "BAD=2022-12-31")
    assert files == {file: file.stat().st_mtime_ns for file in released.rglob("*")}
    sha = git(released, "rev-parse", "0.20.0")
    assert done.returncode == 0, done.stdout + done.stderr
    about = f"  Version 0.20.0 (#1003)\n  Ada Lovelace, 2022-11-20, {UPSTREAM}/pull/1003\n"
    assert done.stdout.endswith(f"\nfirst bad commit: {sha}\n{about}")
    assert f"# first bad commit: [{sha}]" in done.stdout
    by_hand = next(line for line in done.stdout.splitlines() if line.startswith("git bisect run "))
    git(released, "bisect", "start", "0.21.0", "0.18.2")
    assert f"{sha} is the first bad commit" in git(released, *shlex.split(by_hand)[1:])
    git(released, "bisect", "reset")


def test_what_is_searched_or_cannot_be_ends_with_its_answer(released: Path) -> None:
    for words, status, said in [
        ("WS=wsproto GOOD=0.18.2", 0, r"bad: 0.20.0 \(2022-11-20\); now its commits\n(?s:.*)\n  Version 0.20.0 "),
        (
            "GOOD=0.21.0 BAD=0.18.2 RUN='! uvicorn --version | grep 0.18'",
            0,
            r"first fixed commit: .*\n  Version 0.19.0",
        ),
        ("GOOD=0.20.0 BAD=0.21.0", 1, r"GOOD, \w{12}, is not open: rejected - InvalidHandshake: multiple subproto"),
        ("GOOD=mended BAD=0.21.0 RUN='python -m uvicorn.mended'", 125, r"The merge base \w{40} is bad. This means"),
        ("GOOD=2022-13-45 BAD=0.21.0", 2, "GOOD=2022-13-45: month must be in 1..12"),
        ("GOOD=0.19.0 BAD=0.20.0 RUN='exit 125'", 125, r"printed for each: (?s:.*)inconclusive - GOOD, \w{12}, "),
    ]:
        done = harness("bisect-commits", f"REPO={released}", *shlex.split(words))
        named = "first bad commit" in done.stdout or "first fixed" in done.stdout
        assert (done.returncode, named) == (status, status == 0), done.stdout + done.stderr
        assert re.search(said, done.stdout + done.stderr), done.stdout + done.stderr
