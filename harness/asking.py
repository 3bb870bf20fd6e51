"""From the words that were typed to the question that is asked of each uvicorn."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from harness import base
from harness.base import Base, Interpreter
from harness.index import Index
from harness.judge import LIMIT, Question
from harness.model import IMPLEMENTATIONS, App, plain
from harness.place import ROOT
from harness.words import Mistake, Words, meant, near

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCRIPT_LIMIT = 60.0  # seconds
REPORTED = "server-headers"


def cases() -> dict[str, Path]:
    """The cases by name: server.py, and each file in cases/."""
    files = {file.stem.replace("_", "-"): file for file in sorted((ROOT / "cases").glob("*.py"))}
    order = [name for name in ("accept-headers", "unsplit-offer", "header-alone") if name in files]
    return {REPORTED: ROOT / "server.py", **{name: files[name] for name in order}, **files}


def question(words: Words, index: Index) -> Question:
    """What the words ask for. Raises Mistake for what cannot be meant, Unavailable for what is not there."""
    _no_contradiction(words)
    ws = words.get("WS", "auto" if "APP" in words else "websockets")
    if ws not in IMPLEMENTATIONS:
        raise Mistake(f"WS={plain(ws)} is no implementation{near(ws, IMPLEMENTATIONS)}: {', '.join(IMPLEMENTATIONS)}")
    line = words.get("RUN", "")
    # Where nothing but words, paths and options is there, each name of a script is that of a file.
    if re.fullmatch(r"\s*(?:python[\d.]*|pytest)\s[\w\s./=:-]*", line):
        for script in re.findall(r"(?<=\s)[\w./-]+\.py\b", line):
            _file("RUN", script)
    apps = () if line else (app(words, ws),)
    return Question(
        base=beside(words, ws, index),
        name=f"{apps[0].case}, WS={ws}" if apps else f"RUN={plain(line)}",
        apps=apps,
        line=line,
        limit=float(words.get("LIMIT", LIMIT if apps else SCRIPT_LIMIT)),
        patch=_file("PATCH", words["PATCH"]).absolute() if "PATCH" in words else None,
        runs=int(words.get("RUNS", 1)),
        at_once=int(words.get("ATONCE", 1 if _is_own(words) else os.cpu_count() or 1)),
    )


def beside(words: Words, ws: str, index: Index) -> Base:
    """What lies beside uvicorn: for a case the pins, with the newest websockets for what these cannot run; for one's
    own what a fresh install brings, and what it needs. Raises Mistake, Unavailable."""
    own = _is_own(words)
    interpreter = Interpreter.named(words.get("INTERPRETER", ""))

    def version(name: str, default: str = "") -> str:
        text = words.get(name, default)
        if text == "latest" and not own:
            there = [one for one in index.releases(name.lower()) if not (one.prerelease or one.withdrawn)]
            return [one.version for one in there if one.admits(interpreter.version)][-1]
        return text if text in ("", "latest", "none") else str(meant(name, Version, text))

    websockets = version("WEBSOCKETS", "" if own or ws in ("websockets", "wsproto") else "latest")
    wsproto = version("WSPROTO")
    if not own:
        return base.of_cases(interpreter, websockets, wsproto)
    more = [str(meant("WITH", Requirement, line)) for line in words.get("WITH", "").split()]
    more += _needed(words.get("RUN", ""))
    if "REQUIREMENTS" in words:
        more.append(f"-r {_file('REQUIREMENTS', words['REQUIREMENTS']).resolve()}")
    return base.of_own(interpreter, websockets, wsproto, tuple(more))


def app(words: Words, ws: str) -> App:
    """The app that the words name, and how it is dialed. Raises Mistake."""
    known = cases()
    case = words.get("CASE", REPORTED)
    if case not in known:
        raise Mistake(f"CASE={plain(case)} is no case{near(case, known)}: {', '.join(known)}")
    name = words.get("APP", f"{known[case]}:app")
    named = re.search(r":([\w.]+)\Z", name)
    module, attribute = (name[: named.start()], named[1]) if named else (name, "app")
    if module.endswith(".py"):
        module = str(_file("APP", module).resolve())
    elif not re.fullmatch(r"[\w.]+", module):
        raise Mistake(f"APP={plain(name)} is no app, such as path/to/file.py:app or package.module:app")
    pairs = [line.partition(":") for line in words.get("HEADER", "").splitlines() if line]
    return App(
        name=f"{module}:{attribute}",
        folder=str(Path.cwd()),
        ws=ws,
        case=f"APP={plain(words['APP'])}" if "APP" in words else case,
        headers=[[name, value.strip()] for name, _, value in pairs] if "HEADER" in words else None,
        offer=[part.strip() for part in words["OFFER"].split(",")] if "OFFER" in words else None,
        none=words.get("NONE"),
        path=words.get("URLPATH", "/"),
    )


def _needed(line: str) -> list[str]:
    """What a Python script among the words of a shell line says that it needs (PEP 723), but for uvicorn."""
    for word in re.findall(r"[^\s'\";&|]+\.py", line):
        if Path(word).is_file():
            text = Path(word).read_text(errors="replace")
            block = re.search(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$", text)
            lines = "".join(re.findall(r"(?m)^# ?(.*\n)", block["content"])) if block else ""
            found: list[str] = meant("RUN", tomllib.loads, lines).get("dependencies", [])
            return [one for one in found if canonicalize_name(re.split(r"[^\w.-]", one)[0]) != "uvicorn"]
    return []


def _file(name: str, path: str) -> Path:
    """The file that a word names. Raises Mistake where it is not there."""
    if not Path(path).is_file():
        raise Mistake(f"{name}: there is no file {plain(path)}")
    return Path(path)


def _is_own(words: Words) -> bool:
    return not words.keys().isdisjoint({"APP", "RUN"})


def _no_contradiction(words: Words) -> None:
    for rivals in (("CASE", "APP", "RUN"), ("SOURCE", "UVICORN")):
        chosen = [name for name in rivals if name in words]
        if len(chosen) > 1:
            raise Mistake(f"{' and '.join(chosen)} each name what is judged: give one")
    served = [name for name in ("WS", "OFFER", "HEADER", "URLPATH", "NONE") if name in words]
    if "RUN" in words and served:
        raise Mistake(f"RUN has no use for {', '.join(served)}: leave that out")
    needs = [name for name in ("WITH", "REQUIREMENTS") if name in words]
    needs += [f"{name}=none" for name in ("WEBSOCKETS", "WSPROTO") if words.get(name) == "none"]
    if needs and not _is_own(words):
        raise Mistake(f"{' and '.join(needs)} can only go with APP or RUN: a case has its pins")
