"""The app that every server serves; its path says what it does, and its first message what the scope offered."""

import json
from typing import Any

LIST = b"ocpp2.0.1, ocpp2.0, ocpp1.6"


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return
    await receive()
    case, offered = scope["path"].strip("/"), list(scope["subprotocols"])
    header = {"accept-headers": LIST, "header-alone": b"ocpp2.0.1"}.get(case)
    accept = {"type": "websocket.accept", "headers": [(b"sec-websocket-protocol", header)] if header else []}
    if case != "header-alone":
        accept["subprotocol"] = offered[0]
    await send(accept)
    await send({"type": "websocket.send", "text": json.dumps(offered)})
    await receive()
