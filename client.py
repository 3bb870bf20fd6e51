# /// script
# dependencies = ["uvicorn==0.20.0", "websockets==10.4", "wsproto==1.2.0", "loguru==0.6.0",
#                 "h11==0.16.0", "click==7.1.2"]
# ///
"""The client of uvicorn issue #1778: starts server.py, shows one handshake as websockets logs it, and the verdict."""

import argparse
import asyncio
import logging
import os
import socket
import sys
import traceback
from enum import Enum
from urllib.parse import urlsplit

OFFERED, LIMIT = ["ocpp2.0.1"], 10  # seconds
SEVERAL = "multiple subprotocols: ", "invalid Sec-WebSocket-Protocol header: multiple values: "  # up to 13.0; from 13.1
Verdict = Enum("Verdict", {"open": 0, "rejected": 1, "inconclusive": 125})  # the exit statuses for git bisect run


async def dial(url, offered, message=None, **options):
    """Open a WebSocket and print the answer to the message, where there is one. Raises what websockets raises."""
    from websockets import connect  # here, so that a websockets that is missing gets a verdict too

    # Over a socket of our own no proxy and no redirect is followed: this server is judged, and no other.
    options["sock"] = socket.create_connection((urlsplit(url).hostname, urlsplit(url).port or 80), LIMIT)
    async with connect(url, subprotocols=offered, open_timeout=LIMIT, close_timeout=1, **options) as connection:
        if connection.subprotocol is None:
            raise LookupError("the handshake opened, but no subprotocol was agreed")
        if message:
            await connection.send(message)
            print(await asyncio.wait_for(connection.recv(), LIMIT))


def judge(error):
    """The verdict on what `dial` raised, and the reason."""
    if isinstance(error, (asyncio.TimeoutError, socket.timeout)):
        return Verdict.inconclusive, f"no answer within {LIMIT} s"
    verdict = Verdict.rejected if str(error).startswith(SEVERAL) else Verdict.inconclusive
    return verdict, " ".join(f"{type(error).__name__}: {error}".split())


def show(line):
    """A filter of the log: labels each Sec-WebSocket-Protocol line by what of server.py has its value."""
    name, _, value = line.getMessage().partition(": ")
    if name.lower() == "< sec-websocket-protocol":
        line.msg += f"   <-- from {'subprotocol=' if value in OFFERED else 'headers='}"
        if sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
            line.msg = f"\033[1;33m{line.msg}\033[0m"
    return line.name == "websockets.client"


if __name__ == "__main__":
    sys.excepthook = lambda *crash: (traceback.print_exception(*crash), os._exit(125))  # 1 would be a verdict
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", help="such as ws://127.0.0.1:9000; where none is given, server.py is started")
    parser.add_argument("--ws", default="auto", choices=["auto", "websockets", "wsproto"], help="server.py's (auto)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG, format="%(message)s", stream=sys.stdout)
    logging.root.handlers[0].addFilter(show)
    try:
        if not options.url:
            import server
        asyncio.run(dial(options.url or server.start(options.ws), OFFERED, "scope?"))
        verdict, reason = Verdict.open, ""
    except Exception as error:
        verdict, reason = judge(error)
        if verdict is Verdict.rejected:
            traceback.print_exc(file=sys.stdout)
    print(f"verdict: {verdict.name}{reason and ' - '}{reason}", flush=True)
    os._exit(verdict.value)  # at once: the server's thread goes on
