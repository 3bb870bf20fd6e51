"""uvicorn ends with status 0 on Ctrl+C: with 1 and "Aborted!" from 0.29.0 (#1600) on, mended in 0.30.3 (#2384)."""

import asyncio
import signal
import socket

from click.testing import CliRunner
from uvicorn.main import main


async def app(scope, receive, send):
    asyncio.get_running_loop().call_later(0.1, signal.raise_signal, signal.SIGINT)  # as Ctrl+C does


with socket.create_server(("127.0.0.1", 0)) as free:
    port = str(free.getsockname()[1])
ended = CliRunner().invoke(main, ["__main__:app", "--port", port])
assert ended.exit_code == 0, ended.output
