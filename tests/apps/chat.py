"""The mistake in FastAPI, and its repair: WITH=fastapi URLPATH=/ws."""

from fastapi import FastAPI, WebSocket

app, mended = FastAPI(), FastAPI()
SPOKEN = ["ocpp2.0.1", "ocpp1.6"]  # the best one first


@app.websocket("/ws")
async def names_it_twice(websocket: WebSocket) -> None:
    headers = [(b"sec-websocket-protocol", b"ocpp2.0.1, ocpp1.6")]
    await websocket.accept(subprotocol="ocpp2.0.1", headers=headers)
    await websocket.receive_text()


@mended.websocket("/ws")
async def names_it_once(websocket: WebSocket) -> None:
    offered = websocket.scope["subprotocols"]
    chosen = next((name for name in SPOKEN if name in offered), None)
    if chosen is None:
        await websocket.close()  # before accept it is a 403
    else:
        await websocket.accept(subprotocol=chosen)
        await websocket.receive_text()
