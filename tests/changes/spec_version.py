"""An HTTP scope names version 2.3 of the ASGI specification.

2.1 before 0.17.1 (#1337); 2.4 from 0.28.0 (#2220), whose revert in 0.28.1 left it so, to 0.32.1 (#2513).
"""

import asyncio
import socket

import uvicorn

versions = []


async def app(scope, receive, send):
    versions.append(scope["asgi"]["spec_version"])
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    await reader.read()
    server.should_exit = True
    await serving
    assert versions == ["2.3"], versions


asyncio.run(asyncio.wait_for(main(), 5))
