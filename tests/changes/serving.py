"""For the scripts beside: uvicorn serves an app in this thread, while a client in another one dials it."""

import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import uvicorn


def dialed(app, client, **options):
    """What client(connection, server) returns; the server has these options, and stops then at the latest."""
    with ThreadPoolExecutor() as pool, socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error", **options))
        asked = pool.submit(client, HTTPConnection(*listener.getsockname(), timeout=5), server)
        asked.add_done_callback(lambda _: setattr(server, "should_exit", True))
        server.run(sockets=[listener])
    return asked.result()


def answering(body):
    """An app that answers each request with body(scope), which are bytes."""

    async def app(scope, receive, send):
        content = body(scope)
        headers = [(b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return app


def get(connection, path="/"):
    """The headers and the body of the response to a GET."""
    connection.request("GET", path)
    response = connection.getresponse()
    return response.headers, response.read()


def answer(body, path="/", **options):
    """The body of the response to one GET."""
    return dialed(answering(body), lambda connection, _: get(connection, path), **options)[1]
