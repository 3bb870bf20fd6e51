"""The command line of the harness: python -m harness VERB."""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from packaging.version import Version

from harness import attach, bisection, commits, environments, releases, report, survey, verdicts
from harness.environments import FOLDER, Unavailable
from harness.releases import Listing, Release, Unreachable
from harness.trial import CASES, IMPLEMENTATIONS, Parser, Trial
from harness.verdicts import Kept, Setting

FIRST = "0.12.0"  # the first release whose requirements admit the pinned websockets


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        status: int = options.run(options)
        return status
    except (Unavailable, Unreachable, commits.NoHistory, ValueError) as error:
        print(f"harness {options.verb}: {error}", file=sys.stderr)
        return 2


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="harness", description="Put the specimen and the witness into any uvicorn.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    one = verbs.add_parser("try", help="judge one release, or a checkout", description="Judge one uvicorn.")
    which = one.add_mutually_exclusive_group()
    which.add_argument("--uvicorn", default="latest", help="a release, or latest (latest)")
    which.add_argument("--source", help="a checkout of uvicorn's sources")
    add_setting(one, "websockets")
    one.set_defaults(run=try_one)

    between = verbs.add_parser(
        "bisect", help="find the release that changed the handshake", description="Search releases of uvicorn."
    )
    between.add_argument("--good", help=f"a release before the change ({FIRST})")
    between.add_argument("--bad", default="latest", help="a release after the change (latest)")
    between.add_argument("--pre", action="store_true", help="search pre-releases too")
    between.add_argument("--withdrawn", action="store_true", help="search withdrawn releases too")
    between.add_argument("--fresh", action="store_true", help="forget the verdicts that are kept")
    add_direction(between)
    add_setting(between, "websockets")
    between.set_defaults(run=bisect_releases)

    within = verbs.add_parser(
        "bisect-commits", help="find the commit that did", description="Run git bisect over uvicorn's history."
    )
    within.add_argument("--repo", required=True, help="the path or the URL of a git repository of uvicorn")
    within.add_argument("--good", default="0.19.0", help="a tag before the change (0.19.0)")
    within.add_argument("--bad", default="0.20.0", help="a tag after the change (0.20.0)")
    add_direction(within)
    add_setting(within, "websockets")
    within.set_defaults(run=bisect_commits)

    every = verbs.add_parser("survey", help="judge every release, and keep it as evidence", description="Survey.")
    every.add_argument("--fresh", action="store_true", help="forget the verdicts that are kept")
    every.add_argument("--python", metavar="PYTHON", help="another interpreter: 3.12, or a path")
    every.set_defaults(run=survey_releases)

    again = verbs.add_parser("check-evidence", help="measure a part of the evidence again", description="Check it.")
    again.add_argument("--handful", type=int, default=5, help="how many releases at random beside the changes (5)")
    again.add_argument("--seed", type=int, default=None, help="which ones: a number that an earlier run printed")
    again.add_argument("--python", metavar="PYTHON", help="another interpreter: 3.12, or a path")
    again.set_defaults(run=check_evidence)

    many = verbs.add_parser("clients", help="dial the broken server with many clients", description="Who notices?")
    many.set_defaults(run=dial_with_clients)

    attached = verbs.add_parser("report", help="a report to attach to an issue", description="Write a report.")
    attached.add_argument("--output", metavar="FILE", help="where to write it (standard output)")
    attached.add_argument("--broken", default="0.20.0", help="the release that fails (0.20.0)")
    attached.add_argument("--fixed", default="0.19.0", help="the release that does not (0.19.0)")
    add_setting(attached, "websockets")
    attached.set_defaults(run=write_report)

    drawn = verbs.add_parser("picture", help="draw the evidence again", description="Draw evidence/survey.svg.")
    drawn.set_defaults(run=draw)
    return parser.parse_args(arguments)


def add_setting(parser: argparse.ArgumentParser, ws: str) -> None:
    parser.add_argument("--ws", default=ws, choices=IMPLEMENTATIONS, help=f"the implementation ({ws})")
    parser.add_argument("--case", default="server-headers", choices=CASES, help="the case (server-headers)")
    parser.add_argument("--websockets", metavar="VERSION", help="another websockets than the pinned, or latest")
    parser.add_argument("--wsproto", metavar="VERSION", help="another wsproto than the pinned, or latest")
    parser.add_argument("--python", metavar="PYTHON", help="another interpreter: 3.12, or a path")


