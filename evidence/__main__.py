"""What was measured, and measuring it: python -m evidence VERB"""

import sys
from collections.abc import Callable, Sequence
from functools import partial

from evidence import clients, library, page, pythons, servers, survey
from evidence.rows import Kept, Row
from harness.__main__ import run
from harness.model import plain
from harness.place import Unavailable
from harness.releases import NothingTestable
from harness.sources import redacted
from harness.words import Mistake, Verb, explained, parse

VERBS = {
    "clients": Verb("dial the reported server with many clients, and print what became of each"),
    "servers": Verb("serve one app with many servers, and print what each sends"),
    "evidence": Verb("measure all that this machine can, and write it into evidence/", ("INTERPRETER",)),
    "page": Verb("draw the picture and write evidence/README.md, from what is kept"),
}


def main(arguments: Sequence[str]) -> int:
    """Do what was typed. Returns the exit status: 2 for a mistake, 125 where something could not be measured."""
    try:
        verb, words = parse(arguments, VERBS)
        if "HELP" in words:
            print(explained(verb, VERBS))
        elif verb == "evidence":
            return measure(words.get("INTERPRETER", ""))
        elif verb == "page":
            page.write()
        else:
            found = clients.measure() if verb == "clients" else servers.measure()
            print(page.table([row for row in found if "missing" not in row]))
            for row in found:
                if "missing" in row:
                    print(f"not measured: {row['name']}: {row['missing']}")
    except Mistake as error:
        print(plain(str(error)), file=sys.stderr)
        return 2
    except Unavailable as error:
        print(redacted(plain(str(error))), file=sys.stderr)
        return 125
    return 0


def measure(interpreter: str) -> int:
    """Measure everything, and keep each part as soon as it is whole. One that fails costs itself alone."""
    status = 0
    parts: tuple[tuple[Kept, Callable[[], list[Row]]], ...] = (
        (survey.KEPT, partial(survey.measure, interpreter)),
        (clients.KEPT, clients.measure),
        (servers.KEPT, servers.measure),
        (library.KEPT, library.measure),
        (pythons.KEPT, pythons.measure),
    )
    for kept, measured in parts:
        try:
            found = measured()
            kept.write(found)
            missing = [" ".join(kept.key(row)).strip() for row in found if "missing" in row]
        except (Unavailable, NothingTestable) as error:
            missing, status = [redacted(plain(str(error)))], 125
        if missing and kept is not clients.KEPT:  # a browser that is not here is no failure
            status = 125
        print(f"{kept.name}: {'not measured: ' + '; '.join(missing) if missing else 'measured'}", flush=True)
    page.write()
    return status


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
