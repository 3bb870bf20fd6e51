"""report: bisects, and writes what it found as uvicorn asks for it, with nothing in it of the machine that measured."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import example, releases, survey
from harness.asking import question
from harness.index import Index, Release
from harness.judge import Judge, Question
from harness.known import FORM, KNOWN, TWICE
from harness.model import Trial, Verdict
from harness.place import Unavailable, write_whole
from harness.prose import fenced, folded, inline, paragraphs
from harness.releases import Change, NoChange

DOES = {Verdict.open: "opens", Verdict.rejected: "fails", Verdict.inconclusive: "cannot be judged"}


@dataclass(frozen=True)
class Measured:
    """What was measured in one run: the last change, the releases that got a verdict, and of those that are told of
    what each is and its trial, the newest last."""

    asked: Question
    change: Change | None
    judged: list[Release]
    names: dict[Release, str]
    trials: dict[Release, Trial]


def write(words: Mapping[str, str]) -> int:
    """Print the report, or write it to a file. Returns 0. Raises Mistake, Unavailable."""
    index = Index.configured()
    text = document(measure(question(words, index), index), index)
    if "OUTPUT" in words:
        write_whole(Path(words["OUTPUT"]).absolute(), text)
    else:
        print(text, end="", flush=True)
    return 0


def measure(asked: Question, index: Index) -> Measured:
    """Bisect, or where both ends are alike judge every release. Raises Unavailable, also where it varies."""
    change: Change | None
    trials: dict[Release, Trial] = {}
    among = releases.usable(index.releases("uvicorn"), asked.base.interpreter.version, {})
    with Judge(asked, index) as judging:
        among = among[judging.oldest(among) :]

        def judge_one(release: Release, _: str) -> Trial:
            [trials[release]] = judging.release(release)
            return trials[release]

        try:
            change = releases.bisect(among, None, None, judge_one)
        except NoChange:
            trials = {one: trial for one, [trial] in zip(among, survey.measure([asked], index, among), strict=True)}
            change = next(reversed(releases.changes(among, [*trials.values()])), None)
        judged = [one for one in among if one in trials and not trials[one].cause]
        names = {judged[-1]: "the newest that can be judged", among[-1]: "the newest"}
        if change:
            names |= dict(zip([change.last, change.first], change.names, strict=True))
        for one in names:
            if judging.release(one)[0].verdict is not trials[one].verdict:
                raise Unavailable(f"uvicorn {one.version} gets two verdicts: it varies")
    return Measured(asked, change, judged, names, {one: trials[one] for one in sorted(names, key=among.index)})


def document(found: Measured, index: Index) -> str:
    """The report as GitHub Markdown, its parts named and ordered as the fields of uvicorn's issue form."""
    app, base = found.asked.apps[0], found.asked.base
    newest, now = [*found.trials.items()][-1]
    bad = [one for one, trial in found.trials.items() if trial.verdict is Verdict.rejected]
    good = [one for one, trial in found.trials.items() if trial.verdict is Verdict.open]
    failing = found.trials[bad[-1]] if bad else Trial("")
    works, twice = newest in good, len(failing.sent) > 1
    python = f"Python {base.interpreter.version}"
    does = f"{DOES[now.verdict]} with uvicorn {newest.version}, the newest release for {python}"
    known = KNOWN.get(app.case, TWICE if twice else "")
    query = " The query of its URL is left out here." if "?" in app.path else ""
    own = (
        " How the file itself is run does not count; `HEADERS` in it, or `HEADER=`, does." if "APP=" in app.case else ""
    )
    beside = " ".join(f"{name}=={version}" for name, version in base.versions.items())
    parts = [
        "# Sec-WebSocket-Protocol is sent more than once" if twice and not works else f"# The handshake {does}",
        "**Nothing to report upstream.**" if works else FORM,
        "### Description",
        paragraphs(known and f"**Known.** {known}"),
        f"**Measured now,** in one run, with nothing but uvicorn exchanged: the handshake {does}. "
        f"{inline(Path(app.name).name)} is served with `ws={app.ws}`.{own}{query}",
        table(found),
        changed(found, index),
        "### Example Code",
        example.given(found.asked, index, bad, good),
        "### Python, Uvicorn & OS Version",
        f"{python}, uvicorn {newest.version}, {platform.system()}; beside it `{beside}`",
    ]
    if bad:
        handshake = fenced("\n".join([*failing.lines, "", failing.traceback]))
        parts.append(folded(f"The handshake with uvicorn {bad[-1].version}, as the client logs it", handshake))
    return "\n\n".join(filter(None, parts)) + "\n"


def table(found: Measured) -> str:
    """What the response had and what the client made of it, a release a row."""
    client = f"the client, websockets {found.asked.base.versions['websockets']}"
    rows = [f"| uvicorn | `Sec-WebSocket-Protocol` in the response | {client} |", "|---|---|---|"]
    for one, trial in found.trials.items():
        sent = "<br>".join(map(inline, trial.sent)) or ("" if trial.cause else "none")
        # Why something has no verdict may name what is on this machine.
        says = trial.cause.value if trial.cause else inline(trial.reason) if trial.reason else "opens"
        rows.append(f"| {one.dated}, {found.names[one]} | {sent} | {says} |")
    return "\n".join(rows)


def changed(found: Measured, index: Index) -> str:
    """Where the change is to be seen, or that there is none."""
    change, judged = found.change, found.judged
    if change:
        between = ", ".join(one.version for one in releases.between(index.releases("uvicorn"), change))
        without = f"; between the two, {between} got no verdict" if between else ""
        return f"What changed from {change.last.version} to {change.first.version}: {change.link}{without}."
    alike = f"each of the {len(judged)} releases from {judged[0].version} to {judged[-1].version} that got a verdict"
    does = DOES[found.trials[judged[-1]].verdict]
    return f"The handshake {does} with {alike}; withdrawn ones and pre-releases were left out."
