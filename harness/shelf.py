"""What lies under a trial: a release of uvicorn as a folder, and the base that has everything else."""

import contextlib
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version
from uv import find_uv_bin

from harness import environment
from harness.environment import FOLDER, ROOT, Unavailable, finish, packages
from harness.index import listing
from harness.model import Cause, plain

UV = find_uv_bin()  # once: sysconfig, which it asks, does not take two threads at once
# What some releases of uvicorn need besides requirements-broken.txt, held still too.
ALSO = ("asgiref==3.8.1", "typing-extensions==4.13.2")


class Unfit(Exception):
    """Why a release cannot be judged with this base: the cause and a sentence."""

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


@dataclass(frozen=True)
class Interpreter:
    """A Python and its full version."""

    path: str
    version: str


@dataclass(frozen=True)
class Setting:
    """What every trial of a run has in common: the pins beside uvicorn, each as `name==version`, and the Python.

    `more` holds what an app or a script of one's own needs, as requirements or as `-r FILE`; there pins give way.
    """

    pins: tuple[str, ...]
    interpreter: Interpreter
    more: tuple[str, ...] = ()

    def version(self, name: str) -> str:
        return dict(pin.split("==") for pin in self.pins)[name]

    @property
    def folder(self) -> Path:
        files = [Path(line[3:]).read_text() for line in self.more if line.startswith("-r ")]
        made_of = "\n".join([self.interpreter.path, self.interpreter.version, *self.pins, *ALSO, *self.more, *files])
        name = f"python-{self.interpreter.version}-websockets-{self.version('websockets')}-{digest(made_of)}"
        return FOLDER / "bases" / name


