"""`uvicorn ctrl_c:app` ends with status 0 on Ctrl+C.

It said "Aborted!" and ended with 1 from 0.29.0 (#1600) on, mended in 0.30.3 (#2384).
"""

import asyncio
import signal
import socket

from click.testing import CliRunner
from uvicorn.main import main


async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    asyncio.get_running_loop().call_later(0.1, signal.raise_signal, signal.SIGINT)  # as Ctrl+C does
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


with socket.create_server(("127.0.0.1", 0)) as free:
    port = str(free.getsockname()[1])
ended = CliRunner().invoke(main, ["__main__:app", "--port", port])
assert ended.exit_code == 0, ended.output
