# /// script
# dependencies = ["httpx-ws==0.9.0", "httpx==0.28.1", "anyio==4.16.0", "certifi==2026.10.18", "h11==0.16.0",
#     "httpcore==1.0.9", "idna==3.20", "typing-extensions==4.16.0", "wsproto==1.3.2"]
# ///
from dialing import OFFERED, tell
from httpx_ws import aconnect_ws


@tell
async def dial(url):
    async with aconnect_ws(url, subprotocols=[OFFERED]) as connection:
        yield connection.subprotocol
        await connection.send_text("scope?")
        await connection.receive_text()
