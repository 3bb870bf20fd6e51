"""The survey as a picture: releases from left to right, a group of rows for each case, an implementation a row."""

import textwrap
from html import escape
from itertools import groupby

from evidence.survey import CASES, FILE, PULL_REQUESTS, Survey, words
from harness.model import Cause, Verdict
from harness.releases import Range
from harness.survey import NEWEST, PINNED, ROWS

PICTURE = FILE.with_name("survey.svg")
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
# Without its first line, the comment.
STYLE = "\n" + PICTURE.with_name("picture.css").read_text().split("\n", 1)[1]
WIDTH, EDGE, LEFT = 1000, 20, 370
RIGHT = WIDTH - EDGE
TOP, ROW, BAR, LABEL, GAP = 86, 17, 14, 15, 16
LEGEND = (
    ("open", "it opens", 102),
    ("rejected", "rejected: more than one subprotocol (in header-alone: none agreed)", 462),
    ("unknown", "cannot be judged", 160),
)


class Picture:
    """Where each release stands: one step a release, in their order; those that no row can judge are left out."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.shown = survey.releases[survey.hidden :]
        self.versions = [one.version for one in self.shown]
        self.step = (RIGHT - LEFT) / len(self.shown)

    def x(self, version: str) -> float:
        return LEFT + self.versions.index(version) * self.step

    def drawn(self) -> str:
        """The survey as an SVG, the same for the same survey."""
        title = (
            f"Does the handshake open with an offered subprotocol? uvicorn {self.versions[0]} to {self.versions[-1]}"
        )
        groups: list[str] = []
        y = TOP
        for case in CASES:
            group, y = self.group(case, y)
            groups += group
        bottom, notes = y - GAP + 6, self.notes()
        height = bottom + 60 + 16 * len(notes)
        body = [_text(EDGE, 32, title, "title"), *self.legend(), *self.years(bottom), *groups]
        body += [_text(EDGE, bottom + 56 + 16 * number, line, "small") for number, line in enumerate(notes)]
        label = escape(f"{title} The long table says the same in words.")
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
            f' role="img" aria-label="{label}">\n<style>{STYLE}</style>\n'
            f'<rect class="paper" width="{WIDTH}" height="{height}" rx="6"/>\n' + "\n".join(body) + "\n</svg>\n"
        )

    def legend(self) -> list[str]:
        """What each mark means, drawn as it is."""
        parts, x = [], EDGE
        for kind, meaning, width in LEGEND:
            parts += [f'<rect class="{kind}" x="{x}" y="49" width="18" height="{BAR}" rx="2"/>']
            parts += [_text(x + 24, 60, meaning)]
            x += width
        mark = f'<path class="change" d="M{x + 2} 48 v16"/>'
        return [*parts, mark, _text(x + 10, 60, "a release changed it (pull request)")]

    def group(self, case: str, top: int) -> tuple[list[str], int]:
        """One case: its name and meaning, its rows, its events. Returns the drawing, and where the next one begins."""
        labels = self.labels(case)
        first = top + LABEL * max(1, len(labels))
        body = [_text(EDGE, top + 12, case, "case")]
        for number, line in enumerate(textwrap.wrap(MEANINGS.get(case, ""), 34, break_on_hyphens=False)):
            body.append(_text(EDGE, top + 30 + 15 * number, line))
        told: dict[str, Verdict] = {}  # what the rows above say of each release
        for number, name in enumerate(ROWS):
            body.append(_text(LEFT - 10, first + ROW * number + 11, name, "small", "end"))
            for one in self.survey.ranges(name, case):
                body += self.bar(one, first + ROW * number, told)
            told |= {one.uvicorn: one.verdict for one in self.survey.trials[name, case] if not one.cause}
        for level, (x, label, anchor, last) in enumerate(labels):
            y = first - 5 - LABEL * level
            body.append(f'<path class="change" d="M{x:.1f} {y - 9} V{first + ROW * last + BAR + 1}"/>')
            body.append(_text(x + (6 if anchor == "start" else -6), y, label, "event", anchor))
        return body, first + ROW * len(ROWS) + GAP

    def labels(self, case: str) -> list[tuple[float, str, str, int]]:
        """The events of a case, from the lowest up: x, words, anchor, and the last row that each concerns."""
        found = [one for one in self.survey.changes() if one.case == case and not one.came]
        labels, middle = [], (LEFT + RIGHT) / 2
        # Words stand on the side with more room. Where lines are neighbours, none crosses another's words.
        releases = sorted({change.after.version for change in found}, key=self.versions.index)
        right, left = ([one for one in releases if (self.x(one) < middle) is side] for side in (True, False))
        for release in [*left, *reversed(right)]:
            those = [change for change in found if change.after.version == release]
            source = PULL_REQUESTS.get(release)
            label = f"{release} (#{source.number}): {source.words}" if source else release
            last = max(ROWS.index(change.implementation) for change in those)
            labels.append((self.x(release), label, "start" if release in right else "end", last))
        return labels

    def bar(self, one: Range, y: int, told: dict[str, Verdict]) -> list[str]:
        """Releases with one verdict, in words unless those are `told`; nothing without the implementation."""
        first = self.versions.index(one.first.version)
        came = "".join(self.versions[first + one.count :][:1])
        if one.trial.cause is Cause.NO_IMPLEMENTATION:
            label = f"not before {came}" + (f" (#{PULL_REQUESTS[came].number})" if came in PULL_REQUESTS else "")
            shown = came and one.trial.case == CASES[0]  # once
            return [_text(self.x(came) - 8, y + 11, label, "small", "end")] if shown else []
        x, width = self.x(one.first.version), one.count * self.step - 1
        kind = "unknown" if one.trial.cause else one.trial.verdict.name
        shape = f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2">'
        drawn = [f"{shape}<title>{escape(words(one))}</title></rect>"]
        label = (AGREED if one.trial.case == "header-alone" else WORDS).get(one.trial.verdict, "")
        middle = self.versions[first + one.count // 2]
        if label and told.get(middle) is not one.trial.verdict and len(label) * 7 < width:
            drawn.append(_text(x + width / 2, y + 10.5, label, f"on-{kind}", "middle"))
        return drawn

    def years(self, bottom: int) -> list[str]:
        """Behind the rows every other year as a band, and below them the years' names on a line."""
        marks = []
        for number, (year, group) in enumerate(groupby(self.shown, lambda one: one.released[:4])):
            members = list(group)
            x, width = self.x(members[0].version), len(members) * self.step
            if number % 2 == 0:
                marks.append(f'<rect class="year" x="{x:.1f}" y="{TOP}" width="{width:.1f}" height="{bottom - TOP}"/>')
            marks.append(f'<path class="axis" d="M{x:.1f} {bottom} v6"/>')
            if width > 20:
                marks.append(_text(x + width / 2, bottom + 15, year, "small", "middle"))
        how = "one step a release: the width of a year is its number of releases"
        marks.append(f'<path class="axis" d="M{LEFT} {bottom} H{RIGHT}"/>')
        return [*marks, _text(RIGHT, bottom + 32, how, "small", "end")]

    def notes(self) -> list[str]:
        """What else a reader must know, a line each."""
        pinned, newest = (self.survey.websockets(rows[0]) for rows in (PINNED, NEWEST))
        lines = [
            f"{' and '.join(PINNED)} ran with websockets {pinned}, as pinned;"
            f" {' and '.join(NEWEST)} (uvicorn's default) with the newest, {newest}. Blank: not in uvicorn yet."
        ]
        if hidden := self.survey.hidden:
            last = self.survey.releases[hidden - 1].version
            lines.append(f"Left out: the {hidden} releases up to {last}, none of which can be judged.")
        for name in ROWS:
            last_range = self.survey.ranges(name, CASES[0])[-1]
            if last_range.trial.cause is Cause.NO_IMPLEMENTATION:
                lines.append(f"From {last_range.first.version} on uvicorn has no {name}.")
        return lines


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "") -> str:
    attributes = (f' class="{kind}"' if kind else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(text)}</text>'
