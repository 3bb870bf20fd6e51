"""The process of a base, forks.py, as seen from here: jobs go in, what its keepers answer comes out."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import time
from dataclasses import asdict
from typing import Any, TypeAlias

from harness.base import Base
from harness.model import Job
from harness.place import ROOT, Unavailable
from harness.sources import settings

GRACE = 15.0  # seconds beyond a job's limit, after which its keeper is given up too
Answer: TypeAlias = "dict[str, Any] | None"  # of a keeper: its `status`, what was `said`, an `error`


class Forks:
    """The process of a base, forks.py: it forks for every job."""

    def __init__(self, base: Base) -> None:
        """Raises Unavailable."""
        folder = base.made()
        self._control, theirs = socket.socketpair()
        command = [base.interpreter.path, "-I", "-S", str(ROOT / "harness" / "forks.py"), str(theirs.fileno())]
        try:
            self._process = subprocess.Popen(
                [*command, str(folder)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=settings(),
                start_new_session=True,  # it ends when its socket does, and a Ctrl-C is not for it
            )
        except OSError as error:
            self._control.close()
            raise Unavailable(f"{base.interpreter.path} cannot be started: {error.strerror}") from error
        finally:
            theirs.close()

    def ended(self, within: float = 0) -> bool:
        """Whether it has ended, or does within these seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within)
        return self._process.returncode is not None

    def ask(self, job: Job) -> Answer:
        """What a keeper answers; None where there is no answer. Raises OSError where this process has ended."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                socket.send_fds(self._control, [b"!"], [theirs.fileno()])
            ours.sendall(json.dumps(asdict(job)).encode())
            ours.shutdown(socket.SHUT_WR)
            ours.settimeout(1)
            deadline, said = time.monotonic() + job.limit + GRACE, b""
            while time.monotonic() < deadline:
                try:
                    chunk = ours.recv(1 << 16)
                except TimeoutError:
                    self._process.send_signal(signal.SIGCONT)  # a uvicorn may have stopped it
                    continue
                if not chunk:
                    break
                said += chunk
        with contextlib.suppress(ValueError, RecursionError):
            answer = json.loads(said)
            return answer if isinstance(answer, dict) else None
        return None

    def close(self) -> None:
        self._control.close()
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
