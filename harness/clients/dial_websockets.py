# /// script
# requires-python = ">=3.11"
# dependencies = ["websockets==17.4"]
# ///
"""websockets dials the URL in argv[1] once and prints what came of it as one line of JSON. 10.4 runs it too."""

import asyncio
import inspect
import json
import sys
from typing import Any
from urllib.parse import urlsplit

import websockets
from websockets.exceptions import InvalidHandshake, InvalidHeader, NegotiationError


async def dial(url: str) -> dict[str, Any]:
    library: Any = websockets  # it imports connect lazily, out of mypy's sight in version 10.4
    options: Any = {"subprotocols": ["ocpp2.0.1"], "close_timeout": 1}
    if "proxy" in inspect.signature(library.connect).parameters:
        options["proxy"] = None  # version 15 and later would go through a proxy that the environment names
    try:
        async with asyncio.timeout(10), library.connect(url, **options) as connection:
            await connection.recv()
            return {"outcome": "opened", "subprotocol": connection.subprotocol, "reason": None}
    except TimeoutError:
        return {"outcome": "failed", "subprotocol": None, "reason": "no answer within 10 s"}
    except Exception as error:
        # InvalidHandshake's other subclasses tell of a status or of something that is no HTTP response.
        refused = type(error) is InvalidHandshake or isinstance(error, (InvalidHeader, NegotiationError))
        reason = " ".join(f"{type(error).__name__}: {error}".split()).replace(str(urlsplit(url).port), "PORT")
        return {"outcome": "refused" if refused else "failed", "subprotocol": None, "reason": reason}


print(json.dumps(asyncio.run(dial(sys.argv[1]))))
