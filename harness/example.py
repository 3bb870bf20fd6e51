"""The example of a report: one file that runs by itself, and shows the failure or is not given."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.asking import REPORTED
from harness.index import Index, Release
from harness.judge import Judge, Question
from harness.model import App, Verdict
from harness.place import ROOT, scratch
from harness.prose import fenced, folded, public

REPRO = ROOT / "harness" / "repro.py"  # the example for the reported app; others differ in the pins, app and last line
UNFOLDED = 85  # lines
BLOCK = re.compile(r"(?m)^# /// script$\s(^#(| .*)$\s)+^# ///$\s")  # PEP 723: a file may have one


def given(asked: Question, index: Index, bad: Sequence[Release], good: Sequence[Release]) -> str:
    """The example as Markdown, pinned to the last bad release, and what it did just now; a line where there is none."""
    if not bad:
        return "No example: nothing fails."
    text = public(composed(asked, bad[-1].version))
    if not text or not shows(text, asked, index, bad, good):
        return "No example: no file was found that shows it by itself."
    failed, opened = (" and ".join(one.version for one in some) or "no other" for some in (bad, good))
    ran = f"Run by itself just now, it ends with status 1 with uvicorn {failed}, and with status 0 with {opened}."
    code = fenced(text, "python")
    if code.count("\n") >= UNFOLDED:
        code = folded("repro.py", code)
    return f"{ran} `uv run repro.py` installs what it pins, and runs it.\n\n{code}"


def composed(asked: Question, uvicorn: str) -> str:
    """The file: its pins, the app as it stands in its own file, and what serves and dials it. Empty for a package."""
    app = asked.apps[0]
    place, _, name = app.name.rpartition(":")
    if not place.endswith(".py"):
        return ""
    reported, show = re.split(r"\n+(?=def show)", BLOCK.sub("", REPRO.read_text()))
    text = reported if app.case == REPORTED else served_only(BLOCK.sub("", Path(place).read_text()))
    pins = asked.base.pins
    if any(line.startswith("-r ") for line in asked.base.requirements):
        pins = [f"{one}=={version}" for one, version in asked.base.versions.items()]
    needed = [pin for pin in pins if not pin.startswith("loguru=") or "loguru" in text]  # only server.py's log needs it
    lines = "".join(f'#   "{pin}",\n' for pin in [f"uvicorn=={uvicorn}", *needed])
    python = ".".join(asked.base.interpreter.version.split(".")[:2])
    block = f'# /// script\n# requires-python = ">={python}"\n# dependencies = [\n{lines}# ]\n# ///\n'
    return f"{block}{text.strip()}\n\n\n{show[: show.index('show(app, ws=')]}{call(app, name, text)}\n"


def call(app: App, name: str, text: str) -> str:
    """How the app is served and dialed: as the words say, else as its file does in HEADERS, OFFER and NONE."""
    words = [name, f'ws="{app.ws}"']
    said = (("headers", app.headers, "HEADERS"), ("offered", app.offer, "OFFER"), ("none", app.none, "NONE"))
    for word, value, own in said:
        if value is not None:
            words.append(f"{word}={json.dumps(value)}")
        elif re.search(rf"(?m)^{own}\b", text):
            words.append(f"{word}={own}")
    if app.path != "/":
        words.append(f"path={json.dumps(app.path)}")
    return f"show({', '.join(words)})"


def served_only(text: str) -> str:
    """A module without its docstring, and without what it does where it is run: it would serve for ever."""
    lines = text.splitlines()
    for node in reversed(ast.parse(text).body):
        told = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if told or (isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)):
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
    # A Python that fails ends with status 1 too.
    fails = all(one.verdict is Verdict.rejected and "; It fails: " in one.reason for one in failed)
    return fails and all(one.verdict is Verdict.open for one in opened)
