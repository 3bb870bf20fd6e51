# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "aiohttp==3.14.5",
#   "aiohappyeyeballs==2.7.1",
#   "aiosignal==1.4.0",
#   "attrs==26.1.0",
#   "frozenlist==1.8.0",
#   "idna==3.20",
#   "multidict==7.2.1",
#   "propcache==0.5.4",
#   "typing-extensions==4.16.0",
#   "yarl==1.25.1",
# ]
# ///
"""aiohttp dials the URL in argv[1] once and prints what came of it as one line of JSON."""

import asyncio
import json
import sys
from typing import Any
from urllib.parse import urlsplit

import aiohttp


async def dial(url: str) -> dict[str, Any]:
    try:
        async with asyncio.timeout(10), aiohttp.ClientSession(trust_env=False) as session:
            connection = await session.ws_connect(url, protocols=["ocpp2.0.1"])
            await connection.receive_str()
            await connection.close()
            return {"outcome": "opened", "subprotocol": connection.protocol, "reason": None}
    except TimeoutError:
        return {"outcome": "failed", "subprotocol": None, "reason": "no answer within 10 s"}
    except Exception as error:
        # aiohttp reports another status than 101 with the same exception: then it was the server that declined.
        refused = isinstance(error, aiohttp.WSServerHandshakeError) and error.status == 101
        reason = " ".join(f"{type(error).__name__}: {error}".split()).replace(str(urlsplit(url).port), "PORT")
        return {"outcome": "refused" if refused else "failed", "subprotocol": None, "reason": reason}


print(json.dumps(asyncio.run(dial(sys.argv[1]))))
