"""One trial: the uvicorn in a folder is imported and serves an app, client.py dials it, and a verdict comes out.

It runs in a process of its own under the Python under test, from 3.8 on.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import logging
import re
import socket
import sys
import time
import traceback
from dataclasses import replace
from importlib.machinery import FileFinder, SourceFileLoader
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

import client
from harness.model import HEADER, App, Cause, Inconclusive, Job, Trial, Verdict, plain, printable

REASON = 1000  # characters
RECEIVED = re.compile(f"(?i)< {HEADER}: (.*)")


class Observer:
    """What is seen of one handshake."""

    def __init__(self) -> None:
        self.lines = BufferingHandler(sys.maxsize)  # the handshake, as websockets logs it
        self.errors = BufferingHandler(sys.maxsize)  # what the server logs
        self.errors.setLevel(logging.ERROR)
        for name in ("uvicorn", "websockets.server"):
            logging.getLogger(name).addHandler(self.errors)
        self.written: list[tuple[str, str]] = []  # who wrote which value of the header
        self.ran = ""  # the classes that handle the connection

    def watched(self, app: Any, headers: Any, server: Any) -> Any:
        """The same app, which also notes who handles the connection, and who writes the header."""

        async def watching(scope: Any, receive: Any, send: Any) -> None:
            kinds = {type(connection) for connection in server.server_state.connections}
            self.ran = ", ".join(sorted(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds))

            async def sending(message: Any) -> None:
                if message["type"] == "websocket.accept":
                    self.written.append(("subprotocol=", message.get("subprotocol") or ""))
                    self.note("headers=", headers)
                    self.note("websocket.accept's headers", message.get("headers", []))
                await send(message)

            await app(scope, receive, sending)

        return watching

    def note(self, writer: str, headers: Any) -> None:
        for pair in headers:
            name, value = (part.decode("latin-1") if isinstance(part, bytes) else part for part in pair)
            if name.lower() == HEADER:
                self.written.append((writer, value))

    def labelled(self, line: str) -> str:
        """The line of the handshake, with who wrote it where it is the header in the response."""
        header = RECEIVED.fullmatch(line)
        if not header:
            return line
        writers = dict.fromkeys(writer for writer, value in self.written if value == header[1])
        return f"{line}   <-- from {' or '.join(writers) or 'somebody else'}"


def run(job: Job) -> list[Trial]:
    """The trials of a job, in the order of its apps. Raises nothing but what a uvicorn throws out of turn."""
    trials = [Trial(job.release, app.ws, app.case) for app in job.apps]
    try:
        uvicorn = load(job)
    except Inconclusive as error:
        return [trial.judged(Verdict.inconclusive, str(error), error.cause) for trial in trials]
    for app, trial in zip(job.apps, trials):
        trial.uvicorn = uvicorn.__version__
        judge(uvicorn, app, trial, job)
        stray = elsewhere(Path(job.folder).resolve())
        if stray:
            trial.judged(Verdict.inconclusive, f"uvicorn came from elsewhere: {plain(stray)}", Cause.FAILED)
    return trials


def judge(uvicorn: Any, app: App, trial: Trial, job: Job) -> None:
    """Serve the app, dial it once, and write down what happened. Raises nothing."""
    seen = Observer()
    try:
        app, found = load_app(app)
        # The loop is left as it is: to close it is to wait for what an app began.
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(shake_hands(uvicorn, app, found, seen, job.limit))
        trial.judged(Verdict.open, "")
    except Inconclusive as error:
        trial.judged(Verdict.inconclusive, str(error), error.cause)
    except BaseException as error:
        verdict, reason = client.judge(error)
        if type(error) is LookupError and app.none == "rejected":
            verdict = Verdict.rejected
        cause = None if verdict is Verdict.rejected else cause_of(error, Cause.OTHER_ANSWER)
        trial.judged(verdict, plain(reason)[:REASON], cause)
        if job.observed and verdict is Verdict.rejected:
            trial.traceback = traceback_of(error)
    lines = [plain(record.getMessage()) for record in seen.lines.buffer]
    trial.ran = seen.ran
    trial.sent = [header[1] for header in map(RECEIVED.fullmatch, lines) if header]
    if job.observed:
        trial.lines = [seen.labelled(line) for line in lines]
    if trial.cause in (Cause.OTHER_ANSWER, Cause.FAILED) and seen.errors.buffer:
        record = seen.errors.buffer[0]  # what comes later may follow from it
        raised = record.exc_info and record.exc_info[1]
        trial.cause = cause_of(raised, trial.cause)
        last = record.getMessage().strip().split("\n")[-1]  # of a traceback, the exception
        trial.reason += f"; the server logged {describe(raised) if raised else plain(last)[:REASON]}"


def load(job: Job) -> Any:
    """Import uvicorn from the job's folder. Raises Inconclusive."""
    if job.changes:
        sys.path_hooks.insert(0, lambda path: from_source(path, job.folder))
    sys.path.insert(0, job.folder)
    try:
        uvicorn = importlib.import_module("uvicorn")
        version = getattr(uvicorn, "__version__", None)
    except BaseException as error:
        raise Inconclusive(cause_of(error), f"import failed: {describe(error)}") from error
    if not isinstance(version, str) or not re.match(r"\d+(\.\d+)*([a-z.+-]*\d*)*$", version):
        raise Inconclusive(Cause.FAILED, f"uvicorn says that its version is {version!r:.50}")
    if job.release and version != job.release:
        raise Inconclusive(Cause.FAILED, f"uvicorn {version} ran instead of {job.release}")
    return uvicorn


