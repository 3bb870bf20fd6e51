# /// script
# requires-python = ">=3.8"
# dependencies = ["uvicorn", "wsproto"]
# ///
"""uvicorn answers a WebSocket handshake with Sec-WebSocket-Protocol twice (#1778). Run it with: uv run repro.py"""

import itertools
import os
import socket
import sys
import threading
import time


def nothing_to_judge(kind, error, _):  # Python's own status for it would be 1
    print(f"Nothing to judge: {kind.__name__}: {error}", flush=True)
    os._exit(125)


sys.excepthook = nothing_to_judge

import uvicorn  # noqa: E402

WS = "auto"
OFFER = "ocpp2.0.1"
HEADERS = [("Sec-WebSocket-Protocol", "ocpp2.0.1, ocpp2.0, ocpp1.6")]  # of uvicorn.Config
ACCEPT_HEADERS = []  # of websocket.accept


async def app(scope, receive, send):
    await receive()
    subprotocol = scope["subprotocols"][0]
    await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": ACCEPT_HEADERS})


listener = socket.create_server(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, ws=WS, headers=HEADERS, lifespan="off", log_level="error"))
server.install_signal_handlers = lambda: None  # releases before 0.13 fail on it in a thread
threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
while not server.started and threading.active_count() > 1:
    time.sleep(0.01)
if not server.started:
    raise RuntimeError("uvicorn did not start")

client = socket.create_connection(listener.getsockname(), timeout=10)
request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
request += f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {OFFER}\r\n\r\n"
client.sendall(request.encode())
lines = [line.strip() for line in itertools.takewhile(str.strip, client.makefile(encoding="latin-1"))]
print(f"uvicorn {uvicorn.__version__}, {WS}", *lines, sep="\n")
named = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("sec-websocket-protocol:")]
if not lines[0].startswith("HTTP/1.1 101") or not named:
    raise ConnectionError("the server agreed to no subprotocol")
several = len(named) > 1 or "," in named[0]
print("It names several subprotocols, and may name one." if several else "It names one subprotocol.", flush=True)
os._exit(several)
