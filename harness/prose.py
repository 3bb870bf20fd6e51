"""Text of others as Markdown that it cannot break out of, and with nothing of this machine in it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from harness.model import plain, printable
from harness.place import ROOT
from harness.sources import redacted

LINE = 500  # characters of a line
RANDOM = re.compile(r"(?i)(?<=[<>] )(sec-websocket-key|sec-websocket-accept|date|host): .*")


def inline(text: str) -> str:
    """Text as code inside a line, or inside a cell of a table."""
    return f"`{plain(public(text))[:LINE].replace('`', chr(0x2BC)).replace('|', chr(0x2223))}`"


def fenced(text: str, language: str = "text") -> str:
    lines = [printable(line)[:LINE] for line in public(text).splitlines()]
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return "\n".join([f"{fence}{language}", *lines, fence])


def folded(title: str, text: str) -> str:
    return f"<details><summary>{escape(title, quote=False)}</summary>\n\n{text}\n\n</details>"


def paragraphs(text: str) -> str:
    """Each paragraph in one line: in a discussion or an issue GitHub shows every line end."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def difference(good: Sequence[str], bad: Sequence[str]) -> str:
    """Two handshakes as a diff, without what differs each time."""
    before, after = ([RANDOM.sub(r"\1: ...", line) for line in lines] for lines in (good, bad))
    return fenced("\n".join(difflib.unified_diff(before, after, "opens", "fails", lineterm="", n=99)), "diff")


def public(text: str) -> str:
    """The text without secrets of URLs, and of paths only what is the same on every machine: from the packages on."""
    text = re.sub(r'File "[^"]*/(?:site-packages|bases/[^/"]*)/', 'File "site-packages/', redacted(text))
    text = re.sub(r'File "[^"]*/(python3\.\d+/)(?!site-packages)', r'File "\1', text)
    text = re.sub(r'File "/[^"]*/', 'File "', text)
    for folder in {str(one) for one in (ROOT, Path.cwd(), Path.home())} - {"/"}:
        text = text.replace(f"{folder}/", "")
    return text
