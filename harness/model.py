"""What travels between the rooms of the harness. Python 3.8 and later: the trial reads it in every environment."""

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, Dict, List, Optional, Tuple

from client import CASES, Verdict

__all__ = ["CASES", "Verdict"]

IMPLEMENTATIONS = ("auto", "websockets", "wsproto", "websockets-sansio")
HEADER = "sec-websocket-protocol"
UPSTREAM = "https://github.com/Kludex/uvicorn"
Cell = Tuple[str, str]  # an implementation and a case
NO_CELL = ("", "")  # of a script, which has neither


class Cause(Enum):
    """Why a trial is inconclusive."""

    NO_WHEEL = "the index has no wheel of it"
    OTHER_PYTHON = "it requires another Python"
    OTHER_PINS = "it requires other versions than the pins"
    NO_IMPLEMENTATION = "it has no such implementation"
    MISSING_IMPORT = "it imports what the pins do not bring"
    NO_PACKAGE = "there is no uvicorn in the folder"
    IMPORT_FAILED = "it cannot be imported"
    NO_APP = "the app cannot be imported"
    NOT_STARTED = "it did not start"
    OTHER_ANSWER = "it answered something else"
    NO_ANSWER = "it did not answer, or the machine kept it from answering"
    ENDED = "its process ended, or was ended, before it said anything"
    OTHER_UVICORN = "another uvicorn ran"
    DISAGREEING = "its runs did not agree"
    UNPATCHED = "the patch does not apply to it"
    SKIPPED = "the script said that it cannot tell"
    DAMAGED = "files were changed after they were installed"
    UNAVAILABLE = "it could not be had"

    @property
    def lasting(self) -> bool:
        """Whether that follows from the release, the pins and the Python alone, so that every machine says the same."""
        return self in LASTING


LASTING = {
    *(Cause.NO_WHEEL, Cause.OTHER_PYTHON, Cause.OTHER_PINS, Cause.NO_IMPLEMENTATION, Cause.MISSING_IMPORT),
    Cause.OTHER_ANSWER,
}


@dataclass
class Trial:
    """One handshake and its verdict.

    `ran` is the class that handled the connection, `sent` holds the value of every Sec-WebSocket-Protocol
    line of the response in order, `reason` is a sentence for people, `cause` is set where it is inconclusive.
    """

    uvicorn: str
    implementation: str
    case: str
    verdict: Verdict = Verdict.inconclusive
    reason: str = ""
    cause: Optional[Cause] = None
    ran: str = ""
    sent: List[str] = field(default_factory=list)

    def to_json(self) -> Dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict.name, "cause": self.cause and self.cause.name}

    @classmethod
    def from_json(cls, data: Any) -> "Trial":
        """Raises KeyError, TypeError or ValueError for anything else than `to_json` gives."""
        trial = cls(**{**data, "verdict": Verdict[data["verdict"]], "cause": data["cause"] and Cause[data["cause"]]})
        texts = [trial.uvicorn, trial.implementation, trial.case, trial.reason, trial.ran, *trial.sent]
        if not all(isinstance(text, str) for text in texts) or (trial.cause is None) == (
            trial.verdict is Verdict.inconclusive
        ):
            raise ValueError("no trial")
        return trial


@dataclass
class Observation:
    """What only a reader wants of a trial; each part is empty where the trial did not get that far."""

    scope: str = ""
    lines: List[str] = field(default_factory=list)  # "> " sent, "< " received
    writers: List[Tuple[str, str]] = field(default_factory=list)  # who wrote a value of the header, and the value
    traceback: str = ""
    modules: List[str] = field(default_factory=list)  # uvicorn's files that were imported


@dataclass
class App:
    """An ASGI app of one's own, `path/to/file.py:app` or `package.module:app` seen from `folder`; how it is dialed."""

    name: str
    folder: str
    offer: List[str]
    path: str
    headers: List[Tuple[str, str]]


@dataclass
class Script:
    """A command of one's own: where it runs, with which variables, where its output goes, its limit in seconds."""

    command: List[str]
    folder: str
    environment: Dict[str, str]
    output: str
    limit: float


@dataclass
class Job:
    """All that is asked of one folder with `uvicorn/` in it: cases of server.py, or of an app or a script of one's own.

    `release` is the version that it must be, or empty; `whole` says that it must be as its wheel was,
    `observed` that somebody reads more than the verdicts.
    """

    source: str
    cells: List[Cell]
    release: str = ""
    whole: bool = False
    observed: bool = False
    app: Optional[App] = None
    script: Optional[Script] = None

    @classmethod
    def from_json(cls, data: Dict[str, Any]) -> "Job":
        app, script = data["app"] and App(**data["app"]), data["script"] and Script(**data["script"])
        return cls(**{**data, "app": app, "script": script})


def plain(text: str) -> str:
    """The text in one line that no terminal takes for more: white space is folded, and the rest as in `printable`."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """The text with all that is not printable escaped: control characters, line ends, changes of the direction."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
