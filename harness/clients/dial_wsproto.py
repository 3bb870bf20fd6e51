# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "wsproto==1.3.2",
#   "h11==0.16.0",
# ]
# ///
"""wsproto, over a plain socket, dials the URL in argv[1] once and prints what came of it as one line of JSON."""

import json
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, RejectConnection, Request, TextMessage
from wsproto.utilities import RemoteProtocolError


def dial(url: str) -> dict[str, Any]:
    parts, subprotocol, accepted = urlsplit(url), None, False
    connection = WSConnection(ConnectionType.CLIENT)
    request = Request(host=parts.netloc, target=parts.path or "/", subprotocols=["ocpp2.0.1"])
    try:
        with socket.create_connection((parts.hostname, parts.port or 80), timeout=10) as network:
            network.sendall(connection.send(request))
            while data := network.recv(65536):
                connection.receive_data(data)
                for event in connection.events():
                    if isinstance(event, RejectConnection):
                        raise ConnectionError(f"the server answered {event.status_code}")
                    if isinstance(event, AcceptConnection):
                        accepted, subprotocol = True, event.subprotocol
                    if isinstance(event, TextMessage) and event.message_finished:
                        network.sendall(connection.send(CloseConnection(code=1000)))
                        return {"outcome": "opened", "subprotocol": subprotocol, "reason": None}
            raise ConnectionError("the server hung up")
    except Exception as error:
        # What is no HTTP at all ends in the same exception.
        refused = isinstance(error, RemoteProtocolError) and not accepted and str(error) != "Bad HTTP message"
        reason = " ".join(f"{type(error).__name__}: {error}".split()).replace(str(parts.port), "PORT")
        return {"outcome": "refused" if refused else "failed", "subprotocol": None, "reason": reason}


print(json.dumps(dial(sys.argv[1])))
