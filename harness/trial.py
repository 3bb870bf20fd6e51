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
import traceback
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from logging.handlers import BufferingHandler
from operator import attrgetter
from pathlib import Path
from typing import Any, Mapping

import client
from harness.model import HEADER, App, Cause, Inconclusive, Job, Trial, Verdict, plain, printable

REASON = 1000  # characters
HANDSHAKE = "handshake"  # the name of the log that websockets writes of it
RECEIVED = re.compile(f"(?i)< {HEADER}: (.*)")
UNSAID = {"headers": [], "offer": client.OFFERED, "none": "inconclusive"}  # where neither the job nor the app says


def run(job: Job) -> list[Trial]:
    """The trials of a job, in the order of its apps."""
    trials = [Trial(job.release, app.ws, app.case) for app in job.apps]
    try:
        uvicorn = load(job)
        for app, trial in zip(job.apps, trials):
            trial.uvicorn = uvicorn.__version__
            attempt(uvicorn, app, trial)
        refuse_another(Path(job.folder).resolve())
    except Inconclusive as error:
        for trial in trials:
            trial.settle(Verdict.inconclusive, str(error), error.cause)
    return trials


def attempt(uvicorn: Any, app: App, trial: Trial) -> None:
    """Serve the app, dial it once, and fill in the trial."""
    log = BufferingHandler(sys.maxsize)
    accepted: dict[str, Any] = {}  # the app's websocket.accept
    for name in ("uvicorn", "websockets.server"):
        logging.getLogger(name).addHandler(log)
    try:
        app, asgi = load_app(app)
        # The loop is left as it is: to close it is to wait for what an app began.
        asyncio.new_event_loop().run_until_complete(shake_hands(uvicorn, app, asgi, trial, log, accepted))
        trial.settle(Verdict.open, "")
    except Inconclusive as error:
        trial.settle(Verdict.inconclusive, str(error), error.cause)
    except BaseException as error:
        verdict, reason = client.judge(error)
        if type(error) is LookupError and app.none == "rejected":
            verdict = Verdict.rejected
        cause = None if verdict is Verdict.rejected else cause_of(error, Cause.OTHER_ANSWER)
        trial.settle(verdict, plain(reason)[:REASON], cause)
        if not cause:
            trial.traceback = traceback_of(error)
    lines = [plain(record.getMessage())[:REASON] for record in log.buffer if record.name == HANDSHAKE]
    trial.sent = [header[1] for header in map(RECEIVED.fullmatch, lines) if header]
    trial.lines = [labelled(line, app.headers or [], accepted) for line in lines]
    errors = [record for record in log.buffer if record.levelno >= logging.ERROR and record.name != HANDSHAKE]
    if trial.cause in (Cause.OTHER_ANSWER, Cause.FAILED) and errors:
        record = errors[0]  # what comes later may follow from it
        raised = record.exc_info and record.exc_info[1]
        trial.cause = cause_of(raised, trial.cause)
        last = record.getMessage().strip().split("\n")[-1]  # of a traceback, the exception
        trial.reason += f"; the server logged {describe(raised) if raised else plain(last)[:REASON]}"


def load(job: Job) -> Any:
    """Import uvicorn from the job's folder. Raises Inconclusive."""
    if job.changes:  # bytecode is matched to its source by size and second, so it may match and be stale
        stats, inside = SourceFileLoader.path_stats, f"{job.folder}/"
        # Of a file that is not there none is read or written.
        SourceFileLoader.path_stats = lambda self, path: stats(self, "" if path.startswith(inside) else path)  # type: ignore
    sys.path.insert(0, job.folder)
    try:
        uvicorn = importlib.import_module("uvicorn")
        version = getattr(uvicorn, "__version__", None)
    except BaseException as error:
        raise Inconclusive(cause_of(error), f"import failed: {describe(error)}") from error
    if version != (job.release or plain(str(version))):
        raise Inconclusive(Cause.FAILED, f"uvicorn says that its version is {version!r:.50}")
    return uvicorn


