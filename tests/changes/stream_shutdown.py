"""A response may be finished while the server shuts down: not from 0.43.0 (#2829) on, which 0.45.0 reverted (#2913)."""

import asyncio

from serving import dialed


async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200})
    told, _ = await asyncio.wait([asyncio.ensure_future(receive())], timeout=0.5)  # http.disconnect, before it is so
    await send({"type": "http.response.body", "body": b"cut short" if told else b"whole"})


def client(connection):
    connection.request("GET", "/")
    response = connection.getresponse()
    connection.server.should_exit = True
    return response.read()


body = dialed(app, client)
assert body == b"whole", body
