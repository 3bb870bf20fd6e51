"""The tool: python -m harness VERB NAME=value ..."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn


def run(verbs: Callable[[], int]) -> NoReturn:
    """End with the status that a verb returns; whatever goes wrong without one ends with 125, where Python's own
    would be 1, which is a verdict."""
    status = 125
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(kind) is not signal.SIG_IGN:  # as after nohup
            signal.signal(kind, signal.default_int_handler)
    if sys.stderr is None:  # it was closed
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):  # what a script or a uvicorn says may be in any language
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = verbs()
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        status = 141
    except ImportError as error:
        advice = "use make, which installs it, or make clean; on Windows use WSL"
        print(f"the harness needs {error.name}: {advice}", file=sys.stderr)
    except Exception as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
    finally:
        try:
            sys.stdout.flush()
        except (OSError, ValueError, AttributeError):  # it is full, or closed: nobody was told
            status = 125 if status < 2 else status
        os._exit(status)


def main(arguments: Sequence[str]) -> int:
    """Do what was typed. Returns the exit status: 2 for a mistake (of `try` 125), which is told in one line, 1 where
    nothing changed, 125 where something could not be judged."""
    from harness import lesson, report, verbs
    from harness.model import plain
    from harness.place import Unavailable
    from harness.releases import NoChange
    from harness.words import Mistake, explained, parse

    known: Mapping[str, Callable[[Mapping[str, str]], int]] = {
        "try": verbs.try_one,
        "bisect": verbs.bisect_releases,
        "bisect-commits": verbs.bisect_commits,
        "survey": verbs.survey_releases,
        "report": report.write,
        "lesson": lesson.teach,
    }
    try:
        verb, words = parse(arguments)
        if "HELP" in words:
            print(explained(verb))
            return 0
        for name in words.keys() & {"JSON", "OUTPUT"}:
            path = Path(words[name]).absolute()
            if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
                raise Mistake(f"{name}: {plain(str(path))} cannot be written")
        return known[verb](words)
    except Mistake as error:
        print(plain(str(error)), file=sys.stderr)
        return 125 if arguments[:1] == ["try"] else 2  # git bisect run takes 2 for bad
    except NoChange as error:
        print(f"\n{error}")
        return 1
    except Unavailable as error:
        print(f"verdict: inconclusive - {error}")
        return 125


if __name__ == "__main__":
    # This project's, and not what has these names in the current folder.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    run(lambda: main(sys.argv[1:]))
