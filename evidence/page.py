"""The page of the evidence, evidence/README.md, from the files beside it; and what the first page may say of them."""

import json
from collections.abc import Sequence
from itertools import groupby

from evidence import clients, library, pythons, servers, survey
from evidence.clients.browsers import BROWSERS
from evidence.clients.dialing import OFFERED
from evidence.picture import MEANINGS, PICTURE, Picture
from evidence.rows import Kept, Row, here
from evidence.survey import PULL_REQUESTS
from harness import asking
from harness.known import pull
from harness.place import ROOT, write_whole
from harness.prose import inline
from harness.survey import NEWEST, PINNED

PAGE = ROOT / "evidence" / "README.md"


def write() -> None:
    """Draw the picture and write the page. Raises Unavailable."""
    kept, faults = survey.read(), json.loads(PAGE.with_name("faults.json").read_text())
    write_whole(PICTURE, Picture(kept).drawn())
    files = {name: file.relative_to(ROOT) for name, file in asking.cases().items()}
    cases = "\n".join(f"- [{name}](../{file}): {MEANINGS.get(name, name)}" for name, file in files.items())
    known = [(one.dated, *PULL_REQUESTS[one.version]) for one in kept.releases if one.version in PULL_REQUESTS]
    changes = "\n".join(f"- {release}: {words} ({pull(number)})" for release, number, words in known)
    ranges: list[Row] = []
    for name, case in kept.trials:
        told = [f"{one.releases} {one.trial.verdict.name} {one.trial.reason}" for one in kept.ranges(name, case)]
        ranges.append({"implementation": name, "case": case, "releases": told})
    text = f"""<!-- Generated whole by `make evidence`, from the files beside it. -->
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

{_kept(clients.KEPT)}

`refused`: the server sent its 101, and the client gave up, with this `reason`. `control`: the same without the mistake.

## Who sends it

{_kept(servers.KEPT)}

`configured`: the option for headers of every response. `sent`: the header's lines. `scope`: what was offered, as the
app sees it. `logged`: the last error. The app is [served.py](served.py); in `header-alone` it has the header in
`websocket.accept` here.

## Every release

{cases}

What turned a verdict, or brought an implementation:

{changes}

The newest release is {kept.releases[-1].dated}. {" and ".join(map(inline, PINNED))} ran with the pins of
requirements-broken.txt, {" and ".join(map(inline, NEWEST))} with the newest websockets.

In no row: the {kept.hidden} releases before {kept.releases[0].version}, none of which can be judged.

{_kept(survey.KEPT, ranges)}

## The library of whoever reported it

ocpp-asgi accepted without `subprotocol=` in 0.3.0, for which 0.20.0 was a fix, and with it from 0.4.0 on
([central.py](../tests/apps/central.py), `NONE=rejected`):

{_kept(library.KEPT)}

## The Pythons, and the faults

What `python client.py` says with each requirements file, with plain venv and pip:

{_kept(pythons.KEPT)}

`make test-faults` put in {faults["faults"]} faults, last on {faults["measured"][:10]}: {faults["runs"]} runs,
{faults["wrong"]} wrong verdicts, {faults["left"]} processes or files left, {faults["tracebacks"]} tracebacks.
"""
    write_whole(PAGE, text)


def table(found: Sequence[Row]) -> str:
    """Rows as a Markdown table, without when and where they were measured; what is in them may come from anybody."""
    names = list(dict.fromkeys(name for row in found for name in row if name not in here()))
    lines = [names, ["---"] * len(names)]
    for row in found:
        cells = [row.get(name) or [] for name in names]
        lines.append(["<br>".join(map(inline, [cell] if isinstance(cell, str) else cell)) for cell in cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _kept(kept: Kept, shown: Sequence[Row] = ()) -> str:
    """The table of a file, or what of it is shown instead, and where it comes from."""
    rows, file = kept.read(), kept.file.name
    program = kept.name if (kept.folder / kept.name).is_dir() else f"{kept.name}.py"
    day = max((row["measured"] for row in rows), default="no day")
    together = table(shown or sorted(rows, key=lambda row: row.get("case", "")))
    return f"{together}\n\nFrom [{file}]({file}), measured by [{program}]({program}), last on {day}."


def counted() -> str:
    """How many clients refuse, each in its newest version."""
    outcomes = {row["name"]: row["outcome"] for row in clients.KEPT.read()}
    refuse = {name for name, outcome in outcomes.items() if outcome == "refused"}
    browsers = ("no", "one", "two", "three")[len(refuse & BROWSERS.keys())]
    return f"Of {len(outcomes)} clients tried, {len(refuse)} refuse the connection, {browsers} browsers among them"


def facts() -> Sequence[str]:
    """What the first page says of the evidence. Raises ValueError where something changes more often than it tells."""
    kept, rows = survey.read(), clients.KEPT.read()
    _, reported = kept.ranges("websockets", "server-headers")
    _, accept = kept.ranges("websockets", "accept-headers")
    _, unsplit, mended = kept.ranges("websockets-sansio", "unsplit-offer")
    before, alone = kept.ranges("websockets", "header-alone")
    believing = " and ".join(row["name"] for row in rows if row["subprotocol"] == OFFERED)
    words = "invalid Sec-WebSocket-Protocol header: multiple values"
    library = [row for row in rows if row["name"] == "websockets"]
    _, (newer, *_) = (list(group) for _, group in groupby(library, lambda row: words in row["reason"]))

    def since(version: str, mark: str = "") -> str:
        return f"{version}{mark} ({pull(PULL_REQUESTS[version][0])})"

    return (
        f"fails **since {since(reported.first.version, '**')}",
        f"**still does in {reported.last.version}**, the newest release",
        f"Fails since {since(accept.first.version)}, and in {accept.last.version}.",
        f"in {unsplit.releases.replace(' - ', ' to ')}.",
        f"upgrade to {since(mended.first.version)}",
        f"Up to {before.last.version} that app agrees on nothing, and from {alone.first.version} on",
        f"websockets {newer['version']} and later say `{words}`",
        counted(),
        f"{believing} open it and report `{OFFERED}`",
    )
