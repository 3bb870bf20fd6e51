"""`python -m harness bisect` and `try`: from the symptom to the release, with real releases and real servers."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.__main__ import main

from .conftest import NO_INDEX, Done, copy_of_the_project, harness, run

LINE = re.compile(r"^(\S+) +(\d{4}-\d\d-\d\d)  (open|rejected|inconclusive) ", re.MULTILINE)
ENDS = "last good: 0.19.0 (2022-10-19)\nfirst bad: 0.20.0 (2022-11-20)\n"


def bisect(project: Path, *arguments: str, **variables: str) -> Done:
    return harness("bisect", *arguments, cwd=project, project=project, **variables)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project whose folders and verdicts these tests may share."""
    return copy_of_the_project(tmp_path_factory.mktemp("shared"))


@contextmanager
def nothing_to_judge_with(project: Path) -> Iterator[dict[str, str]]:
    """Inside the block there is no base, and with these variables none can be built."""
    built, away, broken = project / ".environments" / "bases", project / "away", project / "uv.toml"
    broken.write_text("this is no TOML\n")
    built.rename(away)
    try:
        yield {"UV_CONFIG_FILE": str(broken)}
    finally:
        away.rename(built)


@pytest.mark.parametrize("ws", ["websockets", "wsproto"])
def test_the_whole_range_ends_at_0_19_0_and_0_20_0(ws: str, shared: Path) -> None:
    result = bisect(shared, "--ws", ws)
    assert result.returncode == 0, result.stderr
    assert ENDS in result.stdout
    lines = LINE.findall(result.stdout)
    assert lines[0] == ("0.12.0", "2020-09-28", "inconclusive")
    assert lines[1][2] == "rejected"
    assert lines[2] == ("0.12.1", "2020-09-30", "open")
    assert "the end moves inward" in result.stdout.splitlines()[4]
    assert result.stdout.splitlines()[2].endswith("requires h11<0.11,>=0.8")
    # Each step says how many are left at most, and that holds.
    left = [int(number) for number in re.findall(r"at most (\d+) more", result.stdout)]
    assert left == sorted(set(left), reverse=True)
    assert len(lines) - 3 <= left[0] + 1 <= 7
    assert len({version for version, _, _ in lines}) == len(lines)
    assert "\033" not in result.stdout + result.stderr


def test_what_it_says_repeats_it_does(shared: Path) -> None:
    asked = ["--ws", "wsproto", "--case", "accept-headers", "--good", "0.16.0", "--bad", "0.17.0", "--wsproto", "1.1.0"]
    result = bisect(shared, *asked)
    assert "last good: 0.16.0 (2021-12-08)\nfirst bad: 0.17.0 (2022-01-14)\n" in result.stdout, result.stderr
    command = shlex.split(re.findall(r"^repeat just this: (.*)$", result.stdout, re.MULTILINE)[0])
    (shared / ".environments" / "harness").symlink_to(Path(sys.prefix))
    again = run(*command, "--assume-old", ".environments/harness/ready", cwd=shared)
    (shared / ".environments" / "harness").unlink()
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-7:] == result.stdout.splitlines()[-7:]
    assert "wsproto==1.1.0" in again.stdout
    assert re.search(r"^go on to commits: make bisect-commits GOOD=0\.16\.0 BAD=0\.17\.0 ", again.stdout, re.MULTILINE)


def test_headers_in_accept_began_to_be_sent_around_a_withdrawn_release(shared: Path) -> None:
    result = bisect(shared, "--case", "accept-headers")
    assert result.returncode == 0
    assert "last good: 0.16.0 (2021-12-08)\nfirst bad: 0.17.0.post1 (2022-01-24)\n" in result.stdout
    assert "left out between the two: 0.17.0 " in result.stdout
    result = bisect(shared, "--case", "accept-headers", "--good", "0.16.0", "--bad", "0.17.1", "--withdrawn")
    assert "last good: 0.16.0 (2021-12-08)\nfirst bad: 0.17.0 (2022-01-14)\n" in result.stdout
    assert "left out" not in result.stdout


