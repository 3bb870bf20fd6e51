"""What a person reads of the evidence: tables and sentences, and commands as they are typed with what they print."""

import os
import re
import shlex
import subprocess
from itertools import groupby

from harness import environment, shelf
from harness.environment import ROOT
from harness.evidence import ROWS, Change, Evidence, Range, changes, leading, ranges
from harness.judge import Judge, Subject
from harness.model import CASES, App, Trial, Verdict, plain
from harness.shelf import Setting

FAULTS = {
    "faults": "faults",
    "runs": "runs",
    "wrong": "wrong verdicts",
    "left": "processes or files left",
    "tracebacks": "tracebacks",
}
MATTER = r"^uvicorn |(?i:^[<>] sec-websocket-protocol)|^websockets[.]exceptions|^verdict"
# The ways to the failure: what happens in each, and the one thing to change.
WAYS = {
    "server-headers": (
        "as reported, the header is in `uvicorn.Config(headers=)` too",
        "Change one thing: take it out there.",
    ),
    "accept-headers": (
        "the header is in the `headers` of `websocket.accept` too",
        "Change one thing: take it out there.",
    ),
    "unsplit-offer": (
        "the client offers `a, b` in one line, uvicorn hands it to the app as one name, and the app echoes both",
        "Change one thing: upgrade.",
    ),
}


def summary(evidence: Evidence) -> str:
    """A bullet for each way to the failure: who sends the header, in which releases it fails, and what to change."""
    return "\n".join(
        f"- `{case}`: {what}. Fails {_life(evidence, case)}. {change}" for case, (what, change) in WAYS.items()
    )


def fix_alone(evidence: Evidence) -> str:
    """The sentence on the app for which one of those changes is a fix."""
    fix = next(one for one in changes(evidence) if one.case == "header-alone" and one.after.verdict is Verdict.open)
    return (
        f"Up to {fix.before.uvicorn} such an app agrees on nothing; since {_source(fix)}, on what the header says."
        f" For it, upgrading to {fix.after.uvicorn} is the fix."
    )


def _life(evidence: Evidence, case: str) -> str:
    """Where a case is rejected, since which releases, and which ones mended it."""
    found = [change for change in changes(evidence) if change.case == case]
    begun: dict[str, Change] = {}
    for change in found:
        if change.after.verdict is Verdict.rejected:
            begun.setdefault(change.implementation, change)
    still = [f"`{name}`" for name in begun if evidence.row(name, case)[-1].verdict is not Verdict.open]
    mended = dict.fromkeys(_source(change) for change in found if change.after.verdict is Verdict.open)
    if begun.keys() == set(ROWS):
        first = min(begun.values(), key=lambda change: list(evidence.releases).index(change.after.uvicorn))
        late = [f"`{name}` since it came, in {change.after.uvicorn}" for name, change in begun.items() if change.came]
        since = f"in every implementation since {_source(first)}" + (f" ({', '.join(late)})" if late else "")
    else:
        since = " and ".join(f"in `{name}` since {_source(change)}" for name, change in begun.items()) or "nowhere"
    if not mended:
        return f"{since}; not mended up to {evidence.newest}, the newest release" if begun else since
    return f"{since}, mended in {' and '.join(mended)}" + (f", but not for {', '.join(still)}" if still else "")


def _source(change: Change) -> str:
    source = change.pull_request
    return f"{change.after.uvicorn}" + (f" ([#{source.number}]({source.url}))" if source else "")


def table(evidence: Evidence) -> str:
    """The ranges of releases for each implementation and case, as a Markdown table."""
    hidden = sum(one.count for one in leading(evidence))
    rows = [f"| `{name}` | `{case}` | {_told(evidence.row(name, case)[hidden:])} |" for name in ROWS for case in CASES]
    return "\n".join(["| implementation | case | releases |", "|---|---|---|", *rows])


def _told(row: list[Trial]) -> str:
    """The ranges of one row, with the classes that ran where a name has stood for more than one."""
    several = len({trial.ran for trial in row if trial.ran}) > 1
    return "<br>".join(
        words(one) + (f" ({code(one.first.ran.rpartition('.')[2])})" if several and one.first.ran else "")
        for one in ranges(row, by_class=several)
    )


def words(one: Range) -> str:
    """A range as Markdown for the cell of a table."""
    return f"{one.releases} {one.first.verdict.name}" + (f": {code(one.first.reason)}" if one.first.cause else "")


