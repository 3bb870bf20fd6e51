# /// script
# requires-python = ">=3.8"
# dependencies = ["websockets==10.4"]
# ///
"""The client of uvicorn issue #1778: one WebSocket handshake, one verdict. Start server.py first."""

import argparse
import asyncio
import os
import socket
import sys
from enum import Enum
from urllib.parse import urlsplit

# What the client offers in each case; what the app answers is in server.py.
CASES = {case: ["ocpp2.0.1"] for case in ("server-headers", "accept-headers", "unsplit-offer", "header-alone", "none")}
CASES["unsplit-offer"] = ["ocpp2.0.1", "ocpp1.6"]
LIMIT = 10  # seconds, for the handshake and for the message after it
# How websockets says that there was more than one subprotocol: up to version 12, and from 13 on.
SEVERAL = "multiple subprotocols: ", "invalid Sec-WebSocket-Protocol header: multiple values: "
NOTHING = "the handshake opened, but no subprotocol was agreed"
# The numbers are the exit statuses, which `git bisect run` takes for good, bad and skip.
Verdict = Enum("Verdict", {"open": 0, "rejected": 1, "inconclusive": 125})


async def dial(url, offered, wait=True, **options):
    """Open a WebSocket, and return its first message if that is to be waited for. Raises what websockets raises."""
    from websockets import connect  # here, so that a websockets that is missing gets a verdict too

    name, port, secure = urlsplit(url).hostname, urlsplit(url).port, url.startswith("wss:")
    options.update({"server_hostname": name} if secure else {}, open_timeout=LIMIT, close_timeout=1)
    # Over a socket of our own there is no proxy and no redirect: this server is judged, and no other.
    options["sock"] = socket.create_connection((name, port or (443 if secure else 80)), LIMIT)
    async with connect(url, subprotocols=offered, **options) as connection:
        if connection.subprotocol is None:
            raise ConnectionError(NOTHING)
        return await asyncio.wait_for(connection.recv(), LIMIT) if wait else None


def judge(error, case):
    """The verdict on what `dial` raised, and the reason for it in printable ASCII."""
    late = isinstance(error, (asyncio.TimeoutError, socket.timeout))
    reason = f"no answer within {LIMIT} s" if late else f"{type(error).__name__}: {error}"
    rejected = str(error).startswith((*SEVERAL, NOTHING) if case == "header-alone" else SEVERAL)
    return Verdict.rejected if rejected else Verdict.inconclusive, ascii(" ".join(reason.split()))[1:-1]


if __name__ == "__main__":
    sys.excepthook = lambda *_: os._exit(125)  # Python's own status is 1, which would be taken for a verdict
    parser = argparse.ArgumentParser("client.py [--case CASE] [URL]", argparse.SUPPRESS, __doc__)
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:9000", help="what to dial (%(default)s)")
    parser.add_argument("--case", default="server-headers", choices=CASES, help="what to offer (%(default)s)")
    options = parser.parse_args()
    if not options.url.startswith(("ws://", "wss://")):
        parser.error(f"{options.url} is no WebSocket URL, such as ws://127.0.0.1:9000")
    try:
        print("message:", ascii(asyncio.run(dial(options.url, CASES[options.case]))))
        verdict, reason = Verdict.open, ""
    except Exception as error:
        verdict, reason = judge(error, options.case)
    print(f"verdict: {verdict.name}{reason and ' - '}{reason}", flush=True)
    sys.exit(verdict.value)
