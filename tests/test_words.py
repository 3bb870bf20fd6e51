"""One language: what is typed, what a mistake is told, what the words ask for."""

from pathlib import Path

import pytest

from harness import asking
from harness.asking import question
from harness.index import Index
from harness.judge import Question
from harness.place import Unavailable
from harness.words import VERBS, WORDS, Mistake, parse, typed

from .conftest import ROOT, harness, make, run

INDEX = Index.configured()


def ask(*given: str) -> Question:
    return question(parse(["try", *given])[1], INDEX)


def test_every_word_is_known_to_a_verb_and_every_verb_to_make() -> None:
    assert {name for verb in VERBS.values() for name in verb.words} | {"HELP"} == set(WORDS)
    assert f"HARNESS = {' '.join(VERBS)}\n" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["try", "uvicorn=1"], r"make try does not know uvicorn \(UVICORN\?\); it knows UVICORN, "),
        (["try", "UVICORN"], "make try does not know UVICORN"),
        (["try", "UVICORN="], "UVICORN= is empty"),
        (["bisekt"], r"bisekt is no verb \(bisect\?\): try, bisect, "),
        (["survey", "PRE=perhaps"], "PRE=perhaps is not yes or no"),
        (["try", "CASE=nonne"], r"CASE=nonne is no case \(none\?\): server-headers, accept-headers, unsplit-offer, "),
        (["try", "WS=websocket"], "WS=websocket is no implementation: websockets, wsproto, "),
        (["try", "APP=a.py", "CASE=none"], "CASE and APP cannot go together"),
        (["try", "RUN=true", "NONE=rejected"], "RUN and NONE cannot go together"),
        (["try", "WITH=fastapi"], "can only go with APP or RUN"),
        (["try", "WEBSOCKETS=none"], "can only go with APP or RUN"),
        (["bisect", "RUN=python nowhere.py"], "RUN: there is no file nowhere.py"),
        (["try", "APP=a b"], "APP=a b is no app, such as path/to/file.py:app or package.module:app"),
        (["try", "OFFER=a b"], "OFFER=a b names no subprotocols"),
        (["try", "URLPATH=ws"], "URLPATH=ws is no path of a URL"),
        (["try", "HEADER=a: b\nc"], "HEADER=a: b c is no header, such as "),
        (["try", "LIMIT=0.0"], "LIMIT=0.0 is no number above zero"),
        (["try", "RUN=true", "WITH===1"], "WITH: .*package name"),
        (["try", "WEBSOCKETS=many"], "WEBSOCKETS=many is no version"),
    ],
    ids=" ".join,
)
def test_a_mistake_names_what_can_be_meant(given: list[str], said: str) -> None:
    with pytest.raises(Mistake, match=said):
        question(parse(given)[1], INDEX)


def test_an_interpreter_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\necho nonsense\n")
    (tmp_path / "python").chmod(0o755)
    for named in ("9.9", str(tmp_path / "python")):
        with pytest.raises(Unavailable, match="install it, or give the path of one"):
            ask(f"INTERPRETER={named}")


def test_a_case_is_a_short_name_of_a_file_and_has_the_pins() -> None:
    for case, file in asking.cases().items():
        [app] = ask(f"CASE={case}").apps
        assert (app.name, app.case, app.ws) == (f"{file}:app", case, "websockets")
    assert "websockets==10.4" in ask().base.requirements
    assert "websockets==12.0" in ask("WEBSOCKETS=12.0").base.requirements
    assert ask("WS=websockets-sansio").base == ask("WEBSOCKETS=latest").base  # which the pinned could not run


def test_ones_own_has_what_a_fresh_install_brings_and_what_it_needs(tmp_path: Path) -> None:
    [app] = ask(f"APP={ROOT / 'server.py'}").apps
    assert (app.name, app.ws) == (f"{ROOT / 'server.py'}:app", "auto")
    own = ask("RUN=true")
    assert (own.base.fresh, "websockets" in own.base.requirements, own.at_once) == (True, True, 1)
    assert not [line for line in ask("RUN=true", "WEBSOCKETS=none").base.requirements if line.startswith("websockets")]
    (tmp_path / "script.py").write_text('# /// script\n# dependencies = ["uvicorn==0.1", "httpx"]\n# ///\n')
    assert ask(f"RUN=python {tmp_path}/script.py 'a b'").base.requirements == (*own.base.requirements, "httpx")


def test_a_value_arrives_as_it_was_typed_for_make_and_for_python(tmp_path: Path) -> None:
    value, file = "$HOME a'b\"c\n$(boom) `boom`\na b  c 100% $$ \\", tmp_path / "said"
    done = make("-s", "try", f"RUN=cat > {file} <<'END'\n{value}\nEND", "UVICORN=0.20.0")
    assert done.returncode == 0, done.stderr
    assert file.read_text() == f"{value}\n"
    assert run("sh", "-c", f"printf %s {typed('try', {'APP': value}, 'x')[2:]}").stdout == f"APP={value}"


def test_a_verdict_is_the_last_line_and_the_status_and_a_mistake_is_one_line() -> None:
    for words, status, last in (
        ("try UVICORN=0.20.0", 1, "verdict: rejected - InvalidHandshake: multiple subprotocols: "),
        ("try UVICORN=0.19.0", 0, "verdict: open"),
        ("try SOURCE=/nowhere", 125, "verdict: inconclusive - there is no uvicorn package in nowhere"),
        ("bisect HELP=yes", 0, f"  WITHDRAWN=    {WORDS['WITHDRAWN'].meaning} (no)"),
    ):
        done = harness(*words.split())
        assert (done.returncode, done.stderr) == (status, ""), words
        assert done.stdout.splitlines()[-1].startswith(last), words
    for verb, status in (("try", 125), ("bisect", 2)):  # git bisect run takes 2 for bad
        done = harness(verb, "CASE=many")
        assert (done.returncode, len(done.stderr.splitlines()), done.stdout) == (status, 1, "")
