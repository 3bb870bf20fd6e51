"""Who sends it: one app behind the ASGI servers, and what goes over the wire."""

import contextlib
import re
import time
from http.client import HTTPConnection, HTTPException, RemoteDisconnected

from tqdm.contrib.concurrent import thread_map

from evidence import processes
from evidence.clients.dialing import OFFERED
from evidence.rows import Kept, Row, here
from harness import place
from harness.place import ROOT, Unavailable

# What the client offers in each case; what the app does in it stands in served.py.
CASES = {"accept-headers": OFFERED, "header-alone": OFFERED, "none": OFFERED, "unsplit-offer": f"{OFFERED}, ocpp1.6"}
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # that of RFC 6455, section 1.3
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY}
# The pins of each ASGI server, of which the first is its own, by its command after `python -m`. All listen on
# 127.0.0.1 where nothing else is said.
SERVERS = {
    "daphne --port {port} served:app": (
        "daphne==4.2.3 asgiref==3.13.0 attrs==26.1.0 autobahn==26.10.2 automat==25.4.16 cbor2==6.3.0 cffi==2.1.1"
        " constantly==23.10.4 cryptography==50.0.2 hyperlink==21.0.0 idna==3.20 incremental==24.11.0 msgpack==1.2.4"
        " packaging==26.3 pycparser==3.12 pyopenssl==26.4.0 service-identity==26.1.0 twisted==26.10.0 txaio==26.6.1"
        " typing-extensions==4.16.0 ujson==6.1.0 zope-interface==8.7"
    ),
    "granian --interface asginl --port {port} served:app": "granian==2.8.7 click==8.5.1",
    "hypercorn served:app --bind 127.0.0.1:{port}": (
        "hypercorn==0.18.0 h11==0.16.0 h2==4.4.1 hpack==4.2.0 hyperframe==6.1.0 priority==2.0.0 wsproto==1.3.2"
    ),
    "uvicorn served:app --ws websockets --port {port}": "uvicorn==0.20.0 websockets==10.4 h11==0.16.0 click==7.1.2",
    "uvicorn served:app --port {port}": "uvicorn==0.54.0 websockets==17.4 h11==0.16.0 click==8.5.1",
}
# A row is one server in one case: its option for headers of every response, by its help; the status line, the header's
# lines, the scope's subprotocols, and the last error that it logged.
KEPT = Kept("servers", lambda row: (row["name"], row["version"], row["case"]))


def measure(servers: dict[str, str] = SERVERS) -> list[Row]:
    """Every case behind every server; one that fails costs its own rows."""
    found = thread_map(_rows, servers, servers.values(), max_workers=2, disable=None, leave=False, unit="server")
    return [row for group in found for row in group]


def _rows(command: str, pins: str) -> list[Row]:
    name, version = pins.split()[0].split("==")
    about = {"name": name, "version": version, **here()}
    try:
        python, environment = processes.python(pins)
        help_ = place.run([*python, "-m", command.split()[0], "--help"], place.FOLDER, environment)
        options = dict.fromkeys(re.findall(r"(?<![\w-])--headers?\b(?!-)", help_))
        about["configured"] = ", ".join(options) or "nothing"
        return [{**about, "case": case, **answer(command, pins, case)} for case in CASES]
    except (Unavailable, OSError, HTTPException) as error:
        return [{**about, "case": case, "missing": str(error)} for case in CASES]


def answer(command: str, pins: str, case: str) -> Row:
    """What a server that is started anew answers to a handshake. Raises Unavailable, OSError, HTTPException."""
    with processes.serving(ROOT / "evidence" / "served.py", pins, f"-m {command}") as (port, log):
        client = HTTPConnection("127.0.0.1", port, timeout=processes.LIMIT)
        status, sent, scope = "no response", [], ""
        client.request("GET", f"/{case}", headers={**UPGRADE, "Sec-WebSocket-Protocol": CASES[case]})
        with contextlib.suppress(RemoteDisconnected), client.getresponse() as response:
            status = f"HTTP/1.{response.version % 10} {response.status} {response.reason}".strip()
            sent = response.headers.get_all("Sec-WebSocket-Protocol", [])
            if response.status == 101:
                length = int.from_bytes(response.fp.read(2)[1:], "big")  # of the one short frame
                scope = response.fp.read(length).decode(errors="replace")
        client.close()
        time.sleep(0.2)  # for what it logs of that
        return {"status": status, "sent": sent, "scope": scope, "logged": processes.last_error(log)}
