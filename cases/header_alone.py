"""The app for which 0.20.0 (#1606) is a fix: it accepts without subprotocol=, and relies on uvicorn's headers=.

Up to 0.19.0 nothing is agreed, and what the client makes of that is its own affair: here it counts as rejected.
"""

HEADERS = [("Sec-WebSocket-Protocol", "ocpp2.0.1")]
NONE = "rejected"  # what it is where the handshake opens and no subprotocol is agreed; elsewhere inconclusive


async def app(scope, receive, send):
    assert scope["type"] == "websocket", "no lifespan"
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
