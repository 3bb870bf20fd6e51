"""Who sends it: one app behind the ASGI servers, and what goes over the wire."""

import contextlib
import re
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm.contrib.concurrent import thread_map

from evidence import markdown, processes, rows
from evidence.markdown import code
from harness import place
from harness.model import plain
from harness.place import Unavailable

HERE = Path(__file__).resolve().parent
FAILED, SWITCHED = "failed: ", "HTTP/1.1 101"
# What the client offers in each case; what the app does in it stands in served.py.
OFFERS = {"accept-headers": "ocpp2.0.1", "header-alone": "ocpp2.0.1", "unsplit-offer": "ocpp2.0.1, ocpp1.6"}
OFFERS["none"] = "ocpp2.0.1"
REQUEST = (
    "GET /{} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {}\r\n\r\n"
)
# An ASGI server: its pins, of which the first is its own, and its command after `python -m`.
Server = tuple[str, str]
ADDRESS = "--host 127.0.0.1 --port {port}"
SERVERS: tuple[Server, ...] = (
    (
        "uvicorn==0.20.0 websockets==10.4 h11==0.16.0 click==7.1.2",
        f"uvicorn served:app --lifespan off --ws websockets {ADDRESS}",
    ),
    (
        "uvicorn==0.54.0 websockets==17.4 h11==0.16.0 click==8.5.1",
        f"uvicorn served:app --lifespan off {ADDRESS}",
    ),
    (
        "hypercorn==0.18.0 h11==0.16.0 h2==4.4.1 hpack==4.2.0 hyperframe==6.1.0 priority==2.0.0 wsproto==1.3.2",
        "hypercorn served:app --bind 127.0.0.1:{port}",
    ),
    (
        "daphne==4.2.3 asgiref==3.13.0 attrs==26.1.0 autobahn==26.10.2 automat==25.4.16 cbor2==6.3.0 cffi==2.1.1"
        " constantly==23.10.4 cryptography==50.0.2 hyperlink==21.0.0 idna==3.20 incremental==24.11.0 msgpack==1.2.4"
        " packaging==26.3 pycparser==3.12 pyopenssl==26.4.0 service-identity==26.1.0 twisted==26.10.0 txaio==26.6.1"
        " typing-extensions==4.16.0 ujson==6.1.0 zope-interface==8.7",
        "daphne --bind 127.0.0.1 --port {port} served:app",
    ),
    ("granian==2.8.7 click==8.5.1", f"granian --interface asginl {ADDRESS} served:app"),
)


@dataclass(frozen=True)
class Row(rows.Row):
    """What one server did in one case: its option for headers of every response, the status line or why there is none,
    the header's lines, the scope's subprotocols, the last error that it logged."""

    configured: str
    case: str
    status: str
    sent: list[str]
    scope: str
    logged: str

    def key(self) -> tuple[str, ...]:
        return self.name, self.version, self.case

    def tried(self) -> bool:
        return not self.status.startswith(FAILED)


read = partial(rows.read, Row, HERE / "servers.jsonl")
write = partial(rows.write, HERE / "servers.jsonl")


def measure(servers: Sequence[Server] = SERVERS) -> list[Row]:
    """Every case behind every server; one that fails costs its own rows."""
    found = thread_map(ask, servers, max_workers=2, disable=None, leave=False, unit="server")
    return rows.ordered(row for group in found for row in group)


def ask(server: Server) -> list[Row]:
    """The rows of one server."""
    pins, command = server[0].split(), ["-m", *server[1].split()]
    (name, version), option = pins[0].split("=="), configured(pins, command[1])
    return [Row(name, version, option, case, *answer(pins, command, case)) for case in OFFERS]


def configured(pins: Sequence[str], name: str) -> str:
    """The option that adds headers to every response, as uvicorn's `--header` does, by a server's help; or nothing."""
    try:
        python, environment = processes.python(pins)
        with place.scratch("asking") as aside:
            said = place.run([*python, "-m", name, "--help"], aside, environment)
    except Unavailable:
        return "unknown"
    return ", ".join(dict.fromkeys(re.findall(r"(?<![\w-])--headers?\b(?!-)", said))) or "nothing"


def answer(pins: Sequence[str], command: Sequence[str], case: str) -> tuple[str, list[str], str, str]:
    """Status line, lines sent, scope and log of one case; a status that tells why where there was none."""
    try:
        with processes.serving(HERE / "served.py", pins, command) as (port, log):
            status, sent, scope = shake_hands(port, case)
            time.sleep(0.2)  # for what it logs of that
            return status, sent, scope, processes.last_error(log)
    except (Unavailable, OSError) as error:
        return f"{FAILED}{plain(str(error))}", [], "", ""


def shake_hands(port: int, case: str) -> tuple[str, list[str], str]:
    """The status line, the values of the header's lines as they came, and what the scope offered. Raises OSError."""
    with socket.create_connection(("127.0.0.1", port), processes.LIMIT) as client:
        client.sendall(REQUEST.format(case, OFFERS[case]).encode())
        received = b""
        while b"\r\n\r\n" not in received and (more := client.recv(4096)):
            received += more
        with contextlib.suppress(OSError):
            while received.startswith(SWITCHED.encode()) and received[-1:] != b"]" and (more := client.recv(4096)):
                received += more
    head, _, frame = received.partition(b"\r\n\r\n")
    status, *lines = map(plain, head.decode("latin-1").split("\r\n"))
    sent = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("sec-websocket-protocol:")]
    return status or "no response", sent, plain(frame[2:].decode(errors="replace"))


def summary(found: Iterable[Row]) -> str:
    """The sentence on what each server makes of an app that names the subprotocol twice, in `accept-headers`."""
    told: dict[str, list[str]] = {}
    for row in found:
        if row.case == "accept-headers":
            lines = {0: "no line goes out", 1: "one line goes out"}.get(len(row.sent), "both lines go out")
            does = lines if row.status.startswith(SWITCHED) else "the connection is refused"
            does = does + (" and the log says why" if row.logged else "") if row.tried() else "nothing could be tried"
            told.setdefault(does, []).append(f"{row.name} {row.version}")
    said = "; ".join(f"behind {' and '.join(names)} {does}" for does, names in told.items())
    return f"The app of `accept-headers` on the ASGI servers: {said}."


def table(found: Iterable[Row]) -> str:
    """What each server sends in each case, as a Markdown table."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for row in found:
        cells.setdefault((f"{row.name} {row.version}", row.configured), {})[row.case] = cell(row)
    titles = [f"`{case}`" + (", in `websocket.accept`" if case == "header-alone" else "") for case in OFFERS]
    lines = ([*about, *(line.get(case, "") for case in OFFERS)] for about, line in cells.items())
    return markdown.table(["server", "option for headers of every response", *titles], lines)


def cell(row: Row) -> str:
    """The lines that were sent, or why there is no handshake."""
    if not row.tried():
        return code(row.status)
    if not row.status.startswith(SWITCHED):
        return f"refuses: {code(row.status)}" + (f", logs {code(row.logged)}" if row.logged else "")
    lines = " and ".join(map(code, row.sent)) or "none"
    return lines + (f" (the scope held {code(row.scope)})" if row.case == "unsplit-offer" else "")
