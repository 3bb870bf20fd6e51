"""The header in websocket.accept, and no subprotocol= beside it: CASE=header-alone."""


async def app(scope, receive, send):
    assert scope["type"] == "websocket", "no lifespan"
    await receive()
    await send({"type": "websocket.accept", "headers": [(b"sec-websocket-protocol", b"ocpp2.0.1")]})
    await receive()
