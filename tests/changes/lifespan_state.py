"""What one request writes into scope["state"] is not there in the next on the same connection.

It was in 0.21.0, which brought the state (#1818); 0.21.1 mended it (#1903).
"""

import socket

import uvicorn

seen = []


async def app(scope, receive, send):
    state = scope.get("state", {})
    seen.append(state.copy())
    state["user"] = "alice"
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})
    server.should_exit = len(seen) == 2


listener = socket.create_server(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
with socket.create_connection(listener.getsockname()) as client:
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
    server.run(sockets=[listener])
assert seen == [{}, {}], seen
