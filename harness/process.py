"""The process of a base, forks.py, as seen from here: jobs go in, what its keepers answer comes out."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from dataclasses import asdict

from harness.base import Base
from harness.model import Cause, Inconclusive, Job
from harness.place import ROOT
from harness.sources import settings

GRACE = 15.0  # seconds beyond a job's limit, after which its keeper is given up too


class Forks:
    """The process of a base, forks.py, which forks for every job. It is started for the first one."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._lock = threading.Lock()
        self._running: tuple[subprocess.Popen[bytes], socket.socket] | None = None

    def ask(self, job: Job) -> tuple[int, str]:
        """The exit status of a job, or a signal below zero, and what it said.

        Raises Inconclusive for what it did, Unavailable and OSError where it cannot be asked.
        """
        for _ in range(2):  # where some uvicorn has ended the process, it is started anew, and asked once more
            with self._lock:
                if not self._running or self._running[0].poll() is not None:
                    self._running = self._started()
                process, control = self._running
            with contextlib.suppress(ValueError, ConnectionError):  # an answer cut off, or none
                answer = json.loads(_answer(process, control, job))
                break
            time.sleep(0.5)  # it may be about to end
        else:
            raise Inconclusive(Cause.FAILED, "the process that watched it was ended or stopped")
        if answer["error"]:
            raise Inconclusive(Cause.FAILED, f"it could not be run: {answer['error']}")
        if answer["status"] is None:
            raise Inconclusive(Cause.LATE, f"it did not end within {job.limit:g} s")
        return os.waitstatus_to_exitcode(answer["status"]), answer["said"]

    def _started(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        folder = self._base.made()
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [self._base.interpreter.path, "-I", "-S", str(ROOT / "harness" / "forks.py"), str(folder)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=settings(),
                start_new_session=True,  # it ends when its socket does, and a Ctrl-C is not for it
            )
        return process, ours

    def close(self) -> None:
        """End the process, and with it all that it forked."""
        if self._running:
            process, control = self._running
            control.close()
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answer(process: subprocess.Popen[bytes], control: socket.socket, job: Job) -> bytes:
    """What a keeper answers; nothing, or not all of it, where it was ended, or is not done in time."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            socket.send_fds(control, [b"!"], [theirs.fileno()])
        ours.sendall(json.dumps(asdict(job)).encode())
        ours.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + job.limit + GRACE
        while not select.select([ours], [], [], 1)[0]:
            if time.monotonic() > deadline:
                return b""
            process.send_signal(signal.SIGCONT)  # a uvicorn may have stopped it
        ours.settimeout(GRACE)
        return b"".join(iter(lambda: ours.recv(1 << 16), b""))
