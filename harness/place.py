"""What lies on the disk: folders that are whole or absent, files, and programs that are run to get there."""

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

from harness.model import plain
from harness.sources import redacted, settings

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".environments"
SEAL = ".seal"
LIMIT = 180.0  # seconds for one program


class Unavailable(Exception):
    """Why something cannot be had, in one line and without the secrets of an index."""

    def __init__(self, why: str) -> None:
        super().__init__(redacted(plain(why)))


def run(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> str:
    """Run uv, git or a Python in a folder, and return what it prints. Raises Unavailable in its own words."""
    status, printed, errors = execute(command, folder, environment)
    if status:
        words = redacted(plain(errors or printed))[-500:]
        raise Unavailable(words or f"{Path(command[0]).name} ended with status {status}")
    return printed


def execute(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run a program in a folder; its status, and what it prints to stdout and stderr. Raises Unavailable."""
    try:
        with subprocess.Popen(
            command,
            cwd=folder,
            env={**(environment or settings()), "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        ) as process:
            try:
                printed, errors = process.communicate(timeout=LIMIT)
            finally:
                if process.returncode is None:  # too late, or a Ctrl-C: it goes with all that it started
                    os.killpg(process.pid, signal.SIGKILL)
    except OSError as error:
        raise Unavailable(f"cannot run {command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{Path(command[0]).name} did not end within {LIMIT:g} s: try again") from None
    return process.returncode, printed, errors


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
                temporary = tempfile.TemporaryDirectory(".tmp", f"{kind}-", FOLDER, ignore_cleanup_errors=True)
                new = Path(stack.enter_context(temporary))
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
            new = aside / "new"
            new.mkdir()
            build(new)
            (new / SEAL).write_text(digest(new))
            with locked(FOLDER):
                if not sealed(folder):
                    if os.path.lexists(folder):  # a link to nowhere too
                        folder.rename(aside / "old")
                    folder.parent.mkdir(parents=True, exist_ok=True)
                    new.rename(folder)
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

    def fail(error: OSError) -> None:  # what cannot be read is not what is not there
        raise error

    found = hashlib.sha256()
    for path, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for file in (Path(path, name) for name in sorted({*folders, *files} - {SEAL})):
            content = file.read_bytes() if file.is_file() else b""
            found.update(b"%b\0%d\0%b" % (os.fsencode(file.relative_to(folder)), len(content), content))
    return found.hexdigest()


def write_whole(file: Path, text: str) -> None:
    """Make this text the whole of a file, in a folder that is there. Raises Unavailable."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"cannot write {file}: {error.strerror}") from error
