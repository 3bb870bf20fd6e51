"""One trial: the uvicorn in a folder serves an app, client.py dials it, and a verdict comes out.

This file runs in the environment under test: it imports only the standard library and what
requirements-broken.txt brings, and it runs on Python 3.8 and later. Each folder is judged in a forked process,
which may do whatever it likes: what counts is what it says through a pipe of its own.
"""

import os
import sys

if __name__ == "__main__":
    # Python's own status for whatever goes wrong from here on is 1, which would be taken for a verdict.
    sys.excepthook = lambda kind, error, _: (os.write(2, f"{kind.__name__}: {error}\n".encode()), os._exit(125))

import argparse
import asyncio
import base64
import contextlib
import ctypes
import gc
import hashlib
import importlib
import importlib.machinery
import json
import logging
import logging.handlers
import platform
import pprint
import re
import select
import signal
import socket
import subprocess
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any, AsyncIterator, Dict, Iterable, Iterator, List, Optional, Set, Tuple

ROOT = Path(__file__).resolve().parent.parent
# A folder cannot be made where a file is.
BYTECODE, NOWHERE = sys.pycache_prefix, str(Path(__file__) / "no-cache")
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    # Bytecode is matched to its source by size and second, so that of a folder which changes may match and be stale.
    # So nothing of ours or of uvicorn is cached.
    sys.pycache_prefix, sys.dont_write_bytecode = NOWHERE, True

import client
from harness.model import (
    CASES,
    HEADER,
    IMPLEMENTATIONS,
    NO_CELL,
    App,
    Cause,
    Cell,
    Job,
    Observation,
    Script,
    Trial,
    Verdict,
    plain,
    printable,
)

PACKAGES = Path(sys.prefix, "lib", "python{}.{}".format(*sys.version_info), "site-packages")
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
LIMIT = 30.0  # seconds for all that is asked of one folder
START_LIMIT = 10.0  # seconds
# What uvicorn and its clients import beside the standard library, in every version of the pins.
PRELOADED = (
    *("ssl", "http", "email.utils", "h11", "click", "loguru", "wsproto", "wsproto.events", "wsproto.extensions"),
    *("wsproto.connection", "websockets", "websockets.exceptions", "websockets.legacy.client", "websockets.server"),
    *("websockets.legacy.server", "websockets.legacy.handshake", "websockets.extensions.permessage_deflate"),
    *("websockets.asyncio.client", "websockets.asyncio.server", "asgiref.typing", "typing_extensions"),
    *("logging.config", "multiprocessing.connection", "multiprocessing.context", "uuid", "hmac", "tempfile"),
    *(
        "encodings.idna",
        "configparser",
        "ipaddress",
        "concurrent.futures.thread",
        "websockets.extensions",
        "websockets.uri",
    ),
)


class Inconclusive(Exception):
    """Why there is no handshake to judge."""

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


class Lines(logging.Logger):
    """A logger that adds the text of what it is told to a list; making records of it would take longer than to dial."""

    def __init__(self, said: List[str]) -> None:
        super().__init__("handshake", logging.DEBUG)
        self._said = said

    def _log(self, level: int, msg: object, args: Any, *_: Any, **__: Any) -> None:
        self._said.append(str(msg) % args if args else str(msg))


def preload() -> None:
    """Import what every folder needs beside uvicorn. What the pins do not bring, a trial says itself that it misses."""
    sys.pycache_prefix, nowhere = BYTECODE, sys.pycache_prefix
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    sys.pycache_prefix = nowhere
    gc.disable()  # a trial is over before collecting would pay


