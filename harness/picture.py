"""The evidence as a picture: releases from left to right, a group of rows for each case, an implementation a row."""

import textwrap
from html import escape
from itertools import groupby
from pathlib import Path

from harness import environment
from harness.evidence import EVIDENCE, NEWEST, PINNED, ROWS, SANSIO, Change, Evidence, Range, changes, leading, ranges
from harness.model import CASES, Cause, Verdict

PICTURE = EVIDENCE.with_name("survey.svg")
MEANINGS = {
    "server-headers": "as reported: Sec-WebSocket-Protocol is in uvicorn.Config(headers=) too",
    "accept-headers": "the header is in the headers of websocket.accept too",
    "unsplit-offer": "the app sends no header; the client offers two in one line",
    "header-alone": "the header is in Config(headers=); the app accepts without subprotocol=",
    "none": "the control: the app passes subprotocol= and nothing else",
}
# The verdicts as the picture tells them; in header-alone the question is whether anything was agreed.
WORDS = {Verdict.open: "open", Verdict.rejected: "rejected"}
AGREED = {Verdict.open: "agreed", Verdict.rejected: "nothing agreed"}
# No variables, no shorthands, one generic font: what plain renderers do not know, they leave out.
STYLE = """
text { font-family: sans-serif; font-size: 12px; fill: #1f2328 }
.title { font-size: 17px; font-weight: bold }
.case { font-size: 14px; font-weight: bold }
.small { font-size: 11px; fill: #59636e }
.event { font-size: 11px; font-weight: bold }
.on-open { font-size: 10px; fill: #116329 }
.on-rejected { font-size: 10px; font-weight: bold; fill: #ffffff }
.paper { fill: #ffffff }
.year { fill: #eff2f5 }
.open { fill: #aceebb }
.rejected { fill: #cf222e }
.unknown { fill: #9198a1 }
.change { stroke: #1f2328; stroke-width: 2 }
.axis { stroke: #818b98; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .small { fill: #9198a1 }
  .on-open { fill: #aff5b4 }
  .on-rejected { fill: #ffffff }
  .paper { fill: #0d1117 }
  .year { fill: #161b22 }
  .open { fill: #1b5e2f }
  .rejected { fill: #da3633 }
  .unknown { fill: #656c76 }
  .change { stroke: #f0f6fc }
}
"""
WIDTH, EDGE, LEFT = 1000, 20, 370
RIGHT = WIDTH - EDGE
TOP, ROW, BAR, LABEL, GAP = 86, 17, 14, 15, 16


class Axis:
    """Where each release stands: one step a release, in their order; those that no row can judge are left out."""

    def __init__(self, evidence: Evidence) -> None:
        self.hidden = sum(one.count for one in leading(evidence))
        self.releases = list(evidence.releases)[self.hidden :]
        self.years = [
            (year, list(members)) for year, members in groupby(self.releases, lambda v: evidence.releases[v][:4])
        ]
        self.step = (RIGHT - LEFT) / len(self.releases)

    def x(self, release: str) -> float:
        return LEFT + self.releases.index(release) * self.step


def picture(evidence: Evidence) -> str:
    """The survey as an SVG, the same for the same evidence."""
    axis = Axis(evidence)
    body: list[str] = []
    y = TOP
    for case in CASES:
        drawn, y = _group(evidence, axis, case, y)
        body += drawn
    bottom = y - GAP + 6
    notes = _notes(evidence, axis)
    body = [*_years(axis, bottom), *body]
    body += [_text(EDGE, bottom + 56 + 16 * number, line, "small") for number, line in enumerate(notes)]
    height = bottom + 60 + 16 * len(notes)
    label = f"{_title(axis)} The long table says the same in words."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' role="img" aria-label="{escape(label)}">\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="6"/>\n'
        + "\n".join([_text(EDGE, 32, _title(axis), "title"), *_legend(), *body])
        + "\n</svg>\n"
    )


def _title(axis: Axis) -> str:
    return f"Does the handshake open with an offered subprotocol? uvicorn {axis.releases[0]} to {axis.releases[-1]}"


def _legend() -> list[str]:
    """What each mark means, drawn as it is."""
    parts, x = [], EDGE
    for kind, words, width in (
        ("open", "it opens", 76),
        ("rejected", "rejected: more than one subprotocol (in header-alone: none agreed)", 436),
        ("unknown", "cannot be judged", 134),
    ):
        parts += [f'<rect class="{kind}" x="{x}" y="49" width="18" height="{BAR}" rx="2"/>', _text(x + 24, 60, words)]
        x += width + 26
    parts += [f'<path class="change" d="M{x + 2} 48 v16"/>', _text(x + 10, 60, "a release changed it (pull request)")]
    return parts


