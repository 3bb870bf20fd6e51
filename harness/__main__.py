"""The command line of the harness: python -m harness VERB."""

import argparse
import sys
from collections.abc import Sequence

from packaging.version import Version

from harness import bisect, commits, environments, releases, verdicts
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
    add_setting(one, "auto")
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
    return parser.parse_args(arguments)


def add_setting(parser: argparse.ArgumentParser, ws: str) -> None:
    parser.add_argument("--ws", default=ws, choices=IMPLEMENTATIONS, help=f"the implementation ({ws})")
    parser.add_argument("--case", default="server-headers", choices=CASES, help="the case (server-headers)")
    parser.add_argument("--websockets", metavar="VERSION", help="another websockets than the pinned, or latest")
    parser.add_argument("--wsproto", metavar="VERSION", help="another wsproto than the pinned, or latest")
    parser.add_argument("--python", metavar="PYTHON", help="another interpreter: 3.12, or a path")


def add_direction(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--find", default="break", choices=tuple(bisect.DIRECTIONS), help="what to look for (break)")


def setting_of(options: argparse.Namespace) -> Setting:
    versions = {name: getattr(options, name) for name in ("websockets", "wsproto")}
    interpreter = environments.find_interpreter(options.python)
    for name, version in versions.items():
        if version == "latest":
            versions[name] = releases.listing(name, FOLDER).usable(interpreter.version)[-1].version
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
                version = listing_of("uvicorn").usable(setting.interpreter.version)[-1].version
            python = environments.for_release(version, setting.pins, setting.interpreter)
    except (Unavailable, Unreachable) as error:
        print(f"verdict: inconclusive - {error}")
        return 125
    return verdicts.run_trial(verdicts.trial_command(python, *trial))


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
    bad = usable[-1].version if options.bad == "latest" else options.bad
    candidates = bisect.between(usable, options.good or FIRST, bad)
    kept = Kept(FOLDER / "verdicts.jsonl", options.fresh)
    direction = bisect.DIRECTIONS[options.find]

    def judge(release: Release) -> Trial:
        return verdicts.judge(release.version, [(options.ws, options.case)], setting, kept)[0]

    pins = ", ".join(setting.pins.requirements)
    print(f"case {options.case}, implementation {options.ws}, Python {python}, {pins}")
    print(f"{len(candidates)} releases from {candidates[0].version} to {candidates[-1].version}")
    excluded = [release.version for release in listing.releases if not release.admits(python)]
    if excluded:
        print(f"left out, since they do not run on Python {python}: {excluded[0]} to {excluded[-1]}")
    try:
        found = bisect.bisect(candidates, judge, direction)
    except bisect.NoChange as error:
        print(f"harness bisect: {error}: nothing to search for with --find {options.find}", file=sys.stderr)
        return 2
    except bisect.NothingTestable as error:
        hint = f"{options.ws} may need another websockets than {setting.pins.version('websockets')}"
        print(f"verdict: inconclusive - {error}; {hint}: try --websockets latest (make: WEBSOCKETS=latest)")
        return 125
    last, first = found.last_good, found.first_bad
    print()
    print(f"{direction.last}: {last.version} ({last.released})")
    if found.untestable:
        print(f"cannot be judged: {', '.join(release.version for release in found.untestable)}")
        print(f"so the {direction.first} is {first.version} ({first.released}) or one of these")
    else:
        print(f"{direction.first}: {first.version} ({first.released})")
    skipped = [r.version for r in listing.releases if r not in candidates and in_between(r, last, first)]
    if skipped:
        print(f"left out between the two: {', '.join(skipped)} (--withdrawn and --pre search them too)")
    again = [option for name in ("websockets", "wsproto", "python") for option in given(options, name)]
    common = ["--ws", options.ws, "--case", options.case, "--find", options.find, *again]
    ends = ["--good", last.version, "--bad", first.version]
    print(f"repeat just this: {commits.shell(['python', '-m', 'harness', 'bisect', *ends, *common])}")
    onward = ["python", "-m", "harness", "bisect-commits", *ends, *common, "--repo", "UVICORN"]
    print(f"go on to commits: {commits.shell(onward)}")
    return 0


def in_between(release: Release, last: Release, first: Release) -> bool:
    return Version(last.version) < Version(release.version) < Version(first.version)


def given(options: argparse.Namespace, name: str) -> list[str]:
    value = getattr(options, name)
    return [f"--{name}", value] if value else []


def bisect_commits(options: argparse.Namespace) -> int:
    """Find the commit that changed the handshake. Returns 0, 2 where nothing can be searched, 125 undecided."""
    setting = setting_of(options)
    direction = bisect.DIRECTIONS[options.find]
    python = environments.for_sources(setting.pins, setting.interpreter)
    asked = ["--source", ".", "--ws", options.ws, "--case", options.case, "--expect", direction.before.value, "--quiet"]
    command = verdicts.trial_command(python, *asked)
    with commits.clone(options.repo) as checkout:
        print(f"git bisect run {commits.shell(command)}", flush=True)
        try:
            found, log = commits.search(checkout, options.good, options.bad, command, direction)
        except bisect.NoChange as error:
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


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
