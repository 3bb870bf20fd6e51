# /// script
# requires-python = ">=3.8"
# dependencies = [
#   "uvicorn==0.20.0", "websockets==10.4", "wsproto==1.2.0", "loguru==0.6.0", "h11==0.16.0", "click==7.1.2",
# ]
# ///
"""The specimen of uvicorn issue #1778: one ASGI app, one uvicorn configuration. Dial it with client.py."""

import argparse
import json
import socket
from contextlib import suppress
from typing import Any

import uvicorn
from loguru import logger

CASES = ("server-headers", "accept-headers", "unsplit-offer", "none")
IMPLEMENTATIONS = ("auto", "websockets", "wsproto", "websockets-sansio")
SUBPROTOCOLS = "ocpp2.0.1, ocpp2.0, ocpp1.6"


def make_app(case: str) -> Any:
    """The ASGI app, which takes the first subprotocol offered and sends back the scope as JSON."""
    accept_headers = [(b"x-reproduces", b"uvicorn-1778")]
    if case == "accept-headers":
        accept_headers.append((b"sec-websocket-protocol", SUBPROTOCOLS.encode()))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        logger.info("scope: {}", scope)
        if scope["type"] == "http":  # RFC 9110, section 15.5.22: a 426 names what to upgrade to
            headers = [(b"content-type", b"text/plain"), (b"connection", b"upgrade"), (b"upgrade", b"websocket")]
            await send({"type": "http.response.start", "status": 426, "headers": headers})
            await send({"type": "http.response.body", "body": b"Only WebSocket here: dial it with client.py.\n"})
            return
        logger.info("received: {}", event := await receive())
        subprotocol = scope["subprotocols"][0]
        await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": accept_headers})
        await send({"type": "websocket.send", "text": json.dumps(scope, default=text)})
        while event["type"] != "websocket.disconnect":
            logger.info("received: {}", event := await receive())

    return app


def text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else repr(value)


def make_config(case: str, ws: str, **options: Any) -> uvicorn.Config:
    """The configuration that serves the app; `options` go to uvicorn.Config as they are."""
    headers = [("Sec-WebSocket-Protocol", SUBPROTOCOLS)] if case == "server-headers" else []
    return uvicorn.Config(make_app(case), headers=headers, ws=ws, lifespan="off", **options)  # type: ignore[arg-type]


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message}; {' '.join(self.format_usage().split())}\n")


def main() -> None:
    parser = Parser(description=__doc__, epilog="Another uvicorn: uv run --with uvicorn==0.19.0 server.py")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", default=9000, type=int, help="port to listen on (%(default)s)")
    parser.add_argument("--ws", default="auto", choices=IMPLEMENTATIONS, help="implementation (%(default)s)")
    parser.add_argument("--case", default="server-headers", choices=CASES, help="who sends what (%(default)s)")
    options = parser.parse_args()
    config = make_config(options.case, options.ws)
    with socket.socket() as listener, suppress(KeyboardInterrupt):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((options.host, options.port))
            config.load()
        except (OSError, OverflowError) as error:
            parser.exit(1, f"{parser.prog}: cannot listen on {options.host}:{options.port} ({error}): try --port\n")
        except (ImportError, KeyError) as error:
            parser.exit(
                1, f"{parser.prog}: uvicorn {uvicorn.__version__} cannot run {options.ws} ({error!r}): try --ws\n"
            )
        print(
            f"uvicorn {uvicorn.__version__}, {options.case}: ws://{options.host}:{options.port} (Ctrl-C stops it)",
            flush=True,
        )
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
