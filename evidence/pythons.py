"""The Pythons on which the root was tried by hand: plain venv and pip, then `python client.py`."""

import re

from packaging.version import Version
from tqdm.contrib.concurrent import thread_map

from evidence.rows import Kept, Row, here
from harness import place
from harness.base import Interpreter
from harness.place import ROOT, Unavailable

VERSIONS = tuple(f"3.{minor}" for minor in range(8, 17))
# A row is one Python: what client.py said with each requirements file.
KEPT = Kept("pythons", lambda row: (Version(row["name"].removeprefix("Python ")),))


def measure() -> list[Row]:
    """A row for each of these Pythons that is here."""
    return list(filter(None, thread_map(_row, VERSIONS, max_workers=2, disable=None, leave=False, unit="Python")))


def _row(version: str) -> Row:
    row: Row = {}
    try:
        python = Interpreter.find(version)
        row = {"name": f"Python {version}", "version": python.version, **here()}
        with place.scratch("python") as folder:
            place.run([python.path, "-m", "venv", "venv"], folder)
            inside = f"{folder}/venv/bin/python"
            for which in ("broken", "fixed"):
                wanted = f"--requirement={ROOT}/requirements-{which}.txt"
                place.run([inside, "-m", "pip", "install", "-q", "--disable-pip-version-check", wanted], folder)
                _, printed, _ = place.execute([inside, f"{ROOT}/client.py"], folder)
                row[which] = "".join(re.findall(r"(?m)^verdict: (\w+)", printed)) or "inconclusive"
        return row
    except Unavailable as error:  # of a Python that is not here there is no row
        return row and {**row, "missing": str(error)}
