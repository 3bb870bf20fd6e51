"""The language: for each verb the words that it knows, as a person types them for make and for `python -m harness`."""

import difflib
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from harness.model import IMPLEMENTATIONS, plain

Words = Mapping[str, str]  # the values that were typed, by name
T = TypeVar("T")


class Mistake(ValueError):
    """What is wrong with what was typed, in one line that says what to type instead."""


TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, section 5.6.2: what a header's name and a subprotocol may be
# What a value looks like, and what is said of one that does not.
ANY = (r"(?s).+", "is empty")
YES = (r"yes|no", "is not yes or no")
COUNT = (r"[1-9]\d{0,2}|1000", "is no number from 1 to 1000")
SECONDS = (r"(?=.*[1-9])\d{0,5}(\.\d*)?", "is no number above zero, up to 99999")
NAMES = (rf"\s*{TOKEN}(\s*,\s*{TOKEN})*\s*", "names no subprotocols, such as ocpp2.0.1,ocpp1.6")
HEADERS = (rf"[\r\n]*({TOKEN}:[ -~]*([\r\n]+|\Z))*", "is no header, such as Sec-WebSocket-Protocol: ocpp1.6")
PATH = (r"/[!\"$-~]*", "is no path of a URL, such as /ws/1?token=x")
PART = (r"start|bisect", "is not start or bisect")
VERDICT = (r"rejected|inconclusive", "is not rejected or inconclusive")
VERSION = (r"latest|none|\d[\w.]*", "is no version, such as 10.4, nor latest or none")
IMPLEMENTATION = ("|".join(IMPLEMENTATIONS), f"is no implementation: {', '.join(IMPLEMENTATIONS)}")


class Word(NamedTuple):
    """What a word means, what it is worth where it is not given, and what its value looks like."""

    meaning: str
    default: str = ""
    form: tuple[str, str] = ANY


class Verb(NamedTuple):
    """What a verb does, and the words that it knows."""

    meaning: str
    words: tuple[str, ...] = ()


WORDS = {
    "UVICORN": Word("a release", "the newest"),
    "SOURCE": Word("a folder with uvicorn/ in it, such as a checkout, in place of a release"),
    "GOOD": Word("a release or a date (for commits: a revision too) that is open", "found out"),
    "BAD": Word("one that is rejected, later or earlier", "found out"),
    "FROM": Word("the first release, or a date", "the first that can be judged"),
    "TO": Word("the last release, or a date", "the newest"),
    "PRE": Word("yes: pre-releases too", "no", YES),
    "WITHDRAWN": Word("yes: releases that were withdrawn too", "no", YES),
    "REPO": Word("the path or the URL of a git repository of uvicorn", "uvicorn's own"),
    "CASE": Word("server-headers (server.py), or the name of a file in cases/", "server-headers"),
    "APP": Word("an ASGI app of your own: file.py:app or package.module:app"),
    "RUN": Word("a line for the shell: status 0 is open, 125 inconclusive, others up to 124 rejected"),
    "WS": Word(
        "the implementation: websockets, wsproto, websockets-sansio, auto", "websockets; for APP auto", IMPLEMENTATION
    ),
    "OFFER": Word("the subprotocols that the client offers, with commas", "the app's OFFER, or ocpp2.0.1", NAMES),
    "HEADER": Word("'Name: value' for uvicorn's headers=; several in lines", "the app's HEADERS, or none", HEADERS),
    "URLPATH": Word("the path of the URL, with a query if need be", "/", PATH),
    "NONE": Word("rejected: an opened handshake without a subprotocol", "the app's NONE, or inconclusive", VERDICT),
    "WITH": Word("what APP or RUN needs, as for pip"),
    "REQUIREMENTS": Word("the same, from a requirements file"),
    "WEBSOCKETS": Word("a version of websockets, latest or none", "the pinned; for APP and RUN the latest", VERSION),
    "WSPROTO": Word("a version of wsproto, latest or none", "the pinned; for APP and RUN the latest", VERSION),
    "INTERPRETER": Word("another Python: 3.12, or a path", "this one"),
    "PATCH": Word("a diff that is applied to each uvicorn before"),
    "RUNS": Word("how often each is judged; all must agree", "1", COUNT),
    "LIMIT": Word("seconds for one", "30; for RUN 60", SECONDS),
    "ATONCE": Word("how many are judged at once", "1; for a case as many as there are cores", COUNT),
    "JSON": Word("a file for the result, for machines"),
    "OUTPUT": Word("a file for it", "what is printed"),
    "AT": Word("bisect: begin with the bisect that you judge", "the five steps before it", PART),
    "HELP": Word("yes: the words that the verb knows"),
}
SERVED = ("CASE", "APP", "WS", "OFFER", "HEADER", "URLPATH", "NONE")
BESIDE = (*SERVED, "WITH", "REQUIREMENTS", "WEBSOCKETS", "WSPROTO", "INTERPRETER")
ASKED = (*BESIDE, "RUN", "PATCH", "RUNS", "LIMIT", "JSON")
MANY = (*ASKED, "ATONCE", "PRE", "WITHDRAWN")
VERBS = {
    "try": Verb("judge one uvicorn", ("UVICORN", "SOURCE", *ASKED)),
    "bisect": Verb("find the release that changed the verdict", ("GOOD", "BAD", *MANY)),
    "bisect-commits": Verb("find the commit that did", ("REPO", "GOOD", "BAD", *ASKED)),
    "survey": Verb("judge every release, and show every change", ("FROM", "TO", *MANY)),
    "report": Verb("bisect, and write a report to start a discussion with", (*BESIDE, "OUTPUT")),
    "lesson": Verb("predict, run, see why; then judge a bisect yourself", ("AT",)),
}


