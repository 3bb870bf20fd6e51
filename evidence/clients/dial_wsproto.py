# /// script
# dependencies = ["wsproto==1.3.2", "h11==0.16.0"]
# ///
import socket
from urllib.parse import urlsplit

from dialing import OFFERED, tell
from wsproto import ConnectionType, WSConnection
from wsproto.events import Request, TextMessage


@tell
async def dial(url):
    parts, connection = urlsplit(url), WSConnection(ConnectionType.CLIENT)
    with socket.create_connection((parts.hostname, parts.port)) as network:
        network.sendall(connection.send(Request(parts.netloc, parts.path, subprotocols=[OFFERED])))
        connection.receive_data(network.recv(65536))
        for event in connection.events():
            yield event.subprotocol
        network.sendall(connection.send(TextMessage("scope?")))
        network.recv(65536)