def altered(folder: Path) -> str:
    """What is not as the wheels in a folder had it, by their RECORD files; empty where all is.

    The format is that of the PyPA specification "Recording installed projects".
    """
    recorded: Dict[str, str] = {}
    for record in folder.glob("*.dist-info/RECORD"):
        if record.parent.name.startswith(
            ("pip-", "setuptools-")
        ):  # they come with a venv, and nothing here imports them
            continue
        rows = [line.rsplit(",", 2) for line in record.read_text(errors="replace").splitlines()]
        recorded.update({row[0].strip('"'): row[1] for row in rows if len(row) == 3 and row[1]})
        if not rows:
            return f"{record.parent.name}/RECORD is empty"
    for name, digest in recorded.items():
        kind, _, expected = digest.partition("=")
        try:
            content = (folder / name).read_bytes()
        except OSError:
            return f"{name} is not there"
        if base64.urlsafe_b64encode(hashlib.new(kind, content).digest()).rstrip(b"=").decode() != expected:
            return f"{name} is not what was installed"
    for top in {name.split("/")[0] for name in recorded if "/" in name and not name.startswith("..")}:
        for path, _, files in os.walk(str(folder / top)):
            for name in files if "__pycache__" not in path else ():
                inside = (Path(path) / name).relative_to(folder).as_posix()
                if inside not in recorded and not top.endswith(".dist-info"):
                    return f"{inside} was not installed"
    return ""


def versions(folder: Path) -> Dict[str, str]:
    """The distributions that lie in a folder, and their versions."""
    return dict(entry.stem.split("-", 1) for entry in sorted(folder.glob("*-*.dist-info")))


def load(job: Job) -> Any:
    """Import uvicorn from the job's folder. Raises Inconclusive."""
    source = Path(job.source)
    if not (source / "uvicorn" / "__init__.py").is_file():
        raise Inconclusive(Cause.NO_PACKAGE, f"there is no uvicorn package in {source.name}")
    difference = altered(source) if job.whole else ""
    if difference:
        raise Inconclusive(Cause.DAMAGED, f"uvicorn {job.release} is damaged: {difference}")
    sys.path.insert(0, str(source))
    try:
        uvicorn = importlib.import_module("uvicorn")
        version = getattr(uvicorn, "__version__", None)
    except BaseException as error:
        cause = Cause.MISSING_IMPORT if lacks_others(error) else Cause.IMPORT_FAILED
        raise Inconclusive(cause, f"import failed: {describe(error)}") from error
    if not isinstance(version, str) or not re.match(r"\d+(\.\d+)*([a-z.+-]*\d*)*$", version):
        raise Inconclusive(Cause.OTHER_UVICORN, f"uvicorn says that its version is {version!r:.50}")
    if job.release and version != job.release:
        raise Inconclusive(Cause.OTHER_UVICORN, f"uvicorn {version} ran instead of {job.release}")
    return uvicorn


def load_app(app: App) -> Any:
    """Import an app of one's own. Raises Inconclusive."""
    place, _, names = app.name.rpartition(":")
    folder = Path(app.folder, place).parent if place.endswith(".py") else Path(app.folder)
    for name in ("client", "server", "harness", "harness.model"):  # it may have modules of these names
        sys.modules.pop(name, None)
    sys.path[sys.path.index(str(ROOT))] = str(folder)
    try:
        found = importlib.import_module(Path(place).stem if place.endswith(".py") else place)
        for name in names.split("."):
            found = getattr(found, name)
        return found
    except BaseException as error:
        raise Inconclusive(Cause.NO_APP, f"importing {app.name} failed: {describe(error)}") from error


def of_the_machine(error: Any) -> bool:
    """Whether it is something that another machine or another day need not share."""
    return isinstance(error, (OSError, MemoryError, asyncio.TimeoutError)) and str(error) != client.NOTHING


def lacks_others(error: Optional[BaseException]) -> bool:
    """Whether an import failed for what the pins do not bring."""
    return isinstance(error, ImportError) and (error.name or "uvicorn").split(".")[0] != "uvicorn"


def describe(error: BaseException) -> str:
    """The error in one line, without the path that an ImportError ends with: it differs between machines."""
    text = re.sub(r" \(/[^()]*\)$", "", str(error)) if isinstance(error, ImportError) else str(error)
    return plain(f"{type(error).__name__}: {text}")[:1000]


