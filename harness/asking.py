"""From the words that were typed to the question that is asked of each uvicorn."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from harness import base
from harness.base import Base, Interpreter
from harness.index import Index, checked
from harness.judge import LIMIT, Question
from harness.model import IMPLEMENTATIONS, App, plain
from harness.place import ROOT
from harness.words import Mistake, near

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, section 5.6.2: what a header's name and a subprotocol may be
DAY = 86_400  # seconds
SCRIPT_LIMIT = 60.0  # seconds
REPORTED = "server-headers"


def cases() -> dict[str, Path]:
    """The cases by name: server.py, and each file in cases/."""
    others = {file.stem.replace("_", "-"): file for file in sorted((ROOT / "cases").glob("*.py"))}
    order = [name for name in ("accept-headers", "unsplit-offer", "header-alone") if name in others]
    return {REPORTED: ROOT / "server.py", **{name: others.pop(name) for name in order}, **others}


def question(words: Mapping[str, str], index: Index) -> Question:
    """What the words ask for. Raises Mistake for what cannot be meant, Unavailable for what is not there."""
    _no_contradiction(words)
    own = "APP" in words or "RUN" in words
    ws = words.get("WS", "auto" if "APP" in words else "websockets")
    if ws not in IMPLEMENTATIONS:
        raise Mistake(f"WS={plain(ws)} is no implementation{near(ws, IMPLEMENTATIONS)}: {', '.join(IMPLEMENTATIONS)}")
    beside = of_own(words, index) if own else of_case(words, ws, index)
    patch = Path(words["PATCH"]).absolute() if "PATCH" in words else None
    if patch and not patch.is_file():
        raise Mistake(f"PATCH: there is no file {plain(words['PATCH'])}")
    if "RUN" in words:
        plainly = re.fullmatch(r"\s*(?:python[\d.]*|pytest)\s[\w\s./=:-]*", words["RUN"])
        for file in re.findall(r"(?<=\s)[\w./-]+\.py\b", words["RUN"]) if plainly else ():
            if not Path(file).is_file():
                raise Mistake(f"RUN: there is no file {plain(file)}")
        name, limit = f"RUN={plain(words['RUN'])}", SCRIPT_LIMIT
        apps: tuple[App, ...] = ()
    else:
        apps = (app(words, ws),)
        name, limit = f"{apps[0].case}, WS={ws}", LIMIT
    return Question(
        base=beside,
        name=name,
        apps=apps,
        line=words.get("RUN", ""),
        limit=number(words, "LIMIT", limit, DAY),
        patch=patch,
        runs=int(number(words, "RUNS", 1, 1000)),
        at_once=int(number(words, "ATONCE", 1 if own else os.cpu_count() or 1, 1000)),
    )


def of_case(words: Mapping[str, str], ws: str, index: Index) -> Base:
    """The base of a case: the pins, with the newest websockets for what these cannot run."""
    interpreter = Interpreter.named(words.get("INTERPRETER", ""))
    asked = words.get("WEBSOCKETS", "" if ws in ("websockets", "wsproto") else "latest")
    versions = [
        version(index, name, text, interpreter)
        for name, text in (("websockets", asked), ("wsproto", words.get("WSPROTO", "")))
    ]
    return base.of_cases(interpreter, *versions)


def version(index: Index, package: str, text: str, interpreter: Interpreter) -> str:
    """The version of a package that is asked for; empty for the pinned one. Raises Mistake, Unavailable."""
    if text == "latest":
        fitting = [r for r in index.releases(package) if r.admits(interpreter.version) and not r.prerelease]
        return [one.version for one in fitting if not one.withdrawn][-1]
    return str(_version(package.upper(), text)) if text else ""


def of_own(words: Mapping[str, str], index: Index) -> Base:
    """The base of one's own app or script."""
    for name in ("WEBSOCKETS", "WSPROTO"):
        if words.get(name, "latest") not in ("latest", "none"):
            _version(name, words[name])
    more = [_requirement("WITH", line) for line in words.get("WITH", "").split()]
    more += needed(words.get("RUN", ""))
    if "REQUIREMENTS" in words:
        file = Path(words["REQUIREMENTS"])
        if not file.is_file():
            raise Mistake(f"REQUIREMENTS: there is no file {plain(str(file))}")
        more.append(f"-r {file.resolve()}")
    interpreter = Interpreter.named(words.get("INTERPRETER", ""))
    return base.of_own(interpreter, words.get("WEBSOCKETS", ""), words.get("WSPROTO", ""), tuple(more))


