"""What the lesson asks. What is measured answers: the first choice whose pattern is found in it is true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.model import HEADER

OLDEST = "0.12.1"  # the first that the pins of the cases can judge
TELLS = f"< (HTTP|{HEADER})|verdict: |(last|first) (good|bad|fixed): "  # the lines of a command that tell
LINES = {"two or more": f"< {HEADER}.*< {HEADER}", "one": f"< {HEADER}", "none": "verdict: "}
VERDICTS = {
    "it opens": "verdict: open",
    "the client refuses it": "verdict: rejected",
    "neither: something else happens": "verdict: inconclusive",
}
CHANGES = {
    "the first bad release": "first bad: 0.20.0",
    "the first fixed release": "first fixed: 0.20.0",
    "neither": "first ",
}


@dataclass(frozen=True, eq=False)
class Step:
    """A question and its choices with their patterns; the command that answers it, and why it is so.

    Without a command, all that was measured answers.
    """

    asks: str
    choices: Mapping[str, str]
    command: str = ""
    why: str = ""


BROKEN, CONTROL = "make broken", "make try UVICORN=0.20.0 CASE=none"
ALONE = "make bisect CASE=header-alone GOOD=0.22.0 BAD=0.18.0"
STEPS = (
    Step(
        "The app accepts with subprotocol='ocpp2.0.1', and uvicorn is told in headers=\n"
        "to send Sec-WebSocket-Protocol: ocpp2.0.1, ocpp2.0, ocpp1.6 as well.\n"
        "How many lines of this header has the response of uvicorn 0.20.0?",
        LINES,
        BROKEN,
        "uvicorn writes a line for subprotocol=, and adds headers= as it is. RFC 6455\nallows one line.",
    ),
    Step(
        "The same app and client with uvicorn 0.19.0, one release earlier. How many now?",
        LINES,
        "make fixed",
        "Before #1606, in 0.20.0, headers= did not reach WebSocket responses.",
    ),
    Step(
        "Is uvicorn 0.20.0 at fault? Keep it, and take the header out of headers=.",
        VERDICTS,
        CONTROL,
        "The header is the server's to send. This is the control, and the repair.",
    ),
    Step(
        "Now the header is in the headers of websocket.accept, and uvicorn is 0.18.3,\n"
        "which is older than 0.19.0. What happens?",
        VERDICTS,
        "make try UVICORN=0.18.3 CASE=accept-headers",
        "uvicorn sends those headers since #1293, in 0.17.0: another way to the failure.",
    ),
    Step(
        "Pages say: upgrade to 0.20.0. Another app leaves the header to headers=, and\n"
        "accepts without subprotocol=. What is 0.20.0 for that app?",
        CHANGES,
        ALONE,
        "Until then nothing was agreed, and since then the value of headers= is.\n"
        "The change that broke the one app mended the other.",
    ),
)
QUESTIONS = (
    Step(
        "What opens the handshake of the reported app?",
        {
            "the newest release": "newest: good",
            "0.20.0": f"{BROKEN}: one",
            "0.20.0 without the header in headers=": f"{CONTROL}: it opens",
        },
    ),
    Step(
        "Which is the first release that fails for it?",
        {version: f"first bad: {version}" for version in ("0.17.0", "0.19.0", "0.20.0")},
    ),
    Step(
        "Whom does 'upgrade to 0.20.0' help? One whose app has the header in headers=,",
        {
            "with subprotocol= or without it": f"{BROKEN}: one.*{ALONE}: the first fixed",
            "and passes subprotocol=": f"{BROKEN}: one",
            "and passes no subprotocol=": f"{ALONE}: the first fixed",
        },
    ),
)
