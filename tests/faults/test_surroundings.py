"""Low limits, signals, settings of others, closed pipes, environments that no longer fit, several at once."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from harness.base import Interpreter

from ..conftest import NOWHERE, RING_0
from .conftest import ENDS, HARMFUL, Field, together

SEED = int(os.environ.get("SEED", "1778"))
OTHER = "3.12" if sys.version_info[:2] != (3, 12) else "3.11"
HOME = "FOLDER"  # stands for an empty folder
PIPES = [">/dev/full", ">&-", ">&- 2>&-", ">/dev/full 2>&1", "<&-", "<&- >&- 2>&-", "2>&-", "| true", "2>/dev/full"]


@pytest.mark.parametrize("pipe", PIPES)
def test_where_nobody_can_read_there_is_no_verdict(pipe: str, fault: Field) -> None:
    readable = not re.search(r"[^2]?>(&-|/dev/full)( 2.*)?$", pipe) or pipe.startswith("2")
    for words in ("try UVICORN=0.20.0", "bisect GOOD=0.19.0 BAD=0.20.0", "try UVICORN=0.19.0"):
        command = f"{sys.executable} harness {words} {pipe}"
        done = fault.run("bash", "-o", "pipefail", "-c", command)
        wanted = {"try UVICORN=0.20.0": 1, "bisect GOOD=0.19.0 BAD=0.20.0": 0, "try UVICORN=0.19.0": 0}[words]
        right = done.returncode in ((wanted, 141, 125) if pipe == "| true" else (wanted,) if readable else (125,))
        fault.counts.wrong += not right and done.returncode in (0, 1)
        assert right, (command, done)


LIMITS = ["-v 20000", "-v 100000", "-v 300000", "-n 6", "-n 8", "-n 16", "-n 32", "-s 64", "-f 0", "-f 8", "-t 0"]


@pytest.mark.parametrize("limit", [*LIMITS, "-u 1", "-u 3", "-l 0"])
def test_with_too_little_nothing_is_judged_and_nothing_is_lost(limit: str, fault: Field) -> None:
    before = fault.base.stat().st_ino
    user = "setpriv --reuid=54321 --clear-groups " if limit.startswith("-u") else ""  # root has no such limit
    for words in ("UVICORN=0.20.0", "UVICORN=0.20.0 RUN=false"):
        done = fault.run("bash", "-c", f"ulimit {limit}; exec {user}{sys.executable} harness try {words}")
        if "Fatal Python error" not in done.stderr:  # then no line of ours was reached
            fault.counts.wrong += done.returncode == 0 or "verdict: open" in done.stdout
            assert done.returncode and "verdict: open" not in done.stdout, done
            if done.returncode == 1:
                assert "verdict: rejected" in done.stdout, done
    assert fault.base.stat().st_ino == before
    assert fault.heals()


SETTINGS: list[dict[str, str]] = [
    {"PYTHONPATH": "FOREIGN", "PYTHONHOME": ""},
    {"PYTHONSAFEPATH": "1", "PYTHONOPTIMIZE": "2", "PYTHONHASHSEED": "0", "TERM": "dumb"},
    {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1"},
    {"PYTHONPYCACHEPREFIX": HOME, "PYTHONUNBUFFERED": "1"},
    {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"},
    {"PIP_TARGET": HOME, "PIP_PREFIX": HOME, "PIP_ROOT": HOME, "PIP_USER": "1"},
    {"PIP_DRY_RUN": "1", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_NO_DEPS": "1"},
    {"UV_OVERRIDE": "/nonexistent", "UV_CONSTRAINT": "/nonexistent", "UV_PYTHON": "2.7", "UV_NO_BINARY": "1"},
    {"UV_LINK_MODE": "symlink", "UV_TARGET": HOME, "UV_SYSTEM_PYTHON": "1", "UV_EXCLUDE_NEWER": "2015-01-01"},
    {"UV_OFFLINE": "1"},
    {"UV_CACHE_DIR": HOME},
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
    kept = {HOME: str(tmp_path), "FOREIGN": str(fault.release("0.19.0"))}
    settings = {name: kept.get(value, value) for name, value in settings.items() if value or name == "PATH"}
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
]


@pytest.mark.parametrize("words", WORDS, ids=lambda value: " ".join(value)[:40])
def test_what_cannot_be_meant_is_no_verdict(words: list[str], fault: Field) -> None:
    before = sorted(path.name for path in fault.project.iterdir())
    done = fault.verb(*words)
    fault.counts.wrong += done.returncode in (0, 1)
    assert done.returncode in (2, 125), done
    assert not HARMFUL.search(done.stdout + done.stderr)
    assert sorted(path.name for path in fault.project.iterdir()) == before


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
@pytest.mark.parametrize("when", ["judging", "building"])
def test_a_signal_at_any_moment_leaves_nothing(name: str, when: str, fault: Field) -> None:
    """The moments come from SEED (an environment variable; the default is fixed)."""
    moments = random.Random(f"{SEED} {name} {when}")
    commands = [["try", "UVICORN=0.20.0"], ["bisect", *ENDS], ["try", "UVICORN=0.20.0", "RUN=sleep 60 & sleep 60"]]
    for turn in range(12):
        if when == "building":
            shutil.rmtree(fault.folder / ("bases", "releases")[turn % 2], ignore_errors=True)
        process = subprocess.Popen(
            [sys.executable, "harness", *commands[turn % len(commands)]],
            cwd=fault.project,
            stdout=-3,
            stderr=-1,
            text=True,
            env={**os.environ, "STARTED_BY_FAULTS": fault.mark},
        )
        time.sleep(moments.uniform(0.1, 0.7))
        process.send_signal(getattr(signal, name))
        said = process.communicate(timeout=30)[1]
        fault.counts.runs += 1
        fault.counts.tracebacks += "Traceback" in said
        assert "Traceback" not in said and len(said.splitlines()) <= 1, said
        fault.counts.wrong += process.returncode in (0, 1) and process.returncode != (1, 0, None)[turn % 3]
        assert process.returncode not in (0, 1) or process.returncode == (1, 0, None)[turn % 3]
        assert name == "SIGKILL" or not fault.scratch(), fault.scratch()
    assert fault.heals()


def test_a_user_without_rights_or_name(fault: Field) -> None:
    for words in (["UVICORN=0.20.0"], ["UVICORN=0.20.0", "RUN=exit 1"]):
        command = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "env", "-u", "HOME", sys.executable]
        done = fault.run(*command, "harness", "try", *words)
        if done.returncode in (126, 127):
            pytest.skip("only root can become somebody else, who must be able to run this Python")
        fault.judged("rejected", done)


@pytest.mark.parametrize("what", ["moved", "no Python", "another Python", "a package gone", "half built"])
def test_an_environment_that_no_longer_fits(what: str, fault: Field, tmp_path: Path) -> None:
    """Built anew, or a line that says how; never the status of a verdict."""
    project = tmp_path / "project"
    for name in (*RING_0, "harness", "cases"):
        copy = shutil.copytree if (fault.project / name).is_dir() else shutil.copy
        project.mkdir(exist_ok=True)
        copy(fault.project / name, project / name)
    for command in (["make", "-s", "broken"], ["make", "-s", "try", "UVICORN=0.20.0"]):
        assert fault.run(*command, cwd=project).returncode == 0
    python = project / ".environments" / "harness" / "bin" / "python"
    status = [str(python), str(project / "harness"), "try", "UVICORN=0.19.0", "SOURCE=."]
    for name in ("harness", "broken"):
        inner = project / ".environments" / name
        if "Python" in what:
            (inner / "bin" / "python").unlink()
            other = Path("/nonexistent") if what == "no Python" else Path(Interpreter.named(OTHER).path)
            (inner / "bin" / "python").symlink_to(other)
            (inner / "pyvenv.cfg").write_text(f"home = {other.parent}\n")
        elif what == "a package gone":
            for gone in ("websockets", "packaging"):
                shutil.rmtree(next(inner.glob("lib/*/site-packages")) / gone, ignore_errors=True)
        elif what == "half built":
            (inner / "ready").unlink()
    if what == "moved":
        project = project.rename(tmp_path / "moved")
        status = [word.replace("/project/", "/moved/") for word in status]
    try:
        done = fault.run(*status, cwd=project)
        assert done.returncode not in (0, 1), done
    except OSError:
        pass  # git bisect run stops there
    for target, words in (("broken", []), ("try", ["UVICORN=0.20.0"])):
        done = fault.run("make", target, *words, cwd=project)
        advice = "make clean" in done.stdout + done.stderr
        assert (done.returncode == 0 and "verdict: rejected" in done.stdout) or (done.returncode and advice), done


def test_six_makes_and_eight_verbs_at_once_in_an_odd_time(fault: Field) -> None:
    for name in ("requirements-broken.txt", "requirements-fixed.txt"):
        os.utime(fault.project / name, (2**32 - 9, 2**32 - 9))
    done = together([lambda: fault.run("make", "-s", "broken")] * 6)
    assert {(one.returncode, one.stdout.splitlines()[-1][:17]) for one in done} == {(0, "verdict: rejected")}
    shutil.rmtree(fault.folder / "bases")
    shutil.rmtree(fault.folder / "releases")
    assert all(together([fault.heals] * 8))


def test_makes_variables_reach_no_shell(fault: Field) -> None:
    ready = ["-o", ".environments/harness/ready", "-o", ".environments/tests/ready"]
    (fault.folder / "harness" / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/echo", fault.folder / "harness" / "bin" / "python")
    for value in ("`touch x`", "$(touch x)", "'; touch x; '", '"; touch x; "', "a\ntouch x"):
        fault.run("make", *ready, "bisect", f"GOOD={value}")
        assert not (fault.project / "x").exists(), value
    shutil.rmtree(fault.folder / "harness")
