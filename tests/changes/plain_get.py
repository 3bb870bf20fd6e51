"""A plain GET is answered by the app.

No release is known to change this: it shows a bisection that finds nothing.
"""

import socket

import uvicorn


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})
    server.should_exit = True


listener = socket.create_server(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
with socket.create_connection(listener.getsockname()) as client:
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    server.run(sockets=[listener])
    response = client.makefile("rb").read()
assert response.startswith(b"HTTP/1.1 200 ") and response.endswith(b"hello"), response
