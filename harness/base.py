"""A base: one Python, and everything but uvicorn that lies beside it when it is judged."""

import hashlib
import os
import re
import shutil
import sys
import time
from base64 import urlsafe_b64encode
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from uv import find_uv_bin

from harness.place import FOLDER, ROOT, Unavailable, made, run, scratch
from harness.sources import settings

UV = find_uv_bin()  # once: sysconfig, which it asks, does not take two threads at once
START = time.time_ns()
# What some releases of uvicorn need beside requirements-broken.txt, pinned like that.
ALSO = ("asgiref==3.8.1", "typing-extensions==4.13.2")
# The same in the newest versions, for what a fresh install brings.
BESIDE = ("asgiref", "typing-extensions")


@dataclass(frozen=True)
class Interpreter:
    """A Python and its full version."""

    path: str
    version: str

    @classmethod
    def find(cls, request: str = "") -> "Interpreter":
        """The Python that a person asked for, as `3.12` or a path; this one where they did not. Raises Unavailable."""
        if not request:
            return cls(os.path.realpath(sys.executable), "{}.{}.{}".format(*sys.version_info))
        # pyenv puts only those on PATH that it has activated.
        pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, pyenv.glob("versions/*/bin"))])
        find = [UV, "python", "find", "--system", "--no-project", "--no-python-downloads", "--", request]
        told = "import sys; print('{}.{}.{}'.format(*sys.version_info))"
        with scratch("asking") as aside, suppress(Unavailable):
            found = run(find, aside, {**settings(), "PATH": path}).strip()
            return cls(os.path.realpath(found), run([found, "-I", "-c", told], aside).strip())
        raise Unavailable(f"no Python {request} here: install it, or give the path of one")


@dataclass(frozen=True)
class Base:
    """What a base is made of: exact pins, or with `fresh` what pip would install today for these requirements."""

    interpreter: Interpreter
    requirements: tuple[str, ...]
    fresh: bool = False

    @property
    def folder(self) -> Path:
        """Where it lies; raises OSError for a requirements file that cannot be read."""
        lines = []
        for line in self.requirements:
            file = line.removeprefix("-r ")
            lines += [line] if file == line else Path(file).read_text().splitlines()
        day = time.strftime("%Y-%m-%d", time.gmtime(START / 1e9)) if self.fresh else ""
        if any(re.match(r"\s*(--?[rce]|[.]{0,2}/)|.*file:", line) for line in lines):
            day = str(START)  # what lies on the disk may be another the next time
        parts = [self.interpreter.path, self.interpreter.version, day, *lines]
        name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
        return FOLDER / "bases" / f"python-{self.interpreter.version}-{name}"

    def made(self) -> Path:
        """The folder with the packages in it, installed where need be. Raises Unavailable."""
        return made(self.folder, self._install)

    @cached_property
    def versions(self) -> dict[str, str]:
        """The distributions in it and their versions, by normalized name. Raises Unavailable."""
        return _installed(self.made())

    @property
    def pins(self) -> list[str]:
        """What uvicorn finds there, as requirements; not what only some releases need. Raises Unavailable."""
        named = [re.split(r"[^\w.-]", line)[0] for line in self.requirements if not line.startswith("-r ")]
        names = {"h11", "click", *map(canonicalize_name, named)} - set(BESIDE)
        return [f"{name}=={version}" for name, version in self.versions.items() if name in names]

    def described(self) -> str:
        """The Python and the pins, for people. Raises Unavailable."""
        return ", ".join([f"Python {self.interpreter.version}", *self.pins])

    def _install(self, new: Path) -> None:
        command = [UV, "pip", "install", "--quiet", "--link-mode", "copy", "--target", str(new)]
        command += ["--python", self.interpreter.path]
        if self.fresh:
            wanted = new.parent / "wanted.txt"
            wanted.write_text("\n".join(["uvicorn", *self.requirements]) + "\n")
            run([*command, "--compile-bytecode", "-r", str(wanted)], new.parent)
            _as_released(new)
            for found in [*new.glob("uvicorn-*.dist-info"), new / "uvicorn"]:
                shutil.rmtree(found)
            (new / "bin" / "uvicorn").unlink(missing_ok=True)
            return
        try:  # what is cached needs no question to the index, which takes most of the time
            run([*command, "--no-deps", "--offline", *self.requirements], new.parent)
        except Unavailable:
            run([*command, "--no-deps", *self.requirements], new.parent)
        _as_released(new)
        there = _installed(new)
        for pin in map(Requirement, self.requirements):
            if not pin.specifier.contains(there.get(canonicalize_name(pin.name), ""), prereleases=True):
                raise Unavailable(f"{pin} was not installed: see the settings of uv and pip")


def of_cases(interpreter: Interpreter, websockets: str = "", wsproto: str = "") -> Base:
    """The base of the cases: the pins of requirements-broken.txt, but for other versions of these two."""
    chosen = {"websockets": websockets, "wsproto": wsproto}
    found = [f"{name}=={chosen.get(name) or version}" for name, version in pins().items()]
    return Base(interpreter, (*found, *ALSO))


def of_own(interpreter: Interpreter, websockets: str, wsproto: str, more: tuple[str, ...]) -> Base:
    """The base of an app or a script of one's own: what a fresh install brings today, and what it needs.

    A version of websockets and wsproto may be `latest` or empty, or `none` for none at all.
    """
    chosen = [(name, which) for name, which in (("websockets", websockets), ("wsproto", wsproto)) if which != "none"]
    wanted = [name if which in ("", "latest") else f"{name}=={which}" for name, which in chosen]
    return Base(interpreter, (*wanted, *BESIDE, *more), fresh=True)


@cache
def pins() -> dict[str, str]:
    """The pins of requirements-broken.txt but for uvicorn's."""
    lines = (ROOT / "requirements-broken.txt").read_text().split()
    return {name: version for name, _, version in (line.partition("==") for line in lines) if name != "uvicorn"}


def _as_released(folder: Path) -> None:
    """Raises Unavailable for a file that is not what its distribution's RECORD says.

    The files of an environment may be those of uv's cache, so whoever edits one edits the other.
    """
    for file in (file for one in distributions(path=[str(folder)]) for file in one.files or ()):
        if file.hash and Path(str(file.locate())).is_file():
            found = hashlib.new(file.hash.mode, file.read_binary()).digest()
            if urlsafe_b64encode(found).decode().rstrip("=") != file.hash.value:
                raise Unavailable(f"uv's cache has another {file} than was released: clear it with uv cache clean")


def _installed(folder: Path) -> dict[str, str]:
    return dict(sorted((canonicalize_name(one.name), one.version) for one in distributions(path=[str(folder)])))
