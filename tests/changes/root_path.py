"""scope["path"] is the path that the client asked for, with a root path too.

Since 0.26.0 (#2213) it begins with the root path, as the ASGI specification says.
"""

import socket

import uvicorn

paths = []


async def app(scope, receive, send):
    paths.append(scope["path"])
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})
    server.should_exit = True


listener = socket.create_server(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, root_path="/api", lifespan="off", log_level="error"))
with socket.create_connection(listener.getsockname()) as client:
    client.sendall(b"GET /items HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    server.run(sockets=[listener])
assert paths == ["/items"], paths
