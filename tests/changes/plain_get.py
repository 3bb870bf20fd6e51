"""A plain GET is answered by the app.

No release is known to change this: it shows a bisection that finds nothing.
"""

import asyncio
import socket

import uvicorn


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    response = await reader.read()
    server.should_exit = True
    await serving
    assert response.startswith(b"HTTP/1.1 200 ") and response.endswith(b"hello"), response


asyncio.run(asyncio.wait_for(main(), 5))
