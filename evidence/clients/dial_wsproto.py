# /// script
# requires-python = ">=3.11"
# dependencies = ["wsproto==1.3.2", "h11==0.16.0"]
# ///
import socket
from urllib.parse import urlsplit

from dialing import OFFERED, tell
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage


@tell
async def dial(url):
    parts, connection = urlsplit(url), WSConnection(ConnectionType.CLIENT)
    with socket.create_connection((parts.hostname, parts.port)) as network:
        network.sendall(connection.send(Request(parts.netloc, parts.path, subprotocols=[OFFERED])))
        while True:
            connection.receive_data(network.recv(65536) or None)
            for event in connection.events():
                if isinstance(event, AcceptConnection):
                    yield event.subprotocol
                    network.sendall(connection.send(TextMessage("scope?")))
                if isinstance(event, TextMessage):
                    return