@contextlib.asynccontextmanager
async def serving(server: Any) -> AsyncIterator[str]:
    """Run a uvicorn.Server on a free port of 127.0.0.1, yield its URL, and stop it on every path.

    Raises Inconclusive where it does not start.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        task = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            # Only once it has started does uvicorn add the configured headers: a client that came earlier would not
            # see them.
            deadline = time.monotonic() + START_LIMIT
            while not server.started and not task.done() and time.monotonic() < deadline:
                await asyncio.sleep(0)
            if not server.started:
                failure = task.exception() if task.done() and not task.cancelled() else None
                late = "it ended" if task.done() else f"not within {START_LIMIT:g} s"
                reason = f"uvicorn did not start: {describe(failure) if failure else late}"
                cause = Cause.MISSING_IMPORT if lacks_others(failure) else Cause.NOT_STARTED
                raise Inconclusive(cause, reason) from failure
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            # uvicorn looks at should_exit every 0.1 s; a cancelled task ends at once.
            task.cancel()
            await asyncio.wait([task], timeout=1)


def judge(uvicorn: Any, job: Job, cell: Cell, app: Any) -> Tuple[Trial, Observation]:
    """Serve one case, or the app, with one implementation, dial it once, say what happened. Raises nothing."""
    trial, seen = Trial(uvicorn.__version__, *cell), Observation()
    failure: Optional[BaseException] = None
    with logged("uvicorn", "websockets.server") as errors:
        try:
            asyncio.run(shake_hands(uvicorn, job, app, trial, seen, errors))
            trial.verdict = Verdict.open
        except Inconclusive as error:
            trial.cause, trial.reason, failure = error.cause, str(error), error.__cause__
        except BaseException as error:
            trial.verdict, trial.reason = client.judge(error, trial.case)
            if trial.verdict is Verdict.inconclusive:
                trial.cause = Cause.NO_ANSWER if of_the_machine(error) else Cause.OTHER_ANSWER
            failure = error
    seen.lines = [plain(line) for line in seen.lines if re.match(r"> GET |< HTTP/|[<>] [^ :]+: ", line)]
    trial.sent = [value for name, value in map(received_header, seen.lines) if name == HEADER]
    if failure and job.observed:
        seen.traceback = "".join(traceback.format_exception(type(failure), failure, failure.__traceback__)).rstrip()
    if trial.cause in (Cause.OTHER_ANSWER, Cause.NO_ANSWER, Cause.NOT_STARTED) and errors.buffer:
        record = errors.buffer[-1]
        raised = record.exc_info and record.exc_info[1]
        trial.cause = Cause.NO_ANSWER if of_the_machine(raised) else trial.cause
        last = record.getMessage().strip().split("\n")[-1]  # of a traceback, the exception
        trial.reason += f"; the server logged {describe(raised) if raised else plain(last)[:1000]}"
    return trial, seen


async def shake_hands(uvicorn: Any, job: Job, app: Any, trial: Trial, seen: Observation, errors: Any) -> None:
    """Serve the case or the app, dial it, and write down what is seen. Raises Inconclusive, and what `dial` raises.

    `errors` is the handler that keeps what uvicorn logs.
    """
    if trial.implementation not in uvicorn.config.WS_PROTOCOLS:
        names = ", ".join(name for name in uvicorn.config.WS_PROTOCOLS if name != "none")
        reason = plain(f"uvicorn {trial.uvicorn} has no {trial.implementation}; it has {names}")
        raise Inconclusive(Cause.NO_IMPLEMENTATION, reason)
    if job.app:
        headers = [(name, value) for name, value in job.app.headers]
        config = uvicorn.Config(app, headers=headers, ws=trial.implementation, log_config=None)
        offer, path = job.app.offer, job.app.path
    else:
        kept, sys.pycache_prefix = sys.pycache_prefix, NOWHERE
        server = importlib.import_module("server")
        sys.pycache_prefix = kept
        server.logger.remove()  # nobody would see what it logs, which takes longer than the handshake
        config = server.make_config(trial.case, trial.implementation, log_config=None)
        offer, path = client.CASES[trial.case], ""
    running = uvicorn.Server(config)
    config.app = watched(config.app, config.headers, running, trial, seen if job.observed else None)
    async with serving(running) as url:
        try:
            await client.dial(url + path, offer, wait=not job.app, logger=Lines(seen.lines))
        finally:
            logging.getLogger("uvicorn").removeHandler(errors)  # what it logs when it is stopped explains nothing


@contextlib.contextmanager
def logged(*names: str) -> Iterator[Any]:
    """A handler with the errors that these loggers tell inside the block, in its `buffer`, and kept off stderr."""
    handler = logging.handlers.BufferingHandler(sys.maxsize)
    handler.setLevel(logging.ERROR)
    for name in names:
        logging.getLogger(name).addHandler(handler)
    try:
        yield handler
    finally:
        for name in names:
            logging.getLogger(name).removeHandler(handler)


def watched(app: Any, configured: Any, server: Any, trial: Trial, seen: Optional[Observation]) -> Any:
    """The same app, which also writes down its scope, what it accepts with, and who handles the connection."""

    async def watching(scope: Any, receive: Any, send: Any) -> None:
        kinds = {type(connection) for connection in server.server_state.connections}
        trial.ran = ", ".join(sorted(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds))
        if seen:
            seen.scope = pprint.pformat(dict(scope), width=110, sort_dicts=False)

        async def sending(message: Any) -> None:
            if seen and message["type"] == "websocket.accept":
                seen.writers = [("subprotocol= in websocket.accept", message.get("subprotocol") or "")]
                seen.writers += header_writers("headers= in uvicorn.Config", configured)
                seen.writers += header_writers("headers= in websocket.accept", message.get("headers", []))
            await send(message)

        await app(scope, receive, sending)

    return watching


def header_writers(writer: str, headers: Any) -> List[Tuple[str, str]]:
    """A writer with each value that it gives to the header; ASGI has headers as bytes, uvicorn.Config as text."""
    pairs = [[part.decode("latin-1") if isinstance(part, bytes) else part for part in pair] for pair in headers]
    return [(writer, value) for name, value in pairs if name.lower() == HEADER]


def received_header(line: str) -> Tuple[str, str]:
    """The name, in lower case, and the value of a received header's line; two empty strings for another line."""
    name, colon, value = line.partition(": ")
    return (name[2:].lower(), value) if colon and name.startswith("< ") else ("", "")


