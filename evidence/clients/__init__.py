"""Who notices: the reported server, and the same without the mistake, dialed by many real clients."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from tqdm.contrib.concurrent import thread_map

from evidence import processes
from evidence.clients.browsers import BROWSERS
from evidence.rows import Kept, Row, here
from harness import place
from harness.base import UV
from harness.model import plain
from harness.place import ROOT, Unavailable
from harness.sources import settings

HERE = Path(__file__).resolve().parent
OLDER = ("10.4", "12.0", "13.0", "13.1", "14.0")  # of websockets, beside the one that its script names
# From a URL to what came of it: `opened`, the `subprotocol` that the client believes in, and its `error` or None.
Dial = Callable[[str], dict[str, Any]]
# A client: its name, and what gets it ready: its version, and how it dials. That raises Unavailable.
Client = tuple[str, Callable[[], tuple[str, Dial]]]
FAILURES = (Unavailable, OSError, ValueError, KeyError, TypeError)  # of a client, whatever it prints
Server = tuple[int, Path]  # its port, and the file that it logs to
# A row is what became of one client: `opened`, `refused` (the server sent its 101) or `failed`; the `subprotocol`
# that it believes was agreed, the `reason` in its own words, and what became of the `control`, where the app does not
# send the header itself. A browser is what a machine has: another version that says the same is no other measurement.
KEPT = Kept("clients", lambda row: (row["name"], "" if row["name"] in BROWSERS else row["version"]))


def clients() -> list[Client]:
    """All of them, by name: a script for each Python library, Node's packages, the browsers."""
    scripts = {file.stem[5:].replace("_", "-"): file for file in HERE.glob("dial_*.py")}
    older = [("websockets", partial(_script, scripts["websockets"], f"--with=websockets=={one}")) for one in OLDER]
    newest = [(name, partial(_script, file)) for name, file in scripts.items()]
    modules = [(name, partial(_module, name)) for name in ("ws", "undici")]
    browsers = [(name, one.ready) for name, one in BROWSERS.items()]
    return sorted([*older, *newest, *modules, *browsers], key=lambda client: client[0])


def _script(file: Path, *options: str) -> tuple[str, Dial]:
    uv = [UV, "run", "--quiet", "--no-project", "--python", processes.interpreter().path, *options]
    offline = [*uv, "--offline", "--script", str(file)]
    with place.scratch("installing") as aside:
        try:  # what is cached needs no question to the index
            version = place.run(offline, aside)
        except Unavailable:
            version = place.run([*uv, "--script", str(file)], aside)
    return version.strip(), partial(run, offline)


def _module(name: str) -> tuple[str, Dial]:
    package, npm = HERE / "package.json", shutil.which("npm")
    if not npm or not shutil.which("node"):
        raise Unavailable("node and npm are not installed")

    def build(new: Path) -> None:
        shutil.copy(package, new)
        place.run([npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"], new)

    digest = hashlib.sha256(package.read_bytes()).hexdigest()[:12]
    modules = place.made(place.FOLDER / "node" / digest, build) / "node_modules"
    version = json.loads((modules / name / "package.json").read_text())["version"]
    return version, partial(run, ["node", str(HERE / "dial_node.js"), name], NODE_PATH=str(modules))


def run(command: Sequence[str], url: str, **variables: str) -> dict[str, Any]:
    """What a program tells of one handshake in its last line. Raises Unavailable where it hangs or crashes.

    It has no way through a proxy, also where one is set for the whole machine.
    """
    direct = {name: value for name, value in settings().items() if not name.lower().endswith("_proxy")}
    with place.scratch("client") as aside:
        said = place.run([*command, url], aside, {**direct, "no_proxy": "*", **variables})
    return dict(json.loads(said.strip().rpartition("\n")[2]))


def measure(which: Iterable[Client] | None = None) -> list[Row]:
    """Dial the broken server and the control with every client; one that fails costs its row alone.

    Raises Unavailable where a server does not start.
    """
    with serving("server.py") as broken, serving("cases/none.py") as control:
        one = partial(witness, broken=broken, control=control)
        return list(thread_map(one, list(which or clients()), max_workers=2, disable=None, leave=False, unit="client"))


def serving(app: str) -> AbstractContextManager[Server]:
    """server.py, or a file that takes its options, on the pinned uvicorn and its websockets implementation."""
    pins = (ROOT / "requirements-broken.txt").read_text().split()
    return processes.serving(ROOT / app, pins, [Path(app).name, "--ws", "websockets", "--port", "{port}"])


def witness(client: Client, broken: Server, control: Server) -> Row:
    """The row of a client.

    It has refused where it gave up before it held the handshake for open, though the server sent it a 101, by its log,
    and it opens the control: then it has no other reason.
    """
    name, ready = client
    try:
        version, dial = ready()
    except FAILURES as error:
        return {"name": name, "version": "", "missing": _short(error)}
    path = f"/{name}-{version}"
    told, other = (ask(dial, f"ws://127.0.0.1:{port}{path}") for port, _ in (broken, control))
    without = "opened" if other["outcome"] == "opened" else "failed"
    accepted = f'"WebSocket {path}" [accepted]' in broken[1].read_text(errors="replace")
    if told["outcome"] == "refused" and not (accepted and without == "opened"):
        told["outcome"] = "failed"
    return {"name": name, "version": version, **here(), **told, "control": without}


def ask(dial: Dial, url: str) -> Row:
    """Outcome, subprotocol and reason of one handshake; `refused` is what did not open."""
    try:
        told = dial(url)
        opened, subprotocol, error = told["opened"], told["subprotocol"] or None, told["error"]
    except FAILURES as failure:
        return {"outcome": "failed", "subprotocol": None, "reason": _short(failure)}
    if opened and error is None:
        return {"outcome": "opened", "subprotocol": subprotocol, "reason": None}
    return {"outcome": "failed" if opened else "refused", "subprotocol": None, "reason": plain(error or "") or None}


def _short(error: Exception) -> str:
    """The end of what a program says, without the folders of this machine."""
    return re.sub(r"(?<![\w.])/[^\s'\"]*/", "", plain(str(error)))[-200:]
