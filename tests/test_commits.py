"""bisect-commits: histories made of released uvicorns, and random ones that are held against `git bisect run`."""

import os
import random
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import commits
from harness.model import Cause, Trial, Verdict
from harness.place import Unavailable

from .conftest import ROOT, harness

Source = Callable[[str], Path]
VERDICTS = {"good": Verdict.open, "bad": Verdict.rejected}
CAUSES = {"skip": Cause.FAILED, "late": Cause.LATE}
SECOND = "2022-11-20T12:00:00+0000"  # that of every commit
SETTINGS = {
    "GIT_AUTHOR_DATE": SECOND,
    "GIT_COMMITTER_DATE": SECOND,
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}
NO_FILTER = "git config filter.lfs.required true; mkdir -p .git/info; echo '* filter=lfs' > .git/info/attributes"
FIX = "GOOD=0.21.0 BAD=0.18.2 RUN='uvicorn --version | grep -v uvicorn.0.18'"
GIT = ("git", "-c", "init.defaultBranch=main", "-c", "user.name=Ada Lovelace", "-c", "user.email=a@b.c")


def git(folder: Path, *words: str, text: str | None = None, check: bool = True) -> str:
    environment = {**os.environ, **SETTINGS}
    done = subprocess.run(
        [*GIT, *words], cwd=folder, input=text, capture_output=True, text=True, check=check, env=environment
    )
    return done.stdout.strip()


def commit(repository: Path, subject: str, tag: str = "", **files: str) -> str:
    """Commit the tree as it stands and these files of uvicorn's."""
    for name, text in files.items():
        (repository / "uvicorn").mkdir(exist_ok=True)
        (repository / "uvicorn" / f"{name}.py").write_text(text)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", subject)
    if tag:
        git(repository, "tag", tag)
    return git(repository, "rev-parse", "HEAD")


def new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    return folder


def line_of(folder: Path, words: str) -> tuple[Path, list[str]]:
    """A history in one line of stand-ins for uvicorn, each good, bad, skip or late, tagged v0, v1, ..."""
    repository = new(folder)
    return repository, [
        commit(repository, f"Number {number}", f"v{number}", __init__=f"{word} {number}\n")
        for number, word in enumerate(words.split())
    ]


def found(repository: Path | str, good: str, bad: str, spoil: str = "") -> list[str]:
    """The commits that the search names, each judged once, by the word that its __init__.py begins with.

    `spoil` is a shell line that runs in the checkout after each judgement of a step.
    """
    judged: set[str] = set()
    with commits.clone(str(repository)) as checkout:

        def judging(sha: str) -> Trial:
            assert (checkout / ".git" / "HEAD").read_text() == f"{sha}\n"
            assert sha not in judged
            judged.add(sha)
            [file] = (checkout / "uvicorn").iterdir()
            word = file.read_text().split()[0]
            if sha not in ends:
                subprocess.run(spoil, shell=True, cwd=checkout, check=True)
            return Trial("").judged(VERDICTS.get(word, Verdict.inconclusive), word, CAUSES.get(word))

        ends = commits.commit(checkout, "GOOD", good), commits.commit(checkout, "BAD", bad)
        return [one.sha for one in commits.search(checkout, *ends, judging, lambda _: None)[0]]


def random_history(folder: Path, dice: random.Random) -> tuple[Path, dict[str, str]]:
    """Branches and merges with breaks, fixes and skips anywhere; the word of each commit."""
    broken: list[bool] = []
    words: list[str] = []
    stream = ""
    length = dice.randint(4, 14)
    lie = f"{'f' * 40} is the first bad commit"
    while len(words) < length or not {"good", "bad"} <= set(words):
        number = len(words)
        near = range(max(0, number - 4), number)
        parents = sorted(dice.sample(near, min(number, dice.choice((1, 1, 2)))), reverse=True)
        broken.append(any(broken[one] for one in parents) != (dice.random() < 0.2))
        words.append("skip" if dice.random() < 0.12 else "bad" if broken[-1] else "good")
        stream += f"commit refs/heads/n{number}\nmark :{number + 1}\ncommitter A <a@b.c> {1668945600 + number} +0000\n"
        stream += f"data <<END\n{lie}\x0bMore {number}\n\n{lie}\nEND\n"
        for link, one in zip(("from", "merge"), parents, strict=False):
            stream += f"{link} :{one + 1}\n"
        stream += f"M 100644 inline uvicorn/__init__.py\ndata <<END\n{words[-1]} {number}\nEND\n"
    git(new(folder), "fast-import", "--quiet", text=stream)
    shas = git(folder, "rev-parse", *(f"n{number}" for number in range(len(words)))).split()
    return folder, dict(zip(shas, words, strict=True))


