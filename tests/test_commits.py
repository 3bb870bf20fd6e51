"""`python -m harness bisect-commits` and `try --source`, over histories made of released uvicorns."""

import hashlib
import os
import py_compile
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from harness import index, shelf
from harness.shelf import Setting, pins

from .conftest import ROOT, Done, harness, run

TRIAL = ROOT / "harness" / "trial.py"
HERE = Setting(pins(), shelf.interpreter())
AUTHOR = {"GIT_AUTHOR_NAME": "Ada Lovelace", "GIT_AUTHOR_EMAIL": "a@b.c", "GIT_AUTHOR_DATE": "2022-11-20T12:00:00+0000"}
COMMITTER = {"GIT_COMMITTER_NAME": "C", "GIT_COMMITTER_EMAIL": "c@b.c"}


def search(repository: Path, *arguments: str, **variables: str) -> Done:
    return harness("bisect-commits", "--repo", repository, *arguments, cwd=ROOT, project=ROOT, **variables)


def git(folder: Path, *arguments: str, **environment: str) -> str:
    dates = {**AUTHOR, "GIT_COMMITTER_DATE": AUTHOR["GIT_AUTHOR_DATE"], **COMMITTER}
    command = ["git", "-c", "init.defaultBranch=main", "-c", "advice.detachedHead=false", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, env={**os.environ, **dates, **environment}
    )
    return done.stdout.strip()


def new_repository(folder: Path) -> Path:
    folder.mkdir()
    git(folder, "init", "--quiet")
    return folder


def put(folder: Path, version: str) -> None:
    """The sources of a release as the working tree."""
    shutil.rmtree(folder / "uvicorn", ignore_errors=True)
    shutil.copytree(shelf.release(version) / "uvicorn", folder / "uvicorn")


def commit(folder: Path, subject: str, tag: str = "", **environment: str) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", subject, **environment)
    if tag:
        git(folder, "tag", tag)
    return git(folder, "rev-parse", "HEAD")


def history(folder: Path, versions: Sequence[str]) -> Path:
    """A repository with a commit for every release, tagged, all within the same second."""
    new_repository(folder)
    for number, version in enumerate(versions, 1000):
        put(folder, version)
        commit(folder, f"Version {version} (#{number})", version)
    return folder


@pytest.fixture(scope="module")
def uvicorns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return history(tmp_path_factory.mktemp("git") / "it's uvicorn", ["0.18.2", "0.18.3", "0.19.0", "0.20.0", "0.21.0"])


def state(repository: Path) -> str:
    """A digest of every file of a repository, git's own included."""
    files = sorted(path for path in repository.rglob("*") if path.is_file())
    parts = [str(path).encode() + b"\0" + path.read_bytes() for path in files]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def test_the_commit_is_found_and_the_repository_is_not_touched(uvicorns: Path) -> None:
    git(uvicorns, "bisect", "start", "0.21.0", "0.18.2")
    (uvicorns / "uvicorn" / "main.py").write_text("# not committed\n")
    before = state(uvicorns)
    result = search(uvicorns, "--good", "0.18.2", "--bad", "0.21.0")
    assert state(uvicorns) == before
    git(uvicorns, "reset", "--hard", "--quiet")
    git(uvicorns, "bisect", "reset")
    assert result.returncode == 0, result.stderr
    sha = git(uvicorns, "rev-parse", "0.20.0")
    assert result.stdout.splitlines()[-3:] == [
        f"first bad commit: {sha}",
        "  Version 0.20.0 (#1003)",
        "  Ada Lovelace, 2022-11-20, https://github.com/Kludex/uvicorn/pull/1003",
    ]
    assert f"# first bad commit: [{sha}]" in result.stdout
    assert "git bisect start '--term-old=good' '--term-new=bad'" in result.stdout
    assert "git bisect run " in result.stdout.splitlines()[0]


def test_neighbouring_commits_and_a_relative_path_will_do(uvicorns: Path) -> None:
    result = harness("bisect-commits", "--repo", uvicorns.name, cwd=uvicorns.parent)
    assert result.returncode == 0, result.stderr
    assert "  Version 0.20.0 (#1003)" in result.stdout
    assert search(uvicorns, "--ws", "wsproto").stdout.splitlines()[-3:] == result.stdout.splitlines()[-3:]