def test_for_an_app_that_sends_the_header_alone_the_same_release_is_a_fix(shared: Path) -> None:
    result = bisect(shared, "--case", "header-alone", "--find", "fix")
    assert result.returncode == 0, result.stderr
    assert "last bad: 0.19.0 (2022-10-19)\nfirst fixed: 0.20.0 (2022-11-20)\n" in result.stdout


def test_an_end_that_is_not_as_claimed_is_named(shared: Path) -> None:
    for arguments, error in (
        (["--case", "none", "--bad", "0.20.0"], "0.20.0 is open, not rejected"),
        (["--good", "0.20.0", "--bad", "0.21.0"], "0.20.0 is rejected, not open"),
        (["--find", "fix", "--good", "0.19.0", "--bad", "0.21.0"], "0.19.0 is open, not rejected"),
        (["--find", "fix", "--good", "0.20.0", "--bad", "0.21.0"], "0.21.0 is rejected, not open"),
        (["--good", "0.20.0", "--bad", "0.20.0"], "0.20.0 is rejected, not open"),
    ):
        result = bisect(shared, *arguments)
        assert result.returncode == 2
        assert result.stderr.startswith(f"harness bisect: {error}: it is not ")
        assert "nothing to search for" in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert "first" not in result.stdout


def test_the_newest_release_is_not_bad_without_the_header(shared: Path) -> None:
    result = bisect(shared, "--case", "none")
    newest = LINE.findall(result.stdout)[1][0]
    assert result.returncode == 2
    assert f"harness bisect: {newest} is open, not rejected: it is not bad (the newest release), so" in result.stderr


def test_a_fix_is_found_and_says_what_it_needs(shared: Path) -> None:
    asked = ["--case", "unsplit-offer", "--ws", "websockets-sansio", "--find", "fix", "--good", "0.47.0"]
    result = bisect(shared, *asked, "--websockets", "latest", "--bad", "0.51.0")
    assert result.returncode == 0, result.stderr
    assert "last bad: 0.50.0 (2026-07-04)\nfirst fixed: 0.50.1 (2026-07-06)\n" in result.stdout
    assert " FIND=fix WEBSOCKETS=latest" in result.stdout.splitlines()[-1]
    needy = bisect(shared, *asked)
    assert needy.returncode == 125
    last = needy.stdout.splitlines()[-1]
    assert last.startswith("verdict: inconclusive - ")
    assert "ImportError" in last
    assert last.endswith("try --websockets latest (make: WEBSOCKETS=latest)")


def test_ends_that_cannot_be_tested_move_inward_on_both_sides(shared: Path) -> None:
    # 0.10.8 has no wheel, those from 0.10.9 on refuse the pins.
    result = bisect(shared, "--good", "0.10.8", "--bad", "0.20.0")
    assert result.returncode == 0
    assert ENDS in result.stdout
    moved = [line.split()[0] for line in result.stdout.splitlines() if "the end moves inward" in line]
    assert moved[-1] == "0.12.1"
    for good, bad in (("0.10.9", "0.11.8"), ("0.12.0", "0.12.1")):
        nothing = bisect(shared, "--good", good, "--bad", bad)
        assert nothing.returncode == 125
        assert nothing.stdout.splitlines()[-1].startswith("verdict: inconclusive - no release between the ends can be")


