"""report: bisects, and writes what it found as uvicorn asks for it, with nothing in it of the machine that measured."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from harness import example, releases, survey
from harness.asking import question
from harness.index import Index, Release
from harness.judge import Judge, Question
from harness.known import CHECKS, HOW, KNOWN, PROPOSAL, TWICE, title
from harness.model import Cause, Trial, Verdict, plain
from harness.place import Unavailable, write_whole
from harness.prose import difference, fenced, folded, inline, paragraphs
from harness.releases import Change, NoChange, NothingTestable
from harness.showing import compare, hint


@dataclass(frozen=True)
class Seen:
    """A release and its trial."""

    release: Release
    trial: Trial


@dataclass(frozen=True)
class Found:
    """All that was judged, in order; the last change in it, and which releases between its sides have no verdict; both
    sides and the newest, which were looked at."""

    asked: Question
    judged: list[Seen]
    change: Change | None
    between: list[str]
    every: bool
    looked: list[Seen]

    @property
    def name(self) -> str:
        """The name of the case, or of one's own app without the folders that it is in."""
        return Path(self.asked.apps[0].case.removeprefix("APP=")).name

    def of(self, verdict: Verdict) -> list[Seen]:
        """Those with this verdict of the ones that were looked at."""
        return [one for one in self.looked if one.trial.verdict is verdict]


def write(words: Mapping[str, str]) -> int:
    """Print the report, or write it to a file. Returns 0. Raises Mistake, Unavailable where nothing can be judged."""
    index = Index.configured()
    text = document(measure(question(words, index), index), index)
    if "OUTPUT" in words:
        write_whole(Path(words["OUTPUT"]).absolute(), text)
    else:
        print(text, end="", flush=True)
    return 0


def measure(asked: Question, index: Index) -> Found:
    """Bisect, or where the ends are alike judge every release; then look at both sides and the newest, in one run."""
    among = releases.usable(index.releases("uvicorn"), asked.base.interpreter.version, False, False, [])
    judged: dict[str, Trial] = {}
    with Judge(asked, index) as judging:
        among = among[judging.oldest(among) :]
        with tqdm(disable=None, leave=False, unit="release") as bar:

            def say(release: Release, trial: Trial, _: str) -> None:
                judged[release.version] = trial
                bar.update()

            change: Change | None
            try:
                change = releases.bisect(among, None, None, lambda one: judging.release(one)[0], say)
                every = False
            except NoChange:
                bar.close()
                trials = [found[0] for found in survey.measure([asked], index, among)]
                judged = {one.version: trial for one, trial in zip(among, trials, strict=True)}
                change, every = next(reversed(releases.changes(among, trials)), None), True
            except NothingTestable as error:
                raise Unavailable(f"{error}{hint(error.trial)}") from None
        sides = [change.last, change.first] if change else [one for one in among if not judged[one.version].cause][-1:]
        looked = [Seen(one, judging.release(one, observed=True)[0]) for one in dict.fromkeys([*sides, among[-1]])]
    for one in looked:
        first = judged[one.release.version].verdict
        if one.trial.verdict is not first:
            raise Unavailable(f"{one.release.version} was {first.name}, then {one.trial.verdict.name}: it varies")
    seen = [Seen(one, judged[one.version]) for one in among if one.version in judged]
    known = index.releases("uvicorn")
    between = known[known.index(change.last) + 1 : known.index(change.first)] if change else ()
    return Found(asked, seen, change, [one.version for one in between], every, looked)


