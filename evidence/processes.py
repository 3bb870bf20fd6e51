"""Programs that are measured: nothing of the user's leads them astray, and what is started ends with its block."""

import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from subprocess import DEVNULL, Popen, TimeoutExpired

from harness import place
from harness.base import Base, Interpreter
from harness.model import plain
from harness.place import Unavailable
from harness.sources import settings

LIMIT = 15.0  # seconds for a program to be ready, and for a client to tell what came of it


@cache
def interpreter() -> Interpreter:
    """The Python of all that is installed here, as the pins are for 3.11 and later. Raises Unavailable."""
    return Interpreter.named("" if sys.version_info >= (3, 11) else ">=3.11")


def python(pins: str) -> tuple[list[str], dict[str, str]]:
    """The command of a Python that finds these pins and nothing else, and its environment. Raises Unavailable."""
    packages = Base(interpreter(), tuple(pins.split())).made()
    return [interpreter().path, "-S"], {**settings(), "PYTHONPATH": str(packages)}


@contextmanager
def started(
    command: Sequence[str], log: Path, environment: Mapping[str, str], ready: Callable[[str], object]
) -> Iterator[None]:
    """A program that runs in the folder of its log, as soon as it is ready by what it has logged.

    After the block it has 5 s to put away what it has open; then nothing is left of it and its group. Raises OSError
    where it cannot be run, Unavailable where it ends or takes too long before it is ready.
    """
    with log.open("wb") as output:
        process = Popen(
            command,
            cwd=log.parent,
            env=environment,
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
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
    """Run a Python with these arguments, with just these pins and in a folder that holds a copy of the app alone.

    {port} in them stands for a free port of 127.0.0.1. Yields that and the file of the log, once it answers. Raises
    Unavailable where the pins cannot be had or the server does not start.
    """
    command, environment = python(pins)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
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
    lines = map(plain, log.read_text(errors="replace").splitlines())
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Failure|Warning)\b", line)]
    return errors[-1][:200] if errors else ""
