"""An app may go on to send when the HTTP client is gone: no exception.

ClientDisconnected was raised in 0.28.0 (#2220), which 0.28.1 reverted (#2276).
"""

import asyncio
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


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    _, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    writer.close()
    await serving
    assert not errors, errors


server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
asyncio.run(asyncio.wait_for(main(), 5))
