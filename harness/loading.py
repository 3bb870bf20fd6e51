"""Importing under the Python under test: the uvicorn in a folder, an app, and why either failed."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import client
from harness.model import App, Cause, Inconclusive, Job, plain

REASON = 1000  # characters
NOWHERE = str(Path(__file__) / "no-cache")  # a folder cannot be made where a file is


def load(job: Job) -> Any:
    """Import uvicorn from the job's folder. Raises Inconclusive."""
    if job.changes:  # bytecode is matched to its source by size and second, so it may match and be stale
        sys.dont_write_bytecode, sys.pycache_prefix = True, NOWHERE
    sys.path.insert(0, job.folder)
    try:
        uvicorn = importlib.import_module("uvicorn")
        version = getattr(uvicorn, "__version__", None)
    except BaseException as error:
        raise Inconclusive(cause_of_import(error), f"import failed: {describe(error)}") from error
    if not isinstance(version, str) or not re.match(r"\d+(\.\d+)*([a-z.+-]*\d*)*$", version):
        raise Inconclusive(Cause.FAILED, f"uvicorn says that its version is {version!r:.50}")
    if job.release and version != job.release:
        raise Inconclusive(Cause.FAILED, f"uvicorn {version} ran instead of {job.release}")
    return uvicorn


def load_app(app: App) -> tuple[App, Any]:
    """Import an app; what is None in the first is what its module says, or nothing to say. Raises Inconclusive."""
    place, _, names = app.name.rpartition(":")
    kept = sys.pycache_prefix, sys.dont_write_bytecode
    sys.pycache_prefix, sys.dont_write_bytecode = None, True  # what it imports beside uvicorn was compiled once
    try:
        if place.endswith(".py"):
            # By its path, so that no other module of its name is taken for it.
            sys.path.insert(0, str(Path(place).parent))
            spec: Any = importlib.util.spec_from_file_location(Path(place).stem, place)
            module = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(spec.name, module)
            spec.loader.exec_module(module)
        else:
            sys.path.insert(0, app.folder)
            module = importlib.import_module(place)
        found: Any = module
        for name in names.split("."):
            found = getattr(found, name)
    except BaseException as error:
        raise Inconclusive(Cause.NO_APP, f"importing {plain(Path(app.name).name)} failed: {describe(error)}") from error
    finally:
        sys.pycache_prefix, sys.dont_write_bytecode = kept
    headers = getattr(module, "HEADERS", []) if app.headers is None else app.headers
    offer = app.offer or getattr(module, "OFFER", client.OFFERED)
    return replace(app, headers=headers, offer=offer, none=app.none or getattr(module, "NONE", "inconclusive")), found


def elsewhere(folder: Path) -> str:
    """The file of a uvicorn module in use that is no source file of the folder; empty where there is none."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "uvicorn":
            file = Path(getattr(module, "__file__", None) or "nowhere").resolve()
            if file.suffix != ".py" or folder not in file.parents:
                return file.name
    return ""


def cause_of_import(error: BaseException | None) -> Cause:
    """Whether what lies beside uvicorn is missing, or it failed in another way."""
    beside = isinstance(error, ImportError) and (error.name or "uvicorn").split(".")[0] != "uvicorn"
    return Cause.MISSING_IMPORT if beside else Cause.FAILED


def describe(error: BaseException) -> str:
    """The error in one line, without the path that an ImportError ends with: it differs between machines."""
    text = re.sub(r" \(/[^()]*\)$", "", str(error)) if isinstance(error, ImportError) else str(error)
    return plain(f"{type(error).__name__}: {text}")[:REASON]
