"""What was measured, and measuring it: python -m evidence VERB"""

import sys
from collections.abc import Sequence

from evidence import clients, library, page, pythons, servers, survey
from harness.__main__ import run
from harness.model import plain
from harness.place import Unavailable
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
    except (Mistake, Unavailable) as error:
        print(plain(str(error)), file=sys.stderr)
        return 2 if isinstance(error, Mistake) else 125
    return 0


def measure(interpreter: str) -> int:
    """Measure everything, and keep each part as soon as it is whole. One that fails costs itself alone."""
    status = 0
    for part in (survey, clients, servers, library, pythons):
        try:
            found = survey.measure(interpreter) if part is survey else part.measure()
            part.KEPT.write(found)
            missing = [" ".join(part.KEPT.key(row)).strip() for row in found if "missing" in row]
        except Unavailable as error:
            missing, status = [str(error)], 125
        if missing and part is not clients:  # a browser that is not here is no failure
            status = 125
        print(f"{part.KEPT.name}: {'not measured: ' + '; '.join(missing) if missing else 'measured'}", flush=True)
    page.write()
    return status


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
