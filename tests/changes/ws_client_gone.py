"""send raises an OSError where the WebSocket client is gone.

So since 0.27.0 (#2218). Before, an exception of the library websockets; up to 0.13.4 with its newest, 500 instead.
"""

import asyncio
import socket

import uvicorn
import websockets

errors = []


async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    try:
        for _ in range(50):
            await send({"type": "websocket.send", "text": "tick"})
            await asyncio.sleep(0.01)
    except Exception as error:
        errors.append(error)
    server.should_exit = True


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with websockets.connect("ws://{}:{}".format(*listener.getsockname())) as client:
        await client.recv()
    await serving
    assert [isinstance(error, OSError) for error in errors] == [True], errors


server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical"))
asyncio.run(asyncio.wait_for(main(), 5))
