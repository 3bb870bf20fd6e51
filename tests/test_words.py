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


def test_every_word_is_known_to_a_verb_and_every_verb_knows_its_words() -> None:
    known = {name for verb in VERBS.values() for name in verb.words}
    assert known | {"HELP"} == set(WORDS)
    assert f"HARNESS = {' '.join(VERBS)}\n" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["try", "uvicorn=1"], r"make try does not know uvicorn \(UVICORN\?\); it knows UVICORN, "),
        (["try", "UVICORN"], "make try does not know UVICORN"),
        (["try", "UVICORN="], "UVICORN= is empty: a release"),
        (["bisekt"], r"bisekt is no verb \(bisect\?\): try, bisect, "),
        ([], "nothing is no verb"),
        (["survey", "PRE=perhaps"], "PRE=perhaps: it is yes or no"),
        (["try", "CASE=nonne"], r"CASE=nonne is no case \(none\?\): server-headers, accept-headers, unsplit-offer, "),
        (["try", "WS=websocket"], r"no implementation \(websockets\?\)"),
        (["try", "APP=a.py", "CASE=none"], "CASE and APP each name what is judged: give one"),
        (["try", "SOURCE=a", "UVICORN=0.20.0"], "SOURCE and UVICORN each name what is judged: give one"),
        (["try", "RUN=true", "WS=auto", "NONE=rejected"], "RUN has no use for WS, NONE: leave that out"),
        (["try", "WITH=fastapi"], "WITH can only go with APP or RUN"),
        (["try", "APP=nowhere.py"], "APP: there is no file nowhere.py"),
        (["bisect", "RUN=python nowhere.py"], "RUN: there is no file nowhere.py"),
        (["try", "APP=a b"], "APP=a b is no app, such as path/to/file.py:app or package.module:app"),
        (["try", "OFFER=a b"], "OFFER=a b names no subprotocols"),
        (["try", "URLPATH=ws"], "URLPATH=ws is no path of a URL"),
        (["try", "HEADER=a: b\nc"], "HEADER=a: b c is no header, such as "),
        (["try", "NONE=maybe"], "NONE=maybe: it is rejected or inconclusive"),
        (["try", "RUN=true", "LIMIT=nan"], "LIMIT=nan: it is a number above zero"),
        (["try", "RUN=true", "LIMIT=0.0"], "LIMIT=0.0: it is a number above zero"),
        (["try", "RUNS=1.5"], "RUNS=1.5: it is a number above zero"),
        (["try", "PATCH=nowhere.diff"], "PATCH: there is no file nowhere.diff"),
        (["try", "RUN=true", "REQUIREMENTS=nowhere.txt"], "REQUIREMENTS: there is no file nowhere.txt"),
        (["try", "RUN=true", "WITH===1"], "WITH: .*package name"),
        (["try", "WEBSOCKETS=many"], "WEBSOCKETS: Invalid version: 'many'"),
        (["try", "WEBSOCKETS=none"], "WEBSOCKETS=none can only go with APP or RUN"),
    ],
    ids=" ".join,
)
def test_a_mistake_names_what_can_be_meant(given: list[str], said: str) -> None:
    with pytest.raises(Mistake, match=said):
        question(parse(given)[1], INDEX)


def test_an_interpreter_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\necho nonsense\n")
    (tmp_path / "python").chmod(0o755)
    for named in ("9.9", str(tmp_path / "python"), str(tmp_path)):
        with pytest.raises(Unavailable, match="install it, or give the path of one"):
            ask(f"INTERPRETER={named}")


def test_a_case_is_a_short_name_of_a_file() -> None:
    assert [*asking.cases()][:4] == ["server-headers", "accept-headers", "unsplit-offer", "header-alone"]
    for case, file in asking.cases().items():
        [app] = ask(f"CASE={case}").apps
        assert (app.name, app.case, app.ws) == (f"{file}:app", case, "websockets")
    [own] = ask(f"APP={ROOT / 'server.py'}").apps
    assert (own.name, own.ws) == (f"{ROOT / 'server.py'}:app", "auto")


def test_the_cases_have_the_pins_and_ones_own_what_a_fresh_install_brings(tmp_path: Path) -> None:
    assert "websockets==10.4" in ask().base.requirements
    assert "websockets==12.0" in ask("WEBSOCKETS=12.0").base.requirements
    assert ask("WS=websockets-sansio").base == ask("WEBSOCKETS=latest").base  # which the pinned could not run
    own = ask("RUN=true")
    assert own.base == ask("RUN=false").base
    assert (own.base.fresh, "websockets" in own.base.requirements, own.at_once) == (True, True, 1)
    assert not [line for line in ask("RUN=true", "WEBSOCKETS=none").base.requirements if line.startswith("websockets")]
    (tmp_path / "script.py").write_text('# /// script\n# dependencies = ["uvicorn==0.1", "httpx"]\n# ///\n')
    assert ask(f"RUN=python {tmp_path}/script.py 'a b'").base.requirements == (*own.base.requirements, "httpx")


def test_a_value_arrives_as_it_was_typed_for_make_and_for_python(tmp_path: Path) -> None:
    value, file = "$HOME a'b\"c\n$(boom) `boom`\na b  c 100% $$ \\", tmp_path / "said"
    done = make("-s", "try", f"RUN=cat > {file} <<'END'\n{value}\nEND", "UVICORN=0.20.0")
    assert done.returncode == 0, done.stderr
    assert file.read_text() == f"{value}\n"
    command = typed("try", {"APP": value}).removeprefix("make try APP=")
    assert run("sh", "-c", f"printf %s {command}").stdout == value


def test_help_is_made_from_the_table() -> None:
    printed = harness("bisect", "HELP=yes").stdout
    for name in VERBS["bisect"].words:
        assert f"  {name + '=':14}{WORDS[name].meaning}" in printed


@pytest.mark.parametrize(
    ("words", "status", "last"),
    [
        ("try UVICORN=0.20.0", 1, "verdict: rejected - InvalidHandshake: multiple subprotocols: "),
        ("try UVICORN=0.19.0", 0, "verdict: open"),
        ("try SOURCE=/nowhere", 125, "verdict: inconclusive - there is no uvicorn package in nowhere"),
        # A mistake is one line, and for `git bisect run` no verdict.
        ("try CASE=many", 125, ""),
        ("bisect CASE=many", 2, ""),
    ],
)
def test_a_verdict_is_the_last_line_and_the_status(words: str, status: int, last: str) -> None:
    done = harness(*words.split())
    assert (done.returncode, len(done.stderr.splitlines())) == (status, 0 if last else 1)
    assert done.stdout.splitlines()[-1].startswith(last) if last else not done.stdout
