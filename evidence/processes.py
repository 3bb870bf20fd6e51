"""Programs that are measured: nothing of the user's leads them astray, and what is started ends with its block."""

import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, Popen, TimeoutExpired

from harness import place
from harness.base import Base, Interpreter
from harness.place import Unavailable
from harness.sources import settings

LIMIT = 15.0  # seconds for a program to be ready, and for a client to tell what came of it


def python(pins: str) -> tuple[list[str], dict[str, str]]:
    """The command of a Python that finds these pins and nothing else, and its environment. Raises Unavailable."""
    interpreter = Interpreter.find("" if sys.version_info >= (3, 11) else ">=3.11")  # for which the pins are
    packages = Base(interpreter, tuple(pins.split())).made()
    return [interpreter.path, "-S"], {**settings(), "PYTHONPATH": str(packages)}


@contextmanager
def started(command: list[str], log: Path, env: dict[str, str], ready: Callable[[str], object]) -> Iterator[None]:
    """A program that runs in the folder of its log, as soon as it is ready by what it has logged.

    After the block it has 5 s to end; then nothing is left of its group. Raises OSError, or Unavailable if not ready.
    """
    with log.open("wb") as out:
        process = Popen(command, cwd=log.parent, env=env, stdin=DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + LIMIT
        while process.poll() is None and not ready(log.read_text(errors="replace")):
            if time.monotonic() > deadline:
                raise Unavailable(f"no answer within {LIMIT:g} s")
            time.sleep(0.02)
        if process.returncode is not None:
            raise Unavailable(f"it did not start: {last_error(log) or f'status {process.returncode}'}")
        yield
        process.terminate()
        with suppress(TimeoutExpired):
            process.wait(5)
    finally:
        with suppress(ProcessLookupError, PermissionError):  # macOS says the second of a group of zombies
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def serving(app: Path, pins: str, arguments: str) -> Iterator[tuple[int, Path]]:
    """A Python with these arguments and just these pins, in a folder that holds a copy of the app alone.

    {port} in them is a free port of 127.0.0.1. Yields that and the log, once it answers. Raises Unavailable.
    """
    command, environment = python(pins)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]

    def answers(_: str) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    with place.scratch("server") as folder:
        shutil.copy(app, folder)
        log = folder / "log.txt"
        with started([*command, *arguments.format(port=port).split()], log, environment, answers):
            yield port, log


def last_error(log: Path) -> str:
    """The last line of a log that tells of an error, or nothing."""
    errors = re.findall(r"(?m)^[\w.]*(?:Error|Exception|Failure|Warning)\b.*", log.read_text(errors="replace"))
    return errors[-1][:200] if errors else ""
