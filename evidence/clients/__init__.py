"""Who notices: the reported server, and the same without the mistake, dialed by many real clients."""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from tqdm.contrib.concurrent import thread_map

from evidence import processes
from evidence.clients.browsers import BROWSERS
from evidence.rows import Kept, Row, here
from harness import place
from harness.model import plain
from harness.place import ROOT, Unavailable
from harness.sources import settings

HERE = Path(__file__).resolve().parent
OLDER = ("10.4", "12.0", "13.0", "13.1", "14.0")  # of websockets, beside the one that its script names
MODULES = {"undici": "7.30.2", "ws": "8.23.0"}  # of Node, each with no dependency
# From a URL to what came of it: the `outcome`, the `subprotocol` that the client believes was agreed, and the `reason`
# in its own words. It is `opened` once an answer came, `refused` where the handshake never was open to the client, and
# else `failed`.
Dial = Callable[[str], Row]
# A client: its name, and what gets it ready: its version, and how it dials. Both may raise one of FAILURES.
Client = tuple[str, Callable[[], tuple[str, Dial]]]
FAILURES = (Unavailable, OSError, ValueError)
Server = tuple[int, Path]  # its port, and the file that it logs to
# A row is one client, with the `control`: what becomes of it where the app does not send the header itself. A browser
# is what a machine has: another version that says the same is no other measurement.
KEPT = Kept("clients", lambda row: (row["name"], "" if row["name"] in BROWSERS else row["version"]))


def clients() -> list[Client]:
    """All of them, by name: a script for each Python library, with its pins in it; Node's packages, the browsers."""
    pins = {file: re.findall(r'"([^"]+==[^"]+)"', file.read_text()) for file in HERE.glob("dial_*.py")}
    older = [(HERE / "dial_websockets.py", [f"websockets=={version}"]) for version in OLDER]
    scripts = [(own[0].split("==")[0], partial(_script, file, own)) for file, own in (*older, *pins.items())]
    modules = [(name, partial(_module, name)) for name in MODULES]
    browsers = [(name, one.ready) for name, one in BROWSERS.items()]
    return sorted([*scripts, *modules, *browsers], key=lambda client: client[0])


def _script(file: Path, pins: Sequence[str]) -> tuple[str, Dial]:
    command, environment = processes.python(" ".join(pins))
    return pins[0].split("==")[1], partial(run, [*command, str(file)], environment)


def _module(name: str) -> tuple[str, Dial]:
    if not shutil.which("node"):
        raise Unavailable("node is not installed")
    wanted = f"{name}@{MODULES[name]}"

    def build(new: Path) -> None:
        place.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix=.", wanted], new)

    modules = place.made(place.FOLDER / "node" / wanted, build) / "node_modules"
    command = ["node", str(HERE / "dial_node.js"), name]
    return MODULES[name], partial(run, command, {**settings(), "NODE_PATH": str(modules)})


def run(command: Sequence[str], environment: Mapping[str, str], url: str) -> Row:
    """What a program tells of one handshake, past every proxy. Raises Unavailable; ValueError if it tells nothing."""
    direct = {name: value for name, value in environment.items() if not name.lower().endswith("_proxy")}
    return dict(json.loads(place.run([*command, url], place.FOLDER, {**direct, "no_proxy": "*"})))


def measure(which: Iterable[Client] | None = None) -> list[Row]:
    """Dial both servers with every client; one that fails costs its row alone. Raises Unavailable for a server."""
    with serving("server.py") as broken, serving("cases/none.py") as control:
        one = partial(witness, broken=broken, control=control)
        return list(thread_map(one, list(which or clients()), max_workers=2, disable=None, leave=False, unit="client"))


def serving(app: str) -> AbstractContextManager[Server]:
    """server.py, or a file that takes its options, on the pinned uvicorn and its websockets implementation."""
    pins = (ROOT / "requirements-broken.txt").read_text()
    return processes.serving(ROOT / app, pins, f"{Path(app).name} --ws websockets --port {{port}}")


def witness(client: Client, broken: Server, control: Server) -> Row:
    """The row of a client. It has refused the mistake only where the server sent it a 101, by its log, and where it
    opens the control: then it has no other reason."""
    name, ready = client
    try:
        version, dial = ready()
    except FAILURES as error:
        return {"name": name, "version": "", "missing": _short(error)}
    path = f"/{name}-{version}"
    told, other = (asked(dial, f"ws://127.0.0.1:{port}{path}") for port, _ in (broken, control))
    opens = other["outcome"] == "opened"
    accepted = f'"WebSocket {path}" [accepted]' in broken[1].read_text(errors="replace")
    if told["outcome"] == "refused" and not (accepted and opens):
        told["outcome"] = "failed"
    return {"name": name, "version": version, **here(), **told, "control": "opened" if opens else "failed"}


def asked(dial: Dial, url: str) -> Row:
    """What came of one handshake; a client that cannot tell has failed."""
    try:
        return dial(url)
    except FAILURES as failure:
        return {"outcome": "failed", "subprotocol": None, "reason": _short(failure)}


def _short(error: Exception) -> str:
    """The end of what a program says, without the folders of this machine."""
    return re.sub(r"(?<![\w.])/[^\s'\"]*/", "", plain(str(error)))[-200:]