def digest(text: str) -> str:
    """A short name for what something is made of."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def pins(**versions: str | None) -> tuple[str, ...]:
    """The pins of requirements-broken.txt but for uvicorn's, with other versions by package name.

    Raises ValueError where one is no version.
    """
    found = dict(pin.split("==") for pin in environment.pins_of(ROOT / "requirements-broken.txt"))
    del found["uvicorn"]
    found.update({name: str(checked(version)) for name, version in versions.items() if version})
    return tuple(f"{name}=={version}" for name, version in found.items())


def checked(version: str) -> Version:
    """The version, which may name a folder once it is one. Raises ValueError."""
    try:
        return Version(version)
    except InvalidVersion:
        raise ValueError(f"{plain(version)!r} is no version, such as 0.20.0") from None


def interpreter(request: str | None = None) -> Interpreter:
    """The Python that a person asked for (`3.12`, or a path); this one where they did not.

    Raises Unavailable where it is not there or does not answer.
    """
    if request is None:
        return Interpreter(sys.executable, ".".join(map(str, sys.version_info[:3])))
    try:
        with environment.scratch("asking") as aside:
            command = [UV, "python", "find", "--system", "--no-project", "--no-python-downloads"]
            path = environment.run([*command, "--", request], aside).strip()
            program = "import platform; print(platform.python_version())"
            version = environment.run([path, "-I", "-c", program], aside).strip()
    except Unavailable:
        path = version = ""
    if not re.fullmatch(r"\d+\.\d+\.\d+\S*", version):
        raise Unavailable(f"no Python {plain(request)} here: install it, or give the path of one")
    return Interpreter(path, version)


def base(setting: Setting) -> Path:
    """The environment with everything but uvicorn, built where there is none. Raises Unavailable."""
    if not setting.folder.is_dir():

        def build(new: Path) -> None:
            wanted = resolve(setting, new.parent) if setting.more else [*setting.pins, *ALSO]
            environment.install(new, wanted, setting.interpreter.path, UV, "--no-deps")
            environment.check(packages(new), wanted)
            (new / "pins.txt").write_text("\n".join(wanted))

        finish(setting.folder, build)
    return setting.folder


def resolve(setting: Setting, aside: Path) -> list[str]:
    """The pins of a base with more than the usual ones in it, without uvicorn. Raises Unavailable.

    Where the others rule out a pin, the pin gives way: the most of them are kept, in their order.
    """
    uv = [UV, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-emit-package", "uvicorn"]
    file = aside / "wanted.in"

    def compiled(wanted: Sequence[str]) -> list[str]:
        file.write_text("\n".join(wanted))
        printed = environment.run([*uv, "--python", setting.interpreter.path, str(file)], aside)
        return [line.split(" ;")[0] for line in printed.splitlines() if "==" in line]

    names = [pin.split("==")[0] for pin in setting.pins]
    kept = [*setting.more, *names]
    compiled(kept)
    try:
        return compiled([*kept, *setting.pins, *ALSO])
    except Unavailable:
        for pin in [*setting.pins, *ALSO]:
            with contextlib.suppress(Unavailable):
                compiled([*kept, pin])
                kept.append(pin)
        return compiled(kept)


def gave_way(setting: Setting) -> list[str]:
    """What a base has in the place of the pins that gave way, as `name==version`."""
    having = (setting.folder / "pins.txt").read_text().split()
    names = {pin.split("==")[0] for pin in setting.pins}
    return [pin for pin in having if pin.split("==")[0] in names and pin not in setting.pins]


def patched(folder: Path, patch: Path, aside: Path) -> Path:
    """A copy of a folder's uvicorn with a patch in it, below `aside`. Raises Unfit with git's words, or Unavailable."""
    copy = Path(tempfile.mkdtemp(prefix="patched-", dir=aside))
    shutil.copytree(folder / "uvicorn", copy / "uvicorn", ignore=shutil.ignore_patterns("__pycache__"))
    before = {file: file.read_bytes() for file in copy.rglob("*.py")}
    try:
        git_apply(patch, copy, "--include=uvicorn/*")  # whatever else the patch is about is not here
    except Unavailable as error:
        raise Unfit(Cause.UNPATCHED, f"the patch does not apply: {plain(str(error))}") from None
    if before == {file: file.read_bytes() for file in copy.rglob("*.py")}:
        raise Unfit(Cause.UNPATCHED, "the patch changes nothing in uvicorn/")
    return copy


def git_apply(patch: Path, folder: Path, *options: str) -> None:
    """Apply a patch to a folder, all of it or nothing. Raises Unavailable with git's words."""
    # Inside of a repository git would take the files for the repository's, and skip them without a word.
    outside = {**environment.git_settings(), "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
    environment.run(["git", "apply", *options, str(patch)], folder, outside)


def runner(setting: Setting, folder: Path, aside: Path) -> Path:
    """The bin folder of an environment whose Python imports the uvicorn in `folder`, and the base's packages.

    It is a venv (PEP 405) with two lines in a path file instead of packages of its own.
    """
    new, base_bin = Path(tempfile.mkdtemp(prefix="runner-", dir=aside)), setting.folder / "bin"
    inside = packages(setting.folder)
    own = new / inside.relative_to(setting.folder)
    own.mkdir(parents=True)
    (own / "uvicorn.pth").write_text(f"{folder}\nimport site; site.addsitedir({str(inside)!r})\n")
    shutil.copy(setting.folder / "pyvenv.cfg", new)
    (new / "bin").mkdir()
    for file in [*base_bin.iterdir(), *folder.glob("bin/uvicorn")]:
        target = new / "bin" / file.name
        if file.is_symlink():
            target.symlink_to(file.readlink())
        elif (text := file.read_bytes()).startswith(b"#!") and b"python" in text.split(b"\n")[0]:
            target.write_bytes(b"#!" + os.fsencode(new / "bin" / "python") + b"\n" + text.partition(b"\n")[2])
            target.chmod(0o755)
    return new / "bin"


def requirements(pinned: Sequence[str]) -> Path:
    """The Python of an environment with just these pins, of Python 3.11 or later. Raises Unavailable."""
    recent = sys.executable if sys.version_info >= (3, 11) else interpreter(">=3.11").path
    folder = FOLDER / "others" / digest("\n".join([recent, *pinned]))
    if not folder.is_dir():

        def build(new: Path) -> None:
            environment.install(new, pinned, recent, UV)
            environment.check(packages(new), pinned)

        finish(folder, build)
    return folder / "bin" / "python"


def release(version: str) -> Path:
    """The folder of a release, its wheel as it is on the index. Raises Unfit or Unavailable."""
    folder = FOLDER / "uvicorn" / str(checked(version))
    if not folder.is_dir():
        known = {Version(release.version): release for release in listing("uvicorn").releases}
        found = known.get(Version(folder.name))
        if not found:
            raise Unavailable(f"the index has no uvicorn {folder.name}")
        if not found.wheel:
            raise Unfit(Cause.NO_WHEEL, "no wheel on the index")
        folder = folder.with_name(found.version)  # 0.20 is another name of 0.20.0
    if not folder.is_dir():

        def build(new: Path) -> None:
            uv = [
                UV,
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--only-binary",
                "uvicorn",
                "--link-mode",
                "copy",
            ]
            command = [*uv, "--python", sys.executable, "--target", str(new), f"uvicorn=={folder.name}"]
            try:  # what is cached needs no question to the index, which takes most of the time
                environment.run([*command, "--offline"], new.parent)
            except Unavailable:
                environment.run(command, new.parent)
            environment.check(new, [f"uvicorn=={folder.name}"])

        finish(folder, build)
    return folder


def fit(folder: Path, installed: dict[str, str], python: str) -> None:
    """Raises Unfit where a release requires another Python, or something else than a base has.

    `folder` is the release's, `installed` the versions of the base. The source is the release's METADATA
    (PyPA core metadata, Requires-Python and Requires-Dist).
    """
    metadata = PathDistribution(folder / f"uvicorn-{folder.name}.dist-info")
    if not metadata.read_text("METADATA"):
        raise Unfit(Cause.DAMAGED, f"uvicorn {folder.name} is damaged: its METADATA is not there")
    wanted = metadata.metadata["Requires-Python"]
    if wanted and not Requirement(f"python{wanted}").specifier.contains(python, prereleases=True):
        raise Unfit(Cause.OTHER_PYTHON, f"requires Python {wanted}")
    having = {environment.normal(name): version for name, version in installed.items()}
    short = ".".join(python.split(".")[:2])
    markers = {
        **{name: str(value) for name, value in default_environment().items()},
        "python_full_version": python,
        "python_version": short,
        "extra": "",
    }
    unmet = []
    for line in metadata.requires or []:
        # Older releases say >=0.4.*, which packaging no longer takes; installers take it for >=0.4.
        requirement = Requirement(re.sub(r"([<>~]=?[\d. ]+)\.\*", r"\1", line))
        version = having.get(environment.normal(requirement.name))
        if requirement.marker and not requirement.marker.evaluate(markers):
            continue
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            unmet.append(f"{requirement.name}{requirement.specifier}")
    if unmet:
        raise Unfit(Cause.OTHER_PINS, f"requires {', '.join(sorted(unmet))}")
