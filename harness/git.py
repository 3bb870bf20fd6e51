"""git, as it is with nothing of the user's that changes what it does or says."""

import os
import re
from pathlib import Path

from harness.place import execute, run

# No program of the user's runs, and nothing changes what git prints or writes.
SETTINGS = """
    core.hooksPath=/dev/null core.fsmonitor=false core.autocrlf=false log.showSignature=false
    i18n.logOutputEncoding=UTF-8 transfer.fsckObjects=false http.lowSpeedLimit=1000 http.lowSpeedTime=30
"""
GIT = ("git", *(word for setting in SETTINGS.split() for word in ("-c", setting)))


def git(folder: Path, *arguments: str) -> str:
    """What git prints in a folder. Raises Unavailable in its own words."""
    return run([*GIT, *arguments], folder, _environment(folder))


def attempt(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """git's status in a folder, and what it prints to stdout and stderr. Raises Unavailable where it cannot run."""
    return execute([*GIT, *arguments], folder, _environment(folder))


def _environment(folder: Path) -> dict[str, str]:
    """That of the process, but nothing in it leads git elsewhere, as in a hook, and its words are English.

    Nor does the folder: where it is inside of another repository, git would reset that, or skip a patch's files.
    """
    kept = {name: value for name, value in os.environ.items() if not re.match(r"GIT_(?!CONFIG|SSH|ASKPASS)", name)}
    return {**kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
