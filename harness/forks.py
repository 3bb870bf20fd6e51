"""The process of one base: it imports everything but uvicorn, and forks for every folder that it is given.

A keeper is forked for each job, and forks the trial. The trial says what it found in memory that it shares with its
keeper, and has no descriptor on which anybody could forge an answer; the keeper ends everything that is left of it,
and answers. Python 3.8 and later: this runs in every environment under test, as `python -I -S forks.py SOCKET BASE`.
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
import time
from pathlib import Path
from typing import Any, Iterable, NoReturn

ROOT = str(Path(__file__).resolve().parent.parent)
if __name__ == "__main__":
    site.addsitedir(sys.argv[2])
    sys.path.insert(0, ROOT)

from harness.model import Job, Script, plain

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2), Linux
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIZE = 1 << 22  # bytes, of what a trial can say
KEPT = 1 << 20  # bytes, of what a script prints
# What uvicorn and its clients import beside the standard library.
PRELOADED = """
    ssl http email.utils h11 click loguru wsproto wsproto.events wsproto.extensions wsproto.connection
    websockets websockets.exceptions websockets.legacy.client websockets.server websockets.legacy.server
    websockets.legacy.handshake websockets.extensions.permessage_deflate websockets.extensions websockets.uri
    websockets.asyncio.client websockets.asyncio.server asgiref.typing typing_extensions logging.config
    multiprocessing.connection multiprocessing.context uuid hmac tempfile encodings.idna configparser ipaddress
    concurrent.futures.thread argparse threading
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
    adopt()
    for kind in ENDING:  # it ends with its socket; a uvicorn may send it others
        signal.signal(kind, signal.SIG_IGN)
    keepers: set[int] = set()
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    sources: list[Any] = [control, woken]
    while True:
        ready = select.select(sources, [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            reap(keepers)
        if control in ready:
            _, passed, _, _ = control.recvmsg(1, socket.CMSG_SPACE(4))
            if not passed:
                end_all_below()
                os._exit(0)
            connection = socket.socket(fileno=struct.unpack("i", passed[0][2])[0])
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                for kind in (signal.SIGCHLD, *ENDING):
                    signal.signal(kind, signal.SIG_DFL)
                control.close()
                keep(connection, trial)
            keepers.add(pid)
            connection.close()


def reap(keepers: set[int]) -> None:
    """Take note of the keepers that ended, and end one that was stopped, with whatever such a one leaves."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if not pid:
                break
            if os.WIFSTOPPED(status):
                kill([*below(pid), pid])
            else:
                keepers.discard(pid)
    kill(left for child in children(os.getpid()) if child not in keepers for left in [child, *below(child)])


def keep(connection: socket.socket, trial: Any) -> NoReturn:
    """Read a job, have it done in a process of its own, and answer with its status and what it said."""
    answer: dict[str, Any] = {"status": None, "said": "", "error": ""}
    try:
        os.setsid()  # so what a uvicorn does to its parent's process group meets nobody else
        adopt()
        text = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        job = Job.from_json(json.loads(text))
        memory = mmap.mmap(-1, SIZE)
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            connection.close()
            os.setsid()
            work(job, trial, memory, writing)
        os.close(writing)
        try:
            signal.signal(signal.SIGALRM, late)
            signal.setitimer(signal.ITIMER_REAL, job.limit)
            with open(job.script.output if job.script else os.devnull, "wb", buffering=0) as output:
                answer["status"] = attend(pid, reading, output, answer)
        except TimeoutError:
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            kill([-pid])
            end_all_below()
        if not job.script:
            length = int.from_bytes(memory[:8], "big")
            answer["said"] = memory[8 : 8 + length].decode()
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
            start(job.script)
        said = json.dumps([one.to_json() for one in trial.run(job)]).encode()
        if os.getpid() == me and len(said) < SIZE - 8:  # uvicorn may have forked
            memory[8 : 8 + len(said)] = said
            memory[:8] = len(said).to_bytes(8, "big")
    finally:
        os._exit(125)  # of a script that could not be started it is the status


def start(script: Script) -> None:
    """Become the shell that runs the script."""
    os.chdir(script.folder)
    os.execve("/bin/sh", ["sh", "-c", script.line], script.variables)


def attend(pid: int, reading: int, output: Any, answer: dict[str, Any]) -> int | None:
    """The wait status of a process, once it has ended; what it prints is kept up to a limit."""
    kept, status, until = 0, None, 0.0
    while True:
        if status is None:
            ended, found = os.waitpid(pid, os.WNOHANG)
            if ended:
                status, until = found, time.monotonic() + 0.1  # what it left behind may print for ever
        chunk = b""
        if select.select([reading], [], [], 0.01 if status is None else 0)[0]:
            chunk = os.read(reading, 1 << 16)
            if not chunk:
                return os.waitpid(pid, 0)[1] if status is None else status
        if status is not None and (not chunk or time.monotonic() > until):
            return status
        if kept < KEPT:
            output.write(chunk[: KEPT - kept])
        kept += len(chunk)
        answer["said"] = (answer["said"] + chunk.decode("utf-8", "replace"))[-2000:]


def late(*_: Any) -> NoReturn:
    raise TimeoutError


def adopt() -> None:
    """Become the parent of whatever one's children leave behind, where the system can do that (Linux)."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def prctl(option: int, value: int) -> None:
    """Set an option of this process, where the system has it (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def end_all_below() -> None:
    """End all processes below this one, and wait until there is nobody left."""
    with contextlib.suppress(ChildProcessError):
        while True:
            kill(below(os.getpid()))
            os.waitpid(-1, 0)


def children(pid: int) -> list[int]:
    """The processes right below one, where the system tells (Linux)."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for file in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, file.read_text().split())
    return found


def below(pid: int) -> list[int]:
    """All processes below one."""
    return [one for child in children(pid) for one in [child, *below(child)]]


def kill(pids: Iterable[int]) -> None:
    """End processes, or the group of one that is negative; those that are gone already are no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
