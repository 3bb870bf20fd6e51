"""Who sends it: the same app behind other ASGI servers, and what went over the wire."""

import contextlib
import json
import platform
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from harness import environment, shelf
from harness.environment import ROOT, Unavailable
from harness.judge import each
from harness.model import HEADER, plain
from harness.readme import code

SERVED = Path(__file__).resolve().parent / "served"  # no package: granian would import the one that app.py is in
EVIDENCE = ROOT / "evidence" / "servers.json"
LIMIT = 10.0  # seconds for a server to start, and for each handshake
OFFERS = {
    "accept-headers": "ocpp2.0.1",
    "header-alone": "ocpp2.0.1",
    "unsplit-offer": "ocpp2.0.1, ocpp1.6",
    "none": "ocpp2.0.1",
}
REQUEST = (
    "GET /{} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {}\r\n\r\n"
)


@dataclass(frozen=True)
class Server:
    """An ASGI server: its command after `python -m`, and its pins."""

    name: str
    command: tuple[str, ...]
    pins: tuple[str, ...]

    @property
    def version(self) -> str:
        return dict(pin.split("==") for pin in self.pins)[self.name]


H11 = "h11==0.16.0"
HERE = ("--host", "127.0.0.1", "--port", "{port}")
FAILED = "failed: "
SERVERS = (
    Server(
        *("uvicorn", ("uvicorn", "app:app", "--lifespan", "off", "--ws", "websockets", *HERE)),
        (H11, "uvicorn==0.20.0", "websockets==10.4", "click==7.1.2"),
    ),
    Server(
        *("uvicorn", ("uvicorn", "app:app", "--lifespan", "off", *HERE)),
        (H11, "uvicorn==0.54.0", "websockets==17.4", "click==8.5.1"),
    ),
    Server(
        *("hypercorn", ("hypercorn", "app:app", "--bind", "127.0.0.1:{port}")),
        (
            H11,
            "h2==4.4.1",
            "hpack==4.2.0",
            "hypercorn==0.18.0",
            "hyperframe==6.1.0",
            "priority==2.0.0",
            "wsproto==1.3.2",
        ),
    ),
    Server(
        *("daphne", ("daphne", "--bind", "127.0.0.1", "--port", "{port}", "app:app")),
        (
            *(
                "asgiref==3.13.0",
                "attrs==26.1.0",
                "autobahn==26.10.2",
                "automat==25.4.16",
                "cbor2==6.3.0",
                "cffi==2.1.1",
            ),
            *("constantly==23.10.4", "cryptography==50.0.2", "daphne==4.2.3", "hyperlink==21.0.0", "idna==3.20"),
            *("incremental==24.11.0", "msgpack==1.2.4", "packaging==26.3", "pycparser==3.12", "pyopenssl==26.4.0"),
            *("service-identity==26.1.0", "twisted==26.10.0", "txaio==26.6.1", "typing-extensions==4.16.0"),
            *("ujson==6.1.0", "zope-interface==8.7"),
        ),
    ),
    Server(
        *("granian", ("granian", "--interface", "asginl", *HERE, "app:app")),
        ("click==8.5.1", "granian==2.8.7"),
    ),
)


@dataclass(frozen=True)
class Row:
    """What one server did in one case: its option for headers of every response, the status line, the header's lines,
    the scope's subprotocols, the last error that it logged."""

    server: str
    version: str
    configured: str
    case: str
    status: str
    sent: tuple[str, ...]
    scope: str
    logged: str


def survey() -> list[Row]:
    """Every case behind every server; one that fails costs its own rows. Raises Unavailable where all do."""
    rows = [row for found in each(ask, SERVERS) for row in found]
    if not any(row.status.startswith("HTTP/") for row in rows):
        raise Unavailable(f"no server could be had: {rows[0].status}")
    return rows


def ask(server: Server) -> list[Row]:
    """The rows of one server."""
    about = (server.name, server.version, configured(server))
    rows = []
    for case in OFFERS:
        status, sent, scope, logged = answer(server, case)
        rows.append(Row(*about, case, status, sent, scope, logged))
    return rows


def answer(server: Server, case: str) -> tuple[str, tuple[str, ...], str, str]:
    """Status line, lines sent, scope and log of one case; a status that tells why where there was none."""
    try:
        with running([str(shelf.requirements(server.pins)), "-m", *server.command], SERVED) as (port, log):
            status, sent, scope = shake_hands(port, case, OFFERS[case])
            time.sleep(0.2)  # for what it logs of that
            return status, tuple(sent), scope, last_error(log)
    except (Unavailable, OSError) as error:
        return f"{FAILED}{plain(str(error))}", (), "", ""


def configured(server: Server) -> str:
    """The option that adds headers to every response, as uvicorn's `--header` does, by its help; or nothing."""
    try:
        with environment.scratch("asking") as aside:
            said = environment.run([str(shelf.requirements(server.pins)), "-m", server.command[0], "--help"], aside)
    except Unavailable:
        return "unknown"
    return ", ".join(dict.fromkeys(re.findall(r"(?<![\w-])--headers?\b(?!-)", said))) or "nothing"


