# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "httpx-ws==0.9.0",
#   "httpx==0.28.1",
#   "anyio==4.16.0",
#   "certifi==2026.10.18",
#   "h11==0.16.0",
#   "httpcore==1.0.9",
#   "idna==3.20",
#   "typing-extensions==4.16.0",
#   "wsproto==1.3.2",
# ]
# ///
"""httpx-ws dials the URL in argv[1] once and prints what came of it as one line of JSON."""

import asyncio
import json
import sys
from typing import Any
from urllib.parse import urlsplit

import httpx
import httpx_ws


async def dial(url: str) -> dict[str, Any]:
    try:
        async with asyncio.timeout(10), httpx.AsyncClient(trust_env=False, timeout=10) as client:
            connection: httpx_ws.AsyncWebSocketSession
            async with httpx_ws.aconnect_ws(url, client, subprotocols=["ocpp2.0.1"]) as connection:
                await connection.receive_text()
                return {"outcome": "opened", "subprotocol": connection.subprotocol, "reason": None}
    except TimeoutError:
        return {"outcome": "failed", "subprotocol": None, "reason": "no answer within 10 s"}
    except Exception as failure:
        error = getattr(failure, "exceptions", [failure])[0]  # anyio wraps it in an ExceptionGroup
        # Never "refused": httpx-ws checks nothing of the response but its status.
        reason = " ".join(f"{type(error).__name__}: {error}".split()).replace(str(urlsplit(url).port), "PORT")
        return {"outcome": "failed", "subprotocol": None, "reason": reason}


print(json.dumps(asyncio.run(dial(sys.argv[1]))))
