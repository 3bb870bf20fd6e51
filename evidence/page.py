"""The page of the evidence, evidence/README.md, from the files beside it; and what the first page may say of them."""

import json
from collections.abc import Iterable, Sequence
from itertools import groupby

from evidence import clients, library, markdown, pythons, rows, servers, survey
from evidence.clients.browsers import BROWSERS
from evidence.markdown import code
from evidence.picture import MEANINGS, PICTURE, Picture
from evidence.survey import CASES, PULL_REQUESTS, Survey
from harness import asking, place
from harness.model import UPSTREAM, Verdict
from harness.releases import Range
from harness.survey import NEWEST, ROWS

PAGE = PICTURE.with_name("README.md")
FAULTS = {"runs": "runs", "wrong": "wrong verdicts", "left": "processes or files left", "tracebacks": "tracebacks"}


def write() -> None:
    """Draw the picture and write the page. Raises Unavailable."""
    place.write_whole(PICTURE, Picture(survey.read()).drawn())
    place.write_whole(PAGE, text())


def text() -> str:
    """The page."""
    kept, dialed, asked, sent, tried = survey.read(), clients.read(), servers.read(), library.read(), pythons.read()
    cases = [
        f"- [{name}](../{file.relative_to(place.ROOT)}): {MEANINGS.get(name, name)}"
        for name, file in asking.cases().items()
    ]
    return f"""<!-- Generated whole by `make evidence`, from the files beside it. -->
# What was measured

Each file here has one measurement a line, so that `git diff evidence/` after `make evidence` compares two machines or
two weeks. What says the same keeps its line, and what a machine cannot measure stays as it was. `make survey`,
`make clients` and `make servers` measure and print, and write nothing.

![The verdict on every uvicorn release, for each case and implementation](survey.svg)

## Who notices

{clients.summary(dialed)} {clients.words(dialed)}

{clients.table(dialed)}

{_when(dialed)} by [clients/](clients), kept in [clients.jsonl](clients.jsonl).

## Who sends it

{servers.summary(asked)}

{servers.table(asked)}

{_when(asked)} by [servers.py](servers.py) with the app [served.py](served.py), kept in [servers.jsonl](servers.jsonl).

## Every release

{chr(10).join(cases)}

{_measured(kept)}

What changed a verdict, or came with one:

{changes(kept)}

{table(kept)}

{_not_shown(kept)}

## The library of whoever reported it

ocpp-asgi accepted without `subprotocol=` in 0.3.0, for which 0.20.0 was a fix, and with it from 0.4.0 on. The
lines that go out, and the verdict ([central.py](../tests/apps/central.py), `NONE=rejected`):

{library.table(sent)}

{_when(sent)}, kept in [library.jsonl](library.jsonl).

## The Pythons, and the faults

{pythons.sentence(tried)} {_when(tried)}, kept in [pythons.jsonl](pythons.jsonl).

{_faults()}
"""


def _when(found: Iterable[rows.Row]) -> str:
    """When and where rows were measured."""
    days, places = (sorted({getattr(row, name) for row in found}) for name in ("measured", "platform"))
    return f"Measured {' to '.join(dict.fromkeys([days[0], days[-1]]))} on {', '.join(places)}"


def _measured(kept: Survey) -> str:
    head, newest = kept.head, kept.releases[-1]
    return (
        f"Measured {head['measured']} on Python {head['python']}, {head['platform']}, kept in"
        f" [survey.jsonl](survey.jsonl); the newest release is {newest.dated}. {' and '.join(map(code, NEWEST))} ran"
        f" with websockets {kept.websockets(NEWEST[0])}, the others with the pins of requirements-broken.txt."
    )


def _not_shown(kept: Survey) -> str:
    """Which releases no row of the table names, by cause."""
    told = []
    hidden = zip(kept.releases, kept.trials[ROWS[0], CASES[0]][: kept.hidden], strict=False)
    for cause, group in groupby(hidden, lambda pair: pair[1].cause):
        members = [release for release, _ in group]
        told.append(f"{members[0].version} - {members[-1].version} ({cause and cause.value})")
    return f"In no row, since none of them can be judged: {', '.join(told)}."


