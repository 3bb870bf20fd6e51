"""An app sees the context variables that were set where the server was started.

Each request got an empty context from 0.39.0 (#2742) on, which 0.45.0 reverted (#2911).
"""

import asyncio
import contextvars
import socket

import uvicorn

tenant = contextvars.ContextVar("tenant", default="none")


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": tenant.get().encode()})


async def main():
    tenant.set("acme")
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    response = await reader.read()
    server.should_exit = True
    await serving
    assert response.endswith(b"acme"), response


asyncio.run(asyncio.wait_for(main(), 5))
