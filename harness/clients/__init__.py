"""Who notices: one broken server, many real clients, each in a process and where need be an environment of its own."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from tqdm import tqdm

from harness import environment, shelf
from harness.environment import FOLDER, ROOT, Unavailable
from harness.readme import code

HERE = Path(__file__).resolve().parent
EVIDENCE = ROOT / "evidence" / "clients.json"
LIMIT = 20  # seconds for one client; the programs have 10 of their own for the handshake
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OFFERED = "ocpp2.0.1"
FAILED, NOT_TRIED = "failed", "not tried"


class NotInstalled(Unavailable):
    """A program that a client runs in is not on this machine."""


@dataclass(frozen=True)
class Client:
    """A client library, the program that dials with it, and the version where that is not the program's own pin."""

    name: str
    program: str
    version: str = ""


CLIENTS = (
    Client("websockets", "dial_websockets.py", "10.4"),
    Client("websockets", "dial_websockets.py"),
    Client("aiohttp", "dial_aiohttp.py"),
    Client("websocket-client", "dial_websocket_client.py"),
    Client("httpx-ws", "dial_httpx_ws.py"),
    Client("picows", "dial_picows.py"),
    Client("wsproto", "dial_wsproto.py"),
    Client("ws", "dial_ws.js"),
    Client("undici", "dial_undici.js"),
    Client("chromium", "dial_chromium.js"),
)


@dataclass(frozen=True)
class Witness:
    """What became of one client: `opened`, `refused`, `failed` or `not tried`.

    `subprotocol` is the one that the client believes was agreed, `reason` is in its own words, and
    `control` is what became of it where the app does not send the header itself.
    """

    client: str
    version: str
    outcome: str
    subprotocol: str | None
    reason: str | None
    control: str


@dataclass(frozen=True)
class Prepared:
    """How to run a client: the command up to the URL, and what it needs in its environment."""

    version: str
    command: list[str]
    environment: dict[str, str]


def survey() -> list[Witness]:
    """Dial the broken server and the control with every client; one that fails costs its row alone.

    Raises Unavailable where the network or the disk kept one away: what there was of it stays.
    """
    with serving("server-headers") as broken, serving("none") as control, ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda client: witness(client, broken, control), CLIENTS)
        return list(tqdm(found, total=len(CLIENTS), disable=None, leave=False, unit="client"))


@contextmanager
def serving(case: str) -> Iterator[str]:
    """Serve a case with server.py, the pinned uvicorn and its websockets implementation, and yield the URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(ROOT / "server.py"), "--ws", "websockets", "--case", case, "--port", str(port)]
    null = subprocess.DEVNULL
    with subprocess.Popen(command, start_new_session=True, stdin=null, stdout=null, stderr=null) as process:
        try:
            deadline = time.monotonic() + LIMIT
            while process.poll() is None and time.monotonic() < deadline:
                with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.01)
            yield f"ws://127.0.0.1:{port}"
        finally:
            process.kill()


def witness(client: Client, broken: str, control: str) -> Witness:
    try:
        prepared = prepare(client)
    except NotInstalled as error:
        return Witness(client.name, client.version, NOT_TRIED, None, str(error), NOT_TRIED)
    outcome, subprotocol, reason = run(prepared, broken)
    return Witness(client.name, prepared.version, outcome, subprotocol, reason, run(prepared, control)[0])


def run(prepared: Prepared, url: str) -> tuple[str, str | None, str | None]:
    """Outcome, subprotocol and reason of one process; one that hangs or crashes has failed."""
    variables = {**os.environ, **prepared.environment}
    try:
        done = subprocess.run(
            [*prepared.command, url],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            env=variables,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return FAILED, None, f"no answer within {LIMIT} s"
    try:
        said = json.loads(done.stdout.strip().splitlines()[-1])
        return said["outcome"], said["subprotocol"], said["reason"]
    except (IndexError, ValueError, KeyError, TypeError, RecursionError):
        last = done.stderr.strip().splitlines()[-1:]
        return FAILED, None, "; ".join([f"it ended with status {done.returncode}", *last])


def prepare(client: Client) -> Prepared:
    """Install what the client needs, once. Raises Unavailable with what is missing."""
    program = HERE / client.program
    if program.suffix == ".py":
        requirements = _inline_requirements(program)
        if client.version:
            requirements = [f"{client.name}=={client.version}"]
        python = shelf.requirements(requirements)
        return Prepared(
            dict(pin.split("==") for pin in requirements)[client.name], [str(python), "-I", str(program)], {}
        )
    if not (node := shutil.which("node")):
        raise NotInstalled("node is not installed")
    modules = _node_modules()
    if client.name == "chromium":
        browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
        if not browser:
            raise NotInstalled("Chromium is not installed")
        printed = subprocess.run([browser, "--version"], capture_output=True, text=True).stdout
        version = (re.findall(r"\d+(?:\.\d+)+", printed) or ["unknown"])[0]
        return Prepared(version, [node, str(program)], {"NODE_PATH": str(modules), "CHROMIUM": browser})
    version = json.loads((modules / client.name / "package.json").read_text())["version"]
    return Prepared(version, [node, str(program)], {"NODE_PATH": str(modules)})


def _inline_requirements(program: Path) -> list[str]:
    """The pins of the program's PEP 723 metadata."""
    return re.findall(r'^#.*?"([^"]+==[^"]+)"', program.read_text(), re.MULTILINE)


def _node_modules() -> Path:
    package = HERE / "package.json"
    folder = FOLDER / "clients" / f"node-{shelf.digest(package.read_text())}"
    if folder.is_dir():
        return folder / "node_modules"

    def build(new: Path) -> None:
        npm = shutil.which("npm")
        if not npm:
            raise NotInstalled("npm is not installed")
        new.mkdir()
        shutil.copy(package, new)
        quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        done = subprocess.run([npm, "install", *quiet], cwd=new, capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"npm install failed: {' '.join(done.stderr.split())[:200]}")

    environment.finish(folder, build)
    return folder / "node_modules"


def write(witnesses: Sequence[Witness], file: Path = EVIDENCE) -> None:
    """Write the evidence with one client a line."""
    head = {
        "measured": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "uvicorn": "0.20.0",
        "implementation": "websockets",
        "case": "server-headers",
    }
    lines = "".join(f"{json.dumps(name)}: {json.dumps(value)},\n" for name, value in head.items())
    rows = ",\n".join("  " + json.dumps(asdict(row)) for row in witnesses)
    environment.write_whole(file, f'{{\n{lines}"clients": [\n{rows}\n]\n}}\n')


def read(file: Path = EVIDENCE) -> list[Witness]:
    return [Witness(**row) for row in json.loads(file.read_text())["clients"]]


def table(witnesses: Sequence[Witness]) -> str:
    """The witnesses as a Markdown table."""
    lines = ["| client | outcome | what goes wrong | in its own words | control |", "|---|---|---|---|---|"]
    for row in witnesses:
        said = code(row.reason or "") or ("says nothing more" if row.outcome == "refused" else "")
        cells = [f"{row.client} {row.version}".strip(), row.outcome, wrong(row), said, row.control]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def wrong(row: Witness) -> str:
    """What befalls an app with this client."""
    if row.outcome != "opened":
        return {"refused": "no connection"}.get(row.outcome, "")
    if row.subprotocol == OFFERED:
        return f"believes in {code(OFFERED)}: works, and nobody learns that others fail"
    return f"believes in {code(row.subprotocol or 'none')}, which nobody offered: an app that compares finds no match"
