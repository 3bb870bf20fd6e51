"""An app that watches for http.disconnect may finish its response while the server shuts down.

It was told http.disconnect at once from 0.43.0 (#2829) on, which 0.45.0 reverted (#2913).
"""

import asyncio
import socket

import uvicorn


async def app(scope, receive, send):
    await receive()
    headers = [(b"content-length", b"8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    server.should_exit = True
    try:
        await asyncio.wait_for(receive(), 0.3)
    except asyncio.TimeoutError:
        await send({"type": "http.response.body", "body": b"half"})


listener = socket.create_server(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
with socket.create_connection(listener.getsockname()) as client:
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    server.run(sockets=[listener])
    response = client.makefile("rb").read()
assert response.endswith(b"halfhalf"), response
