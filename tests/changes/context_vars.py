"""An app sees the context variables that were set where the server was started.

Each request got an empty context from 0.39.0 (#2742) on, which 0.45.0 reverted (#2911).
"""

import contextvars
import socket

import uvicorn

tenant = contextvars.ContextVar("tenant", default="none")


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": tenant.get().encode()})
    server.should_exit = True


tenant.set("acme")
listener = socket.create_server(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
with socket.create_connection(listener.getsockname()) as client:
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    server.run(sockets=[listener])
    response = client.makefile("rb").read()
assert response.endswith(b"acme"), response
