# /// script
# dependencies = ["websocket-client==1.9.2"]
# ///
import websocket
from dialing import OFFERED, tell


@tell
async def dial(url):
    connection = websocket.create_connection(url, subprotocols=[OFFERED])
    yield connection.subprotocol
    connection.send("scope?")
    connection.recv()
    connection.close(timeout=1)
