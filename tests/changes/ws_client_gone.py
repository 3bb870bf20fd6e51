"""send raises an OSError where the WebSocket client is gone.

So since 0.27.0 (#2218). Before, an exception of the library websockets; up to 0.13.4 with its newest, 500 instead.
"""

import asyncio

from serving import dialed
from websockets.sync.client import connect

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


def client(connection, server):
    with connect(f"ws://{connection.host}:{connection.port}") as socket:
        socket.recv()


dialed(app, client)
assert [isinstance(error, OSError) for error in errors] == [True], errors
