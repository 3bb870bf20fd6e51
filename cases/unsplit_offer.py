"""The third way, a bug of uvicorn's: websockets-sansio hands an offer of two names to the app as one name.

The app accepts the first that was offered, and so sends both. In since 0.35.0 (#2540), mended in 0.50.1 (#3019).
"""

OFFER = ["ocpp2.0.1", "ocpp1.6"]  # the client sends them in one line


async def app(scope, receive, send):
    assert scope["type"] == "websocket", "no lifespan"
    await receive()
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
    await receive()
