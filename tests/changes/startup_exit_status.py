"""uvicorn.run ends with a status other than 0 where the app says that its startup failed.

So since 0.16.0 (#1278).
"""

import uvicorn


async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


status = 0
try:
    uvicorn.run(app, port=0, log_level="critical")
except SystemExit as stop:
    status = stop.code
assert status != 0, "uvicorn.run returned as if all were well"
