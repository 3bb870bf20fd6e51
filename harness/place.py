"""What lies on the disk: folders that are whole or absent, files too, and programs that are run to get there."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.sources import redacted, settings

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".environments"
SEAL = ".seal"
LIMIT = 180.0  # seconds for one program: an index may send a byte now and then, for ever


class Unavailable(Exception):
    """Why something cannot be had, in one line."""


def run(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> str:
    """Run uv, git or a Python in a folder, and return what it prints. Raises Unavailable in its own words."""
    status, printed, errors = execute(command, folder, environment)
    if status:
        words = redacted(" ".join((errors or printed).split()))
        raise Unavailable(words[-500:] or f"{Path(command[0]).name} ended with status {status}")
    return printed


def execute(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run a program in a folder; its status, and what it prints to stdout and stderr. Raises Unavailable."""
    try:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env={**(environment or settings()), "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise Unavailable(f"cannot run {command[0]}: {error.strerror}") from error
    try:
        printed, errors = process.communicate(timeout=LIMIT)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise Unavailable(f"{Path(command[0]).name} did not end within {LIMIT:g} s: try again") from None
        raise
    return process.returncode, printed.decode(errors="replace"), errors.decode(errors="replace")


@contextlib.contextmanager
def scratch(kind: str) -> Iterator[Path]:
    """A new folder inside the ignored one, gone when the block is left. Raises Unavailable where none can be made.

    It stays locked meanwhile: what is not locked is what a killed run left, and goes now.
    """
    with contextlib.ExitStack() as stack:
        try:
            FOLDER.mkdir(parents=True, exist_ok=True)
            with locked(FOLDER):
                for left in FOLDER.glob("*.tmp"):
                    with contextlib.suppress(OSError), locked(left, fcntl.LOCK_NB):
                        shutil.rmtree(left, ignore_errors=True)
                new = Path(tempfile.mkdtemp(".tmp", f"{kind}-", FOLDER))
                stack.callback(shutil.rmtree, new, ignore_errors=True)
                stack.enter_context(locked(new))
        except OSError as error:
            raise Unavailable(f"cannot write to {FOLDER}: {error.strerror}") from error
        yield new


@contextlib.contextmanager
def locked(folder: Path, how: int = 0) -> Iterator[None]:
    """The lock of a folder, which no process keeps longer than it lives. Raises OSError where it cannot be had."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(lock)


def made(folder: Path, build: Callable[[Path], None]) -> Path:
    """The folder, made where it is not there, and made anew where it is not as it was made.

    `build` fills a new folder aside; of several that do so at once, one wins. Raises Unavailable, also for what the
    disk says.
    """
    try:
        if sealed(folder):
            return folder
        with scratch("building") as aside:
            (aside / "new").mkdir()
            build(aside / "new")
            (aside / "new" / SEAL).write_text(digest(aside / "new"))
            with locked(FOLDER):
                if not sealed(folder):
                    if os.path.lexists(folder):  # a link to nowhere too
                        folder.rename(aside / "old")
                    folder.parent.mkdir(parents=True, exist_ok=True)
                    (aside / "new").rename(folder)
        return folder
    except OSError as error:
        raise Unavailable(f"cannot build {folder.name}: {error.strerror or error}") from error


def sealed(folder: Path) -> bool:
    """Whether a folder is as it was made. Raises OSError where that cannot be told."""
    try:
        return (folder / SEAL).read_text(errors="replace") == digest(folder)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False


def digest(folder: Path) -> str:
    """A digest of all files in a folder but of bytecode, which Python writes by itself. Raises OSError."""
    found = hashlib.sha256()
    for path, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        linked = [name for name in folders if Path(path, name).is_symlink()]  # which are not walked into
        for name in sorted([*files, *linked]):
            if name != SEAL:
                file = Path(path, name)
                content = os.readlink(file).encode() if file.is_symlink() else b""
                if file.is_file() and not content:  # a pipe would be read for ever
                    content = file.read_bytes()
                parts = (os.fsencode(file.relative_to(folder)), str(len(content)).encode(), content)
                found.update(b"\0".join(parts))
    return found.hexdigest()


def _raise(error: OSError) -> None:
    raise error


def write_whole(file: Path, text: str) -> None:
    """Write a file, whole or not at all where it is on the disk of this project, into a folder that is there.

    Raises Unavailable.
    """
    try:
        with scratch("writing") as aside:
            (aside / file.name).write_text(text, encoding="utf-8")
            try:
                (aside / file.name).replace(file)
            except OSError:  # a user's own file can be on another file system
                shutil.copyfile(aside / file.name, file)
    except OSError as error:
        raise Unavailable(f"cannot write {file}: {error.strerror}") from error