def code(text: str) -> str:
    """Any text as Markdown for the cell of a table that shows it and nothing else: no markup, link or mention."""
    shown = plain(text).replace("`", "'").replace("|", "\\|")
    return f"`{shown}`" if shown else ""


def not_shown(evidence: Evidence) -> str:
    """The sentence about the releases that no row of the table names, by cause."""
    told = []
    for cause, group in groupby(leading(evidence), lambda one: one.first.cause):
        members = list(group)
        span = Range(members[0].first, members[-1].last, sum(one.count for one in members)).releases
        told.append(f"{span} ({cause.value if cause else members[0].first.verdict.name})")
    return f"Judged in no row: {', '.join(told)}." if told else ""


def tried(evidence: Evidence) -> str:
    """The sentence that says what the evidence was measured with."""
    newest = evidence.websockets("websockets-sansio")
    return (
        f"Measured {evidence.measured[:10]} on Python {evidence.python}, {evidence.platform};"
        f" the newest release tried is {evidence.newest} ({evidence.releases[evidence.newest]})."
        f" `websockets-sansio` and `auto` ran with websockets {newest},"
        " the others with the pins of requirements-broken.txt."
    )


def library() -> str:
    """What the reporter's own library sends and agrees on, in two of its versions on two of uvicorn's, as a table."""
    file = ROOT / "tests" / "apps" / "central.py"
    app = App(f"{file}:app", str(ROOT), ["ocpp1.6"], "/", [("Sec-WebSocket-Protocol", "ocpp1.6")])
    lines = ["| | uvicorn 0.19.0 | uvicorn 0.20.0 |", "|---|---|---|"]
    for version in ("0.3.0", "0.4.0"):
        setting = Setting(shelf.pins(), shelf.interpreter(), (f"ocpp-asgi=={version}", "jsonschema<4.18"))
        with Judge(setting, subject=Subject(app)) as judging:
            found = [judging.release(uvicorn, [("websockets", "header-alone")])[0] for uvicorn in ("0.19.0", "0.20.0")]
        cells = [f"{len(one.sent)} {'line' if len(one.sent) == 1 else 'lines'}, {one.verdict.name}" for one in found]
        lines.append(f"| ocpp-asgi {version} | {' | '.join(cells)} |")
    return "\n".join(lines)


def reliability() -> str:
    """The sentence on the faults that were put in, from what the last `make test-faults` counted."""
    counted = environment.read_json(ROOT / "evidence" / "faults.json")
    if not counted:
        return ""
    said = {name: f"{counted[name]} {words}" for name, words in FAULTS.items()}
    injected = f"`make test-faults` (six minutes, last on {counted['measured'][:10]}) injected {said.pop('faults')}"
    return f"{injected}: uvicorns that misbehave, damaged files, signals, full disks. {', '.join(said.values())}."


def typed(command: str, keep: str = "") -> str:
    """A command with what it prints now, as a Markdown block; `keep` is a pattern of the lines to show."""
    # Inside another make this one would say so.
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True, env=variables)
    lines = elide(done.stdout).splitlines()
    shown = [line for line in lines if re.search(keep, line) and not line.startswith("Building an environment")]
    return "\n".join(["```console", f"$ {command}", *shown, "```"])


def lines_of(*commands: str) -> str:
    """What matters of commands that judge one uvicorn: versions, the header's lines, the exception, the verdict."""
    return "\n\n".join(typed(command, keep=MATTER) for command in commands)


def transcript(command: str, name: str) -> str:
    """A command with what it printed when it was last run, from evidence/, as a Markdown block."""
    text = (ROOT / "evidence" / name).read_text(encoding="utf-8")
    return "\n".join(["```console", f"$ {command}", *elide(text).splitlines(), "```"])


def elide(text: str) -> str:
    """The text without what differs from run to run or between machines: keys, ports, dates, paths, Pythons."""
    text = text.replace(str(ROOT), "/path/to/uvicorn-1778")
    text = re.sub(r"(?i)(sec-websocket-(?:key|accept)(?:: |', b'))[\w+/=]+", r"\1...", text)
    text = re.sub(r"(?i)^(< date: ).*", r"\1...", text, flags=re.MULTILINE)
    text = re.sub(r"(127\.0\.0\.1(?:', |:))\d+", r"\1PORT", text)
    text = re.sub(r"(\.environments/bases)/[\w.-]+", r"\1/...", text)
    return re.sub(r"Python(/| )3\.\d+(?:\.\d+)?", r"Python\g<1>3.x", text)
