"""The report: it bisects first, claims what it measured just now, and holds nothing of the machine that measured."""

import getpass
import re
import socket
import sys
from pathlib import Path

import pytest

from harness import example, prose
from harness.asking import question
from harness.index import Index, Release

from .conftest import ROOT, Source, harness, run

FIELDS = ["Initial Checks", "Discussion Link", "Description", "Example Code", "Python, Uvicorn & OS Version"]
PRIVATE = (str(ROOT), f"{Path.home()}/", f"{socket.gethostname()}:", f"/{getpass.getuser()}/", sys.prefix)


def code(text: str) -> str:
    return text.split("```python\n")[1].split("```")[0]


@pytest.fixture
def newest(releases: dict[str, Release]) -> str:
    return [one for one in releases.values() if not one.prerelease and not one.withdrawn][-1].version


@pytest.mark.parametrize(
    ("asked", "last", "first", "mended"),
    [
        ("CASE=server-headers", "0.19.0", "0.20.0", False),
        ("CASE=accept-headers", "0.16.0", "0.17.0.post1", False),
        ("CASE=unsplit-offer WS=websockets-sansio", "0.50.0", "0.50.1", True),
        ("CASE=header-alone", "0.19.0", "0.20.0", True),
    ],
)
def test_its_example_alone_shows_what_it_says_of_both_sides_and_the_newest(
    asked: str, last: str, first: str, mended: bool, newest: str, source: Source, tmp_path: Path
) -> None:
    text, newly = harness("report", *asked.split()).stdout, "first fixed" if mended else "first bad"
    rows = [(last, "last bad" if mended else "last good"), (first, newly), (newest, "the newest")]
    assert re.findall(r"(?m)^\| (\S+) \([\d-]+\), ([^|]*) \|", text) == rows
    assert re.findall(r"(?m)^### (.*)", text) == FIELDS[2 if mended else 0 :]
    for of_a_report in ("discussions/new?category=potential-issue", "- [ ] ", "upstream/README.md", "pull/1780"):
        assert (of_a_report in text) == (not mended), of_a_report
    assert '\nTraceback (most recent call last):\n  File "client.py", line ' in text
    assert not [private for private in PRIVATE if private in text]
    assert len(re.sub(r"(?s)<details>.*?</details>", "", text).splitlines()) <= 130
    (tmp_path / "repro.py").write_text(code(text))
    beside = question(dict(word.split("=") for word in asked.split()), Index.configured()).base.made()
    for version, name in rows:
        ran = run(sys.executable, "-S", "repro.py", cwd=tmp_path, PYTHONPATH=f"{source(version)}:{beside}")
        assert ran.returncode == ("bad" in name or (name == "the newest" and not mended)), ran.stdout + ran.stderr


def test_where_nothing_fails_it_says_of_how_many_releases() -> None:
    text = harness("report", "CASE=none").stdout
    assert re.search(r"opens with each of the \d\d releases from 0\.12\.1 to \S+ that got a verdict", text)
    assert "No example: nothing fails." in text


def test_the_example_of_the_reported_app_is_the_file_that_others_are_made_from() -> None:
    composed = example.composed(question({}, Index.configured()), "0.54.0")
    ours, theirs = (re.sub("requires-python = .*", "", text) for text in (example.REPRO.read_text(), composed))
    assert ours == f"{theirs}\n"
    assert run(sys.executable, "-I", "-S", example.REPRO).returncode == 125  # there is no uvicorn


def test_ones_own_app_is_the_example_where_that_shows_it(newest: str, tmp_path: Path) -> None:
    """The newest release may have no verdict."""
    text = f'import uvicorn\nHOME = "{Path.home()}/secret"\nassert uvicorn.__version__ != "{newest}"\n\n'
    text += (ROOT / "cases" / "accept_headers.py").read_text() + "\nif __name__ == '__main__':\n\tuvicorn.run(app)\n"
    (tmp_path / "mine.py").write_text(text)
    words = ("APP=mine.py", "URLPATH=/?token=hush", "OFFER=ocpp2.0.1,ocpp1.6", "OUTPUT=it.md")
    assert harness("report", *words, cwd=tmp_path).stdout == ""
    text = (tmp_path / "it.md").read_text()
    assert f"the handshake cannot be judged with uvicorn {newest}, the newest release" in text
    assert f'assert uvicorn.__version__ != "{newest}"' in code(text)
    assert '\nOFFER = ["ocpp2.0.1", "ocpp1.6"]\n' in code(text)
    assert code(text).endswith('\nshow(app, ws="auto", path="/", offer=OFFER)\n')
    assert not [private for private in (*PRIVATE, str(tmp_path), "hush", "uvicorn.run") if private in text]
    (tmp_path / "alone.py").write_text("from mine import app")
    assert "No example: no file was found that shows it" in harness("report", "APP=alone.py", cwd=tmp_path).stdout


def test_text_of_others_cannot_break_out() -> None:
    block = prose.fenced("a``````b\n<script>\x1b[2J\u202e\n")
    assert block == "```````text\na``````b\n<script>\\x1b[2J\\u202e\n```````"
    assert prose.inline("`<b>`\n|@all") == "`\u02bc<b>\u02bc \u2223@all`"