def add_direction(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--find", default="break", choices=tuple(bisection.DIRECTIONS), help="what to look for (break)")


def setting_of(options: argparse.Namespace) -> Setting:
    versions = {name: getattr(options, name) for name in ("websockets", "wsproto")}
    interpreter = environments.find_interpreter(options.python)
    for name, version in versions.items():
        if version == "latest":
            versions[name] = releases.listing(name, FOLDER).newest(interpreter.version)
    return Setting(environments.read_pins(**versions), interpreter)


def try_one(options: argparse.Namespace) -> int:
    """Judge one uvicorn and print what `make broken` prints. Returns the verdict's exit status."""
    try:
        setting = setting_of(options)
        trial = ["--ws", options.ws, "--case", options.case]
        if options.source:
            python = environments.for_sources(setting.pins, setting.interpreter)
            trial += ["--source", options.source]
        else:
            version = options.uvicorn
            if version == "latest":
                version = listing_of("uvicorn").newest(setting.interpreter.version)
            python = environments.for_release(version, setting.pins, setting.interpreter)
        return verdicts.run_trial(verdicts.trial_command(python, *trial))
    except Exception as error:  # Python's own status for an exception is 1, which would be taken for a verdict
        print(f"verdict: inconclusive - {error}")
        return 125


def listing_of(package: str) -> Listing:
    listing = releases.listing(package, FOLDER)
    if listing.note:
        print(listing.note, file=sys.stderr)
    return listing


def bisect_releases(options: argparse.Namespace) -> int:
    """Find the release that changed the handshake. Returns 0, 2 where an end is not as claimed, 125 undecided."""
    setting = setting_of(options)
    listing, python = listing_of("uvicorn"), setting.interpreter.version
    usable = listing.usable(python, options.pre, options.withdrawn)
    bad = listing.newest(python, options.pre, options.withdrawn) if options.bad == "latest" else options.bad
    named = (options.good, bad)  # to name a withdrawn release or a pre-release is to ask for it
    usable = tuple(r for r in listing.releases if r in usable or (r.version in named and r.admits(python)))
    candidates = bisection.between(usable, options.good or FIRST, bad)
    kept = Kept(FOLDER / "verdicts.jsonl", options.fresh)
    direction = bisection.DIRECTIONS[options.find]

    def judge(release: Release) -> Trial:
        return verdicts.judge(release.version, [(options.ws, options.case)], setting, kept)[0]

    pins = ", ".join(setting.pins.requirements)
    print(f"case {options.case}, implementation {options.ws}, Python {python}, {pins}")
    print(f"{len(candidates)} releases from {candidates[0].version} to {candidates[-1].version}")
    low, high = Version(candidates[0].version), Version(candidates[-1].version)
    excluded = [r.version for r in listing.releases if low < Version(r.version) < high and not r.admits(python)]
    if excluded:
        print(f"left out, since they do not run on Python {python}: {excluded[0]} to {excluded[-1]}")
    try:
        found = bisection.bisect(candidates, judge, direction)
    except bisection.NoChange as error:
        newest = " (the newest release)" if options.bad == "latest" and str(error).startswith(f"{bad} ") else ""
        print(
            f"harness bisect: {error}{newest}, so there is nothing to search for with --find {options.find}",
            file=sys.stderr,
        )
        return 2
    except bisection.NothingTestable as error:
        hint = f"{options.ws} may need another websockets than {setting.pins.version('websockets')}"
        print(f"verdict: inconclusive - {error}; {hint}: try --websockets latest (make: WEBSOCKETS=latest)")
        return 125
    last, first = found.last_good, found.first_bad
    result = [
        f"{direction.last}: {last.version} ({last.released})",
        f"{direction.first}: {first.version} ({first.released})",
    ]
    if found.untestable:
        result.insert(1, f"cannot be judged: {', '.join(release.version for release in found.untestable)}")
        result[2] += " or one of these"
    print("", *result, sep="\n")
    asked = {"GOOD": candidates[0].version, "BAD": candidates[-1].version}
    attach.keep_bisect(make_command("bisect", options, asked), result)
    skipped = [r.version for r in listing.releases if r not in candidates and in_between(r, last, first)]
    if skipped:
        print(f"left out between the two: {', '.join(skipped)} (--withdrawn and --pre search them too)")
    ends = {"GOOD": last.version, "BAD": first.version}
    print(f"repeat just this: {make_command('bisect', options, ends)}")
    print(f"go on to commits: {make_command('bisect-commits', options, ends)} REPO=path-or-url-of-uvicorn")
    return 0


def make_command(target: str, options: argparse.Namespace, ends: dict[str, str]) -> str:
    """The make command that asks the same of other ends."""
    given = {"WEBSOCKETS": options.websockets, "WSPROTO": options.wsproto, "INTERPRETER": options.python}
    variables = {**ends, "CASE": options.case, "WS": options.ws, "FIND": options.find, **given}
    return commits.shell(["make", target, *(f"{name}={value}" for name, value in variables.items() if value)])


def in_between(release: Release, last: Release, first: Release) -> bool:
    return Version(last.version) < Version(release.version) < Version(first.version)


def bisect_commits(options: argparse.Namespace) -> int:
    """Find the commit that changed the handshake. Returns 0, 2 where nothing can be searched, 125 undecided."""
    if not options.repo:
        raise ValueError("give the path or the URL of a git repository of uvicorn: REPO=... with make, or --repo")
    setting = setting_of(options)
    direction = bisection.DIRECTIONS[options.find]
    python = environments.for_sources(setting.pins, setting.interpreter)
    asked = ["--source", ".", "--ws", options.ws, "--case", options.case, "--expect", direction.before.value, "--quiet"]
    command = verdicts.trial_command(python, *asked)
    with commits.clone(options.repo) as checkout:
        print(f"git bisect run {commits.shell(command)}", flush=True)
        try:
            found, log = commits.search(checkout, options.good, options.bad, command, direction)
        except bisection.NoChange as error:
            print(f"harness bisect-commits: {error}", file=sys.stderr)
            return 2
    print(f"\n{log}")
    if len(found) > 1:
        print(f"{direction.first} commit: one of these, the others cannot be judged")
    for commit in found:
        print(f"{direction.first} commit: {commit.sha}")
        print(f"  {commit.subject}")
        print(f"  {commit.author}, {commit.date}, pull request {commit.pull_request or 'unknown'}")
    return 0 if len(found) == 1 else 125


def survey_releases(options: argparse.Namespace) -> int:
    """Survey every release, and write the evidence. Returns 0, 1 where something could not be had."""
    listing = listing_of("uvicorn")
    interpreter = environments.find_interpreter(options.python)
    newest = listing_of("websockets").usable(interpreter.version)[-1].version
    reported, other = (Setting(environments.read_pins(websockets=name), interpreter) for name in (None, newest))
    try:
        kept = Kept(FOLDER / "verdicts.jsonl", options.fresh)
        evidence = survey.survey(listing.releases, survey.Plan(reported, other), kept)
    except survey.Incomplete as error:
        print(f"harness survey: {error}; the evidence stays as it was: run it again with the network", file=sys.stderr)
        return 1
    survey.write(evidence)
    report.write_picture(evidence)
    print(report.table(evidence))
    print(
        f"{len(evidence.trials)} trials of {len(listing.releases)} releases written to evidence/: now run make readme"
    )
    return 0


def check_evidence(options: argparse.Namespace) -> int:
    """Measure a part of the evidence again. Returns 0, 1 where something differs."""
    evidence = survey.read()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    print(f"both sides of every change, and {options.handful} more with --seed {seed}")
    differences = survey.check(evidence, survey.plan_of(evidence.pins, options.python), options.handful, seed)
    print("\n".join(differences) if differences else "no difference")
    return 1 if differences else 0


def dial_with_clients(options: argparse.Namespace) -> int:
    """Dial the broken server with every client that can be had, and keep the table. Returns 0."""
    from harness import clients  # it takes the server's own dependencies with it

    witnesses = clients.survey()
    clients.write(witnesses)
    print(clients.table(witnesses))
    return 0


def write_report(options: argparse.Namespace) -> int:
    """Write the report to standard output or to a file. Returns 0."""
    text = attach.report(setting_of(options), options.broken, options.fixed, options.ws, options.case)
    if options.output:
        Path(options.output).write_text(text)
    else:
        print(text, end="")
    return 0


def draw(options: argparse.Namespace) -> int:
    report.write_picture(survey.read())
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
