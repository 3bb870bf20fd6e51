"""What a person reads of the evidence: tables, a picture, and commands as they are typed with what they print."""

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from html import escape
from pathlib import Path

from harness.environments import ROOT
from harness.survey import EVIDENCE, IMPLEMENTATIONS, INCONCLUSIVE, Evidence, Range, Row, few_words, ranges, rows
from harness.trial import CASES

PICTURE = EVIDENCE.with_name("survey.svg")
# Which pull request a change that the data may show is due to: release, case and the verdict that it led to.
PULL_REQUESTS = {
    ("0.17.0", "accept-headers", "rejected"): "#1293",
    ("0.20.0", "server-headers", "rejected"): "#1606",
    ("0.50.1", "unsplit-offer", "open"): "#3019",
}


def leading(evidence: Evidence) -> list[Range]:
    """The ranges at the start that every implementation and case has in common."""
    every = [ranges(rows(evidence, name, case)) for name in IMPLEMENTATIONS for case in CASES]
    common = []
    for column in zip(*every, strict=False):
        if len({(one.first.uvicorn, one.last.uvicorn, one.verdict, few_words(one.first)) for one in column}) > 1:
            break
        common.append(column[0])
    return common


def table(evidence: Evidence) -> str:
    """The ranges of releases for each implementation and case, as a Markdown table."""
    skipped = len(leading(evidence))
    lines = ["| implementation | case | releases |", "|---|---|---|"]
    for name in IMPLEMENTATIONS:
        for case in CASES:
            found = "<br>".join(_range(one) for one in ranges(rows(evidence, name, case))[skipped:])
            lines.append(f"| `{name}` | `{case}` | {found} |")
    return "\n".join(lines)


def not_shown(evidence: Evidence) -> str:
    """The sentence about the releases that no row of the table names."""
    parts = "; ".join(_range(one).replace("inconclusive: ", "") for one in leading(evidence))
    return f"Inconclusive in every row: {parts}." if parts else ""


def _range(one: Range) -> str:
    span = one.first.uvicorn if one.count == 1 else f"{one.first.uvicorn} - {one.last.uvicorn}"
    return f"{span} {one.verdict}" + (f": {few_words(one.first)}" if one.verdict == INCONCLUSIVE else "")


def tried(evidence: Evidence) -> str:
    """The sentence that says what the evidence was measured with."""
    newest = dict(pin.split("==") for pin in evidence.pins["websockets-sansio"])["websockets"]
    return (
        f"Measured {evidence.measured[:10]} on Python {evidence.python}, {evidence.platform};"
        f" the newest release tried is {evidence.trials[-1].uvicorn} ({evidence.trials[-1].released})."
        f" `websockets-sansio` ran with websockets {newest}, the other two with the pins of requirements-broken.txt."
    )


STYLE = """
text { font: 13px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
.small { font-size: 11.5px; fill: #59636e }
.strong { font-weight: 600 }
.open { fill: #dafbe1; stroke: #1a7f37 }
.rejected { fill: #cf222e; stroke: #82071e }
.inconclusive { stroke: #818b98; stroke-dasharray: 2 3; stroke-width: 1.5 }
.in-open { fill: #116329 }
.in-rejected { fill: #ffffff; font-weight: 600 }
.in-inconclusive { fill: #59636e; font-size: 11.5px }
.change { stroke: #59636e; stroke-width: 1; stroke-dasharray: 4 2 }
.axis { stroke: #818b98 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .small, .in-inconclusive { fill: #9198a1 }
  .open { fill: #12261e; stroke: #3fb950 }
  .rejected { fill: #da3633; stroke: #ff7b72 }
  .in-open { fill: #7ee787 }
  .in-rejected { fill: #ffffff }
  .change { stroke: #9198a1 }
}
"""
MEANINGS = {
    "server-headers": "the app's configuration sends the header, in uvicorn.Config(headers=)",
    "accept-headers": "the app sends the header, in the headers of websocket.accept",
    "unsplit-offer": "the app does nothing wrong; the client offers two subprotocols in one line",
    "none": "the app does not send the header: the control",
}
LEFT, STEP, ROW, TOP = 132, 8.6, 22, 108


