"""The example of a report: one file that runs by itself, and shows the failure or is not given."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.index import Index, Release
from harness.judge import Judge, Question
from harness.model import App, Verdict
from harness.place import ROOT, scratch
from harness.prose import fenced, folded, public

# The app of server.py, without what client.py's log needs.
REPORTED = """
HEADERS = [("Sec-WebSocket-Protocol", "ocpp2.0.1, ocpp2.0, ocpp1.6")]


async def app(scope, receive, send):
    assert scope["type"] == "websocket", "no lifespan"
    await receive()
    await send({"type": "websocket.accept", "subprotocol": "ocpp2.0.1"})
    await receive()
"""
UNFOLDED = 85  # lines
BLOCK = re.compile(r"(?m)^# /// script$\s(^#(| .*)$\s)+^# ///$\s")  # PEP 723: a file may have one


def given(asked: Question, index: Index, bad: Sequence[Release], good: Sequence[Release]) -> str:
    """The example as Markdown, pinned to the last bad release, and what it did just now; a line where there is none."""
    if not bad:
        return "No example: nothing fails."
    text = public(composed(asked, bad[-1].version))
    if not text:
        return "No example: the app is not in a file of its own."
    if not shows(text, asked, index, bad, good):
        return "No example: what is in the app's file does not show it by itself."
    failed, opened = (" and ".join(one.version for one in some) for some in (bad, good))
    ran = f"Run by itself just now, it ends with status 1 with uvicorn {failed}"
    ran += f", and with status 0 with {opened}." if good else "."
    code = fenced(text, "python")
    code = code if code.count("\n") < UNFOLDED else folded("repro.py", code)
    return f"{ran} `uv run repro.py` installs what it pins, and runs it.\n\n{code}"


def composed(asked: Question, uvicorn: str) -> str:
    """The file: its pins, the app as it stands in its own file, and what serves and dials it. Empty for a package."""
    app = asked.apps[0]
    place, _, name = app.name.rpartition(":")
    if not place.endswith(".py"):
        return ""
    own = app.case.startswith("APP=")
    reported = not own and place == str(ROOT / "server.py")
    text = REPORTED.strip() if reported else part_of(BLOCK.sub("", Path(place).read_text()), own).strip()
    pins = asked.base.named().split(", ")[1:]
    if any(line.startswith("-r ") for line in asked.base.requirements):
        pins = [f"{one}=={version}" for one, version in asked.base.versions.items()]
    if not own:
        pins = [pin for pin in pins if not pin.startswith("loguru") or "loguru" in text]
    lines = "".join(f'#   "{pin}",\n' for pin in [f"uvicorn=={uvicorn}", *pins])
    python = ".".join(asked.base.interpreter.version.split(".")[:2])
    shake = (ROOT / "harness" / "shake.py").read_text()
    return (
        f'# /// script\n# requires-python = ">={python}"\n# dependencies = [\n{lines}# ]\n# ///\n'
        f"{text}\n\n\n{shake[shake.index('def show') :]}\n\n{call(app, name, text)}\n"
    )


def call(app: App, name: str, text: str) -> str:
    """How the app is served and dialed: as the words say, else as its file does in HEADERS, OFFER and NONE."""
    words = [name, f'ws="{app.ws}"']
    said = (("headers", app.headers, "HEADERS"), ("offered", app.offer, "OFFER"), ("none", app.none, "NONE"))
    for word, value, own in said:
        if value is not None or re.search(rf"(?m)^{own}\b", text):
            words.append(f"{word}={own if value is None else json.dumps(value)}")
    path = [f"path={json.dumps(app.path)}"] if app.path != "/" else []
    return f"show({', '.join([*words, *path])})"


def part_of(text: str, own: bool) -> str:
    """A module without what it does where it is run: it would serve for ever. A case goes without its docstring too."""
    lines = text.splitlines()
    for node in reversed(ast.parse(text).body):
        main = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        if main or (not own and isinstance(node, ast.Expr)):
            del lines[node.lineno - 1 : node.end_lineno]
    return "\n".join(lines)


def shows(text: str, asked: Question, index: Index, bad: Sequence[Release], good: Sequence[Release]) -> bool:
    """Whether the file, run by itself, fails beside each of the bad releases, and beside none of the good ones."""
    with scratch("example") as aside:
        (aside / "repro.py").write_text(text)
        alone = Question(asked.base, "the example", line=f"python {shlex.quote(str(aside / 'repro.py'))}", limit=60)
        with Judge(alone, index) as judging:
            failed, opened = ([judging.release(one)[0] for one in some] for some in (bad, good))
            shutil.rmtree(judging.printed, ignore_errors=True)
    said = ("agrees on no subprotocol.", "and may name one.")  # a Python that fails ends with status 1 too
    fails = all(one.verdict is Verdict.rejected and one.reason.endswith(said) for one in failed)
    return fails and all(one.verdict is Verdict.open for one in opened)
