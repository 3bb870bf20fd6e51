"""An app that watches for http.disconnect may finish its response while the server shuts down.

It was told http.disconnect at once from 0.43.0 (#2829) on, which 0.45.0 reverted (#2913).
"""

import asyncio

from serving import dialed


async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    try:
        await asyncio.wait_for(receive(), 0.5)
    except asyncio.TimeoutError:
        await send({"type": "http.response.body", "body": b"half"})


def client(connection):
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.read(4) == b"half"
    connection.server.should_exit = True
    return response.read()


assert dialed(app, client) == b"half"
