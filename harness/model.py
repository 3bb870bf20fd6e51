"""What travels between the modules. Python 3.8 and later: it is read in every environment under test."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from client import Verdict as Verdict

UPSTREAM = "https://github.com/Kludex/uvicorn"
IMPLEMENTATIONS = ("websockets", "wsproto", "websockets-sansio", "auto")
HEADER = "sec-websocket-protocol"


class Cause(Enum):
    """Why a trial is inconclusive."""

    NO_WHEEL = "the index has no wheel of it"
    OTHER_PYTHON = "it requires another Python"
    OTHER_PINS = "it requires other versions than there are"
    NO_IMPLEMENTATION = "it has no such implementation"
    MISSING_IMPORT = "it imports what is not there"
    OTHER_ANSWER = "it answered something else"
    UNPATCHED = "the patch does not apply to it"
    UNAVAILABLE = "it cannot be had, or not be put here"
    NO_APP = "the app cannot be imported"
    LATE = "it did not end in time"
    FAILED = "it failed in another way"  # which another day or machine need not see again


class Inconclusive(Exception):
    """Why a uvicorn cannot be judged: the cause and a sentence."""

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


@dataclass(frozen=True)
class App:
    """An ASGI app, and how it is served and dialed.

    `name` is `/path/to/file.py:app`, or `package.module:app` as seen from `folder`. What is None here is what the
    module says in HEADERS, OFFER and NONE; where it says nothing: no headers, ocpp2.0.1, inconclusive.
    """

    name: str
    folder: str
    ws: str
    case: str = ""
    headers: list[list[str]] | None = None
    offer: list[str] | None = None
    none: str | None = None
    path: str = "/"


@dataclass(frozen=True)
class Script:
    """A line for `sh`. What it prints goes to the file `output`, which uvicorns it imported to the file `imported`."""

    line: str
    folder: str
    variables: dict[str, str]
    output: str
    imported: str


@dataclass(frozen=True)
class Job:
    """What is asked of one folder with `uvicorn/` in it: apps or a script, within `limit` seconds.

    `release` is the version that it must be, or empty; `changes` says that its files may change, so that no bytecode
    is kept.
    """

    folder: str
    limit: float
    apps: tuple[App, ...]
    script: Script | None
    release: str
    changes: bool


@dataclass
class Trial:
    """One handshake, or one run of a script, and its verdict.

    `reason` is a sentence for people, `cause` is set where it is inconclusive, `ran` is the class that handled the
    connection, `sent` the value of every Sec-WebSocket-Protocol line of the response, in order, `lines` the handshake
    as websockets logs it, `traceback` that of a client that rejects it.
    """

    uvicorn: str
    implementation: str = ""
    case: str = ""
    verdict: Verdict = Verdict.inconclusive
    reason: str = ""
    cause: Cause | None = Cause.FAILED
    ran: str = ""
    sent: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    traceback: str = ""

    def settle(self, verdict: Verdict, reason: str, cause: Cause | None = None) -> Trial:
        self.verdict, self.reason, self.cause = verdict, reason, cause
        return self

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict.name, "cause": self.cause and self.cause.name}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Trial:
        """Raises KeyError, TypeError or ValueError for anything else than `to_json` gives."""
        cause = data["cause"] and Cause[data["cause"]]
        trial = cls(**{**data, "verdict": Verdict[data["verdict"]], "cause": cause})
        texts = [trial.uvicorn, trial.reason, trial.ran, trial.traceback, *trial.sent, *trial.lines]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("no text")
        return trial

    @property
    def last_line(self) -> str:
        return f"verdict: {self.verdict.name}" + (f" - {self.reason}" if self.reason else "")


def plain(text: str) -> str:
    """The text in one line that no terminal takes for more: white space is folded, and the rest as in `printable`."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """The text with all that is not printable escaped: control characters, line ends, changes of the direction."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