def changes(kept: Survey) -> str:
    """Every change with its pull request, as a Markdown table."""
    cells = []
    for release, group in groupby(sorted(kept.changes(), key=lambda one: one.after.released), lambda one: one.after):
        turned: dict[str, list[str]] = {}
        members = list(group)
        for one in members:
            turned.setdefault(f"{code(one.case)} {one.verdict.name}", []).append(one.implementation)
        source = (
            link(release.version) or f"[compare]({UPSTREAM}/compare/{members[0].before.version}...{release.version})"
        )
        if pull := PULL_REQUESTS.get(release.version):
            notes = f"{UPSTREAM}/blob/0.51.0/docs/release-notes.md?plain=1#L{pull.line}"
            source += f": [{pull.note}]({notes})"
        cells.append([release.dated, "<br>".join(f"{what}: {', '.join(who)}" for what, who in turned.items()), source])
    return markdown.table(["release", "what turned", "by"], cells)


def link(release: str) -> str:
    """The pull request of a release that changed a verdict."""
    pull = PULL_REQUESTS.get(release)
    return f"[#{pull.number}]({UPSTREAM}/pull/{pull.number})" if pull else ""


def table(kept: Survey) -> str:
    """The ranges of releases for each implementation and case, as a Markdown table."""
    cells = ([code(name), code(case), _ranges(kept, name, case)] for name in ROWS for case in CASES)
    return markdown.table(["implementation", "case", "releases"], cells)


def _ranges(kept: Survey, name: str, case: str) -> str:
    """The ranges of one row, with the classes that ran where a name has stood for more than one."""
    several = len({trial.ran for trial in kept.trials[name, case] if trial.ran}) > 1

    def told(one: Range) -> str:
        return survey.words(one, code) + (
            f" ({code(one.trial.ran.rpartition('.')[2])})" if one.trial.ran and several else ""
        )

    return "<br>".join(map(told, kept.ranges(name, case, by_class=several)))


def _faults() -> str:
    """What the last `make test-faults` counted."""
    file = PAGE.with_name("faults.json")
    if not file.is_file():
        return ""
    counted = json.loads(file.read_text())
    said = ", ".join(f"{counted[name]} {words}" for name, words in FAULTS.items())
    return f"`make test-faults` put in {counted['faults']} faults, last on {counted['measured'][:10]}: {said}."


def facts() -> Sequence[str]:
    """What the first page may say of the evidence, in its words."""
    kept, tried = survey.read(), [row for row in clients.read() if row.tried()]
    newest = kept.releases[-1].version
    turned = {(one.case, one.implementation, one.verdict): one for one in kept.changes()}
    reported, accept = (turned[case, "websockets", Verdict.rejected] for case in ("server-headers", "accept-headers"))
    broke, mended = (turned["unsplit-offer", "websockets-sansio", one] for one in (Verdict.rejected, Verdict.open))
    alone = turned["header-alone", "websockets", Verdict.open]
    still = all(kept.trials[name, "server-headers"][-1].verdict is Verdict.rejected for name in ROWS)
    refuse = list(dict.fromkeys(row.name for row in tried if row.outcome == "refused"))
    names = {row.name for row in tried}
    browsers = ("no", "one", "two", "three")[sum(one.name in refuse for one in BROWSERS)]
    return (
        f"fails **since {reported.after.version}** ({link(reported.after.version)})",
        f"**{'still does' if still else 'no longer does'} in {newest}**, the newest release",
        f"Fails since {accept.after.version} ({link(accept.after.version)}), and in {newest}.",
        f"in {broke.after.version} to {mended.before.version}.",
        f"upgrade to {mended.after.version} ({link(mended.after.version)})",
        f"Up to {alone.before.version} it agrees on nothing, and from {alone.after.version} on",
        f"Of {len(names)} clients tried, {len(refuse)} refuse the connection, {browsers} browsers",
    )
