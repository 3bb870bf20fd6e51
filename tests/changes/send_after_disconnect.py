"""An app may go on to send when the HTTP client is gone: no exception.

ClientDisconnected was raised in 0.28.0 (#2220), which 0.28.1 reverted (#2276).
"""

import socket

import uvicorn

errors = []


async def app(scope, receive, send):
    while (await receive())["type"] != "http.disconnect":
        pass
    try:
        await send({"type": "http.response.start", "status": 200})
    except OSError as error:
        errors.append(error)
    server.should_exit = True


listener = socket.create_server(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
with socket.create_connection(listener.getsockname()) as client:
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
server.run(sockets=[listener])
assert not errors, errors
