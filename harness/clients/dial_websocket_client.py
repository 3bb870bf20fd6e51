# /// script
# requires-python = ">=3.11"
# dependencies = ["websocket-client==1.9.2"]
# ///
"""websocket-client dials the URL in argv[1] once and prints what came of it as one line of JSON."""

import json
import logging
import logging.handlers
import os
import sys
from typing import Any
from urllib.parse import urlsplit

import websocket


def dial(url: str) -> dict[str, Any]:
    log = logging.handlers.BufferingHandler(sys.maxsize)  # the exception does not say which header, the log does
    logging.getLogger("websocket").addHandler(log)
    os.environ["no_proxy"] = "*"  # it minds the option http_no_proxy only where an option names the proxy as well
    try:
        connection = websocket.create_connection(url, timeout=10, subprotocols=["ocpp2.0.1"])
        kind, _ = connection.recv_data()
        if kind != websocket.ABNF.OPCODE_TEXT:
            raise ConnectionError("the server closed before a message came")
        subprotocol = connection.subprotocol
        connection.close(timeout=1)
        return {"outcome": "opened", "subprotocol": subprotocol, "reason": None}
    except Exception as error:
        refused = type(error) is websocket.WebSocketException and str(error) == "Invalid WebSocket Header"
        said = [f"{type(error).__name__}: {error}", *(record.getMessage() for record in log.buffer)]
        reason = " ".join("; ".join(said).split()).replace(str(urlsplit(url).port), "PORT")
        return {"outcome": "refused" if refused else "failed", "subprotocol": None, "reason": reason}


print(json.dumps(dial(sys.argv[1])))
