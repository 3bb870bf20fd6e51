# /// script
# dependencies = ["websockets==17.4"]
# ///
from dialing import OFFERED, tell
from websockets import connect


@tell
async def dial(url):
    async with connect(url, subprotocols=[OFFERED], close_timeout=1) as connection:
        yield connection.subprotocol
        await connection.send("scope?")
        await connection.recv()
