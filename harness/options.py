"""What the command line takes, and what it asks for: a setting, a subject, a cell."""

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from harness import index, releases, shelf
from harness.judge import Subject
from harness.model import CASES, IMPLEMENTATIONS, NO_CELL, UPSTREAM, App, Cell, plain
from harness.search import DIRECTIONS
from harness.shelf import Setting

TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, section 5.6.2: what a header's name and a subprotocol may be
DAY = 86_400  # seconds
# The options that make knows by a name of another kind than theirs in capitals.
VARIABLES = {"python": "INTERPRETER", "path": "URLPATH"}


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line."""

    def error(self, message: str) -> Any:
        self.exit(2, plain(f"{self.prog}: {message}; {self.format_usage()}") + "\n")


@dataclass(frozen=True)
class Asked:
    """What is asked of each uvicorn, with which pins and Python, and how a person calls it."""

    setting: Setting
    subject: Subject
    cell: Cell
    name: str


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The verb and its options. Ends with status 2 and one line where they are not understood."""
    parser = Parser(prog="harness", description="Put the server and the client of #1778 around any uvicorn.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)

    one = verbs.add_parser("try", help="judge one release, or a folder with uvicorn/ in it")
    which = one.add_mutually_exclusive_group()
    which.add_argument("--uvicorn", default="latest", help="a release, or latest (latest)")
    which.add_argument("--source", type=Path, help="a folder with uvicorn/ in it, such as a checkout")

    between = verbs.add_parser("bisect", help="find the release that changed the verdict")
    between.add_argument("--good", default=releases.FIRST, help=f"a release or a date before it ({releases.FIRST})")
    between.add_argument("--bad", default="latest", help="a release or a date after it (latest)")
    between.add_argument("--pre", action="store_true", help="search pre-releases too")
    between.add_argument("--withdrawn", action="store_true", help="search withdrawn releases too")
    between.add_argument("--fresh", action="store_true", help="forget the verdicts that are kept")

    within = verbs.add_parser("bisect-commits", help="find the commit that did")
    within.add_argument("--repo", default=UPSTREAM, help="the path or the URL of a git repository (uvicorn's own)")
    within.add_argument("--good", default="0.19.0", help="a revision or a date before it (0.19.0)")
    within.add_argument("--bad", default="0.20.0", help="a revision or a date after it (0.20.0)")

    every = verbs.add_parser("survey", help="judge every release, and keep it as evidence")
    every.add_argument("--fresh", action="store_true", help="forget the verdicts that are kept")
    every.add_argument("--output", type=Path, metavar="FILE", help="where else to write it, without the picture")

    kept = verbs.add_parser("compare", help="what differs between surveys")
    kept.add_argument("reference", type=Path, metavar="FILE", help="the evidence that the others are compared with")
    kept.add_argument("others", nargs="+", type=Path, metavar="FILE", help="what other machines or days measured")

    again = verbs.add_parser("check-evidence", help="measure a part of the evidence again")
    again.add_argument("--handful", type=int, default=5, help="how many releases at random beside the changes (5)")
    again.add_argument("--seed", type=int, help="which ones: a number that an earlier run printed")

    attached = verbs.add_parser("report", help="a report to attach to an issue")
    attached.add_argument("--output", type=Path, metavar="FILE", help="where to write it (standard output)")
    attached.add_argument("--broken", default="0.20.0", help="the release that fails (0.20.0)")
    attached.add_argument("--fixed", default="0.19.0", help="the release that does not (0.19.0)")

    for verb in (between, within):
        verb.add_argument("--find", default="break", choices=tuple(DIRECTIONS), help="what to look for (break)")
    for verb in (one, between, within):
        verb.add_argument("--run", metavar="COMMAND", help="a command of your own: exits 0 good, 125 skip, 1-127 bad")
        verb.add_argument("--limit", type=float, help="seconds for it (60)")
        verb.add_argument("--patch", type=Path, metavar="FILE", help="a diff to apply to each uvicorn before")
        verb.add_argument("--runs", type=int, default=1, help="how often to judge each; all must agree (1)")
        verb.add_argument("--json", type=Path, metavar="FILE", help="where to write the result for machines")
    for verb in (one, between, within, attached):
        verb.add_argument("--ws", choices=IMPLEMENTATIONS, help="the implementation (websockets)")
        verb.add_argument("--case", choices=CASES, help="the case (server-headers)")
        verb.add_argument("--app", metavar="APP", help="an app of your own: path/to/file.py:app, or package.module:app")
        verb.add_argument("--offer", metavar="NAMES", help="what the client offers it, comma-separated (ocpp2.0.1)")
        verb.add_argument("--path", metavar="PATH", help="the path of the URL, with a query if need be (/)")
        verb.add_argument(
            "--header", metavar="'NAME: VALUE'", action="append", help="as uvicorn's own; may be repeated"
        )
        verb.add_argument("--with", metavar="NAMES", dest="with_", help="what the app or the command needs, as for pip")
        verb.add_argument("--requirements", type=Path, metavar="FILE", help="the same, from a requirements file")
        verb.add_argument("--websockets", metavar="VERSION", help="another websockets than the pinned, or latest")
        verb.add_argument("--wsproto", metavar="VERSION", help="another wsproto than the pinned, or latest")
    for verb in (one, between, within, attached, every, again):
        verb.add_argument("--python", metavar="PYTHON", help="another interpreter: 3.12, or a path")

    verbs.add_parser("clients", help="dial the broken server with many clients")
    verbs.add_parser("servers", help="serve the app with other ASGI servers")
    verbs.add_parser("upstream", help="prove the proposal for uvicorn against the newest release")
    verbs.add_parser("lesson", help="twenty minutes in five steps, and a bisect of which you are the judge")
    verbs.add_parser("picture", help="draw evidence/survey.svg again")
    return parser.parse_args(arguments)


def asked(options: argparse.Namespace) -> Asked:
    """What the options ask for. Raises ValueError where they contradict each other, Unavailable."""
    own = {"--offer": options.offer, "--path": options.path, "--header": options.header}
    run = shlex.split(getattr(options, "run", None) or "")
    if run and any([options.app, options.case, options.ws, *own.values()]):
        raise ValueError("--run goes without --app, --case, --ws, --offer, --path and --header")
    if not options.app and any(own.values()):
        raise ValueError(f"{', '.join(name for name, value in own.items() if value)} go with --app")
    if options.app and options.case not in (None, "header-alone"):
        raise ValueError(
            f"--case {options.case} is one of server.py; --app goes with --case header-alone or none at all"
        )
    if not options.app and not run and (options.with_ or options.requirements):
        raise ValueError("--with and --requirements go with --app or --run")
    runs: int = getattr(options, "runs", 1)
    limit: float | None = getattr(options, "limit", None)
    patch: Path | None = getattr(options, "patch", None)
    if not run and (getattr(options, "run", None) is not None or limit is not None):
        raise ValueError("--run names a command, and --limit goes with it")
    if runs < 1 or (limit is not None and not 0 < limit <= DAY):
        raise ValueError(f"--runs is above zero, and --limit above zero up to {DAY} seconds")
    if patch and not patch.is_file():
        raise ValueError(f"there is no file {plain(str(patch))}")
    app = app_of(options) if options.app else None
    subject = Subject(app, tuple(run), limit or 60, patch and patch.resolve(), runs)
    case = options.case or ("app" if app else "server-headers")
    cell = NO_CELL if run else (options.ws or "websockets", case)
    name = f"command {plain(shlex.join(run))}" if run else f"implementation {cell[0]}"
    name = name if run else f"{f'app {plain(options.app)}' if app else f'case {case}'}, {name}"
    return Asked(setting_of(options, needed(run)), subject, cell, name)


def app_of(options: argparse.Namespace) -> App:
    """The app that the options name, and how it is dialed. Raises ValueError."""
    name = options.app if re.search(r":[\w.]+$", options.app) else f"{options.app}:app"
    place = name.rpartition(":")[0]
    if place.endswith(".py") and not Path(place).is_file():
        raise ValueError(f"there is no file {plain(place)}")
    if not place.endswith(".py") and not re.fullmatch(r"[\w.]+", place):
        raise ValueError(f"{plain(options.app)} is no app, such as path/to/file.py:app or package.module:app")
    offer = [part.strip() for part in (options.offer or "ocpp2.0.1").split(",")]
    if not all(re.fullmatch(TOKEN, part) for part in offer):
        raise ValueError(f"{plain(options.offer)} are no subprotocols, such as ocpp2.0.1,ocpp1.6")
    path = options.path or "/"
    if not re.fullmatch(r"/[!-~]*", path) or "#" in path:
        raise ValueError(f"{plain(path)} is no path of a URL, such as /ws/1?token=x")
    headers = []
    for header in options.header or []:
        key, colon, value = header.partition(":")
        if not colon or not re.fullmatch(TOKEN, key) or not re.fullmatch(r"[ -~]*", value):
            raise ValueError(f"{plain(header)} is no header, such as Sec-WebSocket-Protocol: ocpp1.6")
        headers.append((key, value.strip()))
    return App(name, str(Path.cwd()), offer, path, headers)


def needed(run: Sequence[str]) -> list[str]:
    """What a Python script among the words of a command says that it needs (PEP 723), but for uvicorn."""
    for word in run:
        if word.endswith(".py") and Path(word).is_file():
            block = re.search(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$", Path(word).read_text())
            text = "".join(re.findall(r"^# ?(.*\n)", block["content"], re.MULTILINE)) if block else ""
            found = _toml(text).get("dependencies", [])
            return [line for line in found if Requirement(line).name.lower() != "uvicorn"]
    return []


def _toml(text: str) -> Any:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)


def setting_of(options: argparse.Namespace, more: Sequence[str] = ()) -> Setting:
    """The pins and the Python. Raises ValueError for what is no version or no requirement, Unavailable."""
    versions = {name: getattr(options, name) for name in ("websockets", "wsproto")}
    interpreter = shelf.interpreter(options.python)
    for name, version in versions.items():
        if version == "latest":
            versions[name] = listing_of(name).newest(interpreter.version)
    wanted = [*(options.with_ or "").split(), *more]
    try:
        wanted = [str(Requirement(line)) for line in wanted]
    except InvalidRequirement as error:
        raise ValueError(f"{plain(str(error))}: such as fastapi or ocpp-asgi==0.3.0") from None
    if options.requirements:
        if not options.requirements.is_file():
            raise ValueError(f"there is no file {plain(str(options.requirements))}")
        wanted.append(f"-r {options.requirements.resolve()}")
    return Setting(shelf.pins(**versions), interpreter, tuple(wanted))


def listing_of(package: str) -> index.Listing:
    """The releases of a package; says so where they are those of an earlier day."""
    listing = index.listing(package)
    if listing.note:
        print(listing.note, file=sys.stderr)
    return listing


def make_command(target: str, options: argparse.Namespace, good: str, bad: str) -> str:
    """The make command that asks the same of other ends."""
    given = {name.rstrip("_"): value for name, value in vars(options).items() if value is not None}
    same = ("case", "ws", "find", "app", "offer", "path", "header", "with", "requirements", "run", "limit", "patch")
    variables = {"GOOD": good, "BAD": bad}
    for name in (*same, "websockets", "wsproto", "python"):
        value = given.get(name)
        if value is not None:
            variables[VARIABLES.get(name, name.upper())] = value[0] if isinstance(value, list) else str(value)
    if given.get("runs", 1) != 1:
        variables["RUNS"] = str(given["runs"])
    return shlex.join(["make", target, *(f"{name}={value}" for name, value in variables.items())])
