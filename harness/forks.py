"""The process of one base: it imports everything but uvicorn, and forks for every folder that it is given.

A keeper is forked for each job, and forks the trial. The trial says what it found in memory that it shares with its
keeper, and has no descriptor on which anybody could forge an answer; the keeper ends everything that is left of it,
and answers. Python 3.8 and later: this runs in every environment under test, as `python -I -S forks.py BASE`; its
stdin is a socket.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import mmap
import os
import select
import signal
import site
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from pathlib import Path
from typing import Any, Iterable, NoReturn

ROOT = str(Path(__file__).resolve().parent.parent)
if __name__ == "__main__":
    site.addsitedir(sys.argv[1])
    sys.path.insert(0, ROOT)

from harness.model import Job, plain

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2), Linux
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIZE = 1 << 22  # bytes, of what a trial can say
KEPT = 1 << 20  # bytes, of what a script prints
# What uvicorn and its clients import; each brings more of it.
PRELOADED = """
    h11 click loguru wsproto.connection asgiref.typing typing_extensions websockets.legacy.client websockets.server
    websockets.legacy.server websockets.asyncio.client websockets.asyncio.server logging.config configparser
    multiprocessing.connection encodings.idna
"""


def main(control: socket.socket) -> NoReturn:
    """Fork a keeper for every socket that comes through the control socket, until that ends."""
    from harness import trial

    for name in PRELOADED.split():
        with contextlib.suppress(Exception):  # a trial says itself what is missing or damaged
            importlib.import_module(name)
    if "loguru" in sys.modules:
        sys.modules["loguru"].logger.remove()  # nobody would see what it logs, which takes longer than the handshake
    sys.path.remove(ROOT)
    for name in [name for name in sys.modules if name.split(".")[0] in ("client", "harness")]:
        del sys.modules[name]  # an app may have modules of these names
    gc.disable()  # a trial is over before collecting would pay
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    for kind in ENDING:  # it ends with its socket; a uvicorn may send it others
        signal.signal(kind, signal.SIG_IGN)
    keepers: set[int] = set()
    while True:
        reap(keepers)
        if not select.select([control], [], [], 0.1)[0]:
            continue
        _, passed, _, _ = control.recvmsg(1, socket.CMSG_SPACE(4))
        if not passed:
            end_all_below()
            os._exit(0)
        connection = socket.socket(fileno=struct.unpack("i", passed[0][2])[0])
        pid = os.fork()
        if not pid:
            control.close()
            for kind in ENDING:
                signal.signal(kind, signal.SIG_DFL)
            keep(connection, trial)
        keepers.add(pid)
        connection.close()


def reap(keepers: set[int]) -> None:
    """Forget the keepers that ended, end one that was stopped, and whatever either leaves to this process."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if not pid:
                break
            if os.WIFSTOPPED(status):
                kill([pid])
            else:
                keepers.discard(pid)
    kill(children() - keepers)


def keep(connection: socket.socket, trial: Any) -> NoReturn:
    """Read a job, have it done in a process of its own, and answer with its wait status and what it said."""
    answer: dict[str, Any] = {"status": None, "said": "", "error": ""}
    try:
        os.setsid()  # so what a uvicorn does to its parent's process group meets nobody else
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        job = Job.from_json(json.loads(b"".join(iter(lambda: connection.recv(1 << 16), b""))))
        memory = mmap.mmap(-1, SIZE)
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            os.setsid()
            work(job, trial, memory, writing)
        os.close(writing)
        threads = ThreadPoolExecutor()
        try:
            printed = threads.submit(copy, reading, job.script.output if job.script else os.devnull, answer)
            with contextlib.suppress(TimeoutError):
                answer["status"] = threads.submit(os.waitpid, pid, 0).result(job.limit)[1]
        finally:
            kill([-pid])
            end_all_below()
        with contextlib.suppress(TimeoutError):  # what cannot be ended may print for ever
            printed.result(1)
        if not job.script:
            answer["said"] = memory.readline().rstrip(b"\0").decode()
    except Exception as error:
        answer["error"] = plain(f"{type(error).__name__}: {error}")
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(answer).encode())
    os._exit(0)


def work(job: Job, trial: Any, memory: mmap.mmap, writing: int) -> NoReturn:
    """Do the job in this process, and end. An app's trials go into the memory, a script prints to a descriptor."""
    me = os.getpid()
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it may end all that could end it
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(writing if job.script and descriptor else null, descriptor)
        os.closerange(3, 256)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if job.script:
            os.chdir(job.script.folder)
            os.execve("/bin/sh", ["sh", "-c", job.script.line], job.script.variables)
        said = json.dumps([one.to_json() for one in trial.run(job)])
        if os.getpid() == me:  # uvicorn may have forked
            memory.write(f"{said}\n".encode())
    finally:
        os._exit(125)  # of a script that could not be started it is the status


def copy(reading: int, file: str, answer: dict[str, Any]) -> None:
    """Copy what a script prints to a file, up to a limit, and its end to the answer. Raises OSError for a full disk."""
    left = KEPT
    with open(reading, "rb", buffering=0) as printed, open(file, "wb", buffering=0) as output:
        for chunk in iter(lambda: printed.read(1 << 16), b""):
            left -= output.write(chunk[:left])
            answer["said"] = (answer["said"] + chunk.decode("utf-8", "replace"))[-2000:]


def prctl(option: int, value: int) -> None:
    """Set an option of this process, where the system has it (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def end_all_below() -> None:
    """End all processes below this one, which gets what they leave, and wait until there is nobody left."""
    with contextlib.suppress(ChildProcessError):
        while True:
            kill(children())
            os.waitpid(-1, 0)


def children() -> set[int]:
    """The processes right below this one, where the system tells (Linux)."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for file in Path("/proc/self/task").glob("*/children"):
            found.update(map(int, file.read_text().split()))
    return found


def kill(pids: Iterable[int]) -> None:
    """End processes, or the group of one that is negative; those that are gone already are no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(socket.socket(fileno=0))