def document(found: Found, index: Index) -> str:
    """The report as GitHub Markdown, its parts named and ordered as the fields of uvicorn's issue form."""
    base, change, newest = found.asked.base, found.change, found.looked[-1]
    bad, good = found.of(Verdict.rejected), found.of(Verdict.open)
    fixed = change and change.before is Verdict.rejected
    mended = " or ".join([*found.between, change.first.version]) if change and fixed else ""
    known = KNOWN.get(found.name, TWICE if bad and len(bad[-1].trial.sent) > 1 else "")
    parts = [f"# {title(plain(found.name), bad[-1].trial.sent if bad else None, mended)}"]
    if newest.trial.verdict is Verdict.open:
        then = f"; {mended} mended it. This is what happened" if mended else ""
        opens = f"uvicorn {newest.release.version}, the newest, opens the handshake"
        parts.append(f"**Nothing to report upstream:** {opens}{then}.")
    else:
        parts += [HOW, "### Initial Checks", CHECKS, "### Discussion Link", "(none yet)"]
    parts += ["### Description", paragraphs(f"**Known.** {known}") if known else "", *told(found)]
    if found.name in ("server-headers", "accept-headers") and newest.trial.verdict is Verdict.rejected:
        parts.append(paragraphs(PROPOSAL))
    shown = example.given(found.asked, index, [one.release for one in bad], [one.release for one in good])
    versions = f"Python {base.interpreter.version}, uvicorn {newest.release.version}, {platform.system()}"
    parts += ["### Example Code", shown, "### Python, Uvicorn & OS Version", fenced(versions)]
    freeze = "\n".join(sorted(f"{name}=={version}" for name, version in base.versions.items()))
    parts.append(folded("Installed beside uvicorn", fenced(freeze)))
    if bad and bad[-1].trial.traceback:
        of = bad[-1].release.version
        parts.append(folded(f"The client's traceback with uvicorn {of}", fenced(bad[-1].trial.traceback)))
    if bad and good:
        names = [f"uvicorn {one.release.version}" for one in (good[0], bad[-1])]
        lines = difference(names, good[0].trial.lines, bad[-1].trial.lines)
        parts.append(folded("Both handshakes", fenced(lines, "diff")))
    judged = [f"{name:20} {trial.verdict.name:12}  {why(trial)}".rstrip() for name, trial in listed(found)]
    parts.append(folded("What was judged", fenced("\n".join(judged))))
    return "\n\n".join(filter(None, parts)) + "\n"


def told(found: Found) -> list[str]:
    """What was measured, in paragraphs."""
    app, change, newest = found.asked.apps[0], found.change, found.looked[-1]
    handshake = next(one.trial.lines for one in reversed(found.looked) if not one.trial.cause)
    offer = [one.partition(": ")[2] for one in handshake if one.lower().startswith("> sec-websocket-protocol: ")]
    client = f"websockets {found.asked.base.versions['websockets']}"
    headers = "".join(f", `headers=` with {inline(': '.join(pair))}" for pair in app.headers or [])
    file = inline(Path(app.name.rpartition(":")[0]).name)
    names = {change.last: change.names[0], change.first: change.names[1]} if change else {}
    rows = ["| uvicorn | released | `Sec-WebSocket-Protocol` in the response | the client |", "|---|---|---|---|"]
    for one in found.looked:
        called = ", ".join(filter(None, (names.get(one.release), "the newest" if one is newest else "")))
        sent = "<br>".join(map(inline, one.trial.sent)) or "none"
        says = "opens" if one.trial.verdict is Verdict.open else inline(why(one.trial) or one.trial.reason)
        version = f"{one.release.version} ({called or 'the newest that can be judged'})"
        rows.append(f"| {version} | {one.release.released} | {sent} | {says} |")
    still = "still fails" if change else "fails"
    does = {Verdict.open: "does not fail", Verdict.rejected: still}.get(newest.trial.verdict, "cannot be judged")
    once = "in one run, with nothing but uvicorn exchanged"
    parts = [f"**Measured now,** {once}: uvicorn {newest.release.version}, the newest release, {does}."]
    query = " The query of its URL is left out here." if "?" in app.path else ""
    served = f"The app of {file} is served with `ws={app.ws}`{headers}"
    parts.append(f"{served}; the client, {client}, offers {inline(', '.join(offer))}.{query}")
    parts.append("\n".join(rows))
    if change:
        without = f"; between the two, {', '.join(found.between)} got no verdict" if found.between else ""
        parts.append(f"What changed from {change.last.version} to {change.first.version}: {compare(change)}{without}.")
    else:
        same = [one for one in found.judged if not one.trial.cause]
        ends = f"from {same[0].release.version} to {same[-1].release.version}"
        alike = "opens" if same[-1].trial.verdict is Verdict.open else "fails"
        left = "withdrawn ones and pre-releases were left out"
        parts.append(f"Each of the {len(same)} releases {ends} that got a verdict {alike}; {left}.")
    return parts


def listed(found: Found) -> list[tuple[str, Trial]]:
    """What was judged: each by itself after a bisect, and runs of those alike where that was every release."""
    if not found.every:
        return [(one.release.version, one.trial) for one in found.judged]
    ranges = releases.ranges([one.release for one in found.judged], [one.trial for one in found.judged])
    return [(one.releases, one.trial) for one in ranges]


def why(trial: Trial) -> str:
    """Why it cannot be judged; of what another machine need not see again only the kind."""
    return "" if not trial.cause else trial.cause.value if trial.cause is Cause.FAILED else plain(trial.reason)