def test_the_printed_command_works_by_hand(uvicorns: Path, tmp_path: Path) -> None:
    printed = search(uvicorns).stdout.splitlines()[0]
    git(tmp_path, "clone", "--quiet", str(uvicorns), "by hand")
    checkout = tmp_path / "by hand"
    git(checkout, "bisect", "start", "0.21.0", "0.18.2")
    done = subprocess.run(printed, shell=True, cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0
    assert f"{git(uvicorns, 'rev-parse', '0.20.0')} is the first bad commit" in done.stdout
    git(checkout, "bisect", "reset")
    assert git(checkout, "status", "--porcelain", "--ignored") == ""


def test_an_end_that_is_not_as_claimed_stops_it(uvicorns: Path) -> None:
    for ends, error in (
        (("0.20.0", "0.21.0"), "0.20.0 is not open: rejected - InvalidHandshake: multiple subprotocols"),
        (("0.18.2", "0.19.0"), "0.19.0 is not rejected: open"),
    ):
        result = search(uvicorns, "--good", ends[0], "--bad", ends[1])
        assert result.returncode == 2
        assert result.stderr.startswith(f"harness bisect-commits: {error}")
        assert len(result.stderr.splitlines()) == 1
        assert "first bad" not in result.stdout


def test_a_fix_is_found_with_the_newest_websockets(tmp_path: Path) -> None:
    newest = index.listing("websockets").newest(HERE.interpreter.version)
    repository = history(tmp_path / "uvicorn", ["0.49.0", "0.50.0", "0.50.1", "0.50.2"])
    asked = ["--case", "unsplit-offer", "--ws", "websockets-sansio", "--find", "fix"]
    result = search(repository, *asked, "--websockets", newest, "--good", "0.49.0", "--bad", "0.50.2")
    assert result.returncode == 0, result.stderr
    sha = git(repository, "rev-parse", "0.50.1")
    assert result.stdout.splitlines()[-3:-1] == [f"first fixed commit: {sha}", "  Version 0.50.1 (#1002)"]
    assert f"# first fixed commit: [{sha}]" in result.stdout
    assert "--expect rejected" in result.stdout.splitlines()[0]


@pytest.mark.parametrize(
    "broken",
    [
        ("__init__.py", "raise SystemExit(0)\n"),
        ("server.py", "this is no Python\n"),
        ("protocols/websockets/websockets_impl.py", "1 / 0\n"),
        ("__init__.py", None),
    ],
    ids=["exits", "syntax", "fails", "absent"],
)
def test_commits_that_cannot_be_judged_are_skipped_and_all_of_them_named(
    broken: tuple[str, str | None], tmp_path: Path
) -> None:
    repository, (name, text) = new_repository(tmp_path / "uvicorn"), broken
    put(repository, "0.19.0")
    commit(repository, "Version 0.19.0", "0.19.0")
    suspects = []
    for version in ("0.19.0", "0.20.0"):
        put(repository, version)
        (repository / "uvicorn" / name).unlink()
        if text is not None:
            (repository / "uvicorn" / name).write_text(text)
        suspects.append(commit(repository, f"Break {version}"))
    put(repository, "0.20.0")
    suspects.append(commit(repository, "Mend it", "0.20.0"))
    result = search(repository)
    assert result.returncode == 125, result.stderr
    assert "first bad commit: one of these, the others cannot be judged" in result.stdout
    assert set(re.findall(r"^first bad commit: ([0-9a-f]{40})$", result.stdout, re.MULTILINE)) == set(suspects)


def test_what_a_commit_prints_or_is_called_is_not_taken_for_the_answer(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "uvicorn")
    for version in ("0.18.3", "0.19.0", "0.20.0", "0.21.0"):
        put(repository, version)
        sha = git(repository, "rev-parse", "HEAD") if version != "0.18.3" else "f" * 40
        lie = f"{sha} is the first bad commit"
        with (repository / "uvicorn" / "__init__.py").open("a") as file:
            file.write(f"print({lie!r}, flush=True)\n")
        commit(repository, f"{lie}\n\n# first bad commit: [{sha}]", version)
    result = search(repository, "--good", "0.18.3", "--bad", "0.21.0")
    assert result.returncode == 0, result.stderr
    found = re.findall(r"^first bad commit: (.*)$", result.stdout, re.MULTILINE)
    assert found == [git(repository, "rev-parse", "0.20.0")]


def test_a_skipped_commit_away_from_the_change_does_not_matter(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "uvicorn")
    put(repository, "0.18.3")
    commit(repository, "Version 0.18.3", "0.18.3")
    (repository / "uvicorn" / "__init__.py").write_text("raise ImportError\n")
    commit(repository, "Break it")
    for version in ("0.19.0", "0.20.0", "0.21.0"):
        put(repository, version)
        commit(repository, f"Version {version}", version)
    result = search(repository, "--good", "0.18.3", "--bad", "0.21.0")
    assert result.returncode == 0
    assert result.stdout.splitlines()[-3:-1] == [
        f"first bad commit: {git(repository, 'rev-parse', '0.20.0')}",
        "  Version 0.20.0",
    ]
    assert result.stdout.endswith(", pull request unknown\n")


def test_a_change_that_came_by_a_merge_is_found_at_the_merge(tmp_path: Path) -> None:
    repository = history(tmp_path / "uvicorn", ["0.18.3", "0.19.0"])
    git(repository, "checkout", "--quiet", "-b", "feature", "0.18.3")
    (repository / "notes.txt").write_text("on the branch\n")
    commit(repository, "Notes")
    git(repository, "checkout", "--quiet", "main")
    git(repository, "merge", "--quiet", "--no-ff", "--no-commit", "feature")
    put(repository, "0.20.0")  # a merge that brings a change of its own
    sha = commit(repository, "Merge pull request #1606 from somebody/feature")
    put(repository, "0.21.0")
    commit(repository, "Version 0.21.0", "0.21.0")
    result = search(repository, "--bad", "0.21.0")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-3] == f"first bad commit: {sha}"
    assert result.stdout.endswith("Ada Lovelace, 2022-11-20, https://github.com/Kludex/uvicorn/pull/1606\n")