def picture(evidence: Evidence) -> str:
    """The survey as an SVG: releases from left to right as they came out, a row for each implementation and case."""
    hidden = sum(one.count for one in leading(evidence))
    shown = rows(evidence, IMPLEMENTATIONS[0], CASES[0])[hidden:]
    place = {row.uvicorn: LEFT + number * STEP for number, row in enumerate(shown)}
    right = LEFT + len(shown) * STEP
    body = [_text(8, 20, "Does the handshake open? Every uvicorn release since the first that can be tried", "strong")]
    body += [
        _text(
            8, 38, "Green outline: it opens. Solid red: the client rejects it. Dashed line: cannot be judged.", "small"
        )
    ]
    y, below = TOP, {}
    for name in IMPLEMENTATIONS:
        body.append(_text(8, y + 15, name, "strong"))
        y += ROW
        for case in CASES:
            body.append(_text(18, y + 15, case))
            for one in ranges(rows(evidence, name, case)[hidden:]):
                body += _bar(one, place[one.first.uvicorn], y)
            y += ROW
        below[name] = y
        y += 8
    lines, labels = _changes(evidence, hidden, place, y)
    body = lines + body + labels + _years(shown, place, y, right)
    notes = [f"{case}: {meaning}" for case, meaning in MEANINGS.items()]
    ruled_out = [_range(one).replace("inconclusive: ", "") for one in leading(evidence)]
    notes += [f"Left out, for none can be judged: {'; '.join(ruled_out)}."] if ruled_out else []
    body += [_text(8, y + 60 + 16 * number, note, "small") for number, note in enumerate(notes)]
    height, width = round(y + 56 + 16 * len(notes)), round(right + 12)
    label = "Verdict of every uvicorn release for each implementation and case; the table says the same in words"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label="{label}">\n<style>{STYLE}</style>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _bar(one: Range, x: float, y: float) -> list[str]:
    width = one.count * STEP - 1.2
    title = f"<title>{escape(_range(one))}</title>"
    if one.verdict == INCONCLUSIVE:
        shape = f'<path class="inconclusive" d="M{x:.1f} {y + 11} h{width:.1f}">{title}</path>'
    else:
        shape = (
            f'<rect class="{one.verdict}" x="{x:.1f}" y="{y + 2}" width="{width:.1f}" height="18" rx="2">{title}</rect>'
        )
    word = {"inconclusive": few_words(one.first)}.get(one.verdict, one.verdict)
    if len(word) * 7 > width:
        return [shape]
    lift = 7 if one.verdict == INCONCLUSIVE else 15
    return [shape, _text(x + width / 2, y + lift, word, f"in-{one.verdict}", "middle")]


def _changes(evidence: Evidence, hidden: int, place: dict[str, float], bottom: float) -> tuple[list[str], list[str]]:
    """A line for each release in which a verdict turned, and its label above the rows."""
    turned: dict[str, list[str]] = {}
    for name in IMPLEMENTATIONS:
        for case in CASES:
            judged = [row for row in rows(evidence, name, case)[hidden:] if row.verdict != INCONCLUSIVE]
            for before, after in zip(judged, judged[1:], strict=False):
                if before.verdict != after.verdict:
                    number = PULL_REQUESTS.get((after.uvicorn, case, after.verdict), "")
                    word = "fixed" if after.verdict == "open" else "fails"
                    turned.setdefault(after.uvicorn, []).append(f"{number}\n{case} {word}")
    lines, labels = [], []
    for number_of, (version, changes) in enumerate(sorted(turned.items(), key=lambda item: place[item[0]])):
        number, what = changes[0].split("\n")
        x = place[version] - 0.6
        lines.append(f'<path class="change" d="M{x:.1f} {TOP - 10} V{bottom:.1f}"/>')
        # Labels read away from the nearer edge, and neighbours stand one below the other.
        anchor = "end" if x > LEFT + 60 * STEP else "start"
        level = 62 + 16 * (number_of % 3)
        text = f"{version} {number}: {what}".replace(" :", ":")
        labels.append(_text(x + (-4 if anchor == "end" else 4), level, text, "strong", anchor))
        lines.append(f'<path class="change" d="M{x:.1f} {level - 10} V{TOP - 10}"/>')
    return lines, labels


def _years(shown: Sequence[Row], place: dict[str, float], y: float, right: float) -> list[str]:
    marks = [f'<path class="axis" d="M{LEFT} {y + 4} H{right:.1f}"/>']
    year = ""
    for row in shown:
        if row.released[:4] != year:
            year, x = row.released[:4], place[row.uvicorn]
            marks.append(f'<path class="axis" d="M{x:.1f} {y + 4} v6"/>')
            marks.append(_text(x, y + 22, year, "small"))
    for version, anchor in ((shown[0].uvicorn, "start"), (shown[-1].uvicorn, "end")):
        marks.append(_text(LEFT if anchor == "start" else right, y + 37, version, "small", anchor))
    return marks


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "") -> str:
    attributes = (f' class="{kind}"' if kind else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(text)}</text>'


def write_picture(evidence: Evidence, file: Path = PICTURE) -> None:
    file.write_text(picture(evidence))


def typed(command: str, keep: str = "") -> str:
    """A command with what it prints now, as a Markdown block; `keep` is a pattern of the lines to show."""
    # Inside another make this one would say so.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True, env=environment)
    lines = elide(done.stdout).splitlines()
    shown = [line for line in lines if re.search(keep, line) and not line.startswith("Building an environment")]
    return "\n".join(["```console", f"$ {command}", *shown, "```"])


def elide(text: str) -> str:
    """The text without what differs from run to run or between machines: keys, ports, dates, paths, Pythons."""
    text = text.replace(str(ROOT), "/path/to/uvicorn-1778")
    text = re.sub(r"(?i)(sec-websocket-(?:key|accept)(?:: |', b'))[\w+/=]+", r"\1...", text)
    text = re.sub(r"(?i)^(< date: ).*", r"\1...", text, flags=re.MULTILINE)
    text = re.sub(r"(127\.0\.0\.1(?:', |:))\d+", r"\1PORT", text)
    return re.sub(r"Python(/| )3\.\d+(?:\.\d+)?", r"Python\g<1>3.x", text)
