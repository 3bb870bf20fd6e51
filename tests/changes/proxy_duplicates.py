"""A proxy's X-Forwarded-For is heeded where it comes in two headers, as one proxy after another sends it.

It was ignored in 0.48.0 (#2944); 0.49.0 undid that (#2971).
"""

import asyncio

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

clients = []


async def app(scope, receive, send):
    clients.append(scope["client"][0])


headers = [(b"x-forwarded-for", b"192.0.2.1"), (b"x-forwarded-for", b"192.0.2.2")]
scope = {"type": "http", "scheme": "http", "client": ("127.0.0.1", 5000), "headers": headers}
asyncio.run(ProxyHeadersMiddleware(app, trusted_hosts="127.0.0.1")(scope, None, None))
assert clients == ["192.0.2.2"], clients
