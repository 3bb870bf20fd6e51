"""Who notices: one broken server, many real clients, each in a process and where need be an environment of its own."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import uvicorn
from loguru import logger
from tqdm import tqdm

import server
from harness import environments, trial
from harness.environments import FOLDER, ROOT, Unavailable

HERE = Path(__file__).resolve().parent
EVIDENCE = ROOT / "evidence" / "clients.json"
LIMIT = 20  # seconds for one client; the programs have 10 of their own for the handshake
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FAILED, NOT_TRIED = "failed", "not tried"


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
    """Dial the broken server and the control with every client; one that fails costs its row alone."""
    logger.remove()  # thirty scopes teach nobody
    with serving("server-headers") as broken, serving("none") as control, ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda client: witness(client, broken, control), CLIENTS)
        return list(tqdm(found, total=len(CLIENTS), disable=None, leave=False, unit="client"))


def serving(case: str) -> AbstractContextManager[str]:
    """Serve a case with the pinned uvicorn and its websockets implementation, and yield the URL."""
    return trial.serving(trial.make_server(uvicorn, server.make_config(case, "websockets", log_config=None)))


def witness(client: Client, broken: str, control: str) -> Witness:
    try:
        prepared = prepare(client)
    except (Unavailable, OSError) as error:
        return Witness(client.name, client.version, NOT_TRIED, None, str(error), NOT_TRIED)
    outcome, subprotocol, reason = run(prepared, broken)
    return Witness(client.name, prepared.version, outcome, subprotocol, reason, run(prepared, control)[0])


def run(prepared: Prepared, url: str) -> tuple[str, str | None, str | None]:
    """Outcome, subprotocol and reason of one process; one that hangs or crashes has failed."""
    environment = {**os.environ, **prepared.environment}
    try:
        done = subprocess.run(
            [*prepared.command, url],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return FAILED, None, f"no answer within {LIMIT} s"
    try:
        said = json.loads(done.stdout.strip().splitlines()[-1])
        return said["outcome"], said["subprotocol"], said["reason"]
    except (IndexError, ValueError, KeyError, TypeError):
        last = done.stderr.strip().splitlines()[-1:]
        return FAILED, None, "; ".join([f"it ended with status {done.returncode}", *last])


def prepare(client: Client) -> Prepared:
    """Install what the client needs, once. Raises Unavailable with what is missing."""
    program = HERE / client.program
    if program.suffix == ".py":
        requirements = _inline_requirements(program)
        if client.version:
            requirements = [f"{client.name}=={client.version}"]
        python = environments.for_requirements(requirements)
        return Prepared(
            dict(pin.split("==") for pin in requirements)[client.name], [str(python), "-I", str(program)], {}
        )
    if not (node := shutil.which("node")):
        raise Unavailable("node is not installed")
    modules = _node_modules()
    if client.name == "chromium":
        browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
        if not browser:
            raise Unavailable("Chromium is not installed")
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
    folder = FOLDER / "clients" / f"node-{environments.digest(package.read_text())}"
    if folder.is_dir():
        return folder / "node_modules"

    def build(new: Path) -> None:
        npm = shutil.which("npm")
        if not npm:
            raise Unavailable("npm is not installed")
        shutil.copy(package, new)
        quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        done = subprocess.run([npm, "install", *quiet], cwd=new, capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"npm install failed: {' '.join(done.stderr.split())[:200]}")

    environments.finish(folder, build)
    return folder / "node_modules"


def write(witnesses: Sequence[Witness], file: Path = EVIDENCE) -> None:
    """Write the evidence with one client a line."""
    head = {
        "measured": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "uvicorn": uvicorn.__version__,
        "implementation": "websockets",
        "case": "server-headers",
    }
    lines = "".join(f"{json.dumps(name)}: {json.dumps(value)},\n" for name, value in head.items())
    rows = ",\n".join("  " + json.dumps(asdict(row)) for row in witnesses)
    file.write_text(f'{{\n{lines}"clients": [\n{rows}\n]\n}}\n')


def read(file: Path = EVIDENCE) -> list[Witness]:
    return [Witness(**row) for row in json.loads(file.read_text())["clients"]]


def table(witnesses: Sequence[Witness]) -> str:
    """The witnesses as a Markdown table."""
    lines = ["| client | outcome | believes it agreed on | in its own words |", "|---|---|---|---|"]
    for row in witnesses:
        believed = f"`{row.subprotocol}`" if row.subprotocol else ""
        outcome = (
            row.outcome if row.control in ("opened", NOT_TRIED) else f"{row.outcome} (and the control {row.control})"
        )
        lines.append(f"| {row.client} {row.version} | {outcome} | {believed} | {row.reason or ''} |".replace("  ", " "))
    return "\n".join(lines)
