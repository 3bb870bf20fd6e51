"""The page of the evidence, evidence/README.md, from the files beside it; and what the first page may say of them."""

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter

from evidence import clients, library, pythons, servers, survey
from evidence.clients.browsers import BROWSERS
from evidence.clients.dialing import OFFERED
from evidence.picture import MEANINGS, PICTURE, Picture
from evidence.rows import Kept, Row, here
from evidence.survey import PULL_REQUESTS, Survey
from harness import asking
from harness.known import pull
from harness.place import ROOT, write_whole
from harness.prose import inline
from harness.releases import Range
from harness.survey import NEWEST, PINNED

PAGE = ROOT / "evidence" / "README.md"


def write() -> None:
    """Draw the picture and write the page. Raises Unavailable."""
    write_whole(PICTURE, Picture(survey.read()).drawn())
    write_whole(PAGE, text())


def text() -> str:
    """The page."""
    kept, faults = survey.read(), json.loads(PAGE.with_name("faults.json").read_text())
    files = {name: file.relative_to(ROOT) for name, file in asking.cases().items()}
    cases = "\n".join(f"- [{name}](../{file}): {MEANINGS.get(name, name)}" for name, file in files.items())
    known = [(one, *PULL_REQUESTS[one.version]) for one in kept.releases if one.version in PULL_REQUESTS]
    changes = "\n".join(f"- {release.dated}: {words} ({pull(number)})" for release, number, words in known)
    return f"""<!-- Generated whole by `make evidence`, from the files beside it. -->
# What was measured

Each file here has one measurement a line, so that `git diff evidence/` after `make evidence` compares two machines or
two weeks. A line tells when, where and with which versions it was measured. What says the same keeps its line, and what
a machine cannot measure stays as it was. `make survey`, `make clients` and `make servers` measure and print, and write
nothing.

![The verdict on every uvicorn release, for each case and implementation](survey.svg)

## Who notices

{counted()}.
Whoever opens with the subprotocol that was offered works, and nobody learns that others fail. Where it is one that
nobody offered, code that compares finds no match.

{table(clients.KEPT.read())}

`refused`: the server sent its 101, and the client gave up, with this `reason`. `control`: the same without the mistake.
{_source(clients.KEPT, "clients")}

## Who sends it

{table(sorted(servers.KEPT.read(), key=itemgetter("case")))}

`configured`: the option for headers of every response. `sent`: the header's lines. `scope`: what was offered, as the
app sees it. `logged`: the last error. The app is [served.py](served.py); in `header-alone` it has the header in
`websocket.accept` here. {_source(servers.KEPT, "servers.py")}

## Every release

{cases}

What turned a verdict, or brought an implementation:

{changes}

The newest release is {kept.releases[-1].dated}. {" and ".join(map(inline, PINNED))} ran with the pins of
requirements-broken.txt, {" and ".join(map(inline, NEWEST))} with the newest websockets.

{_ranges(kept)}

In no row: the {kept.hidden} releases before {kept.releases[kept.hidden].version}, none of which can be judged.
{_source(survey.KEPT, "survey.py")}

## The library of whoever reported it

ocpp-asgi accepted without `subprotocol=` in 0.3.0, for which 0.20.0 was a fix, and with it from 0.4.0 on
([central.py](../tests/apps/central.py), `NONE=rejected`):

{table(library.KEPT.read())}

{_source(library.KEPT, "library.py")}

## The Pythons, and the faults

What `python client.py` says with each requirements file, with plain venv and pip:

{table(pythons.KEPT.read())}

{_source(pythons.KEPT, "pythons.py")}

`make test-faults` put in {faults["faults"]} faults, last on {faults["measured"][:10]}: {faults["runs"]} runs,
{faults["wrong"]} wrong verdicts, {faults["left"]} processes or files left, {faults["tracebacks"]} tracebacks.
"""


def table(found: Sequence[Row]) -> str:
    """Rows as a Markdown table, without when and where they were measured."""
    names = list(dict.fromkeys(name for row in found for name in row if name not in here()))
    return _markdown(names, ([_cell(row.get(name)) for name in names] for row in found))


def _cell(value: str | Sequence[str] | None) -> str:
    """What stands in a row, which may come from anybody, as Markdown."""
    texts = [value] if isinstance(value, str) else value or []
    return " and ".join(inline(text) for text in texts if text)


def _markdown(titles: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (titles, ["---"] * len(titles), *cells))


def _source(kept: Kept, program: str) -> str:
    """Where rows are kept, and what measured them."""
    name, days = kept.file.name, [row["measured"] for row in kept.read()]
    return f"From [{name}]({name}), measured by [{program}]({program}), last on {max(days, default='no day')}."


def _ranges(kept: Survey) -> str:
    """The ranges of releases for each implementation and case, as a Markdown table."""
    cells = []
    for name, case in kept.trials:
        told = [f"{one.releases} {one.trial.verdict.name} {_cell(one.trial.reason)}" for one in kept.ranges(name, case)]
        cells.append([name, case, "<br>".join(map(str.strip, told))])
    return _markdown(["implementation", "case", "releases"], cells)


def counted() -> str:
    """How many clients refuse, each in its newest version."""
    outcomes = {row["name"]: row["outcome"] for row in clients.KEPT.read()}
    refuse = {name for name, outcome in outcomes.items() if outcome == "refused"}
    browsers = ("no", "one", "two", "three")[len(refuse & BROWSERS.keys())]
    return f"Of {len(outcomes)} clients tried, {len(refuse)} refuse the connection, {browsers} browsers among them"


def facts() -> Sequence[str]:
    """What the first page says of the evidence, in its words.

    Raises ValueError where a verdict, or what websockets says, changes more often than that page tells.
    """
    kept, rows = survey.read(), clients.KEPT.read()
    _, reported = kept.ranges("websockets", "server-headers")
    _, accept = kept.ranges("websockets", "accept-headers")
    _, unsplit, mended = kept.ranges("websockets-sansio", "unsplit-offer")
    before, alone = kept.ranges("websockets", "header-alone")
    believing = " and ".join(row["name"] for row in rows if row["subprotocol"] == OFFERED)
    words = "invalid Sec-WebSocket-Protocol header: multiple values"
    library = [row for row in rows if row["name"] == "websockets"]
    _, (newer, *_) = (list(group) for _, group in groupby(library, lambda row: words in row["reason"]))
    return (
        f"fails **since {reported.first.version}** ({_pull(reported)})",
        f"**still does in {reported.last.version}**, the newest release",
        f"Fails since {accept.first.version} ({_pull(accept)}), and in {accept.last.version}.",
        f"in {unsplit.releases.replace(' - ', ' to ')}.",
        f"upgrade to {mended.first.version} ({_pull(mended)})",
        f"Up to {before.last.version} it agrees on nothing, and from {alone.first.version} on",
        f"websockets {newer['version']} and later say `{words}`",
        counted(),
        f"{believing} open it and report `{OFFERED}`",
    )


def _pull(changed: Range) -> str:
    return pull(PULL_REQUESTS[changed.first.version][0])
