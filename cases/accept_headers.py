"""The second way: the app sends the header in the `headers` of websocket.accept, beside subprotocol=.

uvicorn sends these headers since 0.17.0 (#1293). The repair is to leave it out there.
"""


async def app(scope, receive, send):
    assert scope["type"] == "websocket", "no lifespan"
    await receive()
    headers = [(b"sec-websocket-protocol", b"ocpp2.0.1, ocpp2.0, ocpp1.6")]
    await send({"type": "websocket.accept", "subprotocol": "ocpp2.0.1", "headers": headers})
    await receive()