def load_app(app: App) -> tuple[App, Any]:
    """Import an app; what is None in the first is what its module says, or UNSAID. Raises Inconclusive."""
    place, _, names = app.name.rpartition(":")
    file = Path(place)
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # an app changes
    try:
        if file.suffix == ".py":  # by its path, so that no other module of its name is taken for it
            sys.path.insert(0, str(file.parent))
            spec: Any = importlib.util.spec_from_file_location(file.stem.replace("__main__", "main"), place)
            module = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(spec.name, module)
            spec.loader.exec_module(module)
        else:
            sys.path.insert(0, app.folder)
            module = importlib.import_module(place)
        asgi = attrgetter(names)(module)
    except BaseException as error:
        raise Inconclusive(Cause.NO_APP, f"importing {plain(file.name)} failed: {describe(error)}") from error
    finally:
        sys.dont_write_bytecode = kept
    unsaid = {name: value for name, value in UNSAID.items() if getattr(app, name) is None}
    said: dict[str, Any] = {name: getattr(module, name.upper(), value) for name, value in unsaid.items()}
    return replace(app, **said), asgi


async def shake_hands(
    uvicorn: Any, app: App, asgi: Any, trial: Trial, log: logging.Handler, accepted: dict[str, Any]
) -> None:
    """Serve an ASGI app and dial it. Raises Inconclusive, and what `client.dial` raises."""
    if app.ws not in uvicorn.config.WS_PROTOCOLS:
        names = ", ".join(name for name in uvicorn.config.WS_PROTOCOLS if name != "none")
        raise Inconclusive(Cause.NO_IMPLEMENTATION, plain(f"uvicorn has no {app.ws}; it has {names}")[:REASON])

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        kinds = {type(connection) for connection in server.server_state.connections}
        trial.ran = ", ".join(sorted(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds))

        async def sending(message: Any) -> None:
            if message["type"] == "websocket.accept":
                accepted.update(message)
            await send(message)

        await asgi(scope, receive, sending)

    headers = [tuple(pair) for pair in app.headers or []]
    server = uvicorn.Server(uvicorn.Config(watched, headers=headers, ws=app.ws, log_config=None))
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))  # until the process ends
    while not server.started:  # only then does uvicorn add the configured headers
        if serving.done():
            failure = serving.exception()
            why = describe(failure) if failure else "it ended"
            raise Inconclusive(cause_of(failure), f"uvicorn did not start: {why}")
        await asyncio.sleep(0)
    logger = logging.Logger(HANDSHAKE, logging.DEBUG)  # of nobody else, who could silence it
    logger.addHandler(log)
    await client.dial(f"ws://127.0.0.1:{listener.getsockname()[1]}{app.path}", app.offer, logger=logger)


def refuse_another(folder: Path) -> None:
    """Raises Inconclusive where a uvicorn module in use is no source file of the folder."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "uvicorn":
            file = Path(getattr(module, "__file__", None) or "nowhere").resolve()
            if file.suffix != ".py" or folder not in file.parents:
                raise Inconclusive(Cause.FAILED, f"uvicorn came from elsewhere: {plain(file.name)}")


def labelled(line: str, headers: list[list[str]], accepted: Mapping[str, Any]) -> str:
    """The line of the handshake, with who wrote it where it is the header in the response."""
    header = RECEIVED.fullmatch(line)
    if not header:
        return line
    value, raw = header[1], HEADER.encode()
    in_accept = [(name.lower(), text) for name, text in accepted.get("headers") or []]
    wrote = {
        "subprotocol=": value == accepted.get("subprotocol"),
        "headers=": (HEADER, value) in [(name.lower(), text) for name, text in headers],
        "accept's headers": (raw, value.encode()) in in_accept,
    }
    return f"{line}   <-- from {' or '.join(filter(wrote.get, wrote)) or 'somebody else'}"


def traceback_of(error: BaseException) -> str:
    """The traceback from client.py on, as Python prints it."""
    at = error.__traceback__
    while at and at.tb_next and at.tb_frame.f_code.co_filename != client.__file__:
        at = at.tb_next
    lines = "".join(traceback.format_exception(type(error), error, at)).splitlines()
    return "\n".join(map(printable, lines))


def cause_of(error: Any, otherwise: Cause = Cause.FAILED) -> Cause:
    """Whether what lies beside uvicorn is missing. What another machine or day need not share is FAILED."""
    if isinstance(error, ImportError) and (error.name or "uvicorn").split(".")[0] != "uvicorn":
        return Cause.MISSING_IMPORT
    return Cause.FAILED if isinstance(error, (OSError, MemoryError, asyncio.TimeoutError)) else otherwise


def describe(error: BaseException) -> str:
    """The error in one line, without the path that an ImportError ends with: it differs between machines."""
    text = re.sub(r" \(/[^()]*\)$", "", str(error)) if isinstance(error, ImportError) else str(error)
    return plain(f"{type(error).__name__}: {text}")[:REASON]