def parse(arguments: Sequence[str], verbs: Mapping[str, Verb] = VERBS) -> tuple[str, dict[str, str]]:
    """The verb and the words that were typed, as `VERB NAME=value ...`. Raises Mistake."""
    verb, *rest = arguments or [""]
    if verb not in verbs:
        raise Mistake(f"{plain(verb) or 'nothing'} is no verb{near(verb, verbs)}: {', '.join(verbs)}")
    known = (*verbs[verb].words, "HELP")
    given: dict[str, str] = {}
    for word in rest:
        name, equals, value = word.partition("=")
        if name not in known or not equals:
            raise Mistake(f"make {verb} does not know {plain(name)}{near(name, known)}; it knows {', '.join(known)}")
        form, otherwise = WORDS[name].form
        if not re.fullmatch(form, value):
            raise Mistake(f"{name}={plain(value)} {otherwise}")
        given[name] = value
    return verb, given


def near(word: str, known: Iterable[str]) -> str:
    """The known word that was meant, if there is one, as the end of a sentence."""
    names = {one.upper(): one for one in known}
    found = difflib.get_close_matches(word.upper(), names, 1)
    return f" ({names[found[0]]}?)" if found else ""


def meant(name: str, read: Callable[[str], T], text: str) -> T:
    """What the value of a word is read as. Raises Mistake with the words of the ValueError where it cannot be read."""
    try:
        return read(text)
    except ValueError as error:
        raise Mistake(f"{name}={plain(text)}: {error}") from None


def table() -> str:
    """All words, with the verbs that know each, as a Markdown table."""
    lines = ["| word | means | if not given | verbs |", "|---|---|---|---|"]
    for name, word in WORDS.items():
        who = ", ".join(verb for verb, one in VERBS.items() if name in one.words)
        lines += [f"| `{name}=` | {word.meaning} | {word.default} | {who} |"] if who else []
    return "\n".join(lines)


def explained(verb: str, verbs: Mapping[str, Verb] = VERBS) -> str:
    """What a verb does and the words that it knows, a line each, for a terminal."""
    lines = [f"make {verb}: {verbs[verb].meaning}"]
    for name in verbs[verb].words:
        meaning, default, _ = WORDS[name]
        lines.append(f"  {name + '=':14}{meaning}" + (f" ({default})" if default else ""))
    return "\n".join(lines)


def typed(verb: str, words: Words, *command: str) -> str:
    """The command that asks another verb the same, for a shell: make's, if it is not given. JSON= is for one run."""
    kept = [f"{name}={value}" for name, value in words.items() if name in VERBS[verb].words and name != "JSON"]
    return shlex.join([*(command or ("make", verb)), *kept])
