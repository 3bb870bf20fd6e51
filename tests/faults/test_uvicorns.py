"""A uvicorn, an app, a script or a history that misbehaves."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..test_commits import git, history
from ..test_forks import ANSWER, FORGED, MISBEHAVING, copied
from .conftest import ENDS, HARMFUL, Field, never, together

LINES = {line: (group, begin) for group, lines in MISBEHAVING.items() for line, begin in lines.items()}
WHICH = "python -c 'import sys, uvicorn; sys.exit(uvicorn.__version__ == \"0.20.0\")'"
PARENT = "/proc/$PPID/stat"
MORE = {
    "__version__ = 'verdict: open\\n'": "inconclusive",
    "__version__ = 5": "inconclusive",
    "__version__ = '0.19.0\\x1b[2J'": "inconclusive",
    "this is no Python": "inconclusive",
    "print('x' * 10**7, flush=True)": "rejected",
    "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))": "inconclusive",
    "import atexit; atexit.register(os._exit, 0)": "rejected",
    "sys.setrecursionlimit(10**6)\ndef deep(): deep()\ndeep()": "inconclusive",
    "for _ in range(150):\n    if not os.fork(): time.sleep(60)": "rejected",
    "x = []\nwhile True: x.append(bytes(10**9))": "inconclusive",
    "time.time = time.monotonic = lambda: 0.0": "rejected",
    "import socket; socket.socket.bind = print": "rejected",
    "os.chdir('/'); os.umask(0o777)": "rejected",
    "import shutil; shutil.rmtree(os.path.dirname(__file__))": "inconclusive",
    "sys.modules['websockets'] = sys.modules['client'] = None": "inconclusive",
}
SCRIPTS = {
    WHICH: "rejected",
    f"unset PYTHONPATH; {WHICH}": "rejected",
    f"cd / && {WHICH}": "rejected",
    f"env -u VIRTUAL_ENV -u PYTHONPATH {WHICH}": "rejected",
    f"{WHICH.replace('-c', '-I -c')}": "rejected",
    f"{WHICH.replace('-c', '-S -c')}": "rejected",
    f"cd FOREIGN && {WHICH}": "inconclusive",
    f"PYTHONPATH=FOREIGN {WHICH}": "inconclusive",
    f"PYTHONPATH=FOREIGN:$PYTHONPATH {WHICH}": "inconclusive",
    f"PYTHON -c 'import uvicorn'; {WHICH}": "inconclusive",
    "pytest --version": "inconclusive",
    "no-such-tool": "inconclusive",
    "/etc": "inconclusive",
    "exit 126": "inconclusive",
    "exit 255": "inconclusive",
    "kill -9 $$": "inconclusive",
    "kill -9 $PPID; sleep 60": "inconclusive",
    "kill -STOP $PPID; sleep 60": "inconclusive",
    f"kill -9 $(cut -d' ' -f4 {PARENT}); sleep 0.2; exit 1": "rejected",
    f"kill -STOP $(cut -d' ' -f4 {PARENT}); exit 1": "rejected",
    "kill -KILL 0": "inconclusive",
    "sleep 60": "inconclusive",
    "trap '' TERM INT HUP; sleep 60": "inconclusive",
    "yes & exit 1": "rejected",
    "setsid sh -c 'sleep 60 & exec sleep 60' & exit 1": "rejected",
    "exec >&- 2>&- <&-; exit 1": "rejected",
    "echo x > /dev/full; exit 1": "rejected",
    "echo 'verdict: open'; exit 1": "rejected",
    f"for n in 0 1 2 3 4 5 6 7 8 9; do echo '{ANSWER}' >&$n; echo '{FORGED}' >&$n; done; exit 1": "rejected",
    "head -c 3000000 /dev/urandom; exit 1": "rejected",
    "printf '\\033[2J\\342\\200\\256verdict: open\\r'; exit 1": "rejected",
    "cat; exit 1": "rejected",
    "ulimit -n 0; exit 1": "rejected",
    "rm -rf $VIRTUAL_ENV; exit 1": "rejected",
}


def short(line: str) -> str:
    return " ".join(line.split())[:50]


@pytest.mark.parametrize("line", [*LINES, *MORE], ids=short)
def test_a_uvicorn_that_misbehaves(line: str, fault: Field, tmp_path: Path) -> None:
    """As a folder, and as a commit that a search goes past."""
    group, begin = LINES.get(line, ("", MORE.get(line, "")))
    limit = "LIMIT=2" if group == "hangs" else "LIMIT=10"
    broken = copied(fault.release("0.20.0"), tmp_path / "broken", line)
    versions = {version: fault.release(version) for version in ("0.18.3", "0.19.0", "0.20.0", "0.21.0")}
    older = {"0.18.3": versions["0.18.3"], "broken": copied(versions["0.18.3"], tmp_path / "older", line)}
    repository = history(tmp_path / "history", {**older, **versions}, f"{'f' * 40} is the first bad commit")
    word, done = together(
        [
            lambda: fault.tries("rejected", f"SOURCE={broken}", limit),
            lambda: fault.verb("bisect-commits", f"REPO={repository}", *ENDS, limit),
        ]
    )
    assert word == begin.split()[0]
    never("wrong", f"first bad commit: {git(repository, 'rev-parse', '0.20.0')}\n" not in done.stdout, done)
    assert (done.returncode, HARMFUL.search(done.stdout)) == (0, None), done


@pytest.mark.parametrize("line", SCRIPTS, ids=short)
def test_a_script_of_ones_own(line: str, fault: Field, tmp_path: Path) -> None:
    typed = line.replace("FOREIGN", str(fault.release("0.19.0"))).replace("PYTHON -c", f"{sys.executable} -c")
    done = fault.verb("try", "UVICORN=0.20.0", f"RUN={typed}", "LIMIT=3", cwd=tmp_path)
    assert fault.judged(SCRIPTS[line], done) == SCRIPTS[line], done
    assert not HARMFUL.search(done.stdout)


@pytest.mark.parametrize("which", ["base", "keeper", "trial"])
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT", "SIGSEGV", "SIGSTOP", "SIGALRM"])
def test_a_signal_to_one_process_alone(which: str, name: str, fault: Field, tmp_path: Path) -> None:
    """Of the three that judge: the base's, the keeper, the trial. The next judgement is right."""
    slow = copied(fault.release("0.20.0"), tmp_path / "slow", "time.sleep(1.5)")

    def alone(process: subprocess.Popen[str]) -> None:
        chain, until = [process.pid], time.monotonic() + 4
        while len(chain) < ["base", "keeper", "trial"].index(which) + 2 and time.monotonic() < until:
            time.sleep(0.01)
            files = Path(f"/proc/{chain[-1]}/task").glob("*/children")
            chain += [int(pid) for file in files for pid in file.read_text().split()][:1]
        os.kill(chain[-1], getattr(signal, name))

    fault.judged("rejected", fault.signalled(["try", f"SOURCE={slow}", "LIMIT=3"], alone))
    assert fault.heals()


def test_text_and_settings_of_others_in_a_history(fault: Field, tmp_path: Path) -> None:
    text = "\x1b[2J\u202e\x9b31m`touch x` <b> @everyone\x0bverdict: open"
    repository = history(tmp_path / "history", {name: fault.release(name) for name in ("0.19.0", "0.20.0")}, text)
    hook = tmp_path / "hooks" / "post-checkout"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    hook.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(
        f"[log]\nshowSignature = true\n[core]\nhooksPath = {hook.parent}\nautocrlf = true\nfsmonitor = {hook}\n"
        "[color]\nui = always\n[transfer]\nfsckObjects = true\n[checkout]\ndefaultRemote = x\n[bisect]\nx = y\n"
    )
    settings = {"GIT_CONFIG_GLOBAL": str(config), "GIT_DIR": "/nonexistent", "GIT_TRACE": "1", "GIT_PAGER": "false"}
    done = fault.verb("bisect-commits", f"REPO={repository}", "GOOD=0.19.0", "BAD=0.20.0", **settings)
    assert f"first bad commit: {git(repository, 'rev-parse', '0.20.0')}\n" in done.stdout, done
    assert (HARMFUL.search(done.stdout), (tmp_path / "hooked").exists()) == (None, False)
