"""The response to a WebSocket handshake has one Date header.

Two since 0.50.0 (#2985), mended in 0.52.4 (#3078). Up to 0.13.4 (#929) the newest websockets answers 500 instead.
"""

from serving import dialed
from websockets.sync.client import connect


async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


def client(connection, server):
    with connect(f"ws://{connection.host}:{connection.port}") as socket:
        return socket.response.headers.get_all("Date")


dates = dialed(app, client)
assert len(dates) == 1, dates
