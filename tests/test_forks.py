"""What a uvicorn or an app does to the processes around it costs its own folder the verdict, and no other."""

import contextlib
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.asking import app
from harness.model import Trial, Verdict

from .conftest import ROOT, Judged, Judging, Source

GRANDPARENT = "int(open(f'/proc/{os.getppid()}/stat').read().rsplit(')', 1)[1].split()[1])"
BOTH = f"for one in ({GRANDPARENT}, os.getppid()): os.kill(one, signal."
FORGED = json.dumps([Trial("0.20.0", "websockets", "server-headers").settle(Verdict.open, "").to_json()])
ANSWER = json.dumps(["", 0, FORGED, ""])
SAID = f"{ANSWER}\n{FORGED}\n".encode()
ENDINGS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGSTOP")
DAEMON = "if not os.fork():\n    os.setsid()\n    if not os.fork():\n        {}\n    os._exit(0)"
NO_VERDICT = "inconclusive - its process ended with status {} and no verdict"
UNWATCHED = "inconclusive - the process that watched it was ended or stopped"
RIGHT = "rejected - InvalidHandshake: multiple subprotocols: "
LATE = "inconclusive - it did not end within "
GOES_ON = """import asyncio, time
async def app(scope, receive, send):
    await send({"type": "websocket.accept", "subprotocol": "ocpp2.0.1"})
    await asyncio.to_thread(time.sleep, 60)"""
# What is at the end of uvicorn/__init__.py, and how the verdict begins. Those of a group are judged at once.
MISBEHAVING = {
    "ends": {
        **{f"os._exit({n})": NO_VERDICT.format(n) for n in (0, 1, 2, 125)},
        "raise BaseException('x')": "inconclusive - import failed: BaseException: x",
        "raise SystemExit(0)": "inconclusive - import failed: SystemExit: 0",
        "os._exit = print\nraise KeyboardInterrupt": "inconclusive - import failed: KeyboardInterrupt",
        "os.kill(os.getpid(), signal.SIGSEGV)": "inconclusive - its process was ended by signal 11",
        "os.killpg(0, signal.SIGUSR1)": "inconclusive - its process was ended by signal 10",
    },
    "says": {
        f"for n in range(1024):\n    try: os.write(n, {SAID!r})\n    except OSError: pass\n"
        "os._exit(125)": NO_VERDICT.format(125),
        "import gc, mmap\nfor one in gc.get_objects():\n    if isinstance(one, mmap.mmap):"
        f" one.write({FORGED!r}.encode() + b'\\n')\nos._exit(0)": NO_VERDICT.format(0),
        "raise ImportError('\\x1b[2J\\nverdict: open')": r"inconclusive - import failed: ImportError: \x1b[2J verdict",
        "os.closerange(0, 1024)\nsys.stdout = sys.stderr = None": RIGHT,
    },
    "goes on": {
        "mine = os.getpid()\nos.getpid = lambda: mine\nos.fork()": RIGHT,
        "if os.fork():\n    time.sleep(1)\n    os._exit(0)": NO_VERDICT.format(0),
        DAEMON.format("time.sleep(60)") + "\nos._exit(1)": NO_VERDICT.format(1),
        DAEMON.format("os.execvp('sleep', ['sleep', '60'])"): RIGHT,
        "if not os.fork():\n    while True:\n        if os.fork(): os._exit(0)": RIGHT,
        "import threading; threading.Thread(target=time.sleep, args=[60]).start()": RIGHT,
    },
    "ends who watch": {
        **{f"os.kill(os.getppid(), signal.{name}); time.sleep(60)": UNWATCHED for name in ENDINGS},
        **{f"os.kill({GRANDPARENT}, signal.{name})": RIGHT for name in ENDINGS},
        **{f"{BOTH}{name})\ntime.sleep(60)": UNWATCHED for name in ("SIGKILL", "SIGSTOP")},
        "os.kill(os.getppid(), signal.SIGSTOP)": UNWATCHED,
        DAEMON.format("time.sleep(60)") + "\nos.killpg(os.getpgid(os.getppid()), signal.SIGKILL)": UNWATCHED,
        "import resource; resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))": "inconclusive - it could",
    },
    "hangs": {
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass": LATE,
        "os.kill(os.getpid(), signal.SIGSTOP)": LATE,
    },
}


def running(mark: str) -> list[str]:
    """The processes that have the mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it is gone
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().decode())
    return found


def left(mark: str) -> list[str]:
    """The same once they had a while to end."""
    until = time.monotonic() + 5
    while (found := running(mark)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def copied(folder: Path, to: Path, line: str = "") -> Path:
    """A copy of a release without its bytecode, with a line at the end of uvicorn/__init__.py."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("__pycache__"))
    file = to / "uvicorn" / "__init__.py"
    file.write_text(f"{file.read_text()}\nimport os, signal, sys, time\n{line}\n")
    return to


@pytest.mark.parametrize("group", MISBEHAVING)
def test_who_misbehaves_pays_alone(group: str, judging: Judging, source: Source, tmp_path: Path, mark: str) -> None:
    lines = MISBEHAVING[group]
    folders = [copied(source("0.20.0"), tmp_path / str(number), line) for number, line in enumerate(lines)]
    folders = [source("0.19.0"), *folders, source("0.20.0"), source("0.19.0")]
    begun = time.monotonic()
    with judging(limit=3.0 if group == "hangs" else 20.0) as judge, ThreadPoolExecutor(4) as pool:
        trials = [found[0] for found in pool.map(judge.folder, folders)]
    assert time.monotonic() - begun < 15
    opened, *said, rejected, again = [one.last_line.removeprefix("verdict: ") for one in trials]
    assert {line: one[: len(lines[line])] for line, one in zip(lines, said, strict=True)} == lines
    assert (opened, rejected[: len(RIGHT)], again) == ("open", RIGHT, "open")
    assert left(mark) == []


def test_an_app_that_misbehaves_costs_its_verdict(judged: Judged, source: Source, tmp_path: Path, mark: str) -> None:
    file = tmp_path / "app.py"
    for line, verdict in {
        "os._exit(0)": NO_VERDICT.format(0),
        "os.kill(os.getppid(), 9)": UNWATCHED,
        "async def app(*_): raise BaseException('x')": "inconclusive - InvalidStatusCode: ",
        "async def app(*_): os.abort()": "inconclusive - its process was ended by signal 6",
        GOES_ON: "open",
    }.items():
        file.write_text(f"import os\n{line}\n")
        trial = judged(source("0.19.0"), apps=(app({"APP": str(file)}, "websockets"),))
        assert trial.last_line.startswith(f"verdict: {verdict}"), line
    assert left(mark) == []


def test_what_a_killed_bisect_leaves_ends_by_itself(mark: str) -> None:
    command = [sys.executable, str(ROOT / "harness"), "bisect", "RUN=setsid sleep 60 & sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not any(one.startswith("sleep") for one in running(mark)):
            time.sleep(0.05)
        process.kill()
    assert left(mark) == []
