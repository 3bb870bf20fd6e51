"""uvicorn.run exits where the app says that its startup failed: since 0.16.0 (#1278)."""

import contextlib

import uvicorn


async def app(scope, receive, send):
    await send({"type": "lifespan.startup.failed", "message": "no database"})


with contextlib.suppress(SystemExit):
    uvicorn.run(app, port=0, log_level="critical")
    raise AssertionError("uvicorn.run returned as if all were well")
