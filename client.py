# /// script
# requires-python = ">=3.8"
# dependencies = [
#   "uvicorn==0.20.0", "websockets==10.4", "wsproto==1.2.0", "loguru==0.6.0", "h11==0.16.0", "click==7.1.2",
# ]
# ///
"""The witness of uvicorn issue #1778: one WebSocket handshake, one verdict. Start server.py first."""

import argparse
import asyncio
import inspect
import logging
import logging.handlers
import os
import re
import sys
from dataclasses import dataclass
from enum import Enum
from typing import Any, List, Optional

from websockets import connect  # type: ignore[attr-defined]
from websockets.exceptions import InvalidHandshake

LIMIT = 10  # seconds, for the handshake and for the message after it
CASES = ("server-headers", "accept-headers", "unsplit-offer", "none")
# What websockets says of a response with several subprotocols: up to version 12, and from 13 on.
# Its other refusals share these exceptions' classes, so only the words tell them apart.
SEVERAL = ("multiple subprotocols: ", "invalid Sec-WebSocket-Protocol header: multiple values: ")


class Verdict(Enum):
    OPEN = "open"
    REJECTED = "rejected"
    INCONCLUSIVE = "inconclusive"

    @property
    def status(self) -> int:
        """The exit status, which `git bisect run` takes for good, bad or skip."""
        return {Verdict.OPEN: 0, Verdict.REJECTED: 1}.get(self, 125)


@dataclass
class Handshake:
    """A verdict with its reason, the lines sent ("> ") and received ("< "), the message that came, the failure."""

    verdict: Verdict
    reason: str
    lines: List[str]
    message: Any
    error: Optional[Exception]


def offer(case: str) -> List[str]:
    """The subprotocols that the client of a case offers; websockets writes them in one line."""
    return ["ocpp2.0.1", "ocpp1.6"] if case == "unsplit-offer" else ["ocpp2.0.1"]


async def dial(url: str, subprotocols: List[str]) -> Handshake:
    """Open a WebSocket at `url`, wait for one message, close. A failure is a verdict, not an exception."""
    log, logger = logging.handlers.BufferingHandler(sys.maxsize), logging.Logger("handshake", logging.DEBUG)
    logger.addHandler(log)
    options: Any = {"subprotocols": subprotocols, "logger": logger, "open_timeout": LIMIT, "close_timeout": 1}
    if "proxy" in inspect.signature(connect).parameters:
        options["proxy"] = None  # websockets 15 and later would go through a proxy that the environment names
    verdict, reason, message = Verdict.INCONCLUSIVE, "", None
    failure: Optional[Exception] = None
    try:
        async with connect(url, **options) as connection:
            message = await asyncio.wait_for(connection.recv(), LIMIT)
        if connection.subprotocol in subprotocols:
            verdict = Verdict.OPEN
        else:
            reason = "the handshake opened, but agreed on no subprotocol"
    except asyncio.TimeoutError as error:
        failure, reason = error, f"no answer within {LIMIT} s"
    except Exception as error:
        failure, reason = error, " ".join(f"{type(error).__name__}: {error}".split())
        if isinstance(error, InvalidHandshake) and str(error).startswith(SEVERAL):
            verdict = Verdict.REJECTED
    logged = (record.getMessage() for record in log.buffer)
    lines = [line for line in logged if re.match(r"> GET |< HTTP/|[<>] [^ :]+: ", line)]
    return Handshake(verdict, reason, lines, message, failure)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message}; {' '.join(self.format_usage().split())}\n")


def main() -> int:
    parser = Parser(description=__doc__, epilog="Exit status: 0 open, 1 rejected, 125 inconclusive, 2 wrong usage.")
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:9000", help="what to dial (%(default)s)")
    parser.add_argument("--case", default="server-headers", choices=CASES, help="what to offer (%(default)s)")
    options = parser.parse_args()
    if not re.match(r"wss?://[^/]", options.url):
        parser.error(f"{options.url} is no WebSocket URL, such as ws://127.0.0.1:9000")
    handshake = asyncio.run(dial(options.url, offer(options.case)))
    print(*handshake.lines, sep="\n")
    if handshake.message:
        print(f"message: {handshake.message}")
    print(f"verdict: {handshake.verdict.value}" + (f" - {handshake.reason}" if handshake.reason else ""), flush=True)
    return handshake.verdict.status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # Python's status for it is 1, which would be taken for a verdict
        print(f"verdict: inconclusive - {type(error).__name__}: {error}", file=sys.stderr)
        os._exit(125)  # without trying again to write what could not be written
