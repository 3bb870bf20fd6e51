# /// script
# dependencies = ["picows==2.3.1", "aiofastnet==1.2.0", "multidict==7.2.1", "python-socks==3.2.1"]
# ///
from dialing import OFFERED, tell
from picows.websockets import connect  # picows.ws_connect, the API below it, knows nothing of subprotocols


@tell
async def dial(url):
    async with connect(url, subprotocols=[OFFERED], close_timeout=1) as connection:
        yield connection.subprotocol
        await connection.send("scope?")
        await connection.recv()
