"""What one request writes into scope["state"] is not there in the next on the same connection.

It was in 0.21.0, which brought the state (#1818); 0.21.1 mended it (#1903).
"""

import asyncio
import socket

import uvicorn

seen = []


async def app(scope, receive, send):
    state = scope.get("state", {})
    seen.append(state.copy())
    state["user"] = "alice"
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    for _ in range(2):
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
    writer.close()
    server.should_exit = True
    await serving
    assert seen == [{}, {}], seen


asyncio.run(asyncio.wait_for(main(), 5))
