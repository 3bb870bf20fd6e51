"""The Pythons on which the root was tried by hand: plain venv and pip, then `python client.py`."""

import re
from pathlib import Path

from packaging.version import Version
from tqdm.contrib.concurrent import thread_map

from evidence.rows import Kept, Row, here
from harness import place
from harness.base import Interpreter
from harness.model import plain
from harness.place import ROOT, Unavailable

VERSIONS = tuple(f"3.{minor}" for minor in range(8, 17))
# A row is one Python: what client.py said with each requirements file.
KEPT = Kept("pythons", lambda row: (row["name"],), lambda name: Version(name.removeprefix("Python ")))


def measure() -> list[Row]:
    """A row for each of these Pythons that is here."""
    found = thread_map(_rows, VERSIONS, max_workers=2, disable=None, leave=False, unit="Python")
    return [row for rows in found for row in rows]


def _rows(version: str) -> list[Row]:
    try:
        python = Interpreter.named(version)
    except Unavailable:
        return []
    row = {"name": f"Python {version}", "version": python.version, **here()}
    try:
        with place.scratch("python") as folder:
            place.run([python.path, "-m", "venv", "venv"], folder)
            return [row | {which: _said(folder, which) for which in ("broken", "fixed")}]
    except Unavailable as error:
        return [row | {"missing": plain(str(error))}]


def _said(folder: Path, which: str) -> str:
    """The verdict with the pins of one requirements file. Raises Unavailable where they cannot be installed."""
    inside, requirements = str(folder / "venv" / "bin" / "python"), str(ROOT / f"requirements-{which}.txt")
    place.run([inside, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements], folder)
    _, printed, _ = place.execute([inside, str(ROOT / "client.py")], folder)
    said = re.search(r"(?m)^verdict: (\w+)", printed)
    return said[1] if said else "inconclusive"
