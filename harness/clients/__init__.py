"""Who notices: one broken server, many real clients, each in a process and where need be an environment of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from harness import environment, shelf
from harness.clients import libraries
from harness.clients.browsers import BROWSERS, Browser, NotInstalled
from harness.clients.libraries import LIBRARIES, OFFERED, Library
from harness.environment import FOLDER, ROOT, Unavailable
from harness.judge import each
from harness.model import plain
from harness.readme import code
from harness.servers import running

HERE = Path(__file__).resolve().parent
EVIDENCE = ROOT / "evidence" / "clients.json"
LIMIT = 10  # seconds for a program, which has no limit of its own
NOT_TRIED = "not tried"
CONTROL = "Without the header (case `none`, the control) all of them open."
# Dials a URL, and tells whether it opened, which subprotocol the client believes in, and its words where it gave up.
Dial = Callable[[str], dict[str, Any]]


@dataclass(frozen=True)
class Client:
    """A client: its name, and what makes it ready: its version, and how it dials.

    That raises NotInstalled, or Unavailable where the network or the disk keeps it away.
    """

    name: str
    ready: Callable[[], tuple[str, Dial]]


@dataclass(frozen=True)
class Witness:
    """What became of one client: `opened`, `refused` (the server sent its 101), `failed` or `not tried`.

    `subprotocol` is the one that the client believes was agreed, `reason` is in its own words, and
    `control` is what became of it where the app does not send the header itself.
    """

    client: str
    version: str
    outcome: str
    subprotocol: str | None
    reason: str | None
    control: str


def of_library(library: Library) -> Client:
    def ready() -> tuple[str, Dial]:
        python = shelf.requirements(library.pins)
        return library.version, partial(run, [str(python), "-I", libraries.__file__, library.name])

    return Client(library.name, ready)


def of_module(name: str) -> Client:
    def ready() -> tuple[str, Dial]:
        modules = _node_modules()
        version = json.loads((modules / name / "package.json").read_text())["version"]
        command = [shutil.which("node") or "node", str(HERE / "node_client.js"), name]
        return version, partial(run, command, NODE_PATH=str(modules))

    return Client(name, ready)


def of_browser(browser: Browser) -> Client:
    return Client(browser.name, lambda: (browser.version(), browser.dial))


CLIENTS = (*map(of_library, LIBRARIES), *map(of_module, ("ws", "undici")), *map(of_browser, BROWSERS))


def survey() -> list[Witness]:
    """Dial the broken server and the control with every client; one that fails costs its row alone.

    Raises Unavailable where the network or the disk kept one away, or a server does not start.
    """
    with serving("server-headers") as broken, serving("none") as control:
        found = each(lambda client: witness(client, broken, control), CLIENTS)
        return list(tqdm(found, total=len(CLIENTS), disable=None, leave=False, unit="client"))


def serving(case: str) -> AbstractContextManager[tuple[int, Path]]:
    """server.py with a case, on the pinned uvicorn and its websockets implementation."""
    return running(
        [sys.executable, str(ROOT / "server.py"), "--ws", "websockets", "--case", case, "--port", "{port}"], ROOT
    )


def witness(client: Client, broken: tuple[int, Path], control: tuple[int, Path]) -> Witness:
    """The row of a client, from the port and the log of each server."""
    try:
        version, dial = client.ready()
    except NotInstalled as error:
        return Witness(client.name, "", NOT_TRIED, None, plain(str(error)), NOT_TRIED)
    except (OSError, ValueError, KeyError) as error:  # it is damaged: make clean
        return Witness(client.name, "", "failed", None, plain(type(error).__name__), "failed")
    outcome, subprotocol, reason = ask(client.name, version, dial, broken)
    # Who does not open the control either has another reason.
    without = "opened" if ask(client.name, version, dial, control)[0] == "opened" else "failed"
    outcome = "failed" if (outcome, without) == ("refused", "failed") else outcome
    return Witness(client.name, version, outcome, subprotocol, reason, without)


def ask(name: str, version: str, dial: Dial, server: tuple[int, Path]) -> tuple[str, str | None, str | None]:
    """Outcome, subprotocol and reason of one handshake.

    A client has refused where the server sent it a 101, by its log, and it gave up before it held the handshake
    for open; and where it opens the control.
    """
    port, log = server
    path = f"/{name}-{version}"
    try:
        told = dial(f"ws://127.0.0.1:{port}{path}")
        opened, subprotocol, error = told["opened"], told["subprotocol"] or None, told["error"]
    except OSError as failure:
        return "failed", None, failure.strerror
    except (Unavailable, ValueError, KeyError, TypeError, RecursionError) as failure:
        return "failed", None, plain(str(failure))
    if opened and error is None:
        return "opened", subprotocol, None
    accepted = f'"WebSocket {path}" [accepted]' in log.read_text(errors="replace")
    return "refused" if accepted and not opened else "failed", None, plain(str(error)) or None


def run(command: Sequence[str], url: str, **variables: str) -> dict[str, Any]:
    """What a program tells in its last line. Raises Unavailable where it hangs or crashes, ValueError for junk."""
    try:
        done = subprocess.run(
            [*command, url],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"no answer within {LIMIT} s") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise Unavailable("; ".join([f"it ended with status {done.returncode}", *done.stderr.splitlines()[-1:]]))
    return dict(json.loads(lines[-1]))


def _node_modules() -> Path:
    """The folder of the Node clients' packages, installed once. Raises NotInstalled, Unavailable."""
    npm, package = shutil.which("npm"), HERE / "package.json"
    folder = FOLDER / "others" / f"node-{shelf.digest(package.read_text())}"
    if not npm or not shutil.which("node"):
        raise NotInstalled("node and npm are not installed")

    def build(new: Path) -> None:
        new.mkdir()
        shutil.copy(package, new)
        quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        environment.run([npm, "install", *quiet], new, dict(os.environ))

    if not folder.is_dir():
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


