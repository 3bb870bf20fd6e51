"""One trial: the uvicorn in a folder serves an app, client.py dials it, and a verdict comes out.

It runs in a process of its own under the Python under test, from 3.8 on, and imports what lies there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.handlers
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any, AsyncIterator, Iterator

import client
from harness.loading import REASON, Inconclusive, describe, elsewhere, lacks_others, load, load_app
from harness.model import HEADER, App, Cause, Job, Trial, Verdict, plain, printable


class Lines(logging.Logger):
    """A logger that adds what it is told to a list; making records of it would take longer than to dial."""

    def __init__(self, said: list[str]) -> None:
        super().__init__("handshake", logging.DEBUG)
        self._said = said

    def _log(self, level: int, msg: object, args: Any, *_: Any, **__: Any) -> None:
        self._said.append(str(msg) % args if args else str(msg))


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
    failure: BaseException | None = None
    lines: list[str] = []
    written: list[tuple[str, str]] = []
    with errors_of("uvicorn", "websockets.server") as errors:
        try:
            module, found = load_app(app)
            none = app.none or getattr(module, "NONE", "inconclusive")
            asyncio.run(shake_hands(uvicorn, app, module, found, trial, lines, written, errors, job.limit))
            trial.judged(Verdict.open, "")
        except Inconclusive as error:
            trial.judged(Verdict.inconclusive, str(error), error.cause)
        except BaseException as error:
            failure, (verdict, reason) = error, client.judge(error)
            if type(error) is LookupError and none == "rejected":
                verdict = Verdict.rejected
            cause = None if verdict is not Verdict.inconclusive else cause_of(error, Cause.OTHER_ANSWER)
            trial.judged(verdict, plain(reason)[:REASON], cause)
    lines = [plain(line) for line in lines]
    trial.sent = [value for name, value in map(received_header, lines) if name == HEADER]
    if job.observed:
        trial.lines = [labelled(line, written) for line in lines]
    if job.observed and failure and trial.verdict is Verdict.rejected:
        trial.traceback = traceback_of(failure)
    if trial.cause in (Cause.OTHER_ANSWER, Cause.FAILED) and errors.buffer:
        record = errors.buffer[0]  # what comes later may follow from it
        raised = record.exc_info and record.exc_info[1]
        trial.cause = cause_of(raised, trial.cause)
        last = record.getMessage().strip().split("\n")[-1]  # of a traceback, the exception
        trial.reason += f"; the server logged {describe(raised) if raised else plain(last)[:REASON]}"


async def shake_hands(
    uvicorn: Any,
    app: App,
    module: Any,
    found: Any,
    trial: Trial,
    lines: list[str],
    written: Any,
    errors: Any,
    limit: float,
) -> None:
    """Serve the app and dial it; `lines` gets the handshake, `written` who wrote which value of the header.

    Raises Inconclusive, and what `client.dial` raises. `errors` is the handler that keeps what uvicorn logs,
    `limit` the seconds for all of it.
    """
    if app.ws not in uvicorn.config.WS_PROTOCOLS:
        names = ", ".join(name for name in uvicorn.config.WS_PROTOCOLS if name != "none")
        raise Inconclusive(Cause.NO_IMPLEMENTATION, plain(f"uvicorn has no {app.ws}; it has {names}")[:REASON])
    headers = [tuple(pair) for pair in (app.headers if app.headers is not None else getattr(module, "HEADERS", []))]
    offer = app.offer or getattr(module, "OFFER", client.OFFERED)
    config = uvicorn.Config(found, headers=headers, ws=app.ws, log_config=None)
    server = uvicorn.Server(config)
    config.app = watched(config.app, headers, server, trial, written)
    async with serving(server, limit / 3) as url:
        try:
            await client.dial(url + app.path, offer, logger=Lines(lines))
        finally:
            logging.getLogger("uvicorn").removeHandler(errors)  # what it logs when it is stopped explains nothing


@contextlib.asynccontextmanager
async def serving(server: Any, limit: float) -> AsyncIterator[str]:
    """Run a uvicorn.Server on a free port of 127.0.0.1, yield its URL, and stop it on every path.

    Raises Inconclusive where it does not start.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        task = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            # Only once it has started does uvicorn add the configured headers: an earlier client would not see them.
            deadline = time.monotonic() + limit
            while not server.started and not task.done() and time.monotonic() < deadline:
                await asyncio.sleep(0)
            if not server.started:
                failure = task.exception() if task.done() and not task.cancelled() else None
                late = "it ended" if task.done() else f"not within {limit:g} s, a third of LIMIT"
                cause = Cause.MISSING_IMPORT if lacks_others(failure) else Cause.FAILED
                reason = f"uvicorn did not start: {describe(failure) if failure else late}"
                raise Inconclusive(cause if task.done() else Cause.LATE, reason) from failure
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            # uvicorn looks at should_exit every 0.1 s; a cancelled task ends at once.
            task.cancel()
            await asyncio.wait([task], timeout=1)


def watched(app: Any, headers: Any, server: Any, trial: Trial, written: list[tuple[str, str]]) -> Any:
    """The same app, which also writes down who handles the connection, and who writes the header."""

    async def watching(scope: Any, receive: Any, send: Any) -> None:
        kinds = {type(connection) for connection in server.server_state.connections}
        trial.ran = ", ".join(sorted(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds))

        async def sending(message: Any) -> None:
            if message["type"] == "websocket.accept":
                written.append(("subprotocol=", message.get("subprotocol") or ""))
                for writer, pairs in (
                    ("headers=", headers),
                    ("websocket.accept's headers", message.get("headers", [])),
                ):
                    texts = [[p.decode("latin-1") if isinstance(p, bytes) else p for p in pair] for pair in pairs]
                    written.extend((writer, value) for name, value in texts if name.lower() == HEADER)
            await send(message)

        await app(scope, receive, sending)

    return watching


def labelled(line: str, written: list[tuple[str, str]]) -> str:
    """The line of the handshake, with who wrote it where it is the header in the response."""
    name, value = received_header(line)
    writers = " or ".join(dict.fromkeys(writer for writer, wrote in written if wrote == value))
    return f"{line}   <-- from {writers or 'somebody else'}" if name == HEADER else line


def received_header(line: str) -> tuple[str, str]:
    """The name, in lower case, and the value of a received header's line; two empty strings for another line."""
    name, colon, value = line.partition(": ")
    return (name[2:].lower(), value) if colon and name.startswith("< ") else ("", "")


def traceback_of(error: BaseException) -> str:
    """The traceback from client.py on, as Python prints it."""
    at = error.__traceback__
    while at and at.tb_next and at.tb_frame.f_code.co_filename != client.__file__:
        at = at.tb_next
    text = "".join(traceback.format_exception(type(error), error, at))
    return "\n".join(map(printable, text.rstrip().splitlines()))[:20_000]


@contextlib.contextmanager
def errors_of(*names: str) -> Iterator[Any]:
    """A handler with the errors that these loggers tell inside the block, in its `buffer`."""
    handler = logging.handlers.BufferingHandler(sys.maxsize)
    handler.setLevel(logging.ERROR)
    for name in names:
        logging.getLogger(name).addHandler(handler)
    try:
        yield handler
    finally:
        for name in names:
            logging.getLogger(name).removeHandler(handler)


def cause_of(error: Any, otherwise: Cause) -> Cause:
    """What another machine or another day need not share is FAILED."""
    return Cause.FAILED if isinstance(error, (OSError, MemoryError, asyncio.TimeoutError)) else otherwise
