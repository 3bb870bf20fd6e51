"""From the words that were typed to the question that is asked of each uvicorn."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement

from harness import base
from harness.base import Base, Interpreter
from harness.index import Index
from harness.judge import LIMIT, Question
from harness.model import App, plain
from harness.place import ROOT
from harness.words import SERVED, Mistake, Words, meant, near

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCRIPT_LIMIT = 60.0  # seconds
REPORTED = "server-headers"
RIVALS = (("CASE", "APP", "RUN"), ("SOURCE", "UVICORN"), *(("RUN", name) for name in SERVED[2:]))
METADATA = r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$\s?"  # of a script (PEP 723)


def cases() -> dict[str, Path]:
    """The cases by name: server.py, and each file in cases/."""
    files = {file.stem.replace("_", "-"): file for file in sorted((ROOT / "cases").glob("*.py"))}
    order = [name for name in ("accept-headers", "unsplit-offer", "header-alone") if name in files]
    return {REPORTED: ROOT / "server.py", **{name: files[name] for name in order}, **files}


def question(words: Words, index: Index) -> Question:
    """What the words ask for. Raises Mistake for what cannot be meant, Unavailable for what is not there."""
    for rivals in RIVALS:
        chosen = [name for name in rivals if name in words]
        if len(chosen) > 1:
            raise Mistake(f"{' and '.join(chosen)} cannot go together: leave one out")
    ws = words.get("WS", "auto" if "APP" in words else "websockets")
    line = words.get("RUN", "")
    # Where nothing but words, paths and options is there, each name of a script is that of a file.
    if re.fullmatch(r"\s*(?:python[\d.]*|pytest)\s[\w\s./=:-]*", line):
        for script in _scripts(line)[: None if "pytest" in line else 1]:  # what follows may be what it writes
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
        at_once=int(words.get("ATONCE", 1 if line or "APP" in words else os.cpu_count() or 1)),
    )


def beside(words: Words, ws: str, index: Index) -> Base:
    """What lies beside uvicorn: for a case the pins, with the newest websockets for what these cannot run; for one's
    own what a fresh install brings, and what it needs. Raises Mistake, Unavailable."""
    interpreter = Interpreter.find(words.get("INTERPRETER", ""))
    websockets, wsproto = words.get("WEBSOCKETS", ""), words.get("WSPROTO", "")
    if "APP" in words or "RUN" in words:
        more = [str(meant("WITH", Requirement, line)) for line in words.get("WITH", "").split()]
        more += _needed(_scripts(words.get("RUN", "")))
        if "REQUIREMENTS" in words:
            more.append(f"-r {_file('REQUIREMENTS', words['REQUIREMENTS']).resolve()}")
        return base.of_own(interpreter, websockets, wsproto, tuple(more))
    if "none" in (websockets, wsproto) or not words.keys().isdisjoint({"WITH", "REQUIREMENTS"}):
        raise Mistake("a case has its pins: WITH, REQUIREMENTS and versions of none can only go with APP or RUN")

    def version(name: str, text: str) -> str:
        if text != "latest":
            return text
        there = [one for one in index.releases(name) if one.admits(interpreter.version)]
        return [one.version for one in there if not (one.prerelease or one.withdrawn)][-1]

    if ws not in ("websockets", "wsproto"):
        websockets = websockets or "latest"
    return base.of_cases(interpreter, version("websockets", websockets), version("wsproto", wsproto))


def app(words: Words, ws: str) -> App:
    """The app that the words name, and how it is dialed. Raises Mistake."""
    known = cases()
    case = words.get("CASE", REPORTED)
    if case not in known:
        raise Mistake(f"CASE={plain(case)} is no case{near(case, known)}: {', '.join(known)}")
    name = words.get("APP", f"{known[case]}:app")
    found = re.fullmatch(r"(?s)(.+\.py|[\w.]+)(?::([\w.]+))?", name)
    if not found:
        raise Mistake(f"APP={plain(name)} is no app, such as path/to/file.py:app or package.module:app")
    module, attribute = found.groups("app")
    if module.endswith(".py"):
        module = str(_file("APP", module).resolve())
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


def _scripts(line: str) -> list[str]:
    """The words of a shell line that name a Python file."""
    return re.findall(r"(?<![^\s'\";&|])[^\s'\";&|=]+\.py\b", line)


def _needed(scripts: Sequence[str]) -> list[str]:
    """What scripts say that they need, but for uvicorn. Raises Mistake."""
    found: list[str] = []
    for script in filter(os.path.isfile, scripts):
        block = re.search(METADATA, Path(script).read_text(errors="replace"))
        text = re.sub(r"(?m)^# ?", "", block["content"]) if block else ""
        found += meant("RUN", tomllib.loads, text).get("dependencies", [])
    return [one for one in found if not re.match(r"(?i)uvicorn(?![\w.-])", one)]


def _file(name: str, path: str) -> Path:
    """The file that a word names. Raises Mistake where it is not there."""
    if not Path(path).is_file():
        raise Mistake(f"{name}: there is no file {plain(path)}")
    return Path(path)
