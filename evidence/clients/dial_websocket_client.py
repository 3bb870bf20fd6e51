# /// script
# requires-python = ">=3.11"
# dependencies = ["websocket-client==1.9.2"]
# ///
import logging.handlers
import sys

import websocket
from dialing import OFFERED, tell


async def dial(url):
    log = logging.handlers.BufferingHandler(sys.maxsize)  # the exception does not say which header, the log does
    logging.getLogger("websocket").addHandler(log)
    try:
        connection = websocket.create_connection(url, subprotocols=[OFFERED])
    except Exception as error:
        error.__notes__ = [record.getMessage() for record in log.buffer]
        raise
    yield connection.subprotocol
    connection.send("scope?")
    connection.recv()
    connection.close(timeout=1)


tell(dial)
