"""The survey as a picture: releases from left to right, a group of rows for each case, an implementation a row."""

import textwrap
from html import escape
from itertools import groupby

from evidence.survey import CASES, PULL_REQUESTS, Survey
from harness.model import Cause
from harness.place import ROOT
from harness.survey import NEWEST, PINNED, ROWS

PICTURE = ROOT / "evidence" / "survey.svg"
MEANINGS = {
    "server-headers": "as reported: Sec-WebSocket-Protocol is in uvicorn.Config(headers=) too",
    "accept-headers": "the header is in the headers of websocket.accept too",
    "unsplit-offer": "the app sends no header; the client offers two in one line",
    "header-alone": "the header is in Config(headers=); the app accepts without subprotocol=",
    "none": "the control: the app passes subprotocol= and nothing else",
}
# Without its first line, the comment.
STYLE = PICTURE.with_name("picture.css").read_text().partition("\n")[2]
WIDTH, EDGE, LEFT, RIGHT, TOP, ROW, LABEL = 1000, 20, 370, 980, 76, 17, 15
LEGEND = {
    "open": (EDGE, "it opens"),
    "rejected": (122, "rejected: more than one subprotocol (in header-alone: none agreed)"),
    "unknown": (584, "cannot be judged"),
}


class Picture:
    """Where each release stands: one step a release, in their order; those that no row can judge are left out."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.step = (RIGHT - LEFT) / len(self.survey.releases)
        self.x = {one.version: LEFT + number * self.step for number, one in enumerate(self.survey.releases)}
        self.marks: list[str] = []

    def drawn(self) -> str:
        """The survey as an SVG, the same for the same survey."""
        first, last = self.survey.releases[0].version, self.survey.releases[-1].version
        title = f"Does the handshake open with an offered subprotocol? uvicorn {first} to {last}"
        self.text(EDGE, 32, title, "title")
        for kind, (x, meaning) in LEGEND.items():
            self.bar(kind, x, 49, 18, meaning)
            self.text(x + 24, 60, meaning)
        self.line("change", "M746 48 v16")
        self.text(754, 60, "a release changed it (pull request)")
        labels = LABEL * max(len(self.turned(case)) for case in CASES)
        height = labels + ROW * len(ROWS) + 10  # of a case
        bottom = TOP + height * len(CASES)
        # Behind the rows every other year is a band, and below them stand the years' names on a line.
        for number, (year, group) in enumerate(groupby(self.survey.releases, lambda one: one.released[:4])):
            members = [self.x[one.version] for one in group]
            start, width = members[0], len(members) * self.step
            if number % 2 == 0:
                self.line("year", f"M{start:.1f} {TOP} h{width:.1f} V{bottom} h-{width:.1f}")
            self.line("axis", f"M{start:.1f} {bottom} v6")
            self.text(start + width / 2, bottom + 15, year, "small", "middle")
        self.line("axis", f"M{LEFT} {bottom} H{RIGHT}")
        for number, case in enumerate(CASES):
            self.case(case, TOP + height * number + labels)
        notes = (
            "One step a release: the width of a year is its number of releases. Blank: not in that uvicorn.",
            f"Left out: the {self.survey.hidden} releases before {first}, none of which can be judged.",
            f"With the pinned websockets: {', '.join(PINNED)}. With the newest: {', '.join(NEWEST)} (the default).",
        )
        for number, line in enumerate(notes):
            self.text(EDGE, bottom + 36 + 16 * number, line, "small")
        size = f'width="{WIDTH}" height="{bottom + 80}"'
        box, label = f"0 0 {WIDTH} {bottom + 80}", f"{escape(title)} The long table says the same in words."
        marks = "\n".join(self.marks)
        return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" {size} role="img" aria-label="{label}">
<style>\n{STYLE}</style>\n<rect class="paper" {size} rx="6"/>\n{marks}\n</svg>\n"""

    def turned(self, case: str) -> list[str]:
        """The releases that changed a verdict of a case, those in the middle of the picture first."""
        found = {change.first.version for name in ROWS for change in self.survey.changes(name, case)}
        return sorted(found, key=lambda release: abs(self.x[release] - (LEFT + RIGHT) / 2))

    def case(self, case: str, top: int) -> None:
        """One case: its name and meaning, its rows from `top` on, and above them what changed them."""
        self.text(EDGE, top - 3, case, "case")
        for number, line in enumerate(textwrap.wrap(MEANINGS.get(case, ""), 34, break_on_hyphens=False)):
            self.text(EDGE, top + 15 + 15 * number, line)
        for number, name in enumerate(ROWS):
            y = top + ROW * number
            self.text(LEFT - 10, y + 11, name, "small", "end")
            for one in self.survey.ranges(name, case):
                x, width, kind = self.x[one.first.version], one.count * self.step - 1, one.trial.verdict.name
                if not one.trial.cause:
                    self.bar(kind, x, y, width, f"{one.releases} {kind}")
                    if width > 60:
                        self.text(x + width / 2, y + 10.5, kind, f"on-{kind}", "middle")
                elif one.trial.cause is not Cause.NO_IMPLEMENTATION:
                    self.bar("unknown", x, y, width, f"{one.releases}: {one.trial.reason}")
        # A label stands on the side with more room; where lines are neighbours, none crosses the other's label.
        for level, release in enumerate(self.turned(case)):
            x, y = self.x[release], top - 5 - LABEL * level
            side, anchor = (6, "start") if x < (LEFT + RIGHT) / 2 else (-6, "end")
            number, words = PULL_REQUESTS.get(release, (0, ""))
            self.line("change", f"M{x:.1f} {y - 9} V{top + ROW * len(ROWS) - 2}")
            self.text(x + side, y, f"{release} (#{number}): {words}" if number else release, "event", anchor)

    def bar(self, kind: str, x: float, y: float, width: float, title: str) -> None:
        shape = f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="14" rx="2">'
        self.marks.append(f"{shape}<title>{escape(title)}</title></rect>")

    def line(self, kind: str, path: str) -> None:
        self.marks.append(f'<path class="{kind}" d="{path}"/>')

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> None:
        self.marks.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>')
