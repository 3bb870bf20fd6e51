"""What the Python clients have in common: each dials the URL that it is given, and tells what came of it."""

import asyncio
import io
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable

OFFERED = "ocpp2.0.1"


def tell(dial: Callable[[str], AsyncIterator[str | None]]) -> None:
    """Dial the URL of the command line and print a line of JSON.

    To dial is to yield the subprotocol that the library believes in, once the handshake is open, and then to send a
    message and wait for the answer. What it raises, and what it logs of errors, is told in its own words.
    """
    told, logged = {"outcome": "refused", "subprotocol": None, "reason": None}, io.StringIO()
    logging.basicConfig(level=logging.ERROR, stream=logged, format="; %(message)s")

    async def dialed() -> None:
        async for subprotocol in dial(sys.argv[1]):
            told.update(outcome="failed", subprotocol=subprotocol or None)
        told["outcome"] = "opened"

    try:
        asyncio.run(dialed())
    except Exception as raised:
        error = getattr(raised, "exceptions", [raised])[0]  # anyio wraps it in an ExceptionGroup
        told["reason"] = " ".join(f"{type(error).__name__}: {error}{logged.getvalue()}".split())
    print(json.dumps(told))
