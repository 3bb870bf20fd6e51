"""The response to a WebSocket handshake has one Date header.

Two since 0.50.0 (#2985), mended in 0.52.4 (#3078). Up to 0.13.4 (#929) the newest websockets answers 500 instead.
"""

from serving import dialed, get

HANDSHAKE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
HANDSHAKE["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="


async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


response = dialed(app, lambda connection: get(connection, *HANDSHAKE.items()))
dates = response.headers.get_all("Date")
assert (response.status, len(dates)) == (101, 1), (response.status, dates)
