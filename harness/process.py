"""The processes of a base, forks.py, as seen from here: jobs go in, what they answer comes out."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import threading
import time
from dataclasses import asdict
from typing import Any

from harness.base import Base
from harness.model import Cause, Inconclusive, Job
from harness.place import ROOT, Unavailable
from harness.sources import settings

GRACE = 15.0  # seconds beyond a job's limit, after which its process is given up too


class Forks:
    """The processes of a base, as many as there are jobs at once. The first imports while its folder is looked for."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._lock = threading.Lock()
        self._all: list[_Fork] = []
        self._closed = False
        with contextlib.suppress(Unavailable, OSError):  # it is told where a job is asked
            self._all.append(_Fork(base))

    def ask(self, job: Job) -> tuple[int, str]:
        """The exit status of a job, or a signal below zero, and what it said.

        Raises Inconclusive for what it did, Unavailable and OSError where it cannot be asked.
        """
        with self._lock:
            if self._closed:
                raise Unavailable("the judge was closed")
            fork = next((one for one in self._all if one.idle and one.process.poll() is None), None)
            if not fork:
                fork = _Fork(self._base)
                self._all.append(fork)
            fork.idle = False
        answer = fork.ask(job)
        if answer is None or answer["error"]:  # a uvicorn may have done it, and the next one is not to suffer for it
            fork.close()
            why = (
                f"it could not be run: {answer['error']}"
                if answer
                else "the process that watched it was ended or stopped"
            )
            raise Inconclusive(Cause.FAILED, why)
        fork.idle = True
        if answer["status"] is None:
            raise Inconclusive(Cause.LATE, f"it did not end within {job.limit:g} s")
        return os.waitstatus_to_exitcode(answer["status"]), answer["said"]

    def close(self) -> None:
        with self._lock:
            self._closed = True
        for fork in self._all:
            fork.close()


class _Fork:
    """One process of a base, which does one job at a time."""

    def __init__(self, base: Base) -> None:
        command = [base.interpreter.path, "-I", "-S", str(ROOT / "harness" / "forks.py"), str(base.made())]
        self._control, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=settings(),
                start_new_session=True,  # it ends when its socket does, and a Ctrl-C is not for it
            )
        self.idle = True

    def ask(self, job: Job) -> dict[str, Any] | None:
        """What it answers; None where it was ended, does not answer in time, or answers another job."""
        token = secrets.token_hex(8)
        try:
            self._control.sendall(f"{json.dumps([token, asdict(job)])}\n".encode())
            deadline = time.monotonic() + job.limit + GRACE
            while not select.select([self._control], [], [], 1)[0]:
                if time.monotonic() > deadline:
                    return None
                self.process.send_signal(signal.SIGCONT)  # a uvicorn may have stopped it
            self._control.settimeout(GRACE)
            answer: dict[str, Any] = json.loads(self._control.makefile("rb").readline())
            return answer if answer["token"] == token else None
        except (ConnectionError, ValueError, KeyError, TypeError):
            return None

    def close(self) -> None:
        """End the process, and with it all that it forked."""
        with contextlib.suppress(OSError):  # it is closed already
            self._control.shutdown(socket.SHUT_RDWR)  # which wakes whoever waits for an answer
        self._control.close()
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
