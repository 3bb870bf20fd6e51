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
from harness.known import FORM, KNOWN, TITLES, TWICE
from harness.model import Cause, Trial, Verdict
from harness.place import Unavailable, write_whole
from harness.prose import difference, fenced, folded, inline, paragraphs
from harness.releases import Change, NoChange
from harness.showing import compare

DOES = {Verdict.open: "opens", Verdict.rejected: "fails", Verdict.inconclusive: "cannot be judged"}


@dataclass(frozen=True)
class Found:
    """Each release that was judged, in order; the last change among them; both its sides and the newest, which were
    looked at once more."""

    asked: Question
    judged: dict[Release, Trial]
    change: Change | None
    looked: dict[Release, Trial]

    def of(self, verdict: Verdict) -> list[Release]:
        """Those with this verdict of the ones that were looked at."""
        return [one for one, trial in self.looked.items() if trial.verdict is verdict]

    @property
    def now(self) -> str:
        """What the handshake does."""
        newest, trial = [*self.looked.items()][-1]
        return f"{DOES[trial.verdict]} with uvicorn {newest.version}, the newest release"


def write(words: Mapping[str, str]) -> int:
    """Print the report, or write it to a file. Returns 0. Raises Mistake, Unavailable, NothingTestable."""
    index = Index.configured()
    text = document(measure(question(words, index), index), index)
    if "OUTPUT" in words:
        write_whole(Path(words["OUTPUT"]).absolute(), text)
    else:
        print(text, end="", flush=True)
    return 0


def measure(asked: Question, index: Index) -> Found:
    """Bisect, or where the ends are alike judge every release; then look at both sides and the newest, in one run.

    Raises NothingTestable, and Unavailable where a release is judged in two ways.
    """
    judged: dict[Release, Trial] = {}
    among = releases.usable(index.releases("uvicorn"), asked.base.interpreter.version)
    with Judge(asked, index) as judging:
        among = among[judging.oldest(among) :]
        try:
            with tqdm(disable=None, leave=False, unit="release") as bar:

                def say(release: Release, trial: Trial, _: str) -> None:
                    judged[release] = trial
                    bar.update()

                releases.bisect(among, None, None, lambda one: judging.release(one)[0], say)
        except NoChange:
            every = survey.measure([asked], index, among)
            judged = {one: trials[0] for one, trials in zip(among, every, strict=True)}
        judged = {one: judged[one] for one in among if one in judged}
        change = next(reversed(releases.changes([*judged], [*judged.values()])), None)
        sides = [change.last, change.first] if change else [one for one in judged if not judged[one].cause][-1:]
        looked = {one: judging.release(one, observed=True)[0] for one in dict.fromkeys([*sides, among[-1]])}
    for one, trial in looked.items():
        if trial.verdict is not judged[one].verdict:
            raise Unavailable(f"{one.version} was {judged[one].verdict.name}, then {trial.verdict.name}: it varies")
    return Found(asked, judged, change, looked)


def document(found: Found, index: Index) -> str:
    """The report as GitHub Markdown, its parts named and ordered as the fields of uvicorn's issue form."""
    app, base = found.asked.apps[0], found.asked.base
    newest, bad, good = [*found.looked][-1], found.of(Verdict.rejected), found.of(Verdict.open)
    failing = found.looked[bad[-1]] if bad else None
    title = f"The handshake {found.now}: {inline(Path(app.case.removeprefix('APP=')).name)}"
    if failing and newest not in good:
        title = TITLES.get(app.case, inline(failing.reason))
    text = KNOWN.get(app.case, TWICE if failing and len(failing.sent) > 1 else "")
    parts = [f"# {title}", "**Nothing to report upstream.**" if newest in good else FORM, "### Description"]
    parts += [paragraphs(f"**Known.** {text}")] if text else []
    parts += measured(found, index)
    versions = f"Python {base.interpreter.version}, uvicorn {newest.version}, {platform.system()}"
    beside = "\n".join(f"{name}=={version}" for name, version in base.versions.items())
    parts += ["### Example Code", example.given(found.asked, index, bad, good)]
    parts += ["### Python, Uvicorn & OS Version", fenced(versions), folded("Installed beside uvicorn", fenced(beside))]
    if failing:
        parts.append(folded(f"The client's traceback with uvicorn {bad[-1].version}", fenced(failing.traceback)))
    if failing and good:
        lines = difference(found.looked[good[0]].lines, failing.lines)
        parts.append(folded(f"The handshake with uvicorn {good[0].version}, and with {bad[-1].version}", lines))
    alike: dict[str, list[str]] = {}
    for one, trial in found.judged.items():
        reason = f" {inline(why(trial))}" if trial.cause else ""
        alike.setdefault(trial.verdict.name + reason, []).append(one.version)
    lists = "\n".join(f"- {what}: {', '.join(versions)}" for what, versions in alike.items())
    return "\n\n".join([*parts, folded("What was judged", lists)]) + "\n"


def measured(found: Found, index: Index) -> list[str]:
    """What was measured, in paragraphs."""
    app, change, newest = found.asked.apps[0], found.change, [*found.looked][-1]
    file = inline(Path(app.name.rpartition(":")[0]).name)
    headers = "".join(f", `headers=` with {inline(': '.join(pair))}" for pair in app.headers or [])
    lines = next(trial.lines for trial in reversed(found.looked.values()) if not trial.cause)
    offer = [line.partition(": ")[2] for line in lines if line.lower().startswith("> sec-websocket-protocol: ")]
    client = f"the client, websockets {found.asked.base.versions['websockets']}, offers {inline(', '.join(offer))}"
    query = " The query of its URL is left out here." if "?" in app.path else ""
    names = dict(zip(found.looked, change.names if change else ["the newest that can be judged"], strict=False))
    names[newest] = f"{names[newest]}, the newest" if change and newest == change.first else "the newest"
    rows = ["| uvicorn | released | `Sec-WebSocket-Protocol` in the response | the client |", "|---|---|---|---|"]
    for one, trial in found.looked.items():
        sent = "<br>".join(map(inline, trial.sent)) or "none"
        says = "opens" if trial.verdict is Verdict.open else inline(why(trial))
        rows.append(f"| {one.version} ({names[one]}) | {one.released} | {sent} | {says} |")
    if change:
        between = [one.version for one in releases.between(index.releases("uvicorn"), change)]
        without = f"; between the two, {', '.join(between)} got no verdict" if between else ""
        last = f"What changed from {change.last.version} to {change.first.version}: {compare(change)}{without}."
    else:
        same = [one.version for one, trial in found.judged.items() if not trial.cause]
        each = f"each of the {len(same)} releases from {same[0]} to {same[-1]} that got a verdict"
        does = DOES[next(trial.verdict for trial in found.looked.values())]
        last = f"The handshake {does} with {each}; withdrawn ones and pre-releases were left out."
    return [
        f"**Measured now,** in one run, with nothing but uvicorn exchanged: the handshake {found.now}.",
        f"The app of {file} is served with `ws={app.ws}`{headers}; {client}.{query}",
        "\n".join(rows),
        last,
    ]


def why(trial: Trial) -> str:
    """Why it is not open; of what another machine need not see again only the kind."""
    return trial.cause.value if trial.cause is Cause.FAILED else trial.reason