def gits_own(repository: Path, good: str, bad: str) -> list[str]:
    """What `git bisect run` finds; nothing where git cannot tell."""
    fix = subprocess.run(["git", "merge-base", "--is-ancestor", bad, good], cwd=repository).returncode == 0
    old, new, ends = ("bad", "good", (good, bad)) if fix else ("good", "bad", (bad, good))
    judge = f"read word rest < uvicorn/__init__.py; case $word in {old}) exit 0;; {new}) exit 1;; *) exit 125;; esac"
    git(repository, "checkout", "--quiet", "--force", ends[0])
    git(repository, "bisect", "start", *ends, check=False)
    said = "bisect run success"
    while said.endswith("bisect run success"):  # as git 2.39 says where there is a second merge base to test
        said = git(repository, "bisect", "run", "sh", "-c", judge, check=False)
    git(repository, "bisect", "reset", check=False)
    several = "only 'skip'ped commits left" in said
    return re.findall(rf"(?m)^([0-9a-f]{{40}}){'' if several else ' is the first bad commit'}$", said)


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(n, marks=pytest.mark.weekly) for n in range(6, 100))])
def test_random_histories_end_as_with_git_bisect_run(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    repository, words = random_history(tmp_path / "uvicorn", dice)
    for _ in range(2):
        good, bad = (dice.choice([sha for sha in words if words[sha] == end]) for end in ("good", "bad"))
        expected = gits_own(repository, good, bad)
        try:
            assert sorted(found(repository, good, bad)) == sorted(expected)
        except Unavailable as error:
            assert not expected, error


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("echo bad, it wrote this itself > uvicorn/__init__.py; touch uvicorn/new.py", ""),
        ("git checkout --quiet --force -B main v5", ""),
        ("touch .git/index.lock", r"index\.lock.*File exists"),
        ("rm -rf .git/refs/bisect", r"^status: waiting .* \(git cannot go on from [0-9a-f]{12}\)$"),
        (NO_FILTER, "filter 'lfs' failed"),
    ],
)
def test_what_a_uvicorn_does_to_its_checkout_is_undone_or_told(spoil: str, words: str, tmp_path: Path) -> None:
    repository, shas = line_of(tmp_path / "uvicorn", "good good skip skip bad bad")
    if words:
        with pytest.raises(Unavailable, match=words):
            found(repository, "v0", "v5", spoil)
    else:
        assert sorted(found(repository, "v0", "v5", spoil)) == sorted(shas[2:5])


def test_three_that_do_not_end_in_time_are_enough(tmp_path: Path) -> None:
    repository, _ = line_of(tmp_path / "uvicorn", "good late late late bad")
    with pytest.raises(Unavailable, match=r"^late$"):
        found(repository, "v0", "v4")