def test_kept_verdicts_hold_until_the_specimen_changes_or_they_are_forgotten(project: Path) -> None:
    narrow = ["--good", "0.18.3", "--bad", "0.21.0"]
    first = bisect(project, *narrow)
    assert first.returncode == 0
    kept = project / ".environments" / "verdicts.jsonl"
    before = kept.read_bytes()
    with nothing_to_judge_with(project) as nothing:
        assert bisect(project, *narrow, **nothing).stdout == first.stdout
        assert bisect(project, *narrow, "--ws", "wsproto", **nothing).returncode == 125
        server = (project / "server.py").read_text()
        (project / "server.py").write_text(f"{server}\n")
        assert bisect(project, *narrow, **nothing).returncode == 125
        (project / "server.py").write_text(server)
        assert kept.read_bytes() == before
        assert bisect(project, *narrow, **nothing).stdout == first.stdout
        assert bisect(project, *narrow, "--fresh", **nothing).returncode == 125
        assert bisect(project, *narrow, **nothing).returncode == 125
    assert bisect(project, *narrow).stdout == first.stdout
    # A specimen that no longer sends the header is judged as what it is now.
    (project / "server.py").write_text(server.replace("headers=IN_CONFIG.get(case, [])", "headers=[]"))
    changed = bisect(project, *narrow)
    assert changed.returncode == 2
    assert "0.21.0 is open, not rejected" in changed.stderr


