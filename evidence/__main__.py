"""What was measured, and measuring it: python -m evidence VERB"""

import sys

from evidence import clients, library, page, pythons, servers, survey
from harness.__main__ import run
from harness.place import Unavailable
from harness.words import Mistake, Verb, explained, parse

VERBS = {
    "clients": Verb("dial the reported server with many clients, and print what became of each"),
    "servers": Verb("serve one app with many servers, and print what each sends"),
    "evidence": Verb("measure all that this machine can, and write it into evidence/", ("INTERPRETER",)),
    "page": Verb("draw the picture and write evidence/README.md, from what is kept"),
}


def main(arguments: list[str]) -> int:
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
            print(page.table(clients.measure() if verb == "clients" else servers.measure()))
        return 0
    except (Mistake, Unavailable) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, Mistake) else 125


def measure(interpreter: str) -> int:
    """Measure all, and keep each part as soon as it is whole. Returns 125 where something could not be measured."""
    failed = False
    for part in (survey, clients, servers, library, pythons):
        try:
            found = survey.measure(interpreter) if part is survey else part.measure()
            part.KEPT.write(found)
            missing = [" ".join(map(str, part.KEPT.key(row))).strip() for row in found if "missing" in row]
            failed |= bool(missing) and part is not clients  # a browser that is not here is no failure
        except Unavailable as error:
            missing, failed = [str(error)], True
        print(f"{part.KEPT.name}: {'not measured: ' + '; '.join(missing) if missing else 'measured'}", flush=True)
    page.write()
    return 125 if failed else 0


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
