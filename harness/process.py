"""The processes of a base, forks.py, as seen from here: jobs go in, what they answer comes out."""

import contextlib
import json
import os
import pickle
import secrets
import select
import signal
import socket
import time
from queue import Empty, SimpleQueue
from subprocess import DEVNULL, Popen, TimeoutExpired

from harness.base import Base
from harness.model import Cause, Inconclusive, Job
from harness.place import ROOT, Unavailable
from harness.sources import settings

GRACE = 15.0  # seconds beyond a job's limit, after which its process is given up too


class Processes:
    """The processes of a base, as many as there are jobs at once. The first imports while a release is fetched."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._all: list[_Process] = []
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        self._closed = False
        with contextlib.suppress(Unavailable, OSError):  # it is told where a job is asked
            self._idle.put(self._new())

    def ask(self, job: Job) -> tuple[int, str]:
        """The exit status of a job, or a signal below zero, and what it said.

        Raises Inconclusive for what it did, Unavailable and OSError where it cannot be asked.
        """
        try:
            process = self._idle.get_nowait()
        except Empty:
            process = self._new()
        try:
            return process.ask(job)
        except Inconclusive:
            process.close()  # a uvicorn may have done it, and the next one is not to suffer for it
            raise
        finally:
            if process.popen.poll() is None:
                self._idle.put(process)

    def _new(self) -> "_Process":
        process = _Process(self._base)
        self._all.append(process)
        if self._closed:  # meanwhile
            process.close()
        return process

    def close(self) -> None:
        self._closed = True
        for process in self._all:
            process.close()


class _Process:
    """One process of a base, which does one job at a time."""

    def __init__(self, base: Base) -> None:
        command = [base.interpreter.path, "-I", "-S", str(ROOT / "harness" / "forks.py"), str(base.made())]
        self._control, theirs = socket.socketpair()
        with theirs:  # the process ends when its socket does, and a Ctrl-C is not for it
            self.popen = Popen(
                command, stdin=theirs.fileno(), stdout=DEVNULL, stderr=DEVNULL, env=settings(), start_new_session=True
            )

    def ask(self, job: Job) -> tuple[int, str]:
        token = secrets.token_hex(8)
        try:
            self._control.sendall(pickle.dumps((token, job)))
            deadline = time.monotonic() + job.limit + GRACE
            while not select.select([self._control], [], [], 1)[0] and time.monotonic() < deadline:
                self.popen.send_signal(signal.SIGCONT)  # a uvicorn may have stopped it
            self._control.settimeout(GRACE)
            answered, status, said, error = json.loads(self._control.makefile("rb").readline())
        except (OSError, ValueError, TypeError):
            answered = None
        if answered != token:
            raise Inconclusive(Cause.FAILED, "the process that watched it was ended or stopped")
        if error:
            raise Inconclusive(Cause.FAILED, f"it could not be run: {error}")
        if status is None:
            raise Inconclusive(Cause.LATE, f"it did not end within {job.limit:g} s")
        return os.waitstatus_to_exitcode(status), said

    def close(self) -> None:
        """End the process, and with it all that it forked."""
        with contextlib.suppress(OSError):  # it is closed already
            self._control.shutdown(socket.SHUT_RDWR)  # which wakes whoever waits for an answer
        self._control.close()
        self.popen.send_signal(signal.SIGCONT)
        with contextlib.suppress(TimeoutExpired):
            self.popen.wait(5)
        self.popen.kill()
        self.popen.wait()
