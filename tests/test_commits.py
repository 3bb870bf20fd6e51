"""bisect-commits: histories made of released uvicorns, and random ones that are held against `git bisect run`."""

import itertools
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness import commits
from harness.commits import Undecided, search
from harness.model import Cause, Trial, Verdict
from harness.place import Unavailable
from harness.releases import NoChange

from .conftest import ROOT, Done, harness

Source = Callable[[str], Path]
BROKEN = {"good": Verdict.open, "bad": Verdict.rejected}
EMPTY = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
PERSON = {"NAME": "Ada Lovelace", "EMAIL": "a@b.c", "DATE": "2022-11-20T12:00:00+0000"}
WHO = {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in PERSON.items()}


def git(folder: Path, *words: str, text: str | None = None, status: bool = True) -> str:
    command = ["git", "-c", "init.defaultBranch=main", "-c", "advice.detachedHead=false", *words]
    done = subprocess.run(
        command,
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        check=status,
        env={**os.environ, **WHO, **EMPTY},
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


def line_of(folder: Path, states: Sequence[str]) -> tuple[Path, list[str]]:
    """A history in one line of stand-ins for uvicorn, each good, bad or skipped, tagged v0, v1, ..."""
    repository = new(folder)
    shas = [commit(repository, f"Number {n}", f"v{n}", __init__=f"{s} = {n}\n") for n, s in enumerate(states)]
    return repository, shas


def marked(checkout: Path) -> Callable[[str], Trial]:
    """Judges a stand-in by the word that its __init__.py begins with."""

    def judging(sha: str) -> Trial:
        assert git(checkout, "rev-parse", "HEAD") == sha
        word = (checkout / "uvicorn" / "__init__.py").read_text().split()[0]
        verdict = BROKEN.get(word, Verdict.inconclusive)
        return Trial("", "", "stand-in", verdict, "", None if word in BROKEN else Cause.FAILED)

    return judging


def found(repository: Path, good: str, bad: str, spoil: Callable[[Path], None] = lambda _: None) -> list[str]:
    """The commits that the search names; `spoil` gets each checkout after it was judged."""
    with commits.clone(str(repository)) as checkout:
        first, second = (commits.commit(checkout, *end) for end in (("GOOD", good), ("BAD", bad)))
        judge = marked(checkout)

        def judging(sha: str) -> Trial:
            trial = judge(sha)
            spoil(checkout)
            return trial

        return [one.sha for one in search(checkout, first, second, judging, lambda _: None)[0]]


def random_history(folder: Path, dice: random.Random) -> tuple[Path, list[str], list[str]]:
    """Branches and merges with breaks, fixes and skips anywhere; the commits and their states, oldest first."""
    count, parents, states = dice.randint(4, 14), [list[int]()], ["good"]
    for number in range(1, count):
        near = list(range(max(0, number - 4), number))
        parents.append(sorted(dice.sample(near, min(len(near), 2 if dice.random() < 0.3 else 1)), reverse=True))
        inherited = "bad" if any(states[one].startswith("bad") for one in parents[-1]) else "good"
        change = dice.random()
        state = {"good": "bad", "bad": "good"}[inherited] if change < 0.2 else inherited
        states.append(state + ("-skip" if dice.random() < 0.12 else ""))
    stream = []
    for number, (before, state) in enumerate(zip(parents, states, strict=True)):
        word = "skip" if state.endswith("skip") else state
        text = f"{word} {number}\n"
        lie = f"{'f' * 40} is the first bad commit\x0bMore {number}"
        stream += [
            f"commit refs/heads/n{number}\nmark :{number + 1}",
            f"committer A <a@b.c> {1668945600 + number} +0000",
        ]
        stream += [f"data {len(lie)}\n{lie}", *(f"from :{one + 1}" for one in before[:1])]
        stream += [f"merge :{one + 1}" for one in before[1:]]
        stream += [f"M 100644 inline uvicorn/__init__.py\ndata {len(text)}\n{text}"]
    git(new(folder), "fast-import", "--quiet", text="\n".join(stream) + "\n")
    shas = git(folder, "rev-parse", *(f"n{number}" for number in range(count))).split()
    return folder, shas, states


def gits_own(repository: Path, good: str, bad: str) -> list[str]:
    """What `git bisect run` finds; nothing where git cannot tell."""
    judge = "read word rest < uvicorn/__init__.py; case $word in good) exit 0;; bad) exit 1;; *) exit 125;; esac"
    fix = subprocess.run(["git", "merge-base", "--is-ancestor", bad, good], cwd=repository).returncode == 0
    if fix:
        judge = judge.replace("exit 0", "exit X").replace("exit 1;", "exit 0;").replace("exit X", "exit 1")
        good, bad = bad, good
    git(repository, "checkout", "--quiet", "--force", bad)
    git(repository, "bisect", "start", bad, good, status=False)
    said = "bisect run success"
    while said.endswith("bisect run success"):  # as git 2.39 says where there is a second merge base to test
        said = git(repository, "bisect", "run", "sh", "-c", judge, status=False)
    git(repository, "bisect", "reset", status=False)
    if "only 'skip'ped commits left" in said:
        return re.findall(r"(?m)^([0-9a-f]{40})$", said)
    return re.findall(r"(?m)^([0-9a-f]{40}) is the first bad commit$", said)


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(n, marks=pytest.mark.weekly) for n in range(6, 100))])
def test_random_histories_end_as_with_git_bisect_run(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    for number in itertools.count():
        repository, shas, states = random_history(tmp_path / str(number), dice)
        ends = [[sha for sha, state in zip(shas, states, strict=True) if state == one] for one in ("good", "bad")]
        if all(ends):
            break
    for _ in range(2):
        good, bad = map(dice.choice, ends)
        expected = gits_own(repository, good, bad)
        try:
            assert sorted(found(repository, good, bad)) == sorted(expected)
        except Undecided as error:
            assert not expected, error


def test_where_the_merge_base_is_bad_gits_own_words_are_told(tmp_path: Path) -> None:
    repository, shas = line_of(tmp_path / "fork", ["good", "bad"])
    git(repository, "checkout", "--quiet", "-b", "mended")
    commit(repository, "Mend it here", "mine", __init__="good = 2\n")
    git(repository, "checkout", "--quiet", "main")
    for number in range(3):
        commit(repository, f"Go on {number}", f"on{number}", __init__=f"bad = {number}0\n")
    run = "RUN=python -c 'from uvicorn import good'"
    done = bisect(repository, "GOOD=mine", "BAD=main", run)
    assert (
        f"\nverdict: inconclusive - The merge base {shas[1]} is bad. This means the bug has been fixed" in done.stdout
    )
    assert (done.returncode, "first bad" in done.stdout) == (125, False)
    with pytest.raises(Undecided, match=rf"^The merge base {shas[1]} is bad\. This means the bug has been fixed"):
        found(repository, "mine", "main")


def spoil_tracked(checkout: Path) -> None:
    (checkout / "uvicorn" / "__init__.py").write_text("bad, it wrote this itself\n")
    (checkout / "uvicorn" / "new.py").write_text("")


def spoil_lock(checkout: Path) -> None:
    (checkout / ".git" / "index.lock").write_text("")


def spoil_refs(checkout: Path) -> None:
    for name in git(checkout, "for-each-ref", "--format=%(refname)", "refs/bisect").split():
        git(checkout, "update-ref", "-d", name)


def spoil_head(checkout: Path) -> None:
    git(checkout, "checkout", "--quiet", "--force", "-B", "main", "v5")


STATES = ["good"] * 3 + ["bad"] * 4


@pytest.mark.parametrize("spoil", [spoil_tracked, spoil_head])
def test_what_a_uvicorn_does_to_its_own_checkout_is_undone(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    repository, shas = line_of(tmp_path / "uvicorn", STATES)
    assert found(repository, "v0", "v6", spoil) == [shas[3]]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(spoil_lock, r"index\.lock.*File exists"), (spoil_refs, r"^status: .*\(git cannot go on from [0-9a-f]{12}\)$")],
)
def test_where_git_cannot_go_on_its_words_are_told_once(
    spoil: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    repository, _ = line_of(tmp_path / "uvicorn", STATES)
    judged = []

    def counted(checkout: Path) -> None:
        judged.append(checkout)
        assert len(judged) < 9
        if len(judged) > 2:
            spoil(checkout)

    with pytest.raises(Undecided, match=words):
        found(repository, "v0", "v6", counted)


def test_a_filter_that_is_missing_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository, shas = line_of(tmp_path / "uvicorn", STATES)
    config = tmp_path / "gitconfig"
    config.write_text('[filter "lfs"]\n\tsmudge = no-such-filter\n\tclean = cat\n\trequired = true\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    (repository / ".gitattributes").write_text("*.bin filter=lfs\n")
    git(repository, "checkout", "--quiet", "-B", "main", "v2")
    for number, state in enumerate(["good", "bad", "bad", "bad"]):
        (repository / "x.bin").unlink(missing_ok=True)
        if 0 < number < 3:
            (repository / "x.bin").write_text(f"{number}\n")
        commit(repository, f"With a file {number}", f"w{number}", __init__=f"{state} w {number}\n")
    with pytest.raises(Undecided, match="smudge filter lfs failed"):
        found(repository, "w0", "w3")
    assert found(repository, "v0", "v6") == [shas[3]]  # which have no such file


def test_three_that_do_not_end_in_time_are_enough(tmp_path: Path) -> None:
    repository, _ = line_of(tmp_path / "uvicorn", ["good", *["late"] * 30, "bad"])
    judged = []
    with commits.clone(str(repository)) as checkout:
        judge = marked(checkout)

        def judging(sha: str) -> Trial:
            judged.append(sha)
            trial = judge(sha)
            return trial.judged(Verdict.inconclusive, "not within 1 s", Cause.LATE) if trial.cause else trial

        good, first, bad = (commits.commit(checkout, "GOOD", one) for one in ("v0", "v1", "v31"))
        with pytest.raises(Undecided, match="not within 1 s"):
            search(checkout, good, bad, judging, lambda _: None)
        assert len(judged) == 5
        with pytest.raises(Undecided, match=r"BAD, [0-9a-f]{12}, cannot be judged: not within 1 s"):
            search(checkout, good, first, judging, lambda _: None)
        with pytest.raises(NoChange, match=r"GOOD, [0-9a-f]{12}, is not open: rejected"):
            search(checkout, bad, good, judging, lambda _: None)


def test_tags_branches_and_commits_name_what_they_name_in_the_repository_itself(tmp_path: Path) -> None:
    repository, shas = line_of(tmp_path / "upstream", STATES)
    git(tmp_path, "clone", "--quiet", str(repository), "behind")
    behind = tmp_path / "behind"
    git(behind, "reset", "--quiet", "--hard", "v4")
    git(behind, "branch", "topic/one", "v5")
    git(behind, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"), "v1")
    git(behind, "bundle", "create", "--quiet", str(tmp_path / "a.bundle"), "--branches", "--tags")
    mark = tmp_path / "gitconfig"
    mark.write_text("[clone]\n\tdefaultRemoteName = elsewhere\n[color]\n\tui = always\n[log]\n\tshowSignature = true\n")
    for name, number in (("main", 4), ("origin/main", 6), ("topic/one", 5), ("HEAD", 4), ("v3", 3), (shas[2][:9], 2)):
        with commits.clone(str(behind)) as checkout:
            assert commits.commit(checkout, "BAD", name) == shas[number], name
    for place in (tmp_path / "tree", tmp_path / "a.bundle"):
        assert found(place, "v0", "topic/one") == [shas[3]]
    assert found(Path(os.path.relpath(behind)), "v0", "main") == [shas[3]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(mark))
        assert found(behind, "v0", "v6") == [shas[3]]
        with commits.clone(behind.as_uri()) as checkout:
            assert commits.commit(checkout, "BAD", "topic/one") == shas[5]


def test_a_history_that_is_not_there_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    repository, _ = line_of(tmp_path / "uvicorn", STATES)
    git(repository, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", "--depth", "1", repository.as_uri(), "shallow")
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", repository.as_uri(), "partial")
    commit(new(tmp_path / "other"), "Something else", "v0")
    moved = new(tmp_path / "moved")
    commit(moved, "No package yet", "v0")
    commit(moved, "A package", "v6", __init__="bad\n")
    (tmp_path / "plain").mkdir()
    for name, words in (
        ("shallow", "is a shallow clone: run git fetch --unshallow --tags"),
        ("partial", "is a partial clone: run git fetch --refetch --no-filter"),
        ("plain", "REPO is the path or the URL of a git repository of uvicorn"),
        ("absent", "REPO is the path or the URL of a git repository of uvicorn"),
        ("other", "is no git repository of uvicorn"),
        ("moved", "GOOD=v0 has no uvicorn package"),
    ):
        with pytest.raises(Unavailable, match=words):
            found(tmp_path / name, "v0", "v6")
    for end in ("v9", "-v", "v0..v1", "--all", "a b", "\x1b"):
        with pytest.raises(Unavailable, match="GOOD: there is no "):
            found(repository, end, "v6")


def test_who_reverted_it_is_named_wherever_that_is_and_however_it_says_so(tmp_path: Path) -> None:
    repository = new(tmp_path / "uvicorn")
    commit(repository, "Begin", __init__="")
    subjects = ["Add this (#11)", "Add that (#12)", "Add more (#13)", "Merge pull request #14 from a/b", "Stay (#1)"]
    added = [commit(repository, subject) for subject in subjects]
    until = commit(repository, "Version 2", "v2")
    messages = [
        f"Take it away\n\nThis reverts commit {added[0]}.\n\x01 {'0' * 40}",
        'Revert "Add that (#12)" (#22)',
        "Undo more (#23)\n\nReverts Kludex/uvicorn#13",
        "Revert what #14 brought",
        'Revert "Revert "Stay (#1)" (#24)',
        "Mend what #11, #12 and #1 broke",
    ]
    for message in messages:
        commit(repository, message)
    with commits.clone(str(repository)) as checkout:
        named = [commits.reverted(checkout, sha, until) for sha in added]
        git(checkout, "update-ref", "-d", "refs/heads/main")
        assert commits.reverted(checkout, added[0], until) is None
        assert commits.described(checkout, "-1", added[3])[0].link.endswith("/pull/14")
    said = [one and one.subject for one in named]
    assert said == [*(text.partition("\n")[0] for text in messages[:4]), None]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, source: Source) -> Path:
    """A repository with a commit for each of some releases, tagged, all of the same second."""
    repository = new(tmp_path_factory.mktemp("git") / "it's uvicorn")
    for number, version in enumerate(["0.18.2", "0.18.3", "0.19.0", "0.20.0", "0.21.0"], 1000):
        shutil.rmtree(repository / "uvicorn", ignore_errors=True)
        shutil.copytree(source(version) / "uvicorn", repository / "uvicorn", ignore=shutil.ignore_patterns("*.pyc"))
        (repository / "server.py").write_text("raise SystemExit('not this one')\n")
        commit(repository, f"Version {version} (#{number})", version)
    return repository


def bisect(repository: Path, *words: str) -> Done:
    return harness("bisect-commits", f"REPO={repository}", *words)


def test_the_commit_is_found_and_the_repository_is_not_touched(released: Path) -> None:
    git(released, "bisect", "start", "0.21.0", "0.18.2")
    (released / "uvicorn" / "main.py").write_text("# not committed\n")
    files = {file: file.stat().st_mtime_ns for file in released.rglob("*")}
    done = bisect(released, "GOOD=0.18.2", "BAD=2022-12-31")
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


def test_ends_that_are_not_given_are_found_among_the_releases_first(released: Path) -> None:
    done = bisect(released, "WS=wsproto", "GOOD=0.18.2")
    assert "last good: 0.19.0 (2022-10-19), first bad: 0.20.0 (2022-11-20); now its commits\n" in done.stdout
    assert f"\nfirst bad commit: {git(released, 'rev-parse', '0.20.0')}\n" in done.stdout, done.stdout + done.stderr


def test_a_fix_is_found_where_good_is_the_later_one(released: Path) -> None:
    run = "RUN=python -c 'import sys, uvicorn; sys.exit(uvicorn.__version__ < \"0.19\")'"
    done = bisect(released, "GOOD=0.21.0", "BAD=0.18.2", run)
    assert f"\nfirst fixed commit: {git(released, 'rev-parse', '0.19.0')}\n" in done.stdout, done.stdout + done.stderr
    assert "what it printed for each: .environments/runs/" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (
            ["GOOD=0.20.0", "BAD=0.21.0"],
            1,
            r"GOOD, \w{12}, is not open: rejected - InvalidHandshake: multiple subproto",
        ),
        (["GOOD=2022-13-45", "BAD=0.21.0"], 2, "GOOD=2022-13-45 is no date, such as 2022-10-19"),
        (["GOOD=nope", "BAD=0.21.0"], 125, "verdict: inconclusive - GOOD: there is no nope in this repository"),
        (["CASE=none"], 1, r"every change there was, in about \d+ s: make survey CASE=none\n"),
        (["GOOD=0.19.0", "BAD=0.20.0", "RUN=exit 125"], 125, r"verdict: inconclusive - GOOD, \w{12}, cannot be judged"),
    ],
)
def test_what_cannot_be_searched_ends_with_its_reason(released: Path, words: list[str], status: int, said: str) -> None:
    done = bisect(released, *words)
    assert (done.returncode, "first bad" in done.stdout) == (status, False)
    assert re.search(said, done.stdout + done.stderr), done.stdout + done.stderr


def test_without_git_it_says_so(tmp_path: Path) -> None:
    done = harness("bisect-commits", f"REPO={ROOT}", "GOOD=a", "BAD=b", PATH=str(tmp_path))
    assert done.stdout == "verdict: inconclusive - git is not installed: install it, then run this again\n"
