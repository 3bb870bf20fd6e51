"""A script of one's own: the environment that it runs in, with one uvicorn, and what its end says of that uvicorn."""

import os
import shlex
import tempfile
from contextlib import suppress
from pathlib import Path

from harness.base import Base
from harness.model import Cause, Inconclusive, Script, Trial, Verdict, plain
from harness.place import Unavailable
from harness.sources import ASTRAY

# Which uvicorn a Python imports, whoever starts it: one line a time into a file. The environment's own Python imports
# it from its packages, for a script may leave PYTHONPATH out, or set it; others find it there.
HOOK = """\
import sys
from importlib.machinery import PathFinder
def no_bytecode(path):
    raise OSError
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "uvicorn":
            found = PathFinder.find_spec(name, path, target)
            if name == "uvicorn":
                with open(IMPORTED, "a") as file:
                    file.write(ascii(found and found.origin) + "\\n")
            if CHANGES and found:
                found.loader.path_stats = no_bytecode
            return found
sys.meta_path.insert(0, Finder())
"""
REFUSAL = """\
#!/bin/sh
name=$(basename "$0"); say="WITH=$name"
case $name in python*) say="INTERPRETER=${name#python}";; esac
echo "$name here is of another Python than the uvicorn under test: say $say" >&2
exit 127
"""


def prepared(line: str, base: Base, folder: Path, changes: bool, aside: Path, output: Path) -> Script:
    """A line for the shell, with a virtual environment (PEP 405) of its own that has a base and a folder's uvicorn.

    `aside` holds the refusals too. Raises Inconclusive, Unavailable.
    """
    new, packages = Path(tempfile.mkdtemp(prefix="script-", dir=aside)), base.made()
    python, (major, minor, _) = Path(base.interpreter.path), base.interpreter.version.split(".")
    own = new / "lib" / f"python{major}.{minor}" / "site-packages"
    own.mkdir(parents=True)
    (new / "bin").mkdir()
    (new / "pyvenv.cfg").write_text(f"home = {python.parent}\ninclude-system-site-packages = false\n")
    for command in ("python", "python3", f"python{major}.{minor}"):
        (new / "bin" / command).symlink_to(python)
    imported = new / "imported"
    (own / "hook_of_uvicorn.py").write_text(f"IMPORTED = {str(imported)!a}\nCHANGES = {changes}\n{HOOK}")
    (own / "sitecustomize.py").write_text("import hook_of_uvicorn\n")
    paths = f"site.addsitedir({str(packages)!a}); sys.path.append({str(folder)!a})"
    (own / "uvicorn.pth").write_text(f"import hook_of_uvicorn, site, sys; {paths}\n")
    # The first line of a tool cannot name its Python where the path is long or has a space.
    (own / "uvicorn").write_text(
        "import sys\nfrom uvicorn.main import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
    )
    for tool in (own / "uvicorn", *filter(_is_python, (packages / "bin").glob("*"))):
        run = shlex.join([str(new / "bin" / "python"), str(tool)])
        (new / "bin" / tool.name).write_text(f'#!/bin/sh\nexec {run} "$@"\n')
        (new / "bin" / tool.name).chmod(0o755)
    path = [str(new / "bin"), str(packages / "bin"), str(aside / "refused"), os.environ.get("PATH", os.defpath)]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(ASTRAY)}
    variables |= {"PATH": os.pathsep.join(path), "VIRTUAL_ENV": str(new)}
    # Bytecode of a folder that changes may be stale and match.
    variables |= {"PYTHONPATH": str(own), "PYTHONDONTWRITEBYTECODE": "1"}
    return Script(line, str(Path.cwd()), variables, str(output), str(imported))


def refuse_others(aside: Path) -> None:
    """Put a refusal below `aside` for every tool on PATH that a Python runs, for it would be another environment's.

    Raises Unavailable, and OSError for what the disk says.
    """
    if os.pathsep in str(aside):
        raise Unavailable(f"PATH cannot hold {aside.parent}: put this where no {os.pathsep} is")
    refused = aside / "refused"
    refused.mkdir()
    (refused / ".refusal").write_text(REFUSAL)
    (refused / ".refusal").chmod(0o755)
    seen = set()  # a shell takes the first of a name
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        with suppress(OSError):  # it is not there, or not for this user
            for tool in os.scandir(folder):
                if tool.name not in seen and tool.is_file() and os.access(tool, os.X_OK):
                    seen.add(tool.name)
                    if _is_python(Path(tool.path)):
                        (refused / tool.name).symlink_to(".refusal")


def _is_python(tool: Path) -> bool:
    """Whether it is a script for Python: by its first line, or as uv and pip write one for long paths, or pyenv's."""
    with suppress(OSError), tool.open("rb") as file:
        first, _, rest = file.read(400).partition(b"\n")
        return first.startswith(b"#!") and (b"python" in first or rest.startswith(b"'''exec'") or b"pyenv" in rest)
    return False


def verdict_of(trial: Trial, code: int, said: str, script: Script, folder: Path) -> Trial:
    """The trial of a script, by its exit status as `git bisect run` takes it. Raises Inconclusive."""
    ended = f"status {code}" if code >= 0 else f"signal {-code}"
    reason = "; ".join([ended, *(plain(line)[:200] for line in said.strip().splitlines()[-1:])])
    cause = Cause.NO_APP if code in (126, 127) else Cause.FAILED
    file, own = Path(script.imported), ascii(str(folder / "uvicorn"))[1:-1] + os.sep
    for line in file.read_text(errors="replace").splitlines() if file.exists() else ():
        if not line.strip("'\"").startswith(own):
            raise Inconclusive(cause, f"it imported another uvicorn, {plain(line)}; {reason}")
    if not 0 <= code < 125:
        raise Inconclusive(cause, reason)
    return trial.settle(Verdict.rejected if code else Verdict.open, reason)
