"""The folders that a uvicorn is judged in: does it fit a base, a patched copy of it, and where a script runs."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import tempfile
from importlib.metadata import PathDistribution
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness.base import Base
from harness.git import apply
from harness.model import Cause, Script, plain
from harness.place import Unavailable
from harness.sources import ASTRAY

# Which uvicorn a Python imports, whoever starts it: one line a time into a file. The environment's own Python has it
# among its packages too, for a script may leave PYTHONPATH out, or set it.
HOOK = """\
import sys
def no_bytecode(path):
    raise OSError
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "uvicorn":
            others = [finder for finder in sys.meta_path if finder is not self]
            found = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
            if name == "uvicorn":
                with open(IMPORTED, "a") as file:
                    file.write(ascii(found and found.origin) + "\\n")
            if CHANGES and found:
                found.loader.path_stats = no_bytecode
            return found
if not any(type(finder).__name__ == "Finder" for finder in sys.meta_path):
    sys.meta_path.insert(0, Finder())
"""
ELSEWHERE = """\
#!/bin/sh
name=$(basename "$0"); say="WITH=$name"
case $name in python*) say="INTERPRETER=${name#python}";; esac
echo "$name here is of another Python than the uvicorn under test: say $say" >&2
exit 127
"""


class Unfit(Exception):
    """Why a uvicorn cannot be judged: the cause and a sentence."""

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


def fit(folder: Path, version: str, base: Base) -> None:
    """Raises Unfit where a release requires another Python, or something else than a base has.

    The source is the release's METADATA (PyPA core metadata, Requires-Python and Requires-Dist).
    """
    python = base.interpreter.version
    metadata = PathDistribution(next(iter(folder.glob("uvicorn-*.dist-info")), folder))
    if not metadata.read_text("METADATA"):
        raise Unfit(Cause.FAILED, f"uvicorn {version} has no METADATA")
    wanted = metadata.metadata["Requires-Python"]
    if wanted and not Requirement(f"python{wanted}").specifier.contains(python, prereleases=True):
        raise Unfit(Cause.OTHER_PYTHON, f"requires Python {wanted}")
    having = base.versions
    markers = {name: str(value) for name, value in default_environment().items()}
    markers |= {"python_full_version": python, "python_version": ".".join(python.split(".")[:2]), "extra": ""}
    unmet = []
    for line in metadata.requires or []:
        # Older releases say >=0.4.*, which packaging no longer takes; installers take it for >=0.4.
        one = Requirement(re.sub(r"([<>~]=?[\d. ]+)\.\*", r"\1", line))
        version_there = having.get(canonicalize_name(one.name))
        if one.marker and not one.marker.evaluate(markers):
            continue
        if version_there is None or not one.specifier.contains(version_there, prereleases=True):
            unmet.append(f"{one.name}{one.specifier}")
    if unmet:
        raise Unfit(Cause.OTHER_PINS, f"requires {', '.join(sorted(unmet))}")


def patched(folder: Path, patch: Path, aside: Path) -> Path:
    """A copy of a folder's uvicorn with a patch in it, below `aside`. Raises Unfit with git's words, or Unavailable."""
    copy = Path(tempfile.mkdtemp(prefix="patched-", dir=aside))
    shutil.copytree(folder / "uvicorn", copy / "uvicorn", ignore=shutil.ignore_patterns("__pycache__"))
    before = {file: file.read_bytes() for file in copy.rglob("*.py")}
    try:
        apply(patch, copy, "--include=uvicorn/*")  # whatever else the patch is about is not here
    except Unavailable as error:
        raise Unfit(Cause.UNPATCHED, f"the patch does not apply: {plain(str(error))}") from None
    if before == {file: file.read_bytes() for file in copy.rglob("*.py")}:
        raise Unfit(Cause.UNPATCHED, "the patch changes nothing in uvicorn/")
    return copy


def script(line: str, base: Base, folder: Path, changes: bool, aside: Path, elsewhere: Path, output: Path) -> Script:
    """A command line, with a virtual environment (PEP 405) of its own that has the uvicorn in `folder` and the base.

    `elsewhere` holds what takes the place of other environments' tools. Raises Unfit, Unavailable.
    """
    if os.pathsep in str(aside):
        raise Unfit(Cause.NO_APP, f"PATH cannot hold {plain(str(aside.parent))}: put this where no {os.pathsep} is")
    new, packages = Path(tempfile.mkdtemp(prefix="script-", dir=aside)), base.made()
    python, version = Path(base.interpreter.path), base.interpreter.version.split(".")
    own = new / "lib" / f"python{version[0]}.{version[1]}" / "site-packages"
    for one in (own, new / "bin", new / "tools", new / "hook"):
        one.mkdir(parents=True)
    (new / "pyvenv.cfg").write_text(f"home = {python.parent}\ninclude-system-site-packages = false\n")
    for name in ("python", "python3", f"python{version[0]}.{version[1]}"):
        (new / "bin" / name).symlink_to(python)
    paths = f"sys.path.append({str(folder)!r}); site.addsitedir({str(packages)!r})"
    (own / "uvicorn.pth").write_text(f"import hook_of_uvicorn, site, sys; {paths}\n")
    imported = str(new / "imported")
    for hook in (own / "hook_of_uvicorn.py", new / "hook" / "sitecustomize.py"):
        hook.write_text(f"IMPORTED = {imported!a}\nCHANGES = {changes}\n{HOOK}")
    (new / "tools" / "run_uvicorn").write_text("import sys\nfrom uvicorn.main import main\nsys.exit(main())\n")
    _wrap(new, "uvicorn", new / "tools" / "run_uvicorn")
    for tool in (packages / "bin").glob("*"):
        if _is_python(tool):
            _wrap(new, tool.name, Path(shutil.copy(tool, new / "tools")))
        else:
            (new / "bin" / tool.name).symlink_to(tool)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ASTRAY)}
    path = [str(new / "bin"), str(elsewhere), os.environ.get("PATH", os.defpath)]
    kept |= {"PATH": os.pathsep.join(path), "VIRTUAL_ENV": str(new)}
    # Bytecode of a folder that changes may be stale and match.
    kept |= {"PYTHONPATH": str(new / "hook"), "PYTHONDONTWRITEBYTECODE": "1"}
    return Script(line, str(Path.cwd()), kept, str(output), imported)


def tools_elsewhere(aside: Path) -> Path:
    """A folder with a refusal for every tool on PATH that a Python runs, for it would be another environment's."""
    found = aside / "elsewhere"
    found.mkdir()
    refusal = found / ".refusal"
    refusal.write_text(ELSEWHERE)
    refusal.chmod(0o755)
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        with contextlib.suppress(OSError):  # it is not there, or not for this user
            for tool in os.scandir(folder):
                if not (found / tool.name).is_symlink() and tool.is_file() and _is_python(Path(tool.path)):
                    (found / tool.name).symlink_to(refusal.name)
    return found


def _wrap(new: Path, name: str, tool: Path) -> None:
    """A command that runs a Python file; a first line cannot name its Python where the path is long or has a space."""
    command = new / "bin" / name
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(str(new / "bin" / "python"))} {shlex.quote(str(tool))} "$@"\n')
    command.chmod(0o755)


def _is_python(tool: Path) -> bool:
    """Whether it is a script for Python: by its first line, or as uv and pip write one for long paths, or pyenv's."""
    try:
        with tool.open("rb") as file:
            begin = file.read(400)
    except OSError:
        return False
    first, _, rest = begin.partition(b"\n")
    return first.startswith(b"#!") and (b"python" in first or rest.startswith(b"'''exec'") or b"pyenv" in rest)
