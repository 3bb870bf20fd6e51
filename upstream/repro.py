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


def show(app, ws, headers=(), offered=("ocpp2.0.1",), path="/", none="inconclusive"):
    """Serve the app with uvicorn, dial it once, and print the response. Status 1: it fails, 0: it does not."""
    import itertools
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
    client = socket.create_connection(listener.getsockname(), timeout=10)
    request = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket"]
    request += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    request += ["Sec-WebSocket-Protocol: " + ", ".join(offered), "\r\n"]
    client.sendall("\r\n".join(request).encode())
    lines = [line.strip() for line in itertools.takewhile(str.strip, client.makefile(encoding="latin-1"))]
    print(f"uvicorn {uvicorn.__version__}, ws={ws}", *lines, sep="\n")
    assert lines and lines[0].startswith("HTTP/1.1 101"), "the handshake did not open"
    values = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("sec-websocket-protocol:")]
    if not values and none == "rejected":
        print("It agrees on no subprotocol.", flush=True)
        os._exit(1)
    assert values, "it agrees on no subprotocol"
    several = len(values) > 1 or "," in values[0]
    assert several or values[0] in offered, "it names a subprotocol that was not offered"
    print("It names several subprotocols, and may name one." if several else "It names one subprotocol.", flush=True)
    os._exit(several)


show(app, ws="websockets", headers=HEADERS)
