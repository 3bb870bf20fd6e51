"""A WebSocket handshake has one Date header: 500 up to 0.13.4 (#929), two from 0.50.0 (#2985) until 0.52.4 (#3078)."""

from serving import dialed, get

HANDSHAKE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
HANDSHAKE["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="


async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


response = dialed(app, lambda connection: get(connection, **HANDSHAKE))
dates = response.headers.get_all("Date")
assert (response.status, len(dates)) == (101, 1), (response.status, dates)
