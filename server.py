# /// script
# requires-python = ">=3.8"
# dependencies = ["uvicorn==0.20.0", "websockets==10.4", "wsproto==1.2.0", "loguru==0.6.0", "h11==0.16.0",
#                 "click==7.1.2"]
# ///
"""The server of uvicorn issue #1778: one ASGI app, one uvicorn configuration. Dial it with client.py."""

import argparse
import json
import os

import uvicorn
from loguru import logger

from client import CASES

NAME, LIST = "Sec-WebSocket-Protocol", "ocpp2.0.1, ocpp2.0, ocpp1.6"
IN_CONFIG = {"server-headers": [(NAME, LIST)], "header-alone": [(NAME, "ocpp2.0.1")]}
IN_ACCEPT = {"accept-headers": [(NAME.lower().encode(), LIST.encode())]}


def make_config(case, ws, **options):
    """The app of a case, and the uvicorn.Config that serves it, to which `options` go as they are."""

    async def app(scope, receive, send):
        assert scope["type"] == "websocket", "dial it with client.py"
        logger.info("scope: {}", scope)
        await receive()
        headers = [(b"x-reproduces", b"uvicorn-1778"), *IN_ACCEPT.get(case, [])]
        subprotocol = None if case == "header-alone" else scope["subprotocols"][0]
        await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
        await send({"type": "websocket.send", "text": json.dumps(scope, default=repr)})
        await send({"type": "websocket.close"})

    return uvicorn.Config(app, headers=IN_CONFIG.get(case, []), ws=ws, lifespan="off", **options)


class Server(uvicorn.Server):
    def handle_exit(self, sig, frame):
        os._exit(0)  # at once: uvicorn would wait for every client to hang up


if __name__ == "__main__":
    parser = argparse.ArgumentParser("server.py [--port PORT] [--ws WS] [--case CASE]", argparse.SUPPRESS, __doc__)
    parser.add_argument("--port", default=9000, type=int, help="port to listen on (%(default)s)")
    parser.add_argument("--ws", default="auto", choices=uvicorn.config.WS_PROTOCOLS, help="implementation (auto)")
    parser.add_argument("--case", default="server-headers", choices=CASES, help="who sends what (%(default)s)")
    options = parser.parse_args()
    config = make_config(options.case, options.ws, port=options.port)
    try:
        config.load()
    except ImportError as error:
        parser.exit(1, f"server.py: uvicorn {uvicorn.__version__} cannot run {options.ws} here ({error}): try --ws\n")
    Server(config).run(sockets=[config.bind_socket()])
