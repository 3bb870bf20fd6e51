"""The folders that a uvicorn is judged in: does it fit a base, and a patched copy of it."""

import re
import shutil
import tempfile
from importlib.metadata import PathDistribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from harness.base import Base
from harness.git import git
from harness.model import Cause, Inconclusive
from harness.place import Unavailable, digest


def fit(folder: Path, version: str, base: Base) -> None:
    """Raises Inconclusive where a release requires another Python, or something else than a base has.

    The source is the release's METADATA (PyPA core metadata, Requires-Python and Requires-Dist).
    """
    python = base.interpreter.version
    metadata = PathDistribution(next(folder.glob("uvicorn-*.dist-info"), folder))
    if not metadata.read_text("METADATA"):
        raise Inconclusive(Cause.FAILED, f"uvicorn {version} has no METADATA")
    wanted = metadata.metadata["Requires-Python"]
    if wanted and python not in SpecifierSet(wanted, prereleases=True):
        raise Inconclusive(Cause.OTHER_PYTHON, f"requires Python {wanted}")
    here = {"python_full_version": python, "python_version": ".".join(python.split(".")[:2]), "extra": ""}
    # Older releases say >=0.4.*, which packaging no longer takes; installers take it for >=0.4.
    required = [Requirement(re.sub(r"([<>~]=?[\d. ]+)\.\*", r"\1", line)) for line in metadata.requires or []]
    unmet = []
    for one in required:
        there = base.versions.get(canonicalize_name(one.name))
        met = there is not None and one.specifier.contains(there, prereleases=True)
        if not met and (not one.marker or one.marker.evaluate(here)):
            unmet.append(f"{one.name}{one.specifier}")
    if unmet:
        raise Inconclusive(Cause.OTHER_PINS, f"requires {', '.join(sorted(unmet))}")


def patched(folder: Path, patch: Path, aside: Path) -> Path:
    """A copy of a folder's uvicorn with a patch in it, below `aside`. Raises Inconclusive with git's words."""
    copy = Path(tempfile.mkdtemp(prefix="patched-", dir=aside))
    shutil.copytree(folder / "uvicorn", copy / "uvicorn", ignore=shutil.ignore_patterns("__pycache__"))
    try:
        git(copy, "apply", "--include=uvicorn/*", str(patch))  # whatever else the patch is about is not here
    except Unavailable as error:
        raise Inconclusive(Cause.UNPATCHED, f"the patch does not apply: {error}") from None
    if digest(copy / "uvicorn") == digest(folder / "uvicorn"):
        raise Inconclusive(Cause.UNPATCHED, "the patch changes nothing in uvicorn/")
    return copy
