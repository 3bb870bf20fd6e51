# /// script
# dependencies = ["uvicorn==0.20.0", "websockets==10.4", "wsproto==1.2.0", "loguru==0.6.0",
#                 "h11==0.16.0", "click==7.1.2"]
# ///
"""The server of uvicorn issue #1778: the app picks a subprotocol, and uvicorn is told to send the header once more."""

import argparse
import json
import threading

import uvicorn
from loguru import logger

HEADERS = [("Sec-WebSocket-Protocol", "ocpp2.0.1, ocpp2.0, ocpp1.6")]  # the mistake: with HEADERS = [] it opens


async def app(scope, receive, send):
    logger.info("scope={}", scope)
    while event := await receive():
        logger.info("event={}", event)
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept", "subprotocol": "ocpp2.0.1", "headers": [(b"x-issue", b"1778")]})
        elif event["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": json.dumps(scope, default=bytes.decode)})
        else:
            return


def start(ws):
    """Serve the app on a free port of 127.0.0.1, in a thread. Returns the URL once it has started."""
    server = uvicorn.Server(uvicorn.Config(app, headers=HEADERS, ws=ws, port=0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.001)
        assert thread.is_alive(), "uvicorn did not start, and has said why"
    return "ws://{}:{}".format(*server.servers[0].sockets[0].getsockname())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ws", default="auto", choices=["auto", "websockets", "wsproto"])
    parser.add_argument("--port", default=9000, type=int)
    uvicorn.run(app, headers=HEADERS, **vars(parser.parse_args()))