def summary(witnesses: Sequence[Witness]) -> str:
    """How many clients refuse, what the others believe in, and what became of the control, in sentences."""
    tried = [row for row in witnesses if row.outcome != NOT_TRIED]
    refused = [row for row in tried if row.outcome == "refused"]
    lines = [f"Of {len(tried)} clients {len(refused)} refuse the connection: {', '.join(map(named, refused))}."]
    for believed in dict.fromkeys(row.subprotocol for row in tried if row.outcome == "opened"):
        others = [row for row in tried if (row.outcome, row.subprotocol) == ("opened", believed)]
        lines.append(f"With {' and '.join(map(named, others))} it opens, and {wrong(others[0])}.")
    lines += [f"{named(row)} failed for another reason." for row in tried if row.outcome == "failed"]
    other = [named(row) for row in tried if row.control != "opened"]
    lines.append(
        f"Without the header (case `none`, the control) all open, but {', '.join(other)}." if other else CONTROL
    )
    return " ".join(lines)


def named(row: Witness) -> str:
    return f"{row.client} {row.version}"


def table(witnesses: Sequence[Witness]) -> str:
    """The witnesses as a Markdown table."""
    lines = ["| client | outcome | what goes wrong | in its own words | without the header |", "|---" * 5 + "|"]
    for row in witnesses:
        said = code(row.reason or "") or ("says nothing more" if row.outcome == "refused" else "")
        lines.append(f"| {' | '.join([named(row), row.outcome, wrong(row), said, row.control])} |")
    return "\n".join(lines)


def wrong(row: Witness) -> str:
    """What befalls an app with this client."""
    if row.outcome != "opened":
        return {"refused": "no connection"}.get(row.outcome, "")
    if row.subprotocol == OFFERED:
        return f"the client reports {code(OFFERED)}: it works, and nobody learns that others fail"
    believed = code(row.subprotocol or "nothing")
    return f"the client reports {believed}, which nobody offered: code that compares finds no match"
