"""The Date header changes with the time, on one connection too.

So since 0.19.0 (#1706), after two tries that were reverted before any release (#1639, #1665).
"""

import asyncio
import socket
import time

import uvicorn


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    dates, end = set(), time.monotonic() + 2.5
    while len(dates) < 2 and time.monotonic() < end:
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response = await reader.readuntil(b"\r\n\r\n")
        dates.update(line for line in response.splitlines() if line.startswith(b"date:"))
        await asyncio.sleep(0.05)
    writer.close()
    server.should_exit = True
    await serving
    assert len(dates) == 2, dates


asyncio.run(asyncio.wait_for(main(), 5))
