"""What the pages say is what the commands and the evidence say now."""

import re
import shlex
from pathlib import Path

import pytest

from evidence import page
from harness import words

from .conftest import ROOT, make, run

PAGES = ("README.md", "harness/README.md", "evidence/README.md", "upstream/README.md")
TEXT = {name: (ROOT / name).read_text() for name in PAGES}


def commands() -> dict[str, tuple[list[str], str]]:
    """Each command of the pages, with the lines that are shown below it and what is said beside it."""
    found: dict[str, tuple[list[str], str]] = {}
    for block in re.findall(r"```console\n(.*?)```", "\n".join(TEXT.values()), re.DOTALL):
        for part in re.split(r"(?m)^\$ ", block)[1:]:
            first, *shown = part.strip().split("\n")
            command, _, beside = first.partition("  #")
            before = found.get(command.strip(), ([], ""))
            found[command.strip()] = [*before[0], *filter(None, shown)], f"{before[1]} {beside}"
    return found


@pytest.mark.parametrize("command", commands())
def test_a_command_prints_what_is_shown_below_it_and_said_beside_it(command: str) -> None:
    shown, beside = commands()[command]
    printed = re.sub(r"Python 3\.\d+\.\d+\S*", "Python 3.x,", make("-s", *shlex.split(command)[1:]).stdout)
    at = 0
    for line in shown:
        assert line in printed[at:].splitlines(), line
        at = printed.index(line, at)
    said = re.findall(r"(?:first bad|first fixed|verdict): [\w.]+", beside)
    assert [text for text in said if text not in printed] == []
    assert shown or said


def test_the_figures_of_the_first_page_are_those_of_the_evidence() -> None:
    text = " ".join(TEXT["README.md"].split())
    for sentence in page.facts():
        assert sentence in text, sentence


def test_every_link_inside_leads_somewhere_and_every_other_has_a_known_form() -> None:
    known = r"https://(github\.com/(Kludex/uvicorn|villekr/ocpp-asgi)/|www\.rfc-editor\.org/rfc/rfc6455|asgi\.readthedocs\.io/|docs\.astral\.sh/)"
    for name, text in TEXT.items():
        for link in re.findall(r"\]\(([^)]+)\)", text):
            if link.startswith("http"):
                assert re.match(known, link), link
            elif not link.startswith("#"):
                assert ((ROOT / name).parent / link.partition("#")[0]).exists(), f"{name}: {link}"


def test_every_make_command_that_is_named_is_there_and_knows_its_words() -> None:
    targets = (ROOT / "Makefile").read_text()
    for name, text in TEXT.items():
        for command in re.findall(r"`(make [^`]*)`|^\$ (make .*?)(?:  +#|$)", text, re.MULTILINE):
            verb, *given = shlex.split("".join(command).split(" > ")[0])[1:] or ["help"]
            assert re.search(rf"(?m)^(HARNESS|EVIDENCE) = .*\b{verb}\b|^{verb}\b.*:", targets), f"{name}: {command}"
            if verb in words.VERBS:
                assert {word.partition("=")[0] for word in given} <= {*words.VERBS[verb].words, "HELP"}, command


def test_the_table_of_all_words_is_that_of_the_tool() -> None:
    assert words.table() in TEXT["harness/README.md"]


def test_the_pages_are_short_and_the_root_has_what_its_page_names() -> None:
    assert len(TEXT["README.md"].splitlines()) <= 130
    listed = run("git", "ls-files", cwd=ROOT).stdout.split()
    top = {Path(name).parts[0] for name in listed if not name.startswith(".")}
    ring_0 = {"README.md", "Makefile", "server.py", "client.py", "requirements-broken.txt", "requirements-fixed.txt"}
    assert top == ring_0 | {"LICENSE", "pyproject.toml", "cases", "harness", "evidence", "upstream", "tests"}
