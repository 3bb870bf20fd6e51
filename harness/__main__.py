"""The tool: python -m harness VERB NAME=value ..."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn


def run(verbs: Callable[[], int]) -> NoReturn:
    """End with the status that a verb returns; whatever goes wrong without one ends with 125, where Python's own
    would be 1, which is a verdict."""
    status = 125
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, _interrupted)
    if sys.stderr is None:  # it was closed
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    try:
        status = verbs()
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        status = 141
    except Exception as error:
        print(f"{Path(sys.argv[0]).parent.name}: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        try:
            sys.stdout.flush()
        except (OSError, ValueError, AttributeError):  # it is full, or closed: nobody was told
            status = 125 if status < 2 else status
        os._exit(status)


def _interrupted(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: Sequence[str]) -> int:
    """Do what was typed. Returns the exit status; 2 for a mistake, which is told in one line."""
    missing = [
        name for name in ("fcntl", "packaging", "tqdm", "uv", "pypi_simple") if not importlib.util.find_spec(name)
    ]
    if missing:
        where = (
            "Linux or macOS (on Windows: WSL)"
            if missing == ["fcntl"]
            else "what make installs: use make, or make clean"
        )
        print(f"the harness needs {where}", file=sys.stderr)
        return 125
    from harness import bisecting, lesson, report, verbs
    from harness.model import plain
    from harness.place import Unavailable
    from harness.sources import redacted
    from harness.words import Mistake, explained, parse

    known: Mapping[str, Callable[[Mapping[str, str]], int]] = {
        "try": verbs.try_one,
        "bisect": bisecting.bisect_releases,
        "bisect-commits": bisecting.bisect_commits,
        "survey": verbs.survey_releases,
        "report": report.write,
        "lesson": lesson.teach,
    }
    try:
        verb, words = parse(arguments)
        if "HELP" in words:
            print(explained(verb))
            return 0
        return known[verb](words)
    except Mistake as error:
        print(plain(str(error)), file=sys.stderr)
        return 125 if [*arguments[:1]] == ["try"] else 2  # git bisect run takes 2 for bad
    except Unavailable as error:
        print(f"verdict: inconclusive - {redacted(plain(str(error)))}", flush=True)
        return 125


if __name__ == "__main__":
    # This project's, and not what has these names in the current folder.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    run(lambda: main(sys.argv[1:]))
