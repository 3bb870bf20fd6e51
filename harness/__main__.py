"""The command line of the harness: python -m harness VERB."""

import os
import sys

if __name__ == "__main__":
    # Python's own status for whatever goes wrong from here on is 1, which would be taken for a verdict.
    sys.excepthook = lambda kind, error, _: (
        os.write(2, f"harness: {kind.__name__}: {error}\n".encode()),
        os._exit(125),
    )

import argparse
import importlib.util
import json
import random
import shlex
import signal
from collections.abc import Sequence
from typing import Any

if __name__ == "__main__":
    hint = "the harness needs what make installs: use make, or .environments/harness/bin/python -m harness"
    if not importlib.util.find_spec("fcntl"):
        hint = "the harness needs Linux or macOS: on Windows use WSL, or the two files by uv run"
    if not all(importlib.util.find_spec(name) for name in ("fcntl", "packaging", "tqdm", "uv", "jsonschema")):
        os.write(2, f"harness: {hint}\n".encode())
        os._exit(125)

from harness import (
    commits,
    compare,
    environment,
    evidence,
    index,
    issue,
    judge,
    lesson,
    picture,
    readme,
    releases,
    shelf,
    trial,
    upstream,
)
from harness.environment import Unavailable
from harness.judge import Judge, Kept
from harness.model import UPSTREAM, Trial, Verdict, plain
from harness.options import Asked, asked, listing_of, make_command, parse
from harness.search import DIRECTIONS, NoChange, NothingTestable
from harness.shelf import Setting


def try_one(options: argparse.Namespace) -> int:
    """Judge one uvicorn and print what `make broken` prints. Returns the verdict's exit status."""
    question = asked(options)
    with Judge(question.setting, subject=question.subject) as judging:
        if options.source:
            [(found, seen)] = judging.folder(options.source.resolve(), [question.cell], observed=True)
        else:
            latest = options.uvicorn == "latest"
            python = question.setting.interpreter.version
            version = listing_of("uvicorn").newest(python) if latest else options.uvicorn
            [(found, seen)] = judging.observe(version, [question.cell])
        if found.uvicorn and not question.subject.command:
            setting = question.setting
            trial.show(found, seen, judging.forks().versions, setting.interpreter.version, trial.coloured())
            say_what_gave_way(setting)
            print()
    if options.json:
        write_result(options, question, [], [("", found)])
    print(trial.last_line(found), flush=True)
    return int(found.verdict.value)


def say_what_gave_way(setting: Setting) -> None:
    others = shelf.gave_way(setting) if setting.more else []
    if others:
        print(f"in place of a pin, which something else rules out: {', '.join(others)}")


def write_result(
    options: argparse.Namespace,
    question: Asked,
    found: Sequence[tuple[str, object]],
    trials: Sequence[tuple[str, Trial]],
) -> None:
    """Write the result for machines, in the form of evidence/result.schema.json."""
    setting = question.setting
    result = {
        "verb": options.verb,
        "asked": question.name,
        "find": getattr(options, "find", None),
        "python": setting.interpreter.version,
        "pins": list(setting.pins),
        "more": list(setting.more),
        **dict(found),
        "trials": [{"of": of or one.uvicorn, **one.to_json()} for of, one in trials],
    }
    environment.write_whole(options.json.resolve(), json.dumps(result, indent=1) + "\n")


