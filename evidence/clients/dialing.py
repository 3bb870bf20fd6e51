"""What the Python clients have in common: each dials the URL that it is given, and tells what came of it."""

import asyncio
import io
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

OFFERED = "ocpp2.0.1"
LIMIT = 10  # seconds


def tell(dial: Callable[[str], AsyncIterator[str | None]]) -> None:
    """Dial the URL of the command line and print a line of JSON; where there is none, print the library's version.

    To dial is to yield the subprotocol that the library believes in, once the handshake is open, and then to send a
    message and wait for the answer. What it raises, and what it logs of errors, is told in its own words.
    """
    if len(sys.argv) == 1:
        print(version(Path(sys.argv[0]).stem.removeprefix("dial_")))
        return
    told, url, logged = {"outcome": "refused", "subprotocol": None, "reason": None}, sys.argv[1], io.StringIO()
    logging.basicConfig(level=logging.ERROR, stream=logged, format="; %(message)s")

    async def dialed() -> None:
        async for subprotocol in dial(url):
            told.update(outcome="failed", subprotocol=subprotocol or None)
        told["outcome"] = "opened"

    signal.alarm(LIMIT)  # it ends the process, whatever it is busy with
    try:
        asyncio.run(dialed())
    except Exception as raised:
        error = getattr(raised, "exceptions", [raised])[0]  # anyio wraps it in an ExceptionGroup
        words = f"{type(error).__name__}: {error}{logged.getvalue()}"
        told["reason"] = " ".join(words.split()).replace(str(urlsplit(url).port), "PORT")
    print(json.dumps(told))
