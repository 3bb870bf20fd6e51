"""Who notices: the reported server, and the same without the mistake, dialed by many real clients."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from tqdm.contrib.concurrent import thread_map

from evidence import markdown, processes, rows
from evidence.clients.browsers import BROWSERS
from evidence.clients.dialing import OFFERED
from evidence.markdown import code
from harness import place
from harness.base import UV
from harness.model import plain
from harness.place import ROOT, Unavailable

HERE = Path(__file__).resolve().parent
OLDER = ("10.4", "12.0", "13.0", "13.1", "14.0")  # of websockets, beside the one that its script names
# From a URL to what came of it: `opened`, the `subprotocol` that the client believes in, and its `error` or None.
Dial = Callable[[str], dict[str, Any]]
# A client: its name, and what gets it ready: its version, and how it dials. That raises Unavailable.
Client = tuple[str, Callable[[], tuple[str, Dial]]]
Server = tuple[int, Path]  # its port, and the file that it logs to


@dataclass(frozen=True)
class Row(rows.Row):
    """What became of one client: `opened`, `refused` (the server sent its 101), `failed` or `not tried`.

    `subprotocol` is the one that the client believes was agreed, `reason` is in its own words, and
    `control` is what became of it where the app does not send the header itself.
    """

    outcome: str
    subprotocol: str | None
    reason: str | None
    control: str

    def key(self) -> tuple[str, ...]:
        """A browser is what a machine has: another version that says the same is no other measurement."""
        return (self.name,) if self.name in {one.name for one in BROWSERS} else super().key()

    def tried(self) -> bool:
        return self.outcome != "not tried"


read = partial(rows.read, Row, HERE.with_name("clients.jsonl"))
write = partial(rows.write, HERE.with_name("clients.jsonl"))


def clients() -> list[Client]:
    """All of them: a script for each Python library, Node's packages, the browsers."""
    scripts = {file.stem[5:].replace("_", "-"): file for file in HERE.glob("dial_*.py")}
    older = [("websockets", partial(_script, scripts["websockets"], f"--with=websockets=={one}")) for one in OLDER]
    modules = [(name, partial(_module, name)) for name in ("ws", "undici")]
    browsers = [(one.name, partial(lambda one: (one.version(), one.dial), one)) for one in BROWSERS]
    return [*((name, partial(_script, file)) for name, file in scripts.items()), *older, *modules, *browsers]


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
    """What a program tells of one handshake in its last line. Raises Unavailable where it hangs or crashes."""
    with place.scratch("client") as aside:
        said = place.run([*command, url], aside, {**processes.direct(), **variables})
    return dict(json.loads(said.strip().rpartition("\n")[2]))


def measure(which: Iterable[Client] | None = None) -> list[Row]:
    """Dial the broken server and the control with every client; one that fails costs its row alone.

    Raises Unavailable where a server does not start.
    """
    with serving("server.py") as broken, serving("cases/none.py") as control:
        one = partial(witness, broken=broken, control=control)
        found = thread_map(one, list(which or clients()), max_workers=2, disable=None, leave=False, unit="client")
    return rows.ordered(found)


def serving(app: str) -> AbstractContextManager[Server]:
    """server.py, or a file that takes its options, on the pinned uvicorn and its websockets implementation."""
    pins = (ROOT / "requirements-broken.txt").read_text().split()
    return processes.serving(ROOT / app, pins, [Path(app).name, "--ws", "websockets", "--port", "{port}"])


def witness(client: Client, broken: Server, control: Server) -> Row:
    """The row of a client."""
    name, ready = client
    try:
        version, dial = ready()
    except (Unavailable, OSError, ValueError, KeyError) as error:
        return Row(name, "", "not tried", None, _short(error), "not tried")
    outcome, subprotocol, reason = ask(f"/{name}-{version}", dial, broken)
    without = "opened" if ask(f"/{name}-{version}", dial, control)[0] == "opened" else "failed"
    if (outcome, without) == ("refused", "failed"):  # then it has another reason
        outcome = "failed"
    return Row(name, version, outcome, subprotocol, reason, without)


def ask(path: str, dial: Dial, server: Server) -> tuple[str, str | None, str | None]:
    """Outcome, subprotocol and reason of one handshake.

    A client has refused where the server sent it a 101, by its log, and it gave up before it held the handshake
    for open; and where it opens the control.
    """
    port, log = server
    try:
        told = dial(f"ws://127.0.0.1:{port}{path}")
        opened, subprotocol, error = told["opened"], told["subprotocol"] or None, told["error"]
    except (Unavailable, ValueError, KeyError, TypeError) as failure:
        return "failed", None, _short(failure)
    if opened and error is None:
        return "opened", subprotocol, None
    accepted = f'"WebSocket {path}" [accepted]' in log.read_text(errors="replace")
    return "refused" if accepted and not opened else "failed", None, plain(error or "") or None


def _short(error: Exception) -> str:
    """The end of what a program says, without the folders of this machine."""
    return re.sub(r"(?<![\w.])/[^\s'\"]*/", "", plain(str(error)))[-200:]


def summary(found: Iterable[Row]) -> str:
    """How many clients refuse, what the others believe in, and what became of the control, in sentences."""
    tried = [row for row in found if row.tried()]
    by = {outcome: [row for row in tried if row.outcome == outcome] for outcome in ("refused", "opened", "failed")}
    count = len({row.name for row in by["refused"]})
    lines = [f"Of {len({row.name for row in tried})} clients {count} refuse the connection: {_names(by['refused'])}."]
    for believed in dict.fromkeys(row.subprotocol for row in by["opened"]):
        others = [row for row in by["opened"] if row.subprotocol == believed]
        lines.append(f"With {_names(others, ' and ')} it opens, and {wrong(others[0])}.")
    lines += [f"{_names([row])} failed for another reason." for row in by["failed"]]
    other = _names(row for row in tried if row.control != "opened")
    all_ = f"all open, but {other}" if other else "all of them open"
    return " ".join([*lines, f"Without the header (`cases/none.py`, the control) {all_}."])


def _names(found: Iterable[Row], between: str = ", ") -> str:
    versions = {name: [row.version for row in group] for name, group in groupby(found, lambda row: row.name)}
    return between.join(f"{name} {'/'.join(all_)}" for name, all_ in versions.items())


def words(found: Iterable[Row]) -> str:
    """What websockets says of the refusal in each of its versions, in a sentence."""
    said, told = [row for row in found if (row.name, row.outcome) == ("websockets", "refused")], []
    for quoted, group in groupby(said, lambda row: (row.reason or "").partition(OFFERED)[0]):
        versions = [row.version for row in group]
        told.append(f"{' to '.join(dict.fromkeys([versions[0], versions[-1]]))} {code(quoted + '…')}")
    return f"What websockets says of it: {'; '.join(told)}."


def table(found: Iterable[Row]) -> str:
    """What became of each client, as a Markdown table."""
    lines = []
    for row in found:
        said = code(row.reason or "") or ("says nothing more" if row.outcome == "refused" else "")
        lines.append([f"{row.name} {row.version}", row.outcome, wrong(row), said, row.control])
    return markdown.table(["client", "outcome", "what goes wrong", "in its own words", "without the header"], lines)


def wrong(row: Row) -> str:
    """What befalls an app with this client."""
    if row.outcome != "opened":
        return "no connection" if row.outcome == "refused" else ""
    believed, meant = code(row.subprotocol or "nothing"), "it works, and nobody learns that others fail"
    other = f"the client reports {believed}, which nobody offered: code that compares finds no match"
    return f"the client reports {believed}: {meant}" if row.subprotocol == OFFERED else other
