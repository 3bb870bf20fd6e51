"""git, as it is with nothing of the user's that changes what it does or says."""

from __future__ import annotations

import os
import re
from pathlib import Path

from harness.place import run

# No hook runs in a clone, and nothing changes what git prints.
QUIET = (
    *("-c", "advice.detachedHead=false", "-c", "core.hooksPath=/dev/null", "-c", "log.showSignature=false"),
    *("-c", "core.fsmonitor=false", "-c", "transfer.fsckObjects=false", "-c", "core.autocrlf=false"),
    *("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30"),
)


def git(folder: Path, *arguments: str) -> str:
    """What git prints in a folder. Raises Unavailable in its own words."""
    return run(["git", *QUIET, *arguments], folder, settings())


def apply(patch: Path, folder: Path, *options: str) -> None:
    """Apply a patch to a folder, all of it or nothing. Raises Unavailable with git's words."""
    # Inside of a repository git would take the files for the repository's, and skip them without a word.
    outside = {**settings(), "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
    run(["git", "apply", *options, str(patch)], folder, outside)


def settings() -> dict[str, str]:
    """The process environment for git: nothing in it leads it elsewhere, as in a hook, and its words are English."""
    kept = {name: value for name, value in os.environ.items() if not re.match(r"GIT_(?!CONFIG|SSH|ASKPASS)", name)}
    return {**kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