def _group(evidence: Evidence, axis: Axis, case: str, top: int) -> tuple[list[str], int]:
    """One case: its name and meaning, its rows, its events. Returns the drawing, and where the next one begins."""
    labels = _place(axis, [change for change in changes(evidence) if change.case == case and not change.came])
    rows_top = top + LABEL * max((level for *_, level in labels), default=0) + LABEL
    body = [_text(EDGE, top + 12, case, "case")]
    for number, line in enumerate(textwrap.wrap(MEANINGS[case], 34, break_on_hyphens=False)):
        body.append(_text(EDGE, top + 30 + 15 * number, line))
    told: dict[str, Verdict] = {}  # what the rows above say of each release
    for number, name in enumerate(ROWS):
        y, row = rows_top + ROW * number, evidence.row(name, case)[axis.hidden :]
        body.append(_text(LEFT - 10, y + 11, name, "small", "end"))
        for one in ranges(row):
            body += _bar(axis, one, y, told)
        told |= {trial.uvicorn: trial.verdict for trial in row if not trial.cause}
    if case == next(iter(CASES)):
        body += _absent(evidence, axis, rows_top)
    for x, words, anchor, bottom, level in labels:
        y = rows_top - 5 - LABEL * level
        body.append(f'<path class="change" d="M{x:.1f} {y - 9} V{rows_top + ROW * bottom + BAR + 1}"/>')
        body.append(_text(x + (6 if anchor == "start" else -6), y, words, "event", anchor))
    return body, rows_top + ROW * len(ROWS) + GAP


def _place(axis: Axis, found: list[Change]) -> list[tuple[float, str, str, int, int]]:
    """The events of a case: x, words, anchor, the last row that each concerns, and how high its label stands."""
    labels = []
    middle = (LEFT + RIGHT) / 2
    # Words stand on the side with more room. Where lines are neighbours, none crosses another's words.
    releases = sorted({change.after.uvicorn for change in found}, key=axis.releases.index)
    right, left = ([one for one in releases if (axis.x(one) < middle) is side] for side in (True, False))
    for level, release in enumerate([*left, *reversed(right)]):
        those = [change for change in found if change.after.uvicorn == release]
        source = those[0].pull_request
        words = f"{release} (#{source.number}): {source.words}" if source else release
        last = max(ROWS.index(change.implementation) for change in those)
        labels.append((axis.x(release), words, "start" if release in right else "end", last, level))
    return labels


def _bar(axis: Axis, one: Range, y: int, told: dict[str, Verdict]) -> list[str]:
    """Neighbouring releases with one verdict, in words unless those are `told`; nothing without the implementation."""
    if one.first.cause is Cause.NO_IMPLEMENTATION:
        return []
    x, width = axis.x(one.first.uvicorn), one.count * axis.step - 1
    kind = "unknown" if one.first.cause else one.first.verdict.name
    shape = f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2">'
    drawn = [f"{shape}<title>{escape(one.words)}</title></rect>"]
    words = (AGREED if one.first.case == "header-alone" else WORDS).get(one.first.verdict, "")
    middle = axis.releases[axis.releases.index(one.first.uvicorn) + one.count // 2]
    if words and told.get(middle) is not one.first.verdict and len(words) * 7 < width:
        drawn.append(_text(x + width / 2, y + 10.5, words, f"on-{kind}", "middle"))
    return drawn


def _absent(evidence: Evidence, axis: Axis, rows_top: int) -> list[str]:
    """The words, once, in the first group's space for an implementation that came later."""
    words = []
    for number, name in enumerate(ROWS):
        first, *later = ranges(evidence.row(name, next(iter(CASES)))[axis.hidden :])
        if first.first.cause is Cause.NO_IMPLEMENTATION and later:
            x, y = axis.x(later[0].first.uvicorn) - 8, rows_top + ROW * number + 11
            words.append(_text(x, y, f"not before {later[0].first.uvicorn} (#{SANSIO.number})", "small", "end"))
    return words


def _years(axis: Axis, bottom: int) -> list[str]:
    """Behind the rows every other year as a band, and below them the years' names on a line."""
    marks = []
    for number, (year, members) in enumerate(axis.years):
        x, width = axis.x(members[0]), len(members) * axis.step
        if number % 2 == 0:
            marks.append(f'<rect class="year" x="{x:.1f}" y="{TOP}" width="{width:.1f}" height="{bottom - TOP}"/>')
        marks.append(f'<path class="axis" d="M{x:.1f} {bottom} v6"/>')
        if width > 20:
            marks.append(_text(x + width / 2, bottom + 15, year, "small", "middle"))
    named = _text(
        RIGHT, bottom + 32, "one step a release: the width of a year is its number of releases", "small", "end"
    )
    return [*marks, f'<path class="axis" d="M{LEFT} {bottom} H{RIGHT}"/>', named]


def _notes(evidence: Evidence, axis: Axis) -> list[str]:
    """What else a reader must know, a line each."""
    pinned, newest = (evidence.websockets(rows[0]) for rows in (PINNED, NEWEST))
    lines = [
        f"{' and '.join(PINNED)} ran with websockets {pinned}, as pinned;"
        f" {' and '.join(NEWEST)} (uvicorn's default) with the newest, {newest}."
    ]
    lines[0] += " Blank: not in uvicorn yet."
    if axis.hidden:
        last = list(evidence.releases)[axis.hidden - 1]
        lines.append(f"Left out: the {axis.hidden} releases up to {last}, none of which can be judged.")
    for name in ROWS:
        last_range = ranges(evidence.row(name, next(iter(CASES))))[-1]
        if last_range.first.cause is Cause.NO_IMPLEMENTATION:
            lines.append(f"From {last_range.first.uvicorn} on uvicorn has no {name}.")
    return lines


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "") -> str:
    attributes = (f' class="{kind}"' if kind else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(text)}</text>'


def write(evidence: Evidence, file: Path = PICTURE) -> None:
    """Draw the evidence into a file. Raises Unavailable."""
    environment.write_whole(file, picture(evidence))