def app(words: Mapping[str, str], ws: str) -> App:
    """The app that the words name, and how it is dialed. Raises Mistake."""
    known = cases()
    case = words.get("CASE", REPORTED)
    if case not in known:
        raise Mistake(f"CASE={plain(case)} is no case{near(case, known)}: {', '.join(known)}")
    given = words.get("APP", f"{known[case]}:app")
    name = given if re.search(r":[\w.]+$", given) else f"{given}:app"
    place, _, attribute = name.rpartition(":")
    if place.endswith(".py"):
        if not Path(place).is_file():
            raise Mistake(f"APP: there is no file {plain(place)}")
        name = f"{Path(place).resolve()}:{attribute}"
    elif not re.fullmatch(r"[\w.]+", place):
        raise Mistake(f"APP={plain(given)} is no app, such as path/to/file.py:app or package.module:app")
    offer = [part.strip() for part in words["OFFER"].split(",")] if "OFFER" in words else None
    if offer is not None and not all(re.fullmatch(TOKEN, part) for part in offer):
        raise Mistake(f"OFFER={plain(words['OFFER'])} names no subprotocols, such as ocpp2.0.1,ocpp1.6")
    path = words.get("URLPATH", "/")
    if not re.fullmatch(r"/[!-~]*", path) or "#" in path:
        raise Mistake(f"URLPATH={plain(path)} is no path of a URL, such as /ws/1?token=x")
    if words.get("NONE", "rejected") not in ("rejected", "inconclusive"):
        raise Mistake(f"NONE={plain(words['NONE'])}: it is rejected or inconclusive")
    called = f"APP={plain(words['APP'])}" if "APP" in words else case
    return App(name, str(Path.cwd()), ws, called, headers(words.get("HEADER")), offer, words.get("NONE"), path)


def headers(text: str | None) -> list[list[str]] | None:
    """The headers in lines of `Name: value`; none of them for an empty text. Raises Mistake."""
    if text is None:
        return None
    found = []
    for line in filter(None, text.splitlines()):
        key, colon, value = line.partition(":")
        if not colon or not re.fullmatch(TOKEN, key) or not re.fullmatch(r"[ -~]*", value):
            raise Mistake(f"HEADER={plain(line)} is no header, such as Sec-WebSocket-Protocol: ocpp1.6")
        found.append([key, value.strip()])
    return found


def needed(line: str) -> list[str]:
    """What a Python script among the words of a shell line says that it needs (PEP 723), but for uvicorn."""
    for word in re.findall(r"[^\s'\";&|]+\.py", line):
        if Path(word).is_file():
            text = Path(word).read_text(errors="replace")
            block = re.search(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$", text)
            lines = "".join(re.findall(r"(?m)^# ?(.*\n)", block["content"])) if block else ""
            found: list[str] = tomllib.loads(lines).get("dependencies", [])
            return [one for one in found if canonicalize_name(re.split(r"[^\w.-]", one)[0]) != "uvicorn"]
    return []


def number(words: Mapping[str, str], name: str, default: float, most: float) -> float:
    """A number above zero. Raises Mistake."""
    text = words.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= most or (name != "LIMIT" and value != int(value)):
        raise Mistake(f"{name}={plain(text)}: it is a number above zero, up to {most:g}")
    return value


def yes(words: Mapping[str, str], name: str) -> bool:
    """Whether a word says yes. Raises Mistake for anything but yes and no."""
    if words.get(name, "no") not in ("yes", "no"):
        raise Mistake(f"{name}={plain(words[name])}: it is yes or no")
    return words.get(name) == "yes"


def _no_contradiction(words: Mapping[str, str]) -> None:
    chosen = [name for name in ("CASE", "APP", "RUN") if name in words]
    if len(chosen) > 1:
        raise Mistake(f"{' and '.join(chosen)} each name what is judged: give one")
    served = [name for name in ("WS", "OFFER", "HEADER", "URLPATH", "NONE") if name in words]
    if "RUN" in words and served:
        raise Mistake(f"{', '.join(served)} {_say(served)} nothing to RUN: leave {_say(served, 'it', 'them')} out")
    needs = [name for name in ("WITH", "REQUIREMENTS") if name in words]
    if needs and not {"APP", "RUN"} & words.keys():
        raise Mistake(f"{' and '.join(needs)} {_say(needs, 'goes', 'go')} with APP or RUN")
    if not {"APP", "RUN"} & words.keys() and "none" in (words.get("WEBSOCKETS"), words.get("WSPROTO")):
        raise Mistake("none goes with APP or RUN: the cases need both libraries")


def _say(names: Sequence[Any], one: str = "means", several: str = "mean") -> str:
    return one if len(names) == 1 else several


def _version(name: str, text: str) -> str:
    try:
        return str(checked(text))
    except ValueError as error:
        raise Mistake(f"{name}: {error}") from None


def _requirement(name: str, line: str) -> str:
    try:
        return base.requirement(line)
    except ValueError as error:
        raise Mistake(f"{name}: {error}") from None