def outside(source: Path, known: Dict[str, str]) -> str:
    """A uvicorn module in use that did not come from a source file of the folder; empty where there is none.

    `known` holds the modules that did, with their files as seen from the folder, and gets the new ones.
    """
    for name in [name for name in sys.modules if name.startswith("uvicorn") and name not in known]:
        if name.split(".")[0] == "uvicorn":
            file = Path(getattr(sys.modules[name], "__file__", None) or "nowhere").resolve()
            if file.suffix != ".py" or source not in file.parents:
                return file.name
            known[name] = file.relative_to(source).as_posix()
    return ""


def run(script: Script) -> Trial:
    """Run a script of one's own, and take its exit status for what `git bisect run` takes it."""
    trial = Trial("", *NO_CELL)
    with Path(script.output).open("wb") as output:
        options: Dict[str, Any] = {"cwd": script.folder, "env": script.environment, "stdout": output}
        try:
            status = subprocess.Popen(
                script.command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, **options
            ).wait()
        except OSError as error:
            trial.cause, trial.reason = Cause.ENDED, f"cannot run {script.command[0]}: {error.strerror}"
            return trial
    with Path(script.output).open("rb") as printed:
        printed.seek(max(0, Path(script.output).stat().st_size - 2000))
        last = printed.read().decode(errors="replace").strip().splitlines()[-1:]
    trial.reason = "; ".join([f"signal {-status}" if status < 0 else f"status {status}", *map(plain, last)])
    if 0 <= status < 128 and status != Verdict.inconclusive.value:
        trial.verdict = Verdict.rejected if status else Verdict.open
    else:
        trial.cause = Cause.SKIPPED if status == Verdict.inconclusive.value else Cause.ENDED
    return trial


def judge_all(job: Job) -> Iterator[Tuple[Trial, Observation]]:
    """The trials of a job in the order of its cells, each as soon as it is over."""
    if job.script:
        yield run(job.script), Observation()
        return
    try:
        uvicorn = load(job)
        app = load_app(job.app) if job.app else None
    except Inconclusive as error:
        for cell in job.cells:
            yield Trial(job.release, *cell, reason=str(error), cause=error.cause), Observation()
        return
    known: Dict[str, str] = {}
    for cell in job.cells:
        trial, seen = judge(uvicorn, job, cell, app)
        stray = outside(Path(job.source).resolve(), known)
        seen.modules = sorted(known.values())
        if stray:
            trial = Trial(trial.uvicorn, *cell, reason=f"uvicorn came from {stray}", cause=Cause.OTHER_UVICORN)
        yield trial, seen


