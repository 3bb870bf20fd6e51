"""One language: what is typed, what a mistake is told, what the words ask for."""

import shlex
from pathlib import Path

import pytest

from harness import asking
from harness.index import Index
from harness.judge import Question
from harness.place import Unavailable
from harness.words import WORDS, Mistake, parse, typed

from .conftest import ROOT, harness, make, run

# What is typed, and what is said of it.
MISTAKES = {
    "try uvicorn=1": r"make try does not know uvicorn \(UVICORN\?\); it knows UVICORN, ",
    "try UVICORN": "make try does not know UVICORN",
    "bisekt": r"bisekt is no verb \(bisect\?\): try, bisect, ",
    "try CASE=nonne": r"CASE=nonne is no case \(none\?\): server-headers, accept-headers, unsplit-offer, ",
    "try APP=a.py CASE=none": "CASE and APP cannot go together",
    "try RUN=true NONE=rejected": "RUN and NONE cannot go together",
    "try WITH=fastapi": "can only go with APP or RUN",
    "try WEBSOCKETS=none": "can only go with APP or RUN",
    "bisect 'RUN=python nowhere.py'": "RUN: there is no file nowhere.py",
    "try RUN=true WITH===1": "WITH===1: .*package name",
    "try INTERPRETER=9.9": "no Python 9.9 here: install it, or give the path of one",
    "try INTERPRETER=/bin/echo": "no Python /bin/echo here",
    "try UVICORN=": "UVICORN= is empty",
    "try WS=websocket": "WS=websocket is no implementation: websockets, wsproto, ",
    "try 'APP=a b'": "APP=a b is no app, such as path/to/file.py:app or package.module:app",
    "try 'HEADER=a: b\nc'": "HEADER=a: b c is no header, such as ",
    "try LIMIT=0.0": "LIMIT=0.0 is no number above zero",
}


def ask(line: str) -> Question:
    return asking.question(parse(shlex.split(line))[1], Index.configured())


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_names_what_can_be_meant(line: str) -> None:
    with pytest.raises((Mistake, Unavailable), match=MISTAKES[line]):
        ask(line)


def test_a_case_has_the_pins_and_ones_own_what_a_fresh_install_brings_and_it_needs(tmp_path: Path) -> None:
    for case, file in asking.cases().items():
        [app] = ask(f"try CASE={case}").apps
        assert (app.name, app.case, app.ws) == (f"{file}:app", case, "websockets")
    assert "websockets==10.4" in ask("try").base.requirements
    assert "websockets==12.0" in ask("try WEBSOCKETS=12.0").base.requirements
    assert ask("try WS=websockets-sansio").base == ask("try WEBSOCKETS=latest").base  # which the pinned could not run
    [app] = ask(f"try 'APP={ROOT}/server.py'").apps
    assert (app.name, app.ws) == (f"{ROOT / 'server.py'}:app", "auto")
    own = ask("try RUN=true")
    assert (own.base.fresh, "websockets" in own.base.requirements, own.at_once) == (True, True, 1)
    assert not [one for one in ask("try RUN=true WEBSOCKETS=none").base.requirements if one.startswith("websockets")]
    (tmp_path / "script.py").write_text('# /// script\n# dependencies = ["uvicorn==0.1", "httpx"]\n# ///\n')
    needed = ask(f"try \"RUN=python {tmp_path}/script.py 'a b'\"").base.requirements
    assert needed == (*own.base.requirements, "httpx")


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
    for words, status in (("try CASE=many", 125), ("bisect CASE=many", 2), ("try JSON=/nowhere/x", 125)):
        done = harness(*words.split())  # git bisect run takes 2 for bad
        assert (done.returncode, len(done.stderr.splitlines()), done.stdout) == (status, 1, "")