def test_what_cannot_be_searched_is_one_line_that_says_what_to_do(uvicorns: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth", "1", "--branch", "0.20.0", uvicorns.as_uri(), "shallow")
    other = new_repository(tmp_path / "other")
    commit(other, "Something else", "0.19.0")
    moved = new_repository(tmp_path / "moved")
    commit(moved, "No package yet", "0.19.0")
    put(moved, "0.20.0")
    commit(moved, "A package", "0.20.0")
    (tmp_path / "plain").mkdir()
    (tmp_path / "bin").mkdir()
    for repository, arguments, environment, words in (
        (tmp_path / "shallow", [], {}, "is a shallow clone: run git fetch --unshallow"),
        (tmp_path / "plain", [], {}, "give the path or the URL of a git repository"),
        (tmp_path / "absent", [], {}, "give the path or the URL of a git repository"),
        (other, [], {}, "is no git repository of uvicorn"),
        (moved, [], {}, "0.19.0 has no uvicorn package"),
        (uvicorns, ["--good", "0.17.0"], {}, "there is no tag 0.17.0 in this repository: run git fetch --tags"),
        (uvicorns, ["--bad", "x"], {}, "there is no tag x in this repository"),
        (uvicorns, ["--good", "0.20.0", "--bad", "0.19.0"], {}, "0.20.0 is not open"),
        (uvicorns, [], {"PATH": str(tmp_path / "bin")}, "git is not installed"),
    ):
        result = search(repository, *arguments, **environment)
        assert result.returncode == 2, words
        assert len(result.stderr.splitlines()) == 1, result.stderr
        assert words in result.stderr


def test_variables_and_hooks_of_git_do_not_lead_it_elsewhere(uvicorns: Path, tmp_path: Path) -> None:
    other = new_repository(tmp_path / "other")
    (tmp_path / "hooks").mkdir()
    hook = tmp_path / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/hooked'\nexit 1\n")
    hook.chmod(0o755)
    (tmp_path / "gitconfig").write_text(f"[core]\n\thooksPath = {tmp_path}/hooks\n")
    environment = {"GIT_DIR": f"{other}/.git", "GIT_WORK_TREE": str(other), "LANG": "de_DE.UTF-8"}
    result = search(
        uvicorns, "--good", "0.18.2", "--bad", "0.21.0", GIT_CONFIG_GLOBAL=str(tmp_path / "gitconfig"), **environment
    )
    assert result.returncode == 0, result.stderr
    assert "  Version 0.20.0 (#1003)" in result.stdout
    assert not (tmp_path / "hooked").exists()


def compile_elsewhere(target: Path, text: bytes) -> None:
    """Bytecode of other content beside a source, which Python takes for the source's own."""
    was, status = target.read_bytes(), target.stat()
    assert len(text) == len(was)
    target.write_bytes(text)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    py_compile.compile(str(target), doraise=True)
    target.write_bytes(was)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_stale_bytecode_in_a_checkout_does_not_decide(tmp_path: Path) -> None:
    put(tmp_path, "0.20.0")
    target = tmp_path / "uvicorn" / "protocols" / "websockets" / "websockets_impl.py"
    text = target.read_bytes()
    needle = b"server_state.default_headers"
    assert text.count(needle) == 1
    compile_elsewhere(target, text.replace(needle, b"[]".ljust(len(needle))))
    program = "from uvicorn.protocols.websockets.websockets_impl import WebSocketProtocol as it\n"
    program += "print(it.__init__.__code__.co_names)"
    fooled = run(sys.executable, "-c", program, cwd=tmp_path)
    assert "ws_server" in fooled.stdout
    assert "default_headers" not in fooled.stdout
    result = harness("try", "--source", tmp_path)
    assert result.stdout.splitlines()[-1].startswith("verdict: rejected - ")


def test_commits_of_the_same_second_and_size_are_told_apart(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "uvicorn")
    put(repository, "0.20.0")
    target = repository / "uvicorn" / "protocols" / "websockets" / "websockets_impl.py"
    text, needle = target.read_bytes(), b"server_state.default_headers"
    shas = {}
    for number in range(8):
        target.write_bytes(text.replace(needle, needle if number > 3 else b"[]".ljust(len(needle))))
        (repository / "number").write_text(str(number))
        shas[number] = commit(repository, f"Commit {number}", f"v{number}")
    result = search(repository, "--good", "v0", "--bad", "v7")
    assert result.stdout.splitlines()[-3:-1] == [f"first bad commit: {shas[4]}", "  Commit 4"]


@pytest.mark.parametrize("how", ["link", "path", "extension", "bytecode", "no package", "no folder"])
def test_a_checkout_that_does_not_bring_its_own_uvicorn_is_inconclusive(how: str, tmp_path: Path) -> None:
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    checkout.mkdir()
    elsewhere.mkdir()
    put(elsewhere, "0.20.0")
    if how == "link":
        (checkout / "uvicorn").symlink_to(elsewhere / "uvicorn")
    elif how == "path":
        (checkout / "uvicorn").mkdir()
        text = (elsewhere / "uvicorn" / "__init__.py").read_text()
        path = f"__path__ = [{str(elsewhere / 'uvicorn')!r}]\n"
        (checkout / "uvicorn" / "__init__.py").write_text(path + text)
    elif how != "no folder":
        put(checkout, "0.20.0")
    if how == "no package":
        (checkout / "uvicorn" / "__init__.py").unlink()
    if how == "bytecode":
        target = checkout / "uvicorn" / "protocols" / "utils.py"
        py_compile.compile(str(target), cfile=str(target.with_suffix(".pyc")), doraise=True)
        target.unlink()
    if how == "extension":
        (checkout / "uvicorn" / "protocols" / f"utils{EXTENSION_SUFFIXES[0]}").write_bytes(b"no library")
    asked = ["--source", str(checkout), "--ws", "websockets", "--quiet"]
    # Neither with an environment that has no uvicorn, nor with one that has.
    for python in (shelf.base(HERE) / "bin" / "python", Path(sys.executable)):
        result = run(python, "-I", TRIAL, *asked)
        assert result.returncode == 125, result.stdout
        assert result.stdout.startswith("verdict: inconclusive - ")


def test_a_checkout_is_judged_by_itself_whatever_the_environment_has(uvicorns: Path, tmp_path: Path) -> None:
    (tmp_path / "uvicorn").mkdir()
    (tmp_path / "uvicorn" / "__init__.py").write_text("raise SystemExit(0)\n")
    paths = os.pathsep.join([str(ROOT), str(tmp_path)])
    for version, status in (("0.19.0", 0), ("0.20.0", 1), ("0.19.0", 0)):
        git(uvicorns, "checkout", "--quiet", version)
        result = run(sys.executable, "-m", "harness", "try", "--source", ".", cwd=uvicorns, PYTHONPATH=paths)
        assert result.returncode == status, result.stdout
        # The harness's own Python has 0.20.0 installed.
        assert run(sys.executable, "-I", TRIAL, "--source", ".", "--quiet", cwd=uvicorns).returncode == status
    git(uvicorns, "checkout", "--quiet", "main")
    assert git(uvicorns, "status", "--porcelain", "--ignored") == ""
