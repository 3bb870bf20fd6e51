"""The Python clients: the pins of each library, and how it dials; `libraries.py NAME URL` prints one line of JSON.

To dial is to yield the subprotocol that the library believes was agreed, once the handshake is open, and then to wait
for the message. What it raises is told in its own words.
"""

import asyncio
import inspect
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

OFFERED = "ocpp2.0.1"
Dial = Callable[[str], AsyncIterator[str | None]]


@dataclass(frozen=True)
class Library:
    """A client library; its version is the first of the pins."""

    dial: Dial
    pins: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.pins[0].partition("==")[0]

    @property
    def version(self) -> str:
        return self.pins[0].partition("==")[2]


async def websockets(url: str) -> AsyncIterator[str | None]:
    from websockets import connect

    # Version 15 and later would go through a proxy that the environment names.
    direct = {"proxy": None} if "proxy" in inspect.signature(connect).parameters else {}
    async with connect(url, subprotocols=[OFFERED], close_timeout=1, **direct) as connection:
        yield connection.subprotocol
        await connection.recv()


async def aiohttp(url: str) -> AsyncIterator[str | None]:
    import aiohttp as library

    async with library.ClientSession(trust_env=False) as session:
        connection = await session.ws_connect(url, protocols=[OFFERED])
        yield connection.protocol
        await connection.receive_str()
        await connection.close()


async def websocket_client(url: str) -> AsyncIterator[str | None]:
    import logging.handlers

    import websocket as library

    log = logging.handlers.BufferingHandler(sys.maxsize)  # the exception does not say which header, the log does
    logging.getLogger("websocket").addHandler(log)
    os.environ["no_proxy"] = "*"  # it minds the option http_no_proxy only where an option names the proxy as well
    try:
        connection = library.create_connection(url, subprotocols=[OFFERED])
    except Exception as error:
        for record in log.buffer:
            error.add_note(record.getMessage())
        raise
    yield connection.subprotocol
    connection.recv()
    connection.close(timeout=1)


async def httpx_ws(url: str) -> AsyncIterator[str | None]:
    import httpx
    import httpx_ws as library

    options: dict[str, Any] = {"client": httpx.AsyncClient(trust_env=False), "subprotocols": [OFFERED]}
    async with options["client"], library.aconnect_ws(url, **options) as connection:
        yield connection.subprotocol
        await connection.receive_text()


async def picows(url: str) -> AsyncIterator[str | None]:
    from picows import websockets as library  # picows.ws_connect, the API below it, knows nothing of subprotocols

    async with library.connect(url, subprotocols=[OFFERED], close_timeout=1, proxy=None) as connection:
        yield connection.subprotocol
        await connection.recv()


async def wsproto(url: str) -> AsyncIterator[str | None]:
    import socket

    from wsproto import ConnectionType, WSConnection
    from wsproto.events import AcceptConnection, Request, TextMessage

    parts, connection = urlsplit(url), WSConnection(ConnectionType.CLIENT)
    with socket.create_connection((parts.hostname, parts.port)) as network:
        network.sendall(connection.send(Request(parts.netloc, parts.path, subprotocols=[OFFERED])))
        while True:
            connection.receive_data(network.recv(65536))
            for event in connection.events():
                if isinstance(event, AcceptConnection):
                    yield event.subprotocol
                if isinstance(event, TextMessage):
                    return


LIBRARIES = (
    Library(websockets, ("websockets==10.4",)),
    Library(websockets, ("websockets==17.4",)),
    Library(
        aiohttp,
        (
            *("aiohttp==3.14.5", "aiohappyeyeballs==2.7.1", "aiosignal==1.4.0", "attrs==26.1.0", "frozenlist==1.8.0"),
            *("idna==3.20", "multidict==7.2.1", "propcache==0.5.4", "typing-extensions==4.16.0", "yarl==1.25.1"),
        ),
    ),
    Library(websocket_client, ("websocket-client==1.9.2",)),
    Library(
        httpx_ws,
        (
            *("httpx-ws==0.9.0", "httpx==0.28.1", "anyio==4.16.0", "certifi==2026.10.18", "h11==0.16.0"),
            *("httpcore==1.0.9", "idna==3.20", "typing-extensions==4.16.0", "wsproto==1.3.2"),
        ),
    ),
    Library(picows, ("picows==2.3.1", "aiofastnet==1.2.0", "multidict==7.2.1", "python-socks==3.2.1")),
    Library(wsproto, ("wsproto==1.3.2", "h11==0.16.0")),
)


async def tell(dial: Dial, url: str) -> dict[str, Any]:
    """What came of one handshake: whether it opened, what the library believes was agreed, and what it raised."""
    told: dict[str, Any] = {"opened": False, "subprotocol": None, "error": None}
    try:
        async for subprotocol in dial(url):
            told.update(opened=True, subprotocol=subprotocol)
    except Exception as raised:
        error = getattr(raised, "exceptions", [raised])[0]  # anyio wraps it in an ExceptionGroup
        words = [f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])]
        told["error"] = " ".join("; ".join(words).split()).replace(str(urlsplit(url).port), "PORT")
    return told


if __name__ == "__main__":
    name, url = sys.argv[1:]
    [dial, *_] = [library.dial for library in LIBRARIES if library.name == name]
    print(json.dumps(asyncio.run(tell(dial, url))))
