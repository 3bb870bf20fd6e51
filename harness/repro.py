# /// script
# requires-python = ">=3.10"
# dependencies = [
#   "uvicorn==0.54.0",
#   "click==7.1.2",
#   "h11==0.16.0",
#   "websockets==10.4",
#   "wsproto==1.2.0",
# ]
# ///
HEADERS = [("Sec-WebSocket-Protocol", "ocpp2.0.1, ocpp2.0, ocpp1.6")]


async def app(scope, receive, send):
    assert scope["type"] == "websocket", "no lifespan"
    await receive()
    await send({"type": "websocket.accept", "subprotocol": "ocpp2.0.1"})
    await receive()


def show(app, ws, path, headers=(), offer=("ocpp2.0.1",), none="inconclusive"):
    """Serve the app with uvicorn, dial it once, and print the response. Status 1: it fails, 0: it does not."""
    import http.client
    import os
    import socket
    import sys
    import threading
    import traceback

    sys.excepthook = lambda *crash: (traceback.print_exception(*crash), os._exit(125))  # 1 would be a verdict
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, ws=ws, headers=list(headers), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive(), "uvicorn did not start"
    client = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=10)
    request = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Protocol": ", ".join(offer)}
    request.update({"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
    client.request("GET", path, headers=request)
    response = client.getresponse()
    print(f"uvicorn {uvicorn.__version__}, ws={ws}: {response.status} {response.reason}\n{response.headers}")
    assert response.status == 101, "the handshake did not open"
    names = ", ".join(response.headers.get_all("Sec-WebSocket-Protocol", []))
    fails = "," in names or (not names and none == "rejected")
    assert fails or names in offer, f"neither works nor fails: {names or 'no subprotocol'}"
    print(f"It {'fails' if fails else 'works'}: the response names {names or 'no subprotocol'}.", flush=True)
    os._exit(fails)


show(app, ws="websockets", path="/", headers=HEADERS)