def judged(job: Job) -> Iterator[Tuple[Trial, Observation]]:
    """The same, with a reason where the judging itself fails."""
    cells = list(job.cells)
    try:
        for trial, seen in judge_all(job):
            cells.pop(0)
            yield trial, seen
    except BaseException as error:
        for cell in cells:
            yield (
                Trial(job.release, *cell, reason=f"the trial failed: {describe(error)}", cause=Cause.ENDED),
                Observation(),
            )


class Compiled:
    """What was compiled once, by content: neighbouring releases share most of their files.

    It is the forking process that compiles, and runs none of it: a judged one could leave anything behind.
    """

    def __init__(self) -> None:
        self._codes: Dict[bytes, Any] = {}
        self._used: Set[str] = set()
        self._compile(ROOT / "server.py")

    def learn(self, seen: Observation) -> None:
        """Take note of which files of uvicorn a trial needed."""
        self._used.update(name for name in seen.modules if re.match(r"uvicorn/[\w/]+[.]py$", name))

    def prepare(self, source: Path) -> None:
        """Compile what this folder is likely to need, where no other had the same."""
        for name in self._used:
            self._compile(source / name)

    def _compile(self, file: Path) -> None:
        with contextlib.suppress(OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            content = file.read_bytes()
            if content not in self._codes:
                self._codes[content] = compile(content, file.name, "exec", dont_inherit=True)

    def use(self) -> None:
        """From now on, let what is imported be what was compiled."""
        codes = self._codes

        class Loader(importlib.machinery.SourceFileLoader):
            def source_to_code(self, data: Any, path: Any, **options: Any) -> Any:  # type: ignore[override]
                return codes.get(bytes(data)) or super().source_to_code(data, path, **options)

        finder = importlib.machinery.FileFinder.path_hook(
            (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
            (Loader, importlib.machinery.SOURCE_SUFFIXES),
            (importlib.machinery.SourcelessFileLoader, importlib.machinery.BYTECODE_SUFFIXES),
        )
        sys.path_hooks.insert(0, finder)
        sys.path_importer_cache.pop(str(ROOT), None)


def adopt() -> None:
    """Become the parent of whatever one's children leave behind, where the system can do that (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def offspring(pid: int) -> List[int]:
    """All processes below one, where the system tells (Linux)."""
    found: List[int] = []
    with contextlib.suppress(OSError):
        for file in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, file.read_text().split()):
                found += [child, *offspring(child)]
    return found


class Apart:
    """A job in a process of its own: a fork of this one or, where there is none, a fresh one."""

    def __init__(self, job: Job, compiled: Compiled) -> None:
        self.job = job
        self.limit = job.script.limit if job.script else LIMIT
        self.deadline = time.monotonic() + self.limit
        self._said = b""
        self._pipe, writing = os.pipe()
        if hasattr(os, "fork"):
            self.pid = os.fork()
            if not self.pid:
                compiled.use()
                answer(job, writing)
        else:
            command = [sys.executable, "-I", __file__, "--answer", str(writing), json.dumps(asdict(job))]
            self.pid = subprocess.Popen(command, pass_fds=[writing]).pid
        os.close(writing)

    def fileno(self) -> int:
        return self._pipe

    def listen(self) -> bool:
        """Take in what it says. Returns whether it has said all, or cannot say more."""
        chunk = os.read(self._pipe, 1 << 16)
        self._said += chunk
        return not chunk or self._said.count(b"\n") >= len(self.job.cells)

    def end(self) -> List[Tuple[Trial, Observation]]:
        """End the process with all that it started, and return what came of each cell."""
        status = self._ended()
        kill([-self.pid, *offspring(self.pid)])
        if status is None:
            kill([self.pid])
            os.waitpid(self.pid, 0)
        os.close(self._pipe)
        answers = []
        for line in self._said.split(b"\n")[:-1]:
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                said = json.loads(line)
                answers.append((Trial.from_json(said["trial"]), Observation(**said["seen"])))
        missing = self.job.cells[len(answers) :]
        lost = [
            Trial(self.job.release, *cell, reason=how_it_ended(status, self.limit), cause=Cause.ENDED)
            for cell in missing
        ]
        return answers + [(trial, Observation()) for trial in lost]

    def _ended(self) -> Optional[int]:
        """The wait status of a process that has said nothing more and ends by itself."""
        patience = min(self.deadline, time.monotonic() + 1)
        while self._said.count(b"\n") < len(self.job.cells):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return status
            if time.monotonic() > patience:
                break
            time.sleep(0.005)
        return None


def kill(pids: Iterable[int]) -> None:
    """End processes, or the group of one that is negative; those that are gone already are no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def clear(known: Iterable[int]) -> None:
    """End what judged processes left to this one, but for those that are known and what is below them."""
    deadline = time.monotonic() + 1
    below = {pid for mine in known for pid in [mine, *offspring(mine)]}
    while time.monotonic() < deadline:
        left = [pid for pid in offspring(os.getpid()) if pid not in below]
        if not left:
            break
        kill(left)
        for pid in left:
            with contextlib.suppress(ChildProcessError):  # it becomes ours once its parent is gone
                os.waitpid(pid, os.WNOHANG)


def how_it_ended(status: Optional[int], limit: float) -> str:
    if status is None:
        return f"it did not end within {limit:g} s"
    if os.WIFSIGNALED(status):
        return f"its process was ended by signal {os.WTERMSIG(status)}"
    return f"its process ended with status {os.WEXITSTATUS(status)} and no verdict"


def answer(job: Job, writing: int) -> None:
    """Judge in this process, say what came of it through the pipe, and end, whatever uvicorn does. Does not return."""
    try:
        os.setsid()
        signal.alarm(
            int(job.script.limit if job.script else LIMIT) + 5
        )  # where the process that should end this one was itself ended
        signal.signal(signal.SIGINT, signal.default_int_handler)
        null, me = os.open(os.devnull, os.O_RDWR), os.getpid()
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.closerange(3, writing)
        os.closerange(writing + 1, 1024)
        adopt()
        for trial, seen in judged(job):
            if os.getpid() == me:  # uvicorn may have forked
                say(writing, {"trial": trial.to_json(), "seen": asdict(seen)})
        while os.getpid() == me:  # so that what it started is still below it, to be ended with it
            signal.pause()
    finally:
        os._exit(0)


def answer_all() -> None:
    """Take jobs from stdin, a JSON line each, and answer them on stdout as each is over, until stdin ends."""
    answers = os.dup(1)
    os.dup2(2, 1)
    preload()
    adopt()
    say(answers, {"versions": versions(PACKAGES), "altered": altered(PACKAGES)})
    running: Dict[Any, int] = {}  # each Apart with the number of its job
    compiled = Compiled()
    rest = b""
    try:
        while True:
            wait = min((one.deadline for one in running), default=time.monotonic() + 3600) - time.monotonic()
            ready = select.select([0, *running], [], [], max(0, wait))[0]
            if 0 in ready:
                chunk = os.read(0, 1 << 16)
                if not chunk:
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    asked = json.loads(line)
                    job = Job.from_json(asked["job"])
                    compiled.prepare(Path(job.source))
                    running[Apart(job, compiled)] = asked["number"]
            late = [one for one in running if time.monotonic() > one.deadline]
            for one in late + [one for one in ready if one != 0 and one not in late and one.listen()]:
                said = one.end()
                number = running.pop(one)
                clear(other.pid for other in running)
                compiled.learn(said[-1][1])
                answered = [{"trial": trial.to_json(), "seen": asdict(seen)} for trial, seen in said]
                say(answers, {"number": number, "said": answered})
    finally:
        for one in running:
            one.end()


def say(descriptor: int, value: Any) -> None:
    line = json.dumps(value).encode() + b"\n"
    while line:
        line = line[os.write(descriptor, line) :]


def show(trial: Trial, seen: Observation, having: Dict[str, str], python: str, colour: bool) -> None:
    """Print a trial for a person, in the order in which it happened; `having` holds the versions beside uvicorn."""

    def title(text: str) -> None:
        print(f"\n\033[1m{text}\033[0m" if colour else f"\n{text}")

    beside = (f"{name} {having.get(name, '(none)')}" for name in ("websockets", "wsproto", "loguru", "h11", "click"))
    print(f"uvicorn {trial.uvicorn or '(unknown)'}, {', '.join(beside)}, Python {python}")
    print(f"case {trial.case}, implementation {trial.implementation}, served by {trial.ran or 'nothing'}")
    if seen.scope:
        title("The scope, as the server saw it:")
        print(seen.scope)
    if seen.lines:
        title("The handshake, as the client saw it (> sent, < received):")
    for line in seen.lines:
        name, value = received_header(line)
        if name == HEADER:
            writers = " or ".join(writer for writer, written in seen.writers if written == value) or "an unknown writer"
            line = f"{line}   <-- from {writers}"
            line = f"\033[1;33m{line}\033[0m" if colour else line
        print(line)
    if seen.traceback:
        title("The exception, as a user sees it:")
        print("\n".join(map(printable, seen.traceback.splitlines())))


def coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def promise(expected: Verdict, trial: Trial, seen: Observation) -> str:
    """The sentence that says whether the verdict is the expected one, and why it is not."""
    name = {Verdict.rejected: "broken", Verdict.open: "fixed"}[expected]
    if trial.verdict is expected:
        return f"As `make {name}` says: the handshake is {expected.name}."
    because = "nothing could be judged"
    if trial.verdict is Verdict.rejected:
        because = f"the response names {'more than one' if trial.sent else 'no'} subprotocol"
    elif trial.verdict is Verdict.open:
        itself = any(writer.startswith("headers=") for writer, _ in seen.writers)
        because = "this uvicorn does not send it" if itself else "the app does not send the header itself"
    return f"Not as `make {name}` says, in this case: {because}."


def last_line(trial: Trial) -> str:
    return f"verdict: {trial.verdict.name}" + (f" - {trial.reason}" if trial.reason else "")


def by_hand(options: argparse.Namespace) -> int:
    """Judge one folder for a person or for `git bisect run`. Returns the exit status."""
    source = options.source.resolve()
    release = versions(source).get("uvicorn", "")
    adopt()
    if source == PACKAGES:  # it does not change, and its bytecode came with it
        sys.pycache_prefix = BYTECODE
    else:
        preload()
    one = Apart(Job(str(source), [(options.ws, options.case)], release, bool(release), observed=True), Compiled())
    try:
        while time.monotonic() < one.deadline:
            if select.select([one], [], [], 0.5)[0] and one.listen():
                break
    finally:
        [(trial, seen)] = one.end()
        clear([])
    expected = options.expect and Verdict[options.expect]
    if not options.quiet:
        show(trial, seen, versions(PACKAGES), platform.python_version(), coloured())
        print(f"\n{promise(expected, trial, seen)}" if expected else "")
    print(last_line(trial), flush=True)
    if expected and trial.verdict is not Verdict.inconclusive:
        return int(trial.verdict is not expected)
    return int(trial.verdict.value)


def main() -> int:
    parser = argparse.ArgumentParser(
        "trial.py [--source FOLDER] [--ws WS] [--case CASE] [--expect VERDICT] [--quiet]",
        argparse.SUPPRESS,
        "Let the uvicorn in a folder serve server.py, dial it with client.py, print the verdict.",
        "Exit status: 0 open, 1 rejected, 125 inconclusive, 2 wrong usage; with --expect 0 as expected, 1 otherwise.",
    )
    parser.add_argument(
        "--source", type=Path, default=PACKAGES, help="a folder with uvicorn/ in it (what is installed)"
    )
    parser.add_argument("--ws", default="auto", choices=IMPLEMENTATIONS, help="implementation (auto)")
    parser.add_argument("--case", default="server-headers", choices=CASES, help="case (server-headers)")
    parser.add_argument("--expect", choices=("rejected", "open"), help="the verdict that counts as success")
    parser.add_argument("--quiet", action="store_true", help="print the verdict alone")
    return by_hand(parser.parse_args())


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, interrupted)
    try:
        if sys.argv[1:] == ["--jobs"]:
            answer_all()
            sys.exit()
        elif sys.argv[1:2] == ["--answer"]:
            answer(Job.from_json(json.loads(sys.argv[3])), int(sys.argv[2]))
        sys.exit(main())
    except KeyboardInterrupt:
        os._exit(130)
    except Exception as error:
        # Python's own status for an exception is 1, which would be taken for a verdict.
        with contextlib.suppress(Exception):
            print(f"verdict: inconclusive - the trial itself failed: {describe(error)}", flush=True)
        os._exit(125)  # where stdout is full or closed, the exit would try it again and change the status
