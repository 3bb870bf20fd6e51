"""The process of one base: it imports everything but uvicorn, and forks for every folder that it is given.

There are three generations: one that watches, the keeper, and a trial for each job. The trial says what it found in
memory that it shares with the keeper, and has no descriptor on which anybody could forge an answer. It is run as
`python -I -S forks.py BASE`, with Python 3.8 and later; its stdin is a socket.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import mmap
import os
import pickle
import select
import signal
import site
import socket
import sys
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from pathlib import Path
from typing import NoReturn

ROOT = str(Path(__file__).resolve().parent.parent)
if __name__ == "__main__":
    site.addsitedir(sys.argv[1])
    sys.path.insert(0, ROOT)

from harness import trial
from harness.model import Job, plain

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2), Linux
SIZE = 1 << 22  # bytes, of what a trial can say
KEPT = 1 << 20  # bytes, of what a script prints
# What uvicorn and its clients import; each brings more of it.
PRELOADED = """
    h11 click loguru wsproto.connection asgiref.typing typing_extensions websockets.legacy.client websockets.server
    websockets.legacy.server websockets.asyncio.client websockets.asyncio.server logging.config configparser
    multiprocessing.connection encodings.idna
"""


def main(control: socket.socket) -> NoReturn:
    """Do the jobs that come through a socket, one after the other, in a child of this process.

    This process only watches: where the socket ends, or the child ends or is stopped, it ends all that is below it.
    """
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    keeper = os.fork()
    if not keeper:
        keep(control)
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a uvicorn may send them
        signal.signal(kind, signal.SIG_IGN)
    end = select.poll()
    end.register(control, 0)
    while not end.poll(100) and not os.waitpid(keeper, os.WNOHANG | os.WUNTRACED)[0]:
        pass
    end_all_below()
    os._exit(0)


def keep(control: socket.socket) -> NoReturn:
    """Answer each job with a line of JSON: its token, its wait status, what it said, and the error if there is one."""
    os.setsid()  # so what a uvicorn does to its parent's process group meets nobody else
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # also where the tool ignores them, as after nohup
        signal.signal(kind, signal.SIG_DFL)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    for name in PRELOADED.split():
        with contextlib.suppress(Exception):  # a trial says itself what is missing or damaged
            importlib.import_module(name)
    if "loguru" in sys.modules:
        sys.modules["loguru"].logger.remove()  # nobody would see what it logs, which takes longer than the handshake
    gc.disable()  # a trial is over before collecting would pay
    threads, jobs = ThreadPoolExecutor(), control.makefile("rb")
    while jobs.peek():  # it may end
        token, job = pickle.load(jobs)
        status, said, error = None, "", ""
        try:
            status, said = attend(job, threads)
        except Exception as problem:
            error = plain(f"{type(problem).__name__}: {problem}")
        control.sendall(json.dumps([token, status, said, error]).encode() + b"\n")
    os._exit(0)


def attend(job: Job, threads: ThreadPoolExecutor) -> tuple[int | None, str]:
    """Have a job done in a process of its own, and end whatever is left of it.

    Returns its wait status, None where it did not end in time, and what it said. Raises OSError.
    """
    reading, writing = os.pipe()
    with mmap.mmap(-1, SIZE) as memory:
        pid = os.fork()
        if not pid:
            work(job, memory, writing)
        os.close(writing)
        printed = threads.submit(copy, reading, job.script.output if job.script else os.devnull)
        status, said = None, ""
        with contextlib.suppress(TimeoutError):
            status = threads.submit(os.waitpid, pid, 0).result(job.limit)[1]
        end_all_below(-pid)
        with contextlib.suppress(TimeoutError):  # what cannot be ended may print for ever
            said = printed.result(1)
        return status, said if job.script else memory.readline().rstrip(b"\0").decode()


def work(job: Job, memory: mmap.mmap, writing: int) -> NoReturn:
    """Do the job in this process, and end. An app's trials go into the memory, a script prints to a descriptor."""
    me, leave = os.getpid(), os._exit  # which a uvicorn may replace
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it may end all that could end it
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(writing if job.script and descriptor else null, descriptor)
        os.closerange(3, 256)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if job.script:
            os.chdir(job.script.folder)
            os.execve("/bin/sh", ["sh", "-c", job.script.line], job.script.variables)
        sys.path.remove(ROOT)
        for name in [name for name in sys.modules if name.split(".")[0] in ("client", "harness")]:
            del sys.modules[name]  # an app may have modules of these names
        said = json.dumps([one.to_json() for one in trial.run(job)])
        if os.getpid() == me:  # uvicorn may have forked
            memory.write(f"{said}\n".encode())
    finally:
        leave(125)  # of a script that could not be started it is the status


def copy(reading: int, file: str) -> str:
    """Copy what a script prints to a file, up to a limit. Returns its end. Raises OSError for a full disk."""
    left, said = KEPT, ""
    with open(reading, "rb", buffering=0) as printed, open(file, "wb", buffering=0) as output:
        for chunk in iter(lambda: printed.read(1 << 16), b""):
            left -= output.write(chunk[:left])
            said = (said + chunk.decode("utf-8", "replace"))[-2000:]
    return said


def prctl(option: int, value: int) -> None:
    """Set an option of this process, where the system has it (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def end_all_below(*also: int) -> None:
    """End all processes below this one, which gets what they leave, and wait until there is nobody left.

    `also` are others; one that is negative means its group.
    """
    pids = [*also]
    with contextlib.suppress(ChildProcessError):
        while True:
            for file in Path("/proc/self/task").glob("*/children"):  # where the system tells (Linux)
                pids += map(int, file.read_text().split())
            while pids:
                with contextlib.suppress(ProcessLookupError, PermissionError):  # it is gone
                    os.kill(pids.pop(), signal.SIGKILL)
            os.waitpid(-1, 0)


if __name__ == "__main__":
    main(socket.socket(fileno=0))
