"""Low limits, signals, settings of others, closed pipes, environments that no longer fit, several at once."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from harness.base import Interpreter

from ..conftest import NOWHERE, copy_of_the_project
from .conftest import ENDS, HARMFUL, SEED, Field, never, together

OTHER = "3.12" if sys.version_info[:2] != (3, 12) else "3.11"
RIGHT = {"try UVICORN=0.20.0": 1, "bisect GOOD=0.19.0 BAD=0.20.0": 0, "try UVICORN=0.19.0": 0}
READABLE = ["<&-", "2>&-", "2>/dev/full", "| true"]
UNREADABLE = [">/dev/full", ">&-", ">&- 2>&-", ">/dev/full 2>&1", "<&- >&- 2>&-"]


@pytest.mark.parametrize("pipe", [*READABLE, *UNREADABLE])
def test_where_nobody_can_read_there_is_no_verdict(pipe: str, fault: Field) -> None:
    for words, status in RIGHT.items():
        done = fault.run("bash", "-o", "pipefail", "-c", f"{sys.executable} harness {words} {pipe}")
        known = [125] if pipe in UNREADABLE else [status, 141, 125] if pipe == "| true" else [status]
        never("wrong", done.returncode in (0, 1) and done.returncode not in known, done)
        assert done.returncode in known, done


LIMITS = ["-v 20000", "-v 100000", "-v 300000", "-n 6", "-n 8", "-n 16", "-n 32", "-s 64", "-f 0", "-f 8", "-t 0"]
SOMEBODY = "setpriv --reuid=54321 --regid=54321 --clear-groups"  # whom limits bind that do not bind root
AROUND = [f"ulimit {limit}; exec" for limit in [*LIMITS, "-l 0"]]
AROUND += [f"ulimit -u {number}; exec {SOMEBODY}" for number in (1, 3)]


@pytest.mark.parametrize("around", [*AROUND, f"exec {SOMEBODY} env -u HOME"])
def test_with_too_little_nothing_is_judged_wrong_and_nothing_is_lost(around: str, fault: Field) -> None:
    before = fault.base.stat().st_ino
    for words in ("UVICORN=0.20.0", "UVICORN=0.20.0 RUN=false"):
        done = fault.run("bash", "-c", f"{around} {sys.executable} harness try {words}")
        if done.returncode in (126, 127):
            pytest.skip("only root can become somebody else, who must be able to run this Python")
        if "Fatal Python error" not in done.stderr:  # then no line of ours was reached
            fault.judged("rejected", done)
    assert fault.base.stat().st_ino == before
    assert fault.heals()


# EMPTY stands for an empty folder, FOREIGN for that of another release.
SETTINGS: list[dict[str, str]] = [
    {"PYTHONPATH": "FOREIGN"},
    {"PYTHONSAFEPATH": "1", "PYTHONOPTIMIZE": "2", "PYTHONHASHSEED": "0", "TERM": "dumb"},
    {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1"},
    {"PYTHONPYCACHEPREFIX": "EMPTY", "PYTHONUNBUFFERED": "1"},
    {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"},
    {"PIP_TARGET": "EMPTY", "PIP_PREFIX": "EMPTY", "PIP_ROOT": "EMPTY", "PIP_USER": "1"},
    {"PIP_DRY_RUN": "1", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_NO_DEPS": "1"},
    {"UV_OVERRIDE": "/nonexistent", "UV_CONSTRAINT": "/nonexistent", "UV_PYTHON": "2.7", "UV_NO_BINARY": "1"},
    {"UV_LINK_MODE": "symlink", "UV_TARGET": "EMPTY", "UV_SYSTEM_PYTHON": "1", "UV_EXCLUDE_NEWER": "2015-01-01"},
    {"UV_OFFLINE": "1"},
    {"UV_CACHE_DIR": "EMPTY"},
    {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "all_proxy": NOWHERE},
    {"HTTP_PROXY": "nonsense", "NO_PROXY": "*", "ALL_PROXY": "socks9://x"},
    {"UVICORN_WS": "none", "UVICORN_HEADERS": "x:y", "WEB_CONCURRENCY": "4", "FORWARDED_ALLOW_IPS": "*"},
    {"TMPDIR": "/nonexistent", "HOME": "/nonexistent", "XDG_CACHE_HOME": "/dev/null"},
    {"VIRTUAL_ENV": "/nonexistent", "CONDA_PREFIX": "/nonexistent", "PYENV_VERSION": "2.7"},
    {"PATH": ""},
    {"SSL_CERT_FILE": "/dev/null", "PIP_CERT": "/nonexistent"},
    {"PIP_CONFIG_FILE": "/dev/zero.conf", "UV_CONFIG_FILE": "/nonexistent"},
    {"WEBSOCKETS_MAX_LOG_SIZE": "1", "WEBSOCKETS_BACKOFF_MIN_DELAY": "x", "TZ": "Nowhere/At_All"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda value: next(iter(value)))
def test_settings_of_others_change_no_verdict(settings: dict[str, str], fault: Field, tmp_path: Path) -> None:
    folders = {"EMPTY": str(tmp_path), "FOREIGN": str(fault.release("0.19.0"))}
    settings = {name: folders.get(value, value) for name, value in settings.items()}
    shutil.rmtree(fault.base)
    rejected = partial(fault.tries, "rejected", "UVICORN=0.20.0", **settings)
    together([rejected, partial(fault.bisects, **settings), partial(fault.tries, "open", "UVICORN=0.19.0", **settings)])
    assert fault.heals()


WORDS = [
    ["try", "INTERPRETER=-h"],
    ["try", "INTERPRETER=3.11\nverdict: open"],
    ["try", "WEBSOCKETS=../../../x"],
    ["try", "UVICORN=../0.20.0"],
    ["try", "UVICORN=\x1b[2J"],
    ["try", "SOURCE=/nonexistent"],
    ["try", "JSON=/nonexistent/x/y"],
    ["bisect-commits", "REPO=~nosuch/x"],
    ["bisect-commits", "REPO=--upload-pack=touch x"],
    ["bisect-commits", "REPO=ext::touch x"],
    ["bisect", "GOOD=`touch x`"],
    ["bisect", "GOOD=0.20.0", "BAD=9999"],
    ["report", "OUTPUT=/nonexistent/x/y"],
    ["compare", "/nonexistent"],
    [],
    *(["try", "UVICORN=0.20.0", f"JSON={file}"] for file in ("/dev/full", "/nonexistent/x", "/proc/x", "/tmp")),
]


@pytest.mark.parametrize("words", WORDS, ids=lambda value: " ".join(value)[:40])
def test_what_cannot_be_meant_or_written_is_no_verdict(words: list[str], fault: Field) -> None:
    before = sorted(fault.project.iterdir())
    done = fault.verb(*words)
    never("wrong", done.returncode in (0, 1), done)
    assert done.returncode in (2, 125), done
    assert not HARMFUL.search(done.stdout + done.stderr)
    assert "rejected" not in done.stdout.rpartition("\nverdict: ")[2], done
    assert sorted(fault.project.iterdir()) == before


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
@pytest.mark.parametrize("when", ["judging", "building"])
def test_a_signal_at_any_moment_leaves_nothing(name: str, when: str, fault: Field) -> None:
    """The moments come from SEED (an environment variable; the default is fixed)."""
    moments = random.Random(f"{SEED} {name} {when}")
    commands = [["try", "UVICORN=0.20.0"], ["bisect", *ENDS], ["try", "UVICORN=0.20.0", "RUN=sleep 60 & sleep 60"]]

    def later(process: subprocess.Popen[str]) -> None:
        time.sleep(moments.uniform(0.1, 0.7))
        process.send_signal(getattr(signal, name))

    for turn in range(12):
        if when == "building":
            shutil.rmtree(fault.folder / ("bases", "releases")[turn % 2], ignore_errors=True)
        done = fault.signalled(commands[turn % 3], later)
        never("wrong", done.returncode in (0, 1) and done.returncode != (1, 0, None)[turn % 3], done)
        assert len(done.stderr.splitlines()) <= 1, done
        assert name == "SIGKILL" or not fault.scratch(), fault.scratch()
    assert fault.heals()


@pytest.mark.parametrize("what", ["moved", "no Python", "another Python", "a package gone", "half built"])
def test_an_environment_that_no_longer_fits(what: str, fault: Field, tmp_path: Path) -> None:
    """Built anew, or a line that says how; never the status of a verdict."""
    project = copy_of_the_project(tmp_path / "project")
    commands = (["make", "-s", "broken"], ["make", "-s", "try", "UVICORN=0.20.0"])
    for command in commands:
        assert fault.run(*command, cwd=project).returncode == 0
    for name in ("harness", "broken"):
        inner = project / ".environments" / name
        if "Python" in what:
            other = Path("/nonexistent") if what == "no Python" else Path(Interpreter.find(OTHER).path)
            (inner / "bin" / "python").unlink()
            (inner / "bin" / "python").symlink_to(other)
            (inner / "pyvenv.cfg").write_text(f"home = {other.parent}\n")
        elif what == "a package gone":
            for gone in ("websockets", "packaging"):
                shutil.rmtree(next(inner.glob("lib/*/site-packages")) / gone, ignore_errors=True)
        elif what == "half built":
            (inner / "ready").unlink()
    if what == "moved":
        project = project.rename(tmp_path / "moved")
    python = project / ".environments" / "harness" / "bin" / "python"
    with suppress(OSError):  # where it cannot be started, git bisect run stops
        done = fault.run(python, project / "harness", "try", "UVICORN=0.19.0", "SOURCE=.", cwd=project)
        assert done.returncode not in (0, 1), done
    for command in commands:
        done = fault.run(*command, cwd=project)
        advice = "make clean" in done.stdout + done.stderr
        assert advice if done.returncode else "verdict: rejected" in done.stdout, done


def test_six_makes_and_eight_verbs_at_once_in_an_odd_time(fault: Field) -> None:
    for name in ("requirements-broken.txt", "requirements-fixed.txt"):
        os.utime(fault.project / name, (2**32 - 9, 2**32 - 9))
    done = together([partial(fault.run, "make", "-s", "broken")] * 6)
    assert {(one.returncode, one.stdout.splitlines()[-1][:17]) for one in done} == {(0, "verdict: rejected")}
    shutil.rmtree(fault.folder / "bases")
    shutil.rmtree(fault.folder / "releases")
    assert all(together([fault.heals] * 8))


def test_makes_variables_reach_no_shell(fault: Field) -> None:
    (fault.folder / "harness" / "bin").mkdir(parents=True)
    shutil.copy("/bin/echo", fault.folder / "harness" / "bin" / "python")
    for value in ("`touch x`", "$(touch x)", "'; touch x; '", '"; touch x; "', "a\ntouch x"):
        fault.run("make", "-o", ".environments/harness/ready", "bisect", f"GOOD={value}")
        assert not (fault.project / "x").exists(), value
    shutil.rmtree(fault.folder / "harness")
