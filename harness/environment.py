"""An environment from exact pins, whole or absent; and the ignored folder that everything built lies in.

make runs this file with any Python from 3.8 on, so it needs the standard library alone.
"""

import configparser
import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".environments"
LIMIT = 180.0  # seconds for one command of uv or pip: an index may send a byte now and then, for ever
# What pip and uv read of the caller's settings: where packages come from and how to get there.
# The others change what is installed or where to: PIP_TARGET, PIP_DRY_RUN, UV_OVERRIDE and their like.
SOURCES = {
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CONFIG_FILE", "PIP_CACHE_DIR"),
    *("PIP_TRUSTED_HOST", "PIP_CERT", "PIP_CLIENT_CERT", "PIP_PROXY", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES"),
    *("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX", "UV_CONFIG_FILE"),
    *("UV_CACHE_DIR", "UV_OFFLINE", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES", "UV_INSECURE_HOST", "UV_NATIVE_TLS"),
    *("UV_SYSTEM_CERTS", "UV_KEYRING_PROVIDER"),
}


SIZE = 20_000_000  # bytes; what is kept in a file is far smaller


class Unavailable(Exception):
    """Why something cannot be had, in one line."""


def index_url() -> Optional[str]:
    """The index that the user configured for uv, or else for pip; None for the default one."""
    own = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    return own or _from_uv_files() or os.environ.get("PIP_INDEX_URL") or _from_pip_files()


def settings() -> Dict[str, str]:
    """The process environment for pip, uv and Python: without what would lead them astray, and pip's index for uv."""
    astray = ("PIP_", "UV_", "PYTHON", "VIRTUAL_ENV", "CONDA_", "UVICORN_", "GRANIAN_")
    kept = {name: value for name, value in os.environ.items() if name in SOURCES or not name.startswith(astray)}
    kept.update(
        {name: value for name, value in os.environ.items() if re.match(r"UV_INDEX_\w+_(USERNAME|PASSWORD)$", name)}
    )
    url = index_url()
    return {**kept, "UV_DEFAULT_INDEX": url, "UV_NO_PROGRESS": "1"} if url else kept


def git_settings() -> Dict[str, str]:
    """The process environment for git: nothing in it leads it elsewhere, as in a hook, and its words are English."""
    kept = {name: value for name, value in os.environ.items() if not re.match(r"GIT_(?!CONFIG|SSH|ASKPASS)", name)}
    return {**kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def tied(command: Sequence[str]) -> List[str]:
    """The command, killed too should this process be (Linux)."""
    return [*(["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []), *command]


def run(command: Sequence[str], folder: Path, environment: Optional[Dict[str, str]] = None) -> str:
    """Run pip, uv, git or a Python in a folder, and return what it prints. Raises Unavailable in its own words."""
    try:
        process = subprocess.Popen(
            tied(command),
            cwd=str(folder),
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
    if process.returncode:
        words = " ".join((errors or printed).decode(errors="replace").split())
        raise Unavailable(words[-500:] or f"{Path(command[0]).name} ended with status {process.returncode}")
    return printed.decode(errors="replace")


@contextlib.contextmanager
def started(
    command: Sequence[str], folder: Path, log: Path, environment: Optional[Dict[str, str]] = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """A process that runs in a folder and prints to a file; when the block is left it is killed with all of its group.

    Raises Unavailable where it cannot be started.
    """
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                tied(command),
                cwd=str(folder),
                env=environment or settings(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"cannot run {command[0]}: {error.strerror}") from error
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the second of a group of zombies
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


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
                        shutil.rmtree(str(left), ignore_errors=True)
                new = Path(tempfile.mkdtemp(".tmp", f"{kind}-", str(FOLDER)))
                stack.callback(shutil.rmtree, str(new), ignore_errors=True)
                stack.enter_context(locked(new))
        except OSError as error:
            raise Unavailable(f"cannot write to {FOLDER}: {error.strerror}") from error
        yield new


@contextlib.contextmanager
def locked(folder: Path, how: int = 0) -> Iterator[None]:
    """The lock of a folder, which no process keeps longer than it lives. Raises OSError where it cannot be had."""
    lock = os.open(str(folder), os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(lock)


def finish(folder: Path, build: Callable[[Path], None]) -> None:
    """Build a folder aside, and give it its name once it is whole; of several that do so at once, one wins.

    Raises Unavailable, also for what the disk says.
    """
    try:
        with scratch("building") as aside:
            build(aside / "new")
            folder.parent.mkdir(parents=True, exist_ok=True)
            (aside / "new").rename(folder)
    except OSError as error:
        if not folder.is_dir():  # it is there where another was first: a folder that is not empty is never replaced
            raise Unavailable(f"cannot build {folder.name}: {error.strerror}") from error


def discard(folder: Path) -> None:
    """Take a folder out of use, whole at once: nobody sees half of it. Raises Unavailable."""
    try:
        with scratch("discarded") as aside:
            folder.rename(aside / "old")
    except FileNotFoundError:  # somebody else did
        pass
    except OSError as error:
        raise Unavailable(f"cannot replace {folder}: {error.strerror}") from error


def write_whole(file: Path, text: str) -> None:
    """Write a file whole or not at all, into a folder that is there. Raises Unavailable."""
    try:
        with scratch("writing") as aside:
            (aside / file.name).write_text(text, encoding="utf-8")
            try:
                (aside / file.name).replace(file)
            except OSError as error:
                if error.errno != errno.EXDEV:  # another file system, which only a user's own file can be on
                    raise
                shutil.copyfile(str(aside / file.name), str(file))
    except OSError as error:
        raise Unavailable(f"cannot write {file}: {error.strerror}") from error


def read_json(file: Path) -> Any:
    """What a JSON file holds; None where it is absent, too large to be ours, or no JSON."""
    try:
        if file.stat().st_size < SIZE:
            return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        pass
    return None


def install(new: Path, requirements: Sequence[str], python: str, uv: Optional[str], *options: str) -> None:
    """Make `new` an environment of this interpreter with these requirements. Raises Unavailable."""
    if uv:
        run([uv, "venv", "--quiet", "--no-project", "--python", python, str(new)], new.parent)
        fill(new, requirements, new.parent, uv, *options)
    else:
        run([python, "-m", "venv", str(new)], new.parent)
        pip = [str(new / "bin" / "python"), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, *options, *requirements], new.parent)


def fill(environment: Path, requirements: Sequence[str], aside: Path, uv: str, *options: str) -> None:
    """Install requirements into an environment that is there, with uv, from the folder `aside`. Raises Unavailable."""
    pip = [uv, "pip", "install", "--quiet", "--python", str(environment), "--link-mode", "copy", "--compile-bytecode"]
    try:  # what is cached needs no question to the index, which takes most of the time
        run([*pip, "--offline", *options, *requirements], aside)
    except Unavailable:
        run([*pip, *options, *requirements], aside)


def check(folder: Path, pins: Sequence[str]) -> None:
    """Raises Unavailable where something else than the pins lies in a folder of packages."""
    found = {normal(name): version for name, version in installed(folder).items()}
    for pin in pins:
        name, version = pin.split("==")
        other = found.get(normal(name), "none")
        if other != version:
            raise Unavailable(f"{name} {other} was installed instead of {version}: see the settings of uv and pip")


def packages(environment: Path) -> Path:
    """The folder of an environment that its packages lie in. Raises Unavailable."""
    for found in environment.glob("lib/python*/site-packages"):
        return found
    raise Unavailable(f"{environment} is no environment: run make clean")


def installed(folder: Path) -> Dict[str, str]:
    """The distributions that lie in a folder, and their versions."""
    return dict(entry.stem.split("-", 1) for entry in folder.glob("*-*.dist-info"))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins_of(file: Path) -> List[str]:
    """The pins of a requirements file and of those that it includes, without the ones for some machines only."""
    pins: List[str] = []
    for line in file.read_text().splitlines():
        if line.startswith("-r "):
            pins += pins_of(file.parent / line[3:].strip())
        elif re.match(r"[\w.-]+==[^ ;]+$", line):
            pins.append(line)
    return pins


def _from_uv_files() -> Optional[str]:
    try:
        import tomllib
    except ImportError:
        try:
            import tomli as tomllib  # type: ignore[no-redef,import-not-found,unused-ignore]
        except ImportError:
            return None
    config = _configuration() / "uv" / "uv.toml"
    for name in (os.environ.get("UV_CONFIG_FILE"), str(config), "/etc/uv/uv.toml"):
        if name and Path(name).is_file():
            with contextlib.suppress(tomllib.TOMLDecodeError, UnicodeDecodeError, OSError):  # uv will say so
                read = tomllib.loads(Path(name).read_text())
                urls = [index["url"] for index in read.get("index", []) if index.get("default")]
                urls += [read["index-url"]] if "index-url" in read else []
                if urls:
                    return str(urls[0])
    return None


def _from_pip_files() -> Optional[str]:
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:  # so pip is told to read no file at all
        return None
    home = Path(os.environ.get("HOME", "/"))
    # Later files win, and pip reads PIP_CONFIG_FILE last.
    files = [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", home / "Library/Application Support/pip/pip.conf"]
    parser = configparser.RawConfigParser()
    with contextlib.suppress(configparser.Error, UnicodeDecodeError):  # pip will say so
        parser.read([str(file) for file in [*files, _configuration() / "pip" / "pip.conf", named or os.devnull]])
    for section in ("install", "global"):
        if parser.has_option(section, "index-url"):
            return parser.get(section, "index-url")
    return None


def _configuration() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path(os.environ.get("HOME", "/")) / ".config")


def main(requirements: Path, folder: Path) -> int:
    """Build what make asks for, unless it is there. Returns 0, or 1 with one line that says why not.

    Those of the tests come on top of an environment that is there, the others make one.
    """
    pins, on_top = pins_of(requirements), requirements.parent.name == "tests"
    name, mark = requirements.name, folder / ("tools" if on_top else "ready")
    name = f"tests/{name}" if on_top else name
    harness = name == "requirements-harness.txt"
    if harness and sys.version_info < (3, 10):
        print("The harness needs Python 3.10 or later: try make PYTHON=python3.12", file=sys.stderr)
        return 1
    made_of, wanted = "\n".join([sys.version, *pins]), ["-r", str(requirements.resolve())]

    def build(new: Path) -> None:
        install(new, wanted, sys.executable, shutil.which("uv"))
        check(packages(new), pins)
        if harness:  # found from every current folder, and with PYTHONSAFEPATH
            (packages(new) / "harness.pth").write_text(f"{ROOT}\n")
        (new / mark.name).write_text(made_of)

    try:
        with locked(requirements):  # of several makes at once, one builds
            if mark.is_file() and mark.read_text(errors="replace") == made_of:
                return 0
            print(f"Building an environment from {name} (once)", file=sys.stderr, flush=True)
            if on_top:
                # What a killed run left half installed looks installed.
                names = re.findall(r"^([\w.-]+)==", requirements.read_text(), re.MULTILINE)
                anew = [f"--reinstall-package={name}" for name in names]
                with scratch("adding") as aside:
                    fill(folder.resolve(), wanted, aside, str(folder.resolve() / "bin" / "uv"), *anew)
                check(packages(folder), pins)
                mark.write_text(made_of)
                return 0
            if folder.exists():
                discard(folder)
            finish(folder, build)
    except (OSError, Unavailable) as error:
        print(f"Could not install {name}, check the network and the index: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
    except KeyboardInterrupt:
        sys.exit(130)
