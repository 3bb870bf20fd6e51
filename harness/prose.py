"""Text of others as Markdown that it cannot break out of, and with nothing of this machine in it."""

import re
from html import escape
from pathlib import Path

from harness.model import plain, printable
from harness.place import ROOT
from harness.sources import redacted


def inline(text: str) -> str:
    """Text as code inside a line, or inside a cell of a table."""
    return f"`{plain(public(text)).replace('`', chr(0x2BC)).replace('|', chr(0x2223))}`"


def fenced(text: str, language: str = "text") -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{public(text)}\n{fence}"


def folded(title: str, text: str) -> str:
    return f"<details><summary>{escape(title, quote=False)}</summary>\n\n{text}\n\n</details>"


def paragraphs(text: str) -> str:
    """Each paragraph in one line: in a discussion or an issue GitHub shows every line end."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def public(text: str) -> str:
    """The text without what is not printable, the secrets of URLs and the paths of this machine; in a traceback those
    of packages remain, from the package on."""
    text = redacted("\n".join(map(printable, text.expandtabs(4).splitlines())))
    text = re.sub(r'File "/[^"]*/(?:site-packages|bases/[^/"]*|python3\.\d+)/', 'File "', text)
    text = re.sub(r'File "/[^"]*/', 'File "', text)
    for folder in {str(one) for one in (ROOT, Path.cwd(), Path.home())} - {"/"}:
        text = text.replace(f"{folder}/", "")
    return text
