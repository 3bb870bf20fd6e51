"""An HTTP scope names version 2.3 of the ASGI specification.

2.1 before 0.17.1 (#1337); 2.4 from 0.28.0 (#2220), whose revert in 0.28.1 left it so, to 0.32.1 (#2513).
"""

import socket

import uvicorn

versions = []


async def app(scope, receive, send):
    versions.append(scope["asgi"]["spec_version"])
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})
    server.should_exit = True


listener = socket.create_server(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
with socket.create_connection(listener.getsockname()) as client:
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    server.run(sockets=[listener])
assert versions == ["2.3"], versions
