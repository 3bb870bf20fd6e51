"""The page of the evidence, evidence/README.md, from the files beside it; and what the first page may say of them."""

import json
from collections.abc import Sequence
from itertools import groupby

from evidence import clients, library, markdown, pythons, servers, survey
from evidence.markdown import code
from evidence.picture import MEANINGS, PICTURE, Picture
from evidence.rows import Kept, when
from evidence.survey import CASES, PULL_REQUESTS, Survey
from harness import asking
from harness.model import UPSTREAM, Verdict
from harness.place import ROOT, write_whole
from harness.survey import NEWEST, ROWS

PAGE = PICTURE.with_name("README.md")


def write() -> None:
    """Draw the picture and write the page. Raises Unavailable."""
    write_whole(PICTURE, Picture(survey.read()).drawn())
    write_whole(PAGE, text())


def text() -> str:
    """The page."""
    kept, faults = survey.read(), json.loads(PAGE.with_name("faults.json").read_text())
    files = {name: file.relative_to(ROOT) for name, file in asking.cases().items()}
    cases = "\n".join(f"- [{name}](../{file}): {MEANINGS.get(name, name)}" for name, file in files.items())
    return f"""<!-- Generated whole by `make evidence`, from the files beside it. -->
# What was measured

Each file here has one measurement a line, so that `git diff evidence/` after `make evidence` compares two machines or
two weeks. What says the same keeps its line, and what a machine cannot measure stays as it was. `make survey`,
`make clients` and `make servers` measure and print, and write nothing.

![The verdict on every uvicorn release, for each case and implementation](survey.svg)

## Who notices

{clients.told(clients.KEPT.read())}

{_measured(clients.KEPT, "clients")}

## Who sends it

{servers.told(servers.KEPT.read())}

{_measured(servers.KEPT, "servers.py")} The app is [served.py](served.py); in
`header-alone` it has the header in `websocket.accept` here.

## Every release

{cases}

The newest release is {kept.releases[-1].dated}. {" and ".join(map(code, NEWEST))} ran with websockets
{kept.websockets(NEWEST[0])}, the others with the pins of requirements-broken.txt.

What changed a verdict, or came with one:

{_changes(kept)}

{_ranges(kept)}

In no row, since none of them can be judged: {_unjudged(kept)}.

{_measured(survey.KEPT, "survey.py")}

## The library of whoever reported it

ocpp-asgi accepted without `subprotocol=` in 0.3.0, for which 0.20.0 was a fix, and with it from 0.4.0 on. The
lines that go out, and the verdict ([central.py](../tests/apps/central.py), `NONE=rejected`):

{library.told(library.KEPT.read())}

{_measured(library.KEPT, "library.py")}

## The Pythons, and the faults

{pythons.told(pythons.KEPT.read())}

{_measured(pythons.KEPT, "pythons.py")}

`make test-faults` put in {faults["faults"]} faults, last on {faults["measured"][:10]}: {faults["runs"]} runs,
{faults["wrong"]} wrong verdicts, {faults["left"]} processes or files left, {faults["tracebacks"]} tracebacks.
"""


def _measured(kept: Kept, program: str) -> str:
    """When, where and by which program a file was measured."""
    name = kept.file.name
    return f"{when(kept.read())} by [{program}]({program}), kept in [{name}]({name})."


def _ranges(kept: Survey) -> str:
    """The ranges of releases for each implementation and case, as a Markdown table."""
    cells = []
    for name, case in kept.trials:
        ranges = "<br>".join(survey.words(one, code) for one in kept.ranges(name, case))
        cells.append([code(name), code(case), ranges])
    return markdown.table(["implementation", "case", "releases"], cells)


def _unjudged(kept: Survey) -> str:
    """The releases of no row, by cause."""
    told = []
    hidden = zip(kept.releases, kept.trials[ROWS[0], CASES[0]][: kept.hidden], strict=False)
    for cause, group in groupby(hidden, lambda pair: pair[1].cause):
        members = [release.version for release, _ in group]
        told.append(f"{members[0]} - {members[-1]} ({cause and cause.value})")
    return ", ".join(told)


def _changes(kept: Survey) -> str:
    """Every change with its pull request, as a Markdown table."""
    cells = []
    for release, group in groupby(sorted(kept.changes(), key=lambda one: one.after.released), lambda one: one.after):
        turned: dict[str, list[str]] = {}
        for one in group:
            turned.setdefault(f"{code(one.case)} {one.verdict.name}", []).append(one.implementation)
            source = f"[compare]({UPSTREAM}/compare/{one.before.version}...{release.version})"
        if pull := PULL_REQUESTS.get(release.version):
            notes = f"{UPSTREAM}/blob/0.51.0/docs/release-notes.md?plain=1#L{pull.line}"
            source = f"{link(release.version)}: {pull.words} ([release notes]({notes}))"
        cells.append([release.dated, "<br>".join(f"{what}: {', '.join(who)}" for what, who in turned.items()), source])
    return markdown.table(["release", "what turned", "by"], cells)


def link(release: str) -> str:
    """The pull request of a release that changed a verdict."""
    number = PULL_REQUESTS[release].number
    return f"[#{number}]({UPSTREAM}/pull/{number})"


def facts() -> Sequence[str]:
    """What the first page may say of the evidence, in its words."""
    kept = survey.read()
    newest = kept.releases[-1].version
    turned = {(one.case, one.implementation, one.verdict): one for one in kept.changes()}
    reported, accept = (turned[case, "websockets", Verdict.rejected] for case in ("server-headers", "accept-headers"))
    broke, mended = (turned["unsplit-offer", "websockets-sansio", one] for one in (Verdict.rejected, Verdict.open))
    alone = turned["header-alone", "websockets", Verdict.open]
    good = {case for (_, case), trials in kept.trials.items() if trials[-1].verdict is not Verdict.rejected}
    accepts = "no longer" if accept.case in good else "and"
    return (
        f"fails **since {reported.after.version}** ({link(reported.after.version)})",
        f"**{'no longer does' if reported.case in good else 'still does'} in {newest}**, the newest release",
        f"Fails since {accept.after.version} ({link(accept.after.version)}), {accepts} in {newest}.",
        f"in {broke.after.version} to {mended.before.version}.",
        f"upgrade to {mended.after.version} ({link(mended.after.version)})",
        f"Up to {alone.before.version} it agrees on nothing, and from {alone.after.version} on",
        clients.counted(clients.KEPT.read()),
    )
