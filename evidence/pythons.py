"""The Pythons on which the root was tried by hand: plain venv and pip, then `python client.py`."""

import re

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
    found = thread_map(_row, VERSIONS, max_workers=2, disable=None, leave=False, unit="Python")
    return [row for row in found if row]


def _row(version: str) -> Row:
    try:
        python = Interpreter.named(version)
    except Unavailable:
        return {}
    row = {"name": f"Python {version}", "version": python.version, **here()}
    try:
        with place.scratch("python") as folder:
            place.run([python.path, "-m", "venv", "venv"], folder)
            inside = f"{folder}/venv/bin/python"
            pip = [inside, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            for which in ("broken", "fixed"):
                place.run([*pip, "-r", f"{ROOT}/requirements-{which}.txt"], folder)
                _, printed, _ = place.execute([inside, f"{ROOT}/client.py"], folder)
                row[which] = "".join(re.findall(r"(?m)^verdict: (\w+)", printed)) or "inconclusive"
    except Unavailable as error:
        row["missing"] = plain(str(error))
    return row