def bisect_releases(options: argparse.Namespace) -> int:
    """Find the release that changed the verdict. Returns 0, 2 where an end is not as claimed, 125 undecided."""
    question, direction = asked(options), DIRECTIONS[options.find]
    setting, python = question.setting, question.setting.interpreter.version
    listing = listing_of("uvicorn")
    found = releases.candidates(listing, python, options.good, options.bad, options.pre, options.withdrawn)
    trials: dict[str, Trial] = {}
    with Judge(setting, Kept(fresh=options.fresh), question.subject) as judging:

        def judge_one(release: index.Release) -> Trial:
            trials[release.version] = judging.release(release.version, [question.cell])[0]
            return trials[release.version]

        print(f"{question.name}, Python {python}, {', '.join(setting.pins)}")
        if setting.more:
            judging.forks()
            say_what_gave_way(setting)
        print(f"{len(found)} releases from {found[0].version} to {found[-1].version}", flush=True)
        others = [r.version for r in releases.left_out(listing, found, found[0], found[-1]) if not r.admits(python)]
        if others:
            print(f"left out, since they do not run on Python {python}: {others[0]} to {others[-1]}")
        try:
            result = releases.bisect(found, judge_one, direction)
        except NoChange as error:
            is_newest = options.bad == "latest" and str(error).startswith(f"{found[-1].version} ")
            newest = " (the newest release)" if is_newest else ""
            return fail(options, f"{error}{newest}, so there is nothing to search for with --find {options.find}")
        except NothingTestable as error:
            other = f"{question.cell[0]} may need another websockets than {setting.version('websockets')}"
            hint = f"; {other}: try --websockets latest (make: WEBSOCKETS=latest)" if error.lacking else ""
            print(f"verdict: inconclusive - {error}{hint}")
            return 125
    last, first = result.last_good, result.first_bad
    compare = f"{UPSTREAM}/compare/{last.version}...{first.version}"
    notes = f"{UPSTREAM}/releases/tag/{first.version}"
    lines = [
        f"{direction.last}: {last.version} ({last.released})",
        *([f"cannot be judged: {', '.join(one.version for one in result.untestable)}"] if result.untestable else []),
        f"{direction.first}: {first.version} ({first.released})" + (" or one of these" if result.untestable else ""),
        f"what changed: {compare}",
        f"release notes: {notes}",
    ]
    print("", *lines, sep="\n")
    issue.keep_bisect(question, "bisect", make_command("bisect", options, found[0].version, found[-1].version), lines)
    if options.json:
        ends = {"last": last, "first": first}
        links = [("compare", compare), ("release_notes", notes)]
        named: list[tuple[str, object]] = [
            (name, {"uvicorn": one.version, "released": one.released}) for name, one in ends.items()
        ]
        untestable = [("untestable", [one.version for one in result.untestable])]
        write_result(options, question, [*named, *untestable, *links], list(trials.items()))
    skipped = releases.left_out(listing, found, last, first)
    if skipped:
        names = ", ".join(release.version for release in skipped)
        print(f"left out between the two: {names} (--withdrawn and --pre search them too)")
    if question.subject.command:
        print(f"what it printed for each: {judge.RUNS.relative_to(environment.ROOT)}/")
    print(f"repeat just this: {make_command('bisect', options, last.version, first.version)}")
    print(f"go on to commits: {make_command('bisect-commits', options, last.version, first.version)}")
    return 0


def bisect_commits(options: argparse.Namespace) -> int:
    """Find the commit that changed the verdict. Returns 0, 2 where nothing can be searched, 125 undecided."""
    question, direction = asked(options), DIRECTIONS[options.find]
    ends = [releases.tag(text) for text in (options.good, options.bad)]
    trials: list[tuple[str, Trial]] = []
    with Judge(question.setting, subject=question.subject) as judging, commits.clone(options.repo) as checkout:
        if question.subject == judge.Subject():
            asks = ["--source", ".", "--ws", question.cell[0], "--case", question.cell[1], "--quiet"]
            asks += ["--expect", direction.before.name]
            python = shelf.base(question.setting) / "bin" / "python"
            print(f"git bisect run {shlex.join([str(python), '-I', str(judge.TRIAL), *asks])}", flush=True)

        def judge_one(sha: str) -> Trial:
            trials.append((sha, judging.folder(checkout, [question.cell])[0][0]))
            return trials[-1][1]

        try:
            found, log = commits.search(checkout, ends, judge_one, direction)
        except NoChange as error:
            return fail(options, str(error))
    lines = [f"{direction.first} commit: one of these, the others cannot be judged"] if len(found) > 1 else []
    for commit in found:
        about = f"  {commit.author}, {commit.date}, {commit.link or 'pull request unknown'}"
        lines += [f"{direction.first} commit: {commit.sha}", f"  {commit.subject}", about]
    print(f"\n{log}\n", *lines, sep="\n")
    command = make_command("bisect-commits", options, options.good, options.bad)
    issue.keep_bisect(question, "bisect-commits", command, lines)
    if options.json:
        named = [{"commit": one.sha, "subject": one.subject, "date": one.date, "link": one.link} for one in found]
        write_result(options, question, [("first", named)], trials)
    return 0 if len(found) == 1 else 125


