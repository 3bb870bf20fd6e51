"""The example of a report: one file that runs by itself, and shows the failure or is not given."""

import json
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.asking import METADATA, REPORTED
from harness.index import Index, Release
from harness.judge import Judge, Question
from harness.model import Verdict
from harness.place import ROOT, scratch
from harness.prose import fenced, folded, public

REPRO = ROOT / "harness" / "repro.py"  # the example for the reported app; others differ in the pins, app and last line
UNFOLDED = 85  # lines


def given(asked: Question, index: Index, bad: Sequence[Release], good: Sequence[Release]) -> str:
    """The example as Markdown, pinned to the last bad release, and what it did just now; a line where there is none."""
    if not bad:
        return "No example: nothing fails."
    text = composed(asked, bad[-1].version)
    if not text or not shows(text, asked, index, bad, good):
        return "No example: no file was found that shows it by itself."
    failed, opened = (" and ".join(one.version for one in some) or "no other" for some in (bad, good))
    ran = f"Run by itself just now, it ends with status 1 with uvicorn {failed}, and with status 0 with {opened}."
    code = fenced(text, "python")
    if code.count("\n") > UNFOLDED:
        code = folded("repro.py", code)
    return f"{ran} `uv run repro.py` installs what it pins, and runs it.\n\n{code}"


def composed(asked: Question, uvicorn: str) -> str:
    """The file: its pins, the app as it stands in its own file, and what serves and dials it. Empty for a package."""
    app, base = asked.apps[0], asked.base
    file, _, name = app.name.rpartition(":")
    if not file.endswith(".py"):
        return ""
    *reported, show, _ = re.sub(METADATA, "", REPRO.read_text()).split("\n\n\n")
    text = "\n\n\n".join(reported)
    if app.case != REPORTED:  # what it does where it is run itself would serve for ever
        text = re.split(r"(?m)^if __name__\b", re.sub(METADATA, "", Path(file).read_text()))[0].strip()
    said = {"HEADERS": app.headers, "OFFER": app.offer, "NONE": app.none}
    text += "".join(f"\n{own} = {json.dumps(value)}" for own, value in said.items() if value is not None)
    given = [f"{own.lower()}={own}" for own in said if re.search(rf"(?m)^{own}\b", text)]
    call = ", ".join([name, f'ws="{app.ws}"', f"path={json.dumps(app.path)}", *given])
    pins = [pin for pin in base.pins if not pin.startswith("loguru=") or "loguru" in text]  # server.py alone logs
    if any(line.startswith("-r ") for line in base.requirements):
        pins = [f"{one}=={version}" for one, version in base.versions.items()]
    lines = "".join(f'#   "{pin}",\n' for pin in [f"uvicorn=={uvicorn}", *pins])
    python, _, _ = base.interpreter.version.rpartition(".")
    block = f'# /// script\n# requires-python = ">={python}"\n# dependencies = [\n{lines}# ]\n# ///\n'
    return public("\n\n\n".join([block + text, show, f"show({call})"]))


def shows(text: str, asked: Question, index: Index, bad: Sequence[Release], good: Sequence[Release]) -> bool:
    """Whether the file, run by itself, fails beside each of the bad releases, and beside none of the good ones."""
    with scratch("example") as aside:
        (aside / "repro.py").write_text(text)
        alone = Question(asked.base, "the example", line=f"python {shlex.quote(str(aside / 'repro.py'))}", limit=60)
        with Judge(alone, index) as judging:
            failed, opened = ([judging.release(one)[0] for one in some] for some in (bad, good))
            shutil.rmtree(alone.printed, ignore_errors=True)
    # A Python that fails ends with status 1 too.
    fails = all(one.verdict is Verdict.rejected and "; It fails: " in one.reason for one in failed)
    return fails and all(one.verdict is Verdict.open for one in opened)