class Source(SourceFileLoader):
    """Bytecode is matched to its source by size and second, so it may match and be stale: none is read or written."""

    def path_stats(self, path: str) -> Any:
        raise OSError


def from_source(path: str, folder: str) -> FileFinder:
    """A finder for what lies in the folder. Raises ImportError for what does not."""
    if not f"{path}/".startswith(f"{folder}/"):
        raise ImportError
    return FileFinder(path, (Source, [".py"]))


def load_app(app: App) -> tuple[App, Any]:
    """Import an app; what is None in the first is what its module says, or nothing to say. Raises Inconclusive."""
    place, _, names = app.name.rpartition(":")
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # an app changes
    try:
        if place.endswith(".py"):
            # By its path, so that no other module of its name is taken for it.
            sys.path.insert(0, str(Path(place).parent))
            spec: Any = importlib.util.spec_from_file_location(Path(place).stem, place)
            module = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(spec.name, module)
            spec.loader.exec_module(module)
        else:
            sys.path.insert(0, app.folder)
            module = importlib.import_module(place)
        found: Any = module
        for name in names.split("."):
            found = getattr(found, name)
    except BaseException as error:
        raise Inconclusive(Cause.NO_APP, f"importing {plain(Path(app.name).name)} failed: {describe(error)}") from error
    finally:
        sys.dont_write_bytecode = kept
    headers = getattr(module, "HEADERS", []) if app.headers is None else app.headers
    offer = app.offer or getattr(module, "OFFER", client.OFFERED)
    return replace(app, headers=headers, offer=offer, none=app.none or getattr(module, "NONE", "inconclusive")), found


async def shake_hands(uvicorn: Any, app: App, found: Any, seen: Observer, limit: float) -> None:
    """Serve an ASGI app and dial it, within `limit` seconds. Raises Inconclusive, and what `client.dial` raises."""
    if app.ws not in uvicorn.config.WS_PROTOCOLS:
        names = ", ".join(name for name in uvicorn.config.WS_PROTOCOLS if name != "none")
        raise Inconclusive(Cause.NO_IMPLEMENTATION, plain(f"uvicorn has no {app.ws}; it has {names}")[:REASON])
    headers = [tuple(pair) for pair in app.headers or []]
    config = uvicorn.Config(found, headers=headers, ws=app.ws, log_config=None)
    server = uvicorn.Server(config)
    config.app = seen.watched(config.app, headers, server)
    logger = logging.Logger("handshake", logging.DEBUG)  # of nobody else, who could silence it
    logger.addHandler(seen.lines)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        task = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            await started(server, task, limit / 3)
            url = f"ws://127.0.0.1:{listener.getsockname()[1]}{app.path}"
            await client.dial(url, app.offer, logger=logger)
        finally:
            seen.errors.setLevel(sys.maxsize)  # what is logged when it is stopped explains nothing
            task.cancel()  # uvicorn looks at should_exit every 0.1 s; a cancelled task ends at once
            await asyncio.wait([task], timeout=1)


async def started(server: Any, task: asyncio.Future[Any], limit: float) -> None:
    """Wait until a server has started: only then does uvicorn add the configured headers. Raises Inconclusive."""
    deadline = time.monotonic() + limit
    while not server.started and not task.done():
        if time.monotonic() > deadline:
            raise Inconclusive(Cause.LATE, f"uvicorn did not start: not within {limit:g} s, a third of LIMIT")
        await asyncio.sleep(0)
    if not server.started:
        failure = None if task.cancelled() else task.exception()
        why = describe(failure) if failure else "it ended"
        raise Inconclusive(cause_of(failure), f"uvicorn did not start: {why}") from failure


def elsewhere(folder: Path) -> str:
    """The file of a uvicorn module in use that is no source file of the folder; empty where there is none."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "uvicorn":
            file = Path(getattr(module, "__file__", None) or "nowhere").resolve()
            if file.suffix != ".py" or folder not in file.parents:
                return file.name
    return ""


def traceback_of(error: BaseException) -> str:
    """The traceback from client.py on, as Python prints it."""
    at = error.__traceback__
    while at and at.tb_next and at.tb_frame.f_code.co_filename != client.__file__:
        at = at.tb_next
    text = "".join(traceback.format_exception(type(error), error, at))
    return "\n".join(map(printable, text.rstrip().splitlines()))[:20_000]


def cause_of(error: Any, otherwise: Cause = Cause.FAILED) -> Cause:
    """Whether what lies beside uvicorn is missing. What another machine or day need not share is FAILED."""
    if isinstance(error, ImportError) and (error.name or "uvicorn").split(".")[0] != "uvicorn":
        return Cause.MISSING_IMPORT
    return Cause.FAILED if isinstance(error, (OSError, MemoryError, asyncio.TimeoutError)) else otherwise


def describe(error: BaseException) -> str:
    """The error in one line, without the path that an ImportError ends with: it differs between machines."""
    text = re.sub(r" \(/[^()]*\)$", "", str(error)) if isinstance(error, ImportError) else str(error)
    return plain(f"{type(error).__name__}: {text}")[:REASON]
