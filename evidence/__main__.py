"""What was measured, and measuring it: python -m evidence VERB"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evidence import clients, library, page, pythons, rows, servers, survey
from harness.__main__ import run
from harness.index import Index
from harness.model import plain
from harness.place import Unavailable
from harness.releases import NothingTestable
from harness.sources import redacted
from harness.survey import ROWS
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
            return 0
        if verb == "evidence":
            return measure(words)
        if verb == "page":
            page.write()
        else:
            module: Any = {"clients": clients, "servers": servers}[verb]
            found = module.measure()
            print(module.summary(found), module.table(found), sep="\n\n")
    except Mistake as error:
        print(plain(str(error)), file=sys.stderr)
        return 2
    except Unavailable as error:
        print(redacted(plain(str(error))), file=sys.stderr)
        return 125
    return 0


def measure(words: Mapping[str, str]) -> int:
    """Measure everything, and keep each part as soon as it is whole. One that fails costs itself alone."""
    index, status = Index.configured(), 0

    def surveyed() -> list[str]:
        head, lines = survey.measure(index, words.get("INTERPRETER", ""))
        survey.write(head, lines)
        asked = ((release.version, name) for release in index.releases("uvicorn") for name in ROWS)
        return [" ".join(one) for one in asked if one not in lines]

    parts: dict[str, Callable[[], list[str]]] = {
        "survey": surveyed,
        "clients": lambda: _kept(clients.write, clients.measure()),
        "servers": lambda: _kept(servers.write, servers.measure()),
        "library": lambda: _kept(library.write, library.measure(index)),
        "pythons": lambda: _kept(pythons.write, pythons.measure()),
    }
    for name, part in parts.items():
        try:
            missing = part()
        except (Unavailable, NothingTestable) as error:
            missing, status = [redacted(plain(str(error)))], 125
        if missing and name != "clients":  # a browser that is not here is no failure
            status = 125
        print(f"{name}: {'not measured: ' + '; '.join(missing) if missing else 'measured'}", flush=True)
    page.write()
    return status


def _kept(write: Callable[[Sequence[rows.Row]], None], found: Sequence[rows.Row]) -> list[str]:
    """Keep rows, and name those that could not be measured."""
    if found:
        write(found)
    return [" ".join(row.key()) for row in found if not row.tried()]


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