@contextmanager
def running(command: Sequence[str], folder: Path) -> Iterator[tuple[int, Path]]:
    """Run a server in a folder, on a free port of 127.0.0.1 that stands for {port}; yield the port and its log's file.

    Raises Unavailable where it does not start.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with environment.scratch("server") as aside:
        log = aside / "log.txt"
        with environment.started([part.format(port=port) for part in command], folder, log) as process:
            deadline = time.monotonic() + LIMIT
            while True:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Unavailable(f"it did not start: {last_error(log) or f'status {process.returncode}'}")
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.02)
            yield port, log


def shake_hands(port: int, case: str, offer: str) -> tuple[str, list[str], str]:
    """The status line, the values of the header's lines as they came, and what the scope offered. Raises OSError."""
    with socket.create_connection(("127.0.0.1", port), LIMIT) as client:
        client.sendall(REQUEST.format(case, offer).encode())
        received = b""
        while b"\r\n\r\n" not in received and (more := client.recv(4096)):
            received += more
        head, _, frame = received.partition(b"\r\n\r\n")
        lines = [plain(line) for line in head.decode("latin-1").split("\r\n")]
        pairs = [line.partition(":") for line in lines[1:]]
        sent = [value.strip() for name, _, value in pairs if name.lower() == HEADER]
        with contextlib.suppress(OSError):
            while lines[0].startswith("HTTP/1.1 101") and not frame.endswith(b"]") and (more := client.recv(4096)):
                frame += more
        return (
            lines[0] or "no response",
            sent,
            plain(frame[2:].decode(errors="replace")) if frame.endswith(b"]") else "",
        )


def last_error(log: Path) -> str:
    """The last line of a server's log that tells of an error, with nothing of this machine in it."""
    lines = [plain(line) for line in log.read_text(errors="replace").splitlines()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Failure|Warning)\b", line)]
    return errors[-1][:200] if errors else ""


def write(rows: Sequence[Row], file: Path = EVIDENCE) -> None:
    """Write the evidence, a line for each server and case. Raises Unavailable."""
    head = {
        "measured": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "platform": f"{platform.system()} {platform.machine()}",
        "pins": {f"{server.name} {server.version}": list(server.pins) for server in SERVERS},
    }
    parts = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    lines = ",\n".join(json.dumps(asdict(row)) for row in rows)
    environment.write_whole(file, "{\n" + ",\n".join([*parts, f'"rows": [\n{lines}\n]']) + "\n}\n")


def read(file: Path = EVIDENCE) -> list[Row]:
    """Read the evidence. Raises Unavailable where there is none."""
    data = environment.read_json(file)
    if not data:
        raise Unavailable(f"{file.name} is not there: run make servers")
    return [Row(**{**row, "sent": tuple(row["sent"])}) for row in data["rows"]]


def summary(rows: Sequence[Row]) -> str:
    """The sentence on what each server makes of an app that names the subprotocol twice, in `accept-headers`."""
    said: dict[str, list[str]] = {}
    for row in rows:
        if row.case == "accept-headers":
            lines = {0: "no line goes out", 1: "one line goes out"}.get(len(row.sent), "both lines go out")
            kind = lines if row.status.startswith("HTTP/1.1 101") else "the connection is refused"
            kind = "nothing could be tried" if row.status.startswith(FAILED) else kind
            said.setdefault(kind + (" and the log says why" if row.logged else ""), []).append(named(row))
    told = (f"behind {' and '.join(names)} {kind}" for kind, names in said.items())
    return f"The app of `accept-headers` on the ASGI servers: {'; '.join(told)}."


def named(row: Row) -> str:
    return f"{row.server} {row.version}"


def table(rows: Sequence[Row]) -> str:
    """What each server sends in each case, as a Markdown table."""
    titles = [f"`{case}`" + (", in `websocket.accept`" if case == "header-alone" else "") for case in OFFERS]
    lines = [f"| server | option for headers of every response | {' | '.join(titles)} |"]
    lines.append("|---" * (2 + len(OFFERS)) + "|")
    for name, version, configured in dict.fromkeys((row.server, row.version, row.configured) for row in rows):
        cells = [told(row) for row in rows if (row.server, row.version) == (name, version)]
        lines.append(f"| {name} {version} | {configured} | {' | '.join(cells)} |")
    return "\n".join(lines)


def told(row: Row) -> str:
    """One cell: the lines that were sent, or why there is no handshake."""
    if row.status.startswith(FAILED):
        return code(row.status)
    if not row.status.startswith("HTTP/1.1 101"):
        return f"refuses: {code(row.status)}" + (f", logs {code(row.logged)}" if row.logged else "")
    lines = " and ".join(code(value) for value in row.sent) or "none"
    return lines + (f" (the scope held {code(row.scope)})" if row.case == "unsplit-offer" else "")