def test_names_mean_what_they_mean_in_the_repository_and_its_owners_settings_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, hooked = tmp_path / "hooks" / "post-checkout", tmp_path / "hooked"
    hook.parent.mkdir()
    signature = "echo '[GNUPG:] SIG_CREATED ' >&2; echo -----BEGIN PGP SIGNATURE-----"
    hook.write_text(f"#!/bin/sh\ntouch {hooked}\ncat > /dev/null\n{signature}\n")
    hook.chmod(0o755)
    (tmp_path / "info").mkdir()
    (tmp_path / "info" / "attributes").write_text("*.py working-tree-encoding=UTF-16\n")
    (tmp_path / "gitconfig").write_text(
        f"[core]\n\thooksPath = {hook.parent}\n\tfsmonitor = {hook}\n[init]\n\ttemplateDir = {tmp_path}\n"
        "[clone]\n\tdefaultRemoteName = elsewhere\n[color]\n\tui = always\n[log]\n\tshowSignature = true\n"
    )
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'commit.gpgSign=true' 'gpg.program={hook}'")
    repository, shas = line_of(tmp_path / "upstream", "good good good bad bad bad bad")
    behind = tmp_path / "behind"
    git(tmp_path, "clone", "--quiet", str(repository), str(behind))
    git(behind, "reset", "--quiet", "--hard", "v4")
    git(behind, "branch", "topic/one", "v5")
    git(behind, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"), "v1")
    git(behind, "bundle", "create", "--quiet", str(tmp_path / "a.bundle"), "--branches", "--tags")
    hooked.unlink()
    for name, value in (("CONFIG_GLOBAL", str(tmp_path / "gitconfig")), ("DIR", "/nowhere"), ("INDEX_FILE", "/x")):
        monkeypatch.setenv(f"GIT_{name}", value)
    with commits.clone(str(behind)) as checkout:
        for name, number in (("main", 4), ("origin/main", 6), ("topic/one", 5), ("HEAD", 4), (shas[2][:9], 2)):
            assert commits.commit(checkout, "BAD", name) == shas[number], name
    for place in (os.path.relpath(behind), tmp_path / "tree", tmp_path / "a.bundle", behind.as_uri()):
        assert found(place, "v0", "topic/one") == [shas[3]], place
    assert not hooked.exists()


def test_a_history_that_is_not_there_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    repository, _ = line_of(tmp_path / "uvicorn", "good bad")
    git(repository, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", "--depth", "1", repository.as_uri(), "shallow")
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", repository.as_uri(), "partial")
    commit(new(tmp_path / "other"), "Something else", "v0")
    moved = new(tmp_path / "moved")
    commit(moved, "No package yet", "v0")
    commit(moved, "A package", "v1", __init__="bad\n")
    for name, words in (
        ("shallow", "is a shallow clone: run git fetch --unshallow --tags"),
        ("partial", "is a partial clone: run git fetch --refetch --no-filter"),
        ("absent", "REPO is the path or the URL of a git repository of uvicorn"),
        ("other", "is no git repository of uvicorn"),
        ("moved", "GOOD=v0 has no uvicorn package"),
    ):
        with pytest.raises(Unavailable, match=words):
            found(tmp_path / name, "v0", "v1")
    with commits.clone(str(repository)) as checkout:
        for end in ("v9", "-v", "v0..v1", "--all", "a b", "\x1b"):
            with pytest.raises(Unavailable, match="GOOD: there is no "):
                commits.commit(checkout, "GOOD", end)


def test_who_reverted_it_is_named_wherever_that_is_and_however_it_says_so(tmp_path: Path) -> None:
    repository = new(tmp_path / "uvicorn")
    commit(repository, "Begin", __init__="")
    reverts = {
        "Add this (#11)": "Take it away\n\nThis reverts commit {sha}.\n\x01 {zeros}",
        "Add that": 'Revert "Add that" (#22)',
        "Add more (#13)": "Undo more (#23)\n\nReverts Kludex/uvicorn#13",
        "Merge pull request #14 from a/b": "Revert what #14 brought",
        "Stay (#1)": 'Revert "Revert "Stay (#1)" (#24)',
        "Stay too (#2)": "Mend what #11, #13 and #2 broke",
    }
    added = [commit(repository, subject) for subject in reverts]
    until = commit(repository, "Version 2")
    for sha, message in zip(added, reverts.values(), strict=True):
        commit(repository, message.format(sha=sha, zeros="0" * 40))
    with commits.clone(str(repository)) as checkout:
        named = [commits.reverted(checkout, sha, until) for sha in added]
        git(checkout, "update-ref", "-d", "refs/heads/main")
        assert commits.reverted(checkout, added[0], until) is None
    subjects = [message.partition("\n")[0] for message in reverts.values()]
    assert [one and one.subject for one in named] == [*subjects[:4], None, None]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, source: Source) -> Path:
    """A repository with a commit for each of some releases, tagged, and one branch that mended 0.20.0."""
    repository = new(tmp_path_factory.mktemp("git") / "it's uvicorn")
    for number, version in enumerate(["0.18.2", "0.18.3", "0.19.0", "0.20.0", "0.21.0"], 1000):
        shutil.rmtree(repository / "uvicorn", ignore_errors=True)
        # With times of their own: git takes a file of the same size, time and inode for the same.
        ignore = shutil.ignore_patterns("*.pyc")
        shutil.copytree(source(version) / "uvicorn", repository / "uvicorn", ignore=ignore, copy_function=shutil.copy)
        (repository / "server.py").write_text("raise SystemExit('not this one')\n")
        commit(repository, f"Version {version} (#{number})", version)
    git(repository, "checkout", "--quiet", "-b", "mended", "0.20.0")
    commit(repository, "Mend it here", mended="")
    git(repository, "checkout", "--quiet", "main")
    return repository


def test_the_commit_is_found_and_the_repository_is_not_touched(released: Path) -> None:
    git(released, "bisect", "start", "0.21.0", "0.18.2")
    (released / "uvicorn" / "main.py").write_text("# not committed\n")
    files = {file: file.stat().st_mtime_ns for file in released.rglob("*")}
    done = harness("bisect-commits", f"REPO={released}", "GOOD=0.18.2", "BAD=2022-12-31")
    assert files == {file: file.stat().st_mtime_ns for file in released.rglob("*")}
    git(released, "reset", "--hard", "--quiet")
    git(released, "bisect", "reset")
    sha = git(released, "rev-parse", "0.20.0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-3:] == [
        f"first bad commit: {sha}",
        "  Version 0.20.0 (#1003)",
        "  Ada Lovelace, 2022-11-20, https://github.com/Kludex/uvicorn/pull/1003",
    ]
    assert f"# first bad commit: [{sha}]" in done.stdout
    by_hand = next(line for line in done.stdout.splitlines() if line.startswith("git bisect run "))
    git(released, "bisect", "start", "0.21.0", "0.18.2")
    again = subprocess.run(by_hand, shell=True, cwd=released, capture_output=True, text=True)
    git(released, "bisect", "reset")
    assert f"{sha} is the first bad commit" in again.stdout
    assert git(released, "status", "--porcelain", "--ignored") == ""


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (
            "WS=wsproto GOOD=0.18.2",
            0,
            r"bad: 0.20.0 \(2022-11-20\); now its commits\n(?s:.*)\n  Version 0.20.0 \(#1003\)",
        ),
        (FIX, 0, r"what it printed for each: .environments/runs/(?s:.*)\nfirst fixed commit: .*\n  Version 0.19.0 "),
        ("GOOD=0.20.0 BAD=0.21.0", 1, r"GOOD, \w{12}, is not open: rejected - InvalidHandshake: multiple subproto"),
        (
            "GOOD=mended BAD=0.21.0 RUN='python -m uvicorn.mended'",
            125,
            r"The merge base \w{40} is bad. This means the bug",
        ),
        ("GOOD=2022-13-45 BAD=0.21.0", 2, "GOOD=2022-13-45 is no date, such as 2022-10-19"),
        ("GOOD=n\x1b BAD=0.21.0", 125, r"verdict: inconclusive - GOOD: there is no n\\x1b in this repository"),
        ("CASE=none", 1, r"every change there was, in about \d+ s: make survey CASE=none\n"),
        ("GOOD=0.19.0 BAD=0.20.0 RUN='exit 125'", 125, r"verdict: inconclusive - GOOD, \w{12}, cannot be judged"),
    ],
)
def test_what_is_searched_or_cannot_be_ends_with_its_answer(released: Path, words: str, status: int, said: str) -> None:
    done = harness("bisect-commits", f"REPO={released}", *shlex.split(words))
    assert (done.returncode, "first bad commit" in done.stdout or "first fixed" in done.stdout) == (status, not status)
    assert re.search(said, done.stdout + done.stderr), done.stdout + done.stderr


def test_without_git_it_says_so(tmp_path: Path) -> None:
    done = harness("bisect-commits", f"REPO={ROOT}", "GOOD=a", "BAD=b", PATH=str(tmp_path))
    assert done.stdout == "verdict: inconclusive - git is not installed: install it, then run this again\n"