def survey_releases(options: argparse.Namespace) -> int:
    """Survey every release, and write the evidence. Returns 0, 1 where something could not be had."""
    listing, interpreter = listing_of("uvicorn"), shelf.interpreter(options.python)
    settings = evidence.settings_of(interpreter, listing_of("websockets").newest(interpreter.version))
    try:
        found = evidence.survey(listing.releases, settings, Kept(fresh=options.fresh))
    except evidence.Incomplete as error:
        return fail(options, f"{error}; the evidence stays as it was: run it again with the network", 1)
    told = f"{len(found.trials)} trials of {len(listing.releases)} releases written to"
    if options.output:
        evidence.write(found, options.output.resolve())
        print(f"{told} {options.output}")
    else:
        evidence.write(found)
        picture.write(found)
        print(readme.table(found))
        print(f"{told} evidence/: now run make readme")
    return 0


def compare_surveys(options: argparse.Namespace) -> int:
    """Print what differs between surveys, as Markdown. Returns 0, 1 where a verdict differs or a release came."""
    text, differs = compare.compare([options.reference, *options.others])
    print(text)
    return int(differs)


def check_evidence(options: argparse.Namespace) -> int:
    """Measure a part of the evidence again. Returns 0, 1 where something differs or could not be measured."""
    kept = evidence.read()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    print(f"both sides of every change, and {options.handful} more with --seed {seed}", flush=True)
    interpreter = shelf.interpreter(options.python)
    pins = [tuple(kept.pins[rows[0]]) for rows in (evidence.PINNED, evidence.NEWEST)]
    try:
        found = evidence.check(
            kept, (Setting(pins[0], interpreter), Setting(pins[1], interpreter)), options.handful, seed
        )
    except evidence.Incomplete as error:
        return fail(options, str(error), 1)
    print("\n".join(found) if found else "no difference")
    return 1 if found else 0


def dial_with_clients(options: argparse.Namespace) -> int:
    """Dial the broken server with every client that can be had, and keep the table. Returns 0."""
    from harness import clients

    witnesses = clients.survey()
    clients.write(witnesses)
    print(clients.table(witnesses))
    return 0


def ask_servers(options: argparse.Namespace) -> int:
    """Serve the app with every server that can be had, and keep the table. Returns 0."""
    from harness import servers

    rows = servers.survey()
    servers.write(rows)
    print(servers.table(rows))
    return 0


def write_report(options: argparse.Namespace) -> int:
    """Write the report to standard output or to a file. Returns 0."""
    text = issue.report(asked(options), options.broken, options.fixed)
    if options.output:
        environment.write_whole(options.output.resolve(), text)
    else:
        print(text, end="", flush=True)
    return 0


def prove_upstream(options: argparse.Namespace) -> int:
    """Prove the proposal for uvicorn. Returns 0, 1 where it does not hold, 125 where nothing could be proven."""
    try:
        upstream.prove()
    except upstream.Refuted as error:
        return fail(options, f"the proposal does not hold: {error}", 1)
    except Unavailable as error:
        return fail(options, f"nothing was proven: {plain(str(error))}", 125)
    print("The proposal holds.")
    return 0


def teach(options: argparse.Namespace) -> int:
    """Walk through the lesson. Returns 0."""
    lesson.teach()
    return 0


def draw(options: argparse.Namespace) -> int:
    picture.write(evidence.read())
    return 0


def fail(options: argparse.Namespace, reason: str, status: int = 2) -> int:
    print(f"harness {options.verb}: {reason}", file=sys.stderr)
    return status


VERBS = {
    "try": try_one,
    "bisect": bisect_releases,
    "bisect-commits": bisect_commits,
    "survey": survey_releases,
    "compare": compare_surveys,
    "check-evidence": check_evidence,
    "clients": dial_with_clients,
    "servers": ask_servers,
    "report": write_report,
    "upstream": prove_upstream,
    "lesson": teach,
    "picture": draw,
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        return VERBS[options.verb](options)
    except (Unavailable, ValueError) as error:
        if options.verb == "try" and not isinstance(error, ValueError):
            print(f"verdict: inconclusive - {plain(str(error))}", flush=True)
            return Verdict.inconclusive.value
        return fail(options, plain(str(error)))


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, interrupted)
    status = 125  # of whatever goes wrong without a status of its own, where Python's would be 1, which is a verdict
    try:
        status = main()
    except SystemExit as error:
        status = int(error.code or 0)
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        status = 141
    except Exception as error:
        print(f"harness: {type(error).__name__}: {plain(str(error))}", file=sys.stderr)
    finally:
        try:
            sys.stdout.flush()
        except (OSError, AttributeError):  # it is full, or closed: nobody was told
            status = 125 if status < 2 else status
        os._exit(status)
