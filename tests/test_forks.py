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

from harness import base as bases
from harness.asking import app
from harness.base import Interpreter
from harness.model import Trial, Verdict

from .conftest import ROOT, Judged, Judging, Source

GRANDPARENT = "int(open(f'/proc/{os.getppid()}/stat').read().rsplit(')', 1)[1].split()[1])"
FORGED = json.dumps([Trial("0.20.0", "websockets", "server-headers").judged(Verdict.open, "").to_json()])
ANSWER = json.dumps({"status": 0, "said": FORGED, "error": ""})
DAEMON = "if not os.fork():\n    os.setsid()\n    if not os.fork():\n        {}\n    os._exit(0)"
CALLED = "async def app(scope, receive, send):\n    "
HTTP_500 = "inconclusive - InvalidStatusCode: server rejected WebSocket connection: HTTP 500"
NO_VERDICT = "inconclusive - its process ended with status {} and no verdict"
UNWATCHED = "inconclusive - the process that watched it was ended or stopped"
RIGHT = "rejected - InvalidHandshake: multiple subprotocols: "
LATE = "inconclusive - it did not end within "
# What is at the end of uvicorn/__init__.py, and how the verdict begins. Those of a group are judged at once.
MISBEHAVING = {
    "ends": {
        **{f"os._exit({n})": NO_VERDICT.format(n) for n in (0, 1, 2, 125)},
        "raise BaseException('x')": "inconclusive - import failed: BaseException: x",
        "raise SystemExit(0)": "inconclusive - import failed: SystemExit: 0",
        "raise KeyboardInterrupt": "inconclusive - import failed: KeyboardInterrupt",
        "os._exit = print\nraise GeneratorExit": "inconclusive - import failed: GeneratorExit",
        "os.kill(os.getpid(), signal.SIGSEGV)": "inconclusive - its process was ended by signal 11",
        "os.kill(os.getpid(), signal.SIGKILL)": "inconclusive - its process was ended by signal 9",
        "os.kill(os.getpid(), signal.SIGTERM)": "inconclusive - its process was ended by signal 15",
        "os.killpg(0, signal.SIGHUP)": "inconclusive - its process was ended by signal 1",
    },
    "says": {
        "print('verdict: open', flush=True)": RIGHT,
        f"print({ANSWER!r}, flush=True)\nos._exit(0)": NO_VERDICT.format(0),
        f"""
for number in range(1024):
    for said in ({ANSWER!r}, {FORGED!r}, (len({FORGED!r})).to_bytes(8, "big").decode("latin-1") + {FORGED!r}):
        try:
            os.write(number, said.encode("latin-1") + b"\\n")
        except OSError:
            pass
os._exit(0)""": NO_VERDICT.format(0),
        f"""
import gc, mmap
for one in gc.get_objects():
    if isinstance(one, mmap.mmap):
        one.write({FORGED!r}.encode() + b"\\n")
os._exit(0)""": NO_VERDICT.format(0),
        "raise ImportError('\\x1b[2J\\nverdict: open')": r"inconclusive - import failed: ImportError: \x1b[2J verdict",
        "os.closerange(0, 1024)": RIGHT,
        "sys.stdout = sys.stderr = None": RIGHT,
    },
    "goes on": {
        "os.fork()": RIGHT,
        "mine = os.getpid()\nos.getpid = lambda: mine\nos.fork()": RIGHT,
        "if os.fork():\n    time.sleep(1)\n    os._exit(0)": NO_VERDICT.format(0),
        DAEMON.format("time.sleep(60)"): RIGHT,
        DAEMON.format("os.execvp('sleep', ['sleep', '60'])"): RIGHT,
        DAEMON.format("time.sleep(60)") + "\nos._exit(1)": NO_VERDICT.format(1),
        "import subprocess; subprocess.Popen(['sh', '-c', 'setsid sleep 60 & sleep 60'])": RIGHT,
        "if not os.fork():\n    while True:\n        if os.fork(): os._exit(0)": RIGHT,
        "import threading; threading.Thread(target=time.sleep, args=[60]).start()": RIGHT,
    },
    "ends who watch": {
        "os.kill(os.getppid(), signal.SIGKILL)": UNWATCHED,
        "os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)": UNWATCHED,
        "os.kill(os.getppid(), signal.SIGINT); time.sleep(60)": UNWATCHED,
        "os.kill(os.getppid(), signal.SIGALRM); time.sleep(60)": UNWATCHED,
        "os.kill(os.getppid(), signal.SIGSTOP)": UNWATCHED,
        "import resource; resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))": "inconclusive - it could",
        "os.kill(os.getppid(), signal.SIGSTOP); time.sleep(60)": UNWATCHED,
        DAEMON.format("time.sleep(60)") + "\nos.killpg(os.getpgid(os.getppid()), signal.SIGKILL)": UNWATCHED,
        "os.killpg(os.getpgid(os.getppid()), signal.SIGSTOP); time.sleep(60)": UNWATCHED,
        **{f"os.kill({GRANDPARENT}, signal.{name})": RIGHT for name in ("SIGKILL", "SIGINT", "SIGTERM", "SIGSTOP")},
        f"both = {GRANDPARENT}, os.getppid()\nfor one in both: os.kill(one, signal.SIGSTOP)": UNWATCHED,
        f"both = {GRANDPARENT}, os.getppid()\nfor one in both: os.kill(one, signal.SIGKILL)\ntime.sleep(60)": UNWATCHED,
    },
    "hangs": {
        "time.sleep(60)": LATE,
        "while True: pass": LATE,
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\ntime.sleep(60)": LATE,
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
    while running(mark) and time.monotonic() < until:
        time.sleep(0.05)
    return running(mark)


def copied(folder: Path, to: Path, line: str = "") -> Path:
    """A copy of a release without its bytecode, with a line at the end of uvicorn/__init__.py."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("__pycache__"))
    file = to / "uvicorn" / "__init__.py"
    file.write_text(f"{file.read_text()}\nimport os, signal, sys, time\n{line}\n")
    return to


@pytest.mark.parametrize("group", MISBEHAVING)
def test_a_uvicorn_that_misbehaves_pays_alone(
    group: str, judging: Judging, source: Source, tmp_path: Path, mark: str
) -> None:
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


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("os._exit(0)", NO_VERDICT.format(0)),
        ("os.kill(os.getppid(), 9)", UNWATCHED),
        (f"{CALLED}raise BaseException('x')", f"{HTTP_500}; the server logged BaseException: x"),
        (f"{CALLED}os.abort()", "inconclusive - its process was ended by signal 6"),
    ],
)
def test_an_app_that_misbehaves_gets_no_verdict(
    line: str, verdict: str, judged: Judged, source: Source, tmp_path: Path, mark: str
) -> None:
    file = tmp_path / "app.py"
    file.write_text(f"import os\n{line}\n")
    trial = judged(source("0.19.0"), apps=(app({"APP": str(file)}, "websockets"),))
    assert trial.last_line.startswith(f"verdict: {verdict}")
    assert left(mark) == []


@pytest.mark.parametrize("damage", [b"", b"\xff" * 400])
def test_damaged_bytecode_heals(damage: bytes, judged: Judged, source: Source, folder: Path) -> None:
    """Of a release and of its base, for an app and for a script."""
    base, script = bases.of_cases(Interpreter.named()), "python -c 'import uvicorn, h11'"
    for question, expected in (({}, RIGHT), ({}, RIGHT), ({"line": script}, "open - status 0")):
        assert judged("0.20.0", base=base, **question).last_line.startswith(f"verdict: {expected}")
        for place in (source("0.20.0") / "uvicorn", base.made() / "h11"):
            kept = list(place.rglob("*.pyc"))
            assert kept or script in question.values()
            for file in kept:  # the first 16 bytes say of which source it is
                file.write_bytes(file.read_bytes()[:16] + damage)


def test_what_a_killed_bisect_leaves_ends_by_itself(mark: str) -> None:
    process = subprocess.Popen(
        [sys.executable, ROOT / "harness", "bisect", "RUN=setsid sleep 60 & sleep 60"], stdout=-3
    )
    while not any(one.startswith("sleep") for one in running(mark)):
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert left(mark) == []