def test_what_a_killed_run_left_in_the_verdicts_is_passed_over(project: Path) -> None:
    narrow = ["--good", "0.19.0", "--bad", "0.20.0"]
    first = bisect(project, *narrow)
    kept = project / ".environments" / "verdicts.jsonl"
    one, other = [line for line in kept.read_text().splitlines() if line]
    garbage = ["null", '{"key": "k"}', '{"key": "k", "trial": {"a": 1}}', "\udcff", other[: len(other) // 2]]
    kept.write_bytes("\n".join([one, *garbage]).encode(errors="surrogateescape"))
    assert bisect(project, *narrow).stdout == first.stdout
    with nothing_to_judge_with(project) as nothing:
        assert bisect(project, *narrow, **nothing).stdout == first.stdout


def test_a_verdict_of_another_uvicorn_than_the_one_asked_for_does_not_count(project: Path) -> None:
    narrow = ["--good", "0.18.3", "--bad", "0.21.0"]
    assert bisect(project, *narrow).returncode == 0
    shelf = project / ".environments" / "uvicorn"
    # 0.20.0 whole and sound, but for the name of 0.19.0 on it.
    shutil.rmtree(shelf / "0.19.0")
    shutil.copytree(shelf / "0.20.0", shelf / "0.19.0")
    about, named = (shelf / "0.19.0" / f"uvicorn-{version}.dist-info" for version in ("0.20.0", "0.19.0"))
    about.rename(named)
    (named / "RECORD").write_text((named / "RECORD").read_text().replace(about.name, named.name))
    result = bisect(project, *narrow, "--fresh")
    assert result.returncode == 0
    assert "uvicorn 0.20.0 ran instead of 0.19.0" in result.stdout
    between = "cannot be judged: 0.19.0\nfirst bad: 0.20.0 (2022-11-20) or one of these\n"
    assert f"last good: 0.18.3 (2022-08-24)\n{between}" in result.stdout
    # Nothing of that was kept: it is judged again once the right one is there.
    shutil.rmtree(shelf / "0.19.0")
    assert ENDS in bisect(project, *narrow).stdout


@pytest.mark.slow
def test_killed_in_the_middle_and_run_again_it_gives_the_same_answer(project: Path) -> None:
    kept = project / ".environments" / "verdicts.jsonl"
    command = [sys.executable, "-m", "harness", "bisect"]
    for verdicts in (0, 1, 4):
        with subprocess.Popen(command, cwd=project, start_new_session=True, stdout=subprocess.DEVNULL) as process:
            while not kept.is_file() or len(kept.read_text().splitlines()) < 2 * verdicts:
                if not verdicts and list(project.glob(".environments/*.tmp/new/bin/python")):
                    break
                assert process.poll() is None
                time.sleep(0.001)
            os.killpg(process.pid, signal.SIGKILL)
    result = bisect(project)
    assert result.returncode == 0
    assert ENDS in result.stdout
    assert not list(project.glob(".environments/*.tmp"))


@pytest.mark.slow
def test_runs_at_once_agree(project: Path) -> None:
    narrow = [sys.executable, "-m", "harness", "bisect", "--good", "0.18.3", "--bad", "0.21.0"]
    processes = [subprocess.Popen(narrow, cwd=project, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = {process.communicate(timeout=120)[0] for process in processes}
    assert len(printed) == 1
    assert ENDS in printed.pop()
    assert not list(project.glob(".environments/*.tmp"))
    for line in (project / ".environments" / "verdicts.jsonl").read_text().split("\n"):
        assert not line or set(json.loads(line)) == {"key", "trial"}


def test_without_the_index_what_is_on_disk_answers(shared: Path, tmp_path: Path) -> None:
    before = bisect(shared)
    assert before.returncode == 0
    kept = shared / ".environments" / "verdicts.jsonl"
    for verdicts in (True, False):  # without the verdicts, its releases are judged again
        if not verdicts:
            kept.rename(tmp_path / "verdicts.jsonl")
        after = bisect(shared, **NO_INDEX, UV_CACHE_DIR=str(tmp_path / "cold"))
        assert after.returncode == 0
        assert after.stderr.startswith("the package index cannot be reached: these are its releases as of 20")
        assert ENDS in after.stdout
        if verdicts:
            assert after.stdout == before.stdout


def test_with_neither_index_nor_disk_one_line_says_what_to_do(project: Path) -> None:
    result = bisect(project, **NO_INDEX)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("harness bisect: the package index cannot be reached: check the network")
    result = harness("try", cwd=project, project=project, **NO_INDEX)
    assert result.returncode == 125
    assert result.stdout.startswith("verdict: inconclusive - the package index cannot be reached")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--good", "0.19.7"], "--good 0.19.7 is no release"),
        (["--bad", "99.0"], "--bad 99.0 is no release"),
        (["--good", "nope"], "nope"),
        (["--good", "0.21.0", "--bad", "0.19.0"], "from 0.21.0 to 0.19.0"),
        (["--find", "nope"], "choose from '?break'?, '?fix'?"),
        (["--ws", "nope"], "websockets-sansio"),
        (["--case", "nope"], "accept-headers"),
        (["--python", "3.99"], "no Python 3.99 here"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], part: str, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        status: object = main(["bisect", *arguments])
    except SystemExit as error:
        status = error.code
    printed = capfd.readouterr()
    assert status == 2
    assert len(printed.err.splitlines()) == 1
    assert re.search(part, printed.err)
    assert printed.out == ""


def test_try_judges_any_release_and_never_another(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "uvicorn").mkdir()
    for name in ("uvicorn/__init__.py", "client.py", "websockets.py"):
        (tmp_path / name).write_text("raise SystemExit(0)\n")

    def tried(*arguments: str) -> Done:
        return run(sys.executable, "-m", "harness", "try", *arguments, cwd=shared, PYTHONPATH=str(tmp_path))

    for version, status, word in (("0.19.0", 0, "open"), ("0.20.0", 1, "rejected"), ("v0.20", 1, "rejected")):
        result = tried("--uvicorn", version)
        assert result.returncode == status
        assert result.stdout.splitlines()[-1].split(" - ")[0] == f"verdict: {word}"
    for version, reason in (
        ("0.12.0", "requires h11<0.11,>=0.8"),
        ("0.3.0", "no wheel on the index"),
        ("99.0", "the index has no uvicorn 99.0"),
    ):
        result = tried("--uvicorn", version)
        assert (result.returncode, result.stderr) == (125, "")
        assert result.stdout.splitlines()[-1] == f"verdict: inconclusive - {reason}"
    for version in ("nope", "", ".."):
        result = tried("--uvicorn", version)
        assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    newest = tried("--ws", "websockets")
    assert newest.returncode == 1
    known = json.loads((shared / ".environments" / "releases-uvicorn.json").read_text())["releases"]
    assert newest.stdout.startswith(f"uvicorn {known[-1]['version']}, websockets 10.4")
