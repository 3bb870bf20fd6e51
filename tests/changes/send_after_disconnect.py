"""An app may go on to send when the HTTP client is gone: no exception.

ClientDisconnected was raised in 0.28.0 (#2220), which 0.28.1 reverted (#2276).
"""

import socket

from serving import dialed

told = []


async def app(scope, receive, send):
    while (await receive())["type"] != "http.disconnect":
        pass
    try:
        await send({"type": "http.response.start", "status": 200})
        told.append("sent")
    except OSError as error:
        told.append(error)


def client(connection, server):
    connection.request("GET", "/")
    connection.sock.shutdown(socket.SHUT_WR)
    connection.sock.recv(1)


dialed(app, client)
assert told == ["sent"], told
