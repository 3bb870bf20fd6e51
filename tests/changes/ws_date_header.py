"""The response to a WebSocket handshake has one Date header.

Two since 0.50.0 (#2985), mended in 0.52.4 (#3078). Up to 0.13.4 (#929) the newest websockets answers 500 instead.
"""

import asyncio
import socket

import uvicorn
import websockets


async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with websockets.connect("ws://{}:{}".format(*listener.getsockname())) as client:
        dates = client.response.headers.get_all("Date")
    server.should_exit = True
    await serving
    assert len(dates) == 1, dates


asyncio.run(asyncio.wait_for(main(), 5))
