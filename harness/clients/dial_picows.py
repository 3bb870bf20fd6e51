# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "picows==2.3.1",
#   "aiofastnet==1.2.0",
#   "multidict==7.2.1",
#   "python-socks==3.2.1",
# ]
# ///
"""picows dials the URL in argv[1] once and prints what came of it as one line of JSON."""

import asyncio
import json
import sys
from typing import Any
from urllib.parse import urlsplit

from picows import websockets  # picows.ws_connect, the API below it, knows nothing of subprotocols
from picows.websockets import InvalidHandshake, InvalidHeader, NegotiationError


async def dial(url: str) -> dict[str, Any]:
    options: Any = {"subprotocols": ["ocpp2.0.1"], "close_timeout": 1, "proxy": None}
    try:
        async with asyncio.timeout(10), websockets.connect(url, **options) as connection:
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
