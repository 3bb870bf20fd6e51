"""What the pages say is what the commands and the evidence say now."""

import re
import shlex

import pytest

from evidence import page
from harness import words

from .conftest import ROOT, make

PAGES = ("README.md", "harness/README.md", "evidence/README.md", "upstream/README.md")
TEXT = {name: (ROOT / name).read_text() for name in PAGES}
BLOCKS = "\n".join(re.findall(r"(?s)```console\n(.*?)```", "\n".join(TEXT.values())))
COMMANDS = [part.strip() for part in re.split(r"(?m)^\$ ", BLOCKS)[1:]]  # each with what is shown below it
VERDICT = re.compile(r"(?:first bad|first fixed|verdict): [\w.]+")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_prints_what_is_shown_below_it_and_told_beside_it(command: str) -> None:
    first, *shown = filter(None, command.split("\n"))
    typed, _, beside = first.partition("  #")
    told = VERDICT.findall(beside)
    printed = re.sub(r"Python 3\.\d+\.\d+\S*", "Python 3.x,", make("-s", *shlex.split(typed)[1:]).stdout)
    lines = iter(printed.splitlines())
    assert [line for line in shown if line not in lines] == []  # each after the one before
    assert [verdict for verdict in told if verdict not in printed] == []
    assert shown or told


def test_the_pages_say_what_the_evidence_and_the_tool_say_and_the_first_is_short() -> None:
    text = " ".join(TEXT["README.md"].split())
    assert [sentence for sentence in page.facts() if sentence not in text] == []
    assert words.table() in TEXT["harness/README.md"]
    assert len(TEXT["README.md"].splitlines()) <= 130


def test_every_link_inside_leads_somewhere_and_every_make_command_is_known_with_its_words() -> None:
    targets = (ROOT / "Makefile").read_text()
    for name, text in TEXT.items():
        for link in re.findall(r"\]\((?!http)([^)#]+)", text):
            assert ((ROOT / name).parent / link).exists(), f"{name}: {link}"
        for inline, block in re.findall(r"`(make [^`]*)`|^\$ (make .*?)(?:  +#|$)", text, re.MULTILINE):
            verb, *given = shlex.split((inline or block).split(" > ")[0])[1:] or ["help"]
            assert re.search(rf"(?m)^(HARNESS|EVIDENCE) = .*\b{verb}\b|^{verb}\b.*:", targets), f"{name}: {verb}"
            if verb in words.VERBS:
                assert {word.partition("=")[0] for word in given} <= {*words.VERBS[verb].words, "HELP"}, given
