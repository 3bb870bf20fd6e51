"""`uvicorn ctrl_c:app` ends with status 0 on Ctrl+C.

It said "Aborted!" and ended with 1 from 0.29.0 (#1600) on, mended in 0.30.3 (#2384).
"""

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path


async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    asyncio.get_running_loop().call_later(0.1, signal.raise_signal, signal.SIGINT)  # as Ctrl+C does
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "uvicorn", "ctrl_c:app", "--app-dir", Path(__file__).parent, "--port", port]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=5)
    assert ended.returncode == 0, ended.stderr
