"""What the lesson asks: the steps with their commands, and the last questions; each answered by what is measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.model import HEADER

RESPONSE = rf"(?i)< (http|{HEADER})|verdict: "
LINES = ("none", "one", "two")
VERDICTS = ("it opens", "the client refuses it", "neither: something else happens")


def count(lines: Sequence[str]) -> str:
    """a, b or c for no line of the header, one or two; empty for more."""
    return "abc"[sum(line.lower().startswith(f"< {HEADER}") for line in lines) :][:1]


def verdict(lines: Sequence[str]) -> str:
    """a, b or c for open, rejected or inconclusive; empty where there is no verdict."""
    found = re.match(r"verdict: (open|rejected|inconclusive)", lines[-1] if lines else "")
    return {"open": "a", "rejected": "b", "inconclusive": "c"}[found[1]] if found else ""


def change(lines: Sequence[str]) -> str:
    """a or b where 0.20.0 is the first bad or the first fixed; c where it is neither."""
    found = re.search(r"first (bad|fixed): 0\.20\.0", "\n".join(lines))
    return {"bad": "a", "fixed": "b"}[found[1]] if found else "c"


def helped(reported: bool, other: bool) -> tuple[bool, bool, bool]:
    return reported and not other, other and not reported, reported and other


@dataclass(frozen=True)
class Step:
    """A question to answer before a command runs; `answers` matches the lines of its output that tell, and `measured`
    makes of these the choice a, b or c, or nothing."""

    command: str
    asks: str
    choices: tuple[str, str, str]
    measured: Callable[[Sequence[str]], str]
    why: str
    answers: str = RESPONSE


BROKEN, FIXED = "make broken", "make fixed"
CONTROL, ACCEPTED = "make try UVICORN=0.20.0 CASE=none", "make try UVICORN=0.18.3 CASE=accept-headers"
ALONE = "make bisect CASE=header-alone GOOD=0.22.0 BAD=0.18.0"
STEPS = (
    Step(
        BROKEN,
        "The app accepts with subprotocol='ocpp2.0.1', and uvicorn is told in headers=\n"
        "to send Sec-WebSocket-Protocol: ocpp2.0.1, ocpp2.0, ocpp1.6 as well.\n"
        "How many lines of this header has the response of uvicorn 0.20.0?",
        LINES,
        count,
        "uvicorn writes a line for subprotocol=, and adds headers= as it is. RFC 6455\nallows one line.",
    ),
    Step(
        FIXED,
        "The same app and client with uvicorn 0.19.0, one release earlier. How many now?",
        LINES,
        count,
        "Before #1606, in 0.20.0, headers= did not reach WebSocket responses.",
    ),
    Step(
        CONTROL,
        "Is uvicorn 0.20.0 at fault? Keep it, and take the header out of headers=.",
        VERDICTS,
        verdict,
        "The header is the server's to send. This is the control, and the repair.",
    ),
    Step(
        ACCEPTED,
        "Now the header is in the headers of websocket.accept, and uvicorn is 0.18.3,\n"
        "which is older than 0.19.0. What happens?",
        VERDICTS,
        verdict,
        "uvicorn sends those headers since #1293, in 0.17.0: another way to the failure.",
    ),
    Step(
        ALONE,
        "Pages say: upgrade to 0.20.0. Another app leaves the header to headers=, and\n"
        "accepts without subprotocol=. What is 0.20.0 for that app?",
        ("the first bad release", "the first fixed release", "neither"),
        change,
        "Until then nothing was agreed, and since then the value of headers= is.\n"
        "The change that broke the one app mended the other.",
        r"(last|first) (good|bad|fixed): ",
    ),
)


@dataclass(frozen=True)
class Last:
    """A question at the end. `true` says of each choice whether it is so: by the choices that were measured for the
    commands, the first bad release of the bisect, and whether the newest release opens."""

    asks: str
    choices: tuple[str, str, str]
    true: Callable[[Mapping[str, str], str, bool], tuple[bool, bool, bool]]


QUESTIONS = (
    Last(
        "What opens the handshake of the reported app?",
        ("the newest release", "0.20.0", "0.20.0 without the header in headers="),
        lambda measured, _, newest: (newest, measured[BROKEN] == "b", measured[CONTROL] == "a"),
    ),
    Last(
        "Which is the first release that fails for it?",
        ("0.17.0", "0.19.0", "0.20.0"),
        lambda _, first, __: (first == "0.17.0", first == "0.19.0", first == "0.20.0"),
    ),
    Last(
        "Whom does 'upgrade to 0.20.0' help? One whose app has the header in headers=,",
        ("and passes subprotocol=", "and passes no subprotocol=", "with subprotocol= or without it"),
        lambda measured, first, _: helped(first != "0.20.0", measured[ALONE] == "b"),
    ),
)
