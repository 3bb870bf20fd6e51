"""A release of uvicorn, or a checkout of its sources, becomes a Python that runs it.

Environments live in one ignored folder. Each is built aside and renamed once it is finished: so it is
finished or absent, and of two runs that build the same one at once the first wins.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version
from uv import find_uv_bin

from harness.releases import uv_environment

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".environments"
UV = find_uv_bin()


class Unavailable(Exception):
    """Why there is no such environment; `lasting` where that follows from what the release itself requires."""

    def __init__(self, reason: str, lasting: bool = False) -> None:
        super().__init__(reason)
        self.lasting = lasting


@dataclass(frozen=True)
class Interpreter:
    """A Python and its full version."""

    path: str
    version: str


@dataclass(frozen=True)
class Pins:
    """The requirements beside uvicorn, each as `name==version`."""

    requirements: tuple[str, ...]

    def version(self, name: str) -> str:
        return dict(line.split("==") for line in self.requirements)[name]


def read_pins(**versions: str | None) -> Pins:
    """The pins of requirements-broken.txt but for uvicorn's, with other versions by package name."""
    lines = (ROOT / "requirements-broken.txt").read_text().split()
    pinned = dict(line.split("==") for line in lines if not line.startswith("uvicorn=="))
    pinned.update({name: version for name, version in versions.items() if version})
    return Pins(tuple(f"{name}=={version}" for name, version in pinned.items()))


def find_interpreter(request: str | None = None) -> Interpreter:
    """The Python that a person asked for (`3.12`, or a path); this one where they did not.

    Raises Unavailable where it is not installed.
    """
    if request is None:
        return Interpreter(sys.executable, ".".join(map(str, sys.version_info[:3])))
    found = _uv("python", "find", "--system", "--no-python-downloads", request)
    path = found.stdout.strip()
    if found.returncode:
        raise Unavailable(f"no Python {request} here: install it, or give the path of one")
    version = _run([path, "-I", "-c", "import platform; print(platform.python_version())"])
    return Interpreter(path, version.stdout.strip())


def for_release(version: str, pins: Pins, interpreter: Interpreter) -> Path:
    """The Python of an environment with one release of uvicorn, built where there is none.

    Raises Unavailable where the pins, the interpreter or the index do not allow it.
    """
    try:
        version = str(Version(version))  # it names a folder
    except InvalidVersion:
        raise Unavailable(f"{version!r} is no version") from None
    folder = _shelf(pins, interpreter) / version
    if not folder.is_dir():
        base = for_sources(pins, interpreter).parent.parent

        def build(new: Path) -> None:
            _create(new, interpreter)
            _share(base, new)
            _install(new, pins, "--only-binary", "uvicorn", f"uvicorn=={version}")
            _check(new, (*pins.requirements, f"uvicorn=={version}"))

        finish(folder, build)
    return folder / "bin" / "python"


def for_sources(pins: Pins, interpreter: Interpreter) -> Path:
    """The Python of an environment with all that uvicorn needs, and no uvicorn. Raises Unavailable."""
    folder = _shelf(pins, interpreter) / "base"
    if not folder.is_dir():

        def build(new: Path) -> None:
            _create(new, interpreter)
            _install(new, pins, "--compile-bytecode")
            _check(new, pins.requirements)

        finish(folder, build)
    return folder / "bin" / "python"


def for_requirements(requirements: list[str]) -> Path:
    """The Python of an environment with just these pins, on Python 3.11 or later. Raises Unavailable."""
    folder = FOLDER / "clients" / digest("\n".join([sys.executable, *requirements]))
    if not folder.is_dir():

        def build(new: Path) -> None:
            recent = sys.executable if sys.version_info >= (3, 11) else find_interpreter(">=3.11").path
            _create(new, Interpreter(recent, ""))
            installed = _uv("pip", "install", "--python", str(new), "--compile-bytecode", *requirements)
            if installed.returncode:
                raise Unavailable(_reason(installed.stderr))

        finish(folder, build)
    return folder / "bin" / "python"


def digest(text: str) -> str:
    """A short name for what an environment is made of."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _shelf(pins: Pins, interpreter: Interpreter) -> Path:
    """The folder of all environments that differ in uvicorn alone."""
    told_apart = "\n".join([interpreter.path, *pins.requirements, _also()])
    name = f"python-{interpreter.version}-websockets-{pins.version('websockets')}-{digest(told_apart)}"
    return FOLDER / "releases" / name


def _also() -> str:
    return (ROOT / "harness" / "constraints.txt").read_text()


def finish(folder: Path, build: Callable[[Path], None]) -> None:
    """Build aside, and give the result its name only once it is whole."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix="building-", dir=folder.parent))
    except OSError as error:
        raise Unavailable(f"cannot build {folder.name}: {error}") from error
    try:
        build(new)
        # Fails where another run came first: a folder that is not empty is never replaced.
        new.rename(folder)
    except OSError as error:
        if not folder.is_dir():
            raise Unavailable(f"cannot build {folder.name}: {error}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _create(new: Path, interpreter: Interpreter) -> None:
    created = _uv("venv", "--quiet", "--allow-existing", "--python", interpreter.path, str(new))
    if created.returncode:
        raise Unavailable(_reason(created.stderr))


def _share(base: Path, new: Path) -> None:
    """Link what every release has in common, compiled once, so that uv adds only uvicorn."""
    source = next(base.glob("lib/python*/site-packages"))
    target = new / source.relative_to(base)
    for entry in source.iterdir():
        if (target / entry.name).exists():
            continue
        if entry.is_dir():
            shutil.copytree(entry, target / entry.name, copy_function=_link)
        else:
            _link(str(entry), str(target / entry.name))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def _install(new: Path, pins: Pins, *arguments: str) -> None:
    """Install the pins and what else the arguments name. Raises Unavailable."""
    also = str(ROOT / "harness" / "constraints.txt")
    command = ["pip", "install", "--python", str(new), *pins.requirements, "-r", also, *arguments]
    # What is cached needs no question to the index, which would take most of the time.
    installed = _uv(*command, "--offline")
    if installed.returncode and not _refused(installed.stderr):
        installed = _uv(*command)
    if installed.returncode:
        raise Unavailable(_reason(installed.stderr), _refused(installed.stderr))


def _check(new: Path, requirements: tuple[str, ...]) -> None:
    """Raises Unavailable where something else was installed, as an override in uv's settings can make it."""
    names = [folder.stem.split("-") for folder in new.glob("lib/python*/site-packages/*.dist-info")]
    installed = dict(names)
    for name, version in (line.split("==") for line in requirements):
        found = installed.get(name.replace("-", "_"), "none")
        if found == "none" or Version(found) != Version(version):
            raise Unavailable(f"uv installed {name} {found} instead of {version}: see the overrides in its settings")


def _refused(errors: str) -> bool:
    """Whether uv gave up over what a release requires or lacks, and not over the network or a stale cache."""
    doubtful = re.search(r"the cache|network|there is no version|Request failed|Failed to fetch", errors)
    return not doubtful and bool(re.search(r"depends on|no usable wheels", errors))


def _reason(errors: str) -> str:
    """What uv says, in a few words."""
    text = " ".join(errors.replace("error:", "").replace("cause:", "").split())
    because = re.search(r"Because (.+?)(?: and you require [^,]+)?, we can conclude", text)
    return because[1] if because else text[:300]


def _uv(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return _run([UV, *arguments], uv_environment())


def _run(command: list[str], environment: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
