"""For the scripts beside: uvicorn serves an app in this thread, while a client in another one dials it."""

import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import uvicorn


def get(connection, **headers):
    """The response to a GET with these headers; its body is `content`."""
    connection.request("GET", "/", headers=headers)
    response = connection.getresponse()
    response.content = response.read()
    return response


def dialed(app, client=get, **options):
    """What client(connection) returns; the server has these options, is `connection.server`, and stops then."""
    with ThreadPoolExecutor() as pool, socket.create_server(("127.0.0.1", 0)) as listener:
        connection = HTTPConnection(*listener.getsockname(), timeout=5)
        connection.server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error", **options))

        def stop(_):
            connection.close()
            connection.server.should_exit = True

        asked = pool.submit(client, connection)
        asked.add_done_callback(stop)
        connection.server.run(sockets=[listener])
    return asked.result()


def answering(body):
    """An app that answers each request with body(scope), which are bytes."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": body(scope)})

    return app
