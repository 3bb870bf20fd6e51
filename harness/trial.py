"""One trial: the uvicorn at hand serves server.py, client.py dials it, and a verdict comes out.

This file runs in the environment under test: it imports only the standard library and what
requirements-broken.txt brings, and it runs on Python 3.8 and later.
"""

import argparse
import asyncio
import contextlib
import functools
import gc
import importlib
import json
import logging
import logging.handlers
import os
import platform
import pprint
import re
import socket
import sys
import threading
import time
import traceback
import types
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NoReturn, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parent.parent
DEPENDENCIES = ("websockets", "wsproto", "loguru", "h11", "click")
HEADER = "sec-websocket-protocol"
START_LIMIT = 10.0  # seconds
CASES = ("server-headers", "accept-headers", "unsplit-offer", "none")
IMPLEMENTATIONS = ("auto", "websockets", "wsproto", "websockets-sansio")
PROMISES = {"rejected": "broken", "open": "fixed"}


@dataclass
class Trial:
    """What is kept of one trial; `--json` prints these fields and no others.

    `ran` is the class that handled the connection, `sent` holds the value of every
    Sec-WebSocket-Protocol line of the response in order, `detail` is the reason of a verdict.
    """

    uvicorn: str
    implementation: str
    case: str
    verdict: str = "inconclusive"
    ran: Optional[str] = None
    sent: List[str] = field(default_factory=list)
    detail: str = ""


@dataclass
class Observation:
    """What only a reader wants of a trial: each part is empty where the trial did not get that far."""

    scope: Dict[str, Any] = field(default_factory=dict)
    lines: List[str] = field(default_factory=list)
    writers: List[Tuple[str, str]] = field(default_factory=list)
    error: Optional[BaseException] = None


class Inconclusive(Exception):
    """Why there is no handshake to judge."""


@dataclass
class Specimen:
    """The modules under test, loaded."""

    uvicorn: Any
    server: Any
    client: Any


def load(source: Optional[Path]) -> Specimen:
    """Import uvicorn, from `source` where given, and the root's two modules.

    Raises Inconclusive where one of them cannot be imported.
    """
    if source is not None and not (source / "uvicorn" / "__init__.py").is_file():
        raise Inconclusive(f"no uvicorn package in {source}")
    try:
        if source is not None:
            for name in ("asyncio", "ssl", *DEPENDENCIES):
                importlib.import_module(name)
            # Bytecode is matched to its source by size and second, so a checkout that moves between
            # commits can leave a stale one that still matches. Nothing is cached where this points.
            sys.pycache_prefix = str(ROOT / "harness" / "trial.py" / "no-cache")
            sys.path.insert(0, str(source))
        specimen = Specimen(importlib.import_module("uvicorn"), load_root("server"), load_root("client"))
        specimen.server.logger.remove()  # what it would log is in the report
        return specimen
    except (Exception, SystemExit) as error:
        raise Inconclusive(f"import failed: {describe(error)}") from error


def load_root(name: str) -> types.ModuleType:
    """Import one of the root's modules from its source: its stale bytecode could decide a verdict too."""
    path = ROOT / f"{name}.py"
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    return module


def installed(name: str) -> str:
    """The version of an installed distribution."""
    from importlib import metadata  # slow to import, and only a person asks

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(none)"


def describe(error: BaseException) -> str:
    """The error in one line, without the path that an ImportError ends with: it differs between machines."""
    text = re.sub(r" \(/[^()]*\)$", "", str(error)) if isinstance(error, ImportError) else str(error)
    return " ".join(f"{type(error).__name__}: {text}".split())


def make_server(uvicorn: Any, config: Any) -> Any:
    """A uvicorn.Server that can run in a thread, keeps what it failed with, and stops when told to."""

    class Server(uvicorn.Server):  # type: ignore[misc]
        failure: Optional[BaseException] = None
        stop: Callable[[], Any] = staticmethod(lambda: None)

        def install_signal_handlers(self) -> None:
            """Not in a thread: there releases before 0.13 fail on it."""

        async def serve(self, sockets: Any = None) -> None:
            # uvicorn looks at should_exit every 0.1 s; a cancelled task ends at once.
            task = asyncio.current_task()
            assert task is not None
            self.stop = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel)
            await super().serve(sockets)

        def run_in_thread(self, listener: socket.socket) -> None:
            try:
                self.run(sockets=[listener])
            except BaseException as error:
                self.failure = error

    return Server(config)


@contextlib.contextmanager
def serving(server: Any) -> Iterator[str]:
    """Run the server on a free port of 127.0.0.1, yield its URL, and stop it on every path.

    Raises Inconclusive where it does not start.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run_in_thread, args=[listener], daemon=True)
        thread.start()
        try:
            # Only now does uvicorn add the configured headers: a client that came earlier would not see them.
            deadline = time.monotonic() + START_LIMIT
            while not server.started and thread.is_alive() and time.monotonic() < deadline:
                thread.join(0.001)
            if not server.started:
                reason = describe(server.failure) if server.failure else f"not within {START_LIMIT} s"
                raise Inconclusive(f"uvicorn did not start: {reason}") from server.failure
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            with contextlib.suppress(RuntimeError):  # raised where its loop has ended by itself
                server.stop()
            thread.join(1)


def judge(specimen: Specimen, implementation: str, case: str) -> Tuple[Trial, Observation]:
    """Serve one case with one implementation, dial it once, say what happened. Raises nothing."""
    trial, seen = Trial(specimen.uvicorn.__version__, implementation, case), Observation()
    logged: Sequence[logging.LogRecord] = ()
    with errors_logged() as errors:
        try:
            config = specimen.server.make_config(case, implementation, log_config=None)
            server = make_server(specimen.uvicorn, config)
            config.app = watched(config.app, config.headers, server, trial, seen)
            with serving(server) as url:
                handshake = asyncio.run(specimen.client.dial(url, specimen.client.offer(case)))
                logged = tuple(errors)
            seen.lines, seen.error = handshake.lines, handshake.error
            trial.sent = [value for name, value in map(received_header, seen.lines) if name == HEADER]
            trial.verdict, trial.detail = handshake.verdict.value, handshake.reason
        except Exception as error:
            trial.detail = str(error) if isinstance(error, Inconclusive) else describe(error)
            seen.error, logged = error.__cause__ or error, tuple(errors)
            if isinstance(seen.error, KeyError) and seen.error.args == (implementation,):
                trial.detail = f"uvicorn {trial.uvicorn} has no {implementation} ({describe(seen.error)})"
    if trial.verdict == "inconclusive" and logged:
        failure = logged[-1].exc_info and logged[-1].exc_info[1]
        message = describe(failure) if failure else " ".join(logged[-1].getMessage().split())
        trial.detail += f"; the server logged {message}"
    return trial, seen


@contextlib.contextmanager
def errors_logged() -> Iterator[List[logging.LogRecord]]:
    """The errors that uvicorn and websockets log inside the block, kept off stderr."""
    handler = logging.handlers.BufferingHandler(sys.maxsize)
    handler.addFilter(lambda record: record.name.startswith(("uvicorn", "websockets")))
    handler.setLevel(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield handler.buffer
    finally:
        logging.getLogger().removeHandler(handler)


def watched(app: Any, configured: Any, server: Any, trial: Trial, seen: Observation) -> Any:
    """The same app, which also writes down its scope, what it accepts with, and who handles the connection."""

    async def watching(scope: Any, receive: Any, send: Any) -> None:
        kinds = {type(connection) for connection in server.server_state.connections}
        trial.ran = ", ".join(sorted(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds))
        seen.scope = dict(scope)

        async def sending(message: Any) -> None:
            if message["type"] == "websocket.accept":
                seen.writers = [("subprotocol= in websocket.accept", message["subprotocol"])]
                seen.writers += header_writers("headers= in uvicorn.Config", configured)
                seen.writers += header_writers("headers= in websocket.accept", message["headers"])
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


def show(trial: Trial, seen: Observation, colour: bool) -> None:
    """Print a trial for a person, in the order in which it happened."""

    def title(text: str) -> None:
        print(f"\n\033[1m{text}\033[0m" if colour else f"\n{text}")

    versions = [f"uvicorn {trial.uvicorn}", *(f"{name} {installed(name)}" for name in DEPENDENCIES)]
    print(f"{', '.join(versions)}, Python {platform.python_version()}")
    print(f"case {trial.case}, implementation {trial.implementation}, served by {trial.ran or 'nothing'}")
    if seen.scope:
        title("The scope, as the server saw it:")
        print(pprint.pformat(seen.scope, width=110, sort_dicts=False))
    if seen.lines:
        title("The handshake, as the client saw it (> sent, < received):")
    for line in seen.lines:
        name, value = received_header(line)
        if name == HEADER:
            writers = " or ".join(writer for writer, written in seen.writers if written == value) or "an unknown writer"
            line = f"{line}   <-- from {writers}"
            line = f"\033[1;33m{line}\033[0m" if colour else line
        print(line)
    if seen.error:
        title("The exception, as a user sees it:")
        print("".join(traceback.format_exception(type(seen.error), seen.error, seen.error.__traceback__)).rstrip())


def promise(expected: str, trial: Trial, seen: Observation) -> str:
    """The sentence that says whether the verdict is the expected one, and why it is not."""
    name = PROMISES[expected]
    if trial.verdict == expected:
        return f"The promise of `{name}` held for this case."
    because = "nothing could be judged"
    if trial.verdict == "rejected":
        because = "the response names more than one subprotocol"
    elif trial.verdict == "open":
        itself = any(writer.startswith("headers=") for writer, _ in seen.writers)
        because = "this uvicorn does not send it" if itself else "the app no longer sends the header itself"
        if trial.case == "unsplit-offer":
            because = "this implementation splits what the client offers in one line"
    return f"The promise of `{name}` did not hold for this case, because {because}."


def outside(source: Path) -> List[str]:
    """The uvicorn modules in use that did not come from a source file of the checkout."""
    modules = [module for name, module in list(sys.modules.items()) if name.split(".")[0] == "uvicorn"]
    files = [Path(module.__file__ or "nowhere").resolve() for module in modules]
    return sorted(str(file) for file in files if file.suffix != ".py" or source not in file.parents)


def run(options: argparse.Namespace) -> Iterator[Tuple[Trial, Observation]]:
    """The trials of every implementation and case asked for, each as soon as it is over."""
    source = options.source and options.source.resolve()
    asked = [(implementation, case) for implementation in options.ws for case in options.case]
    try:
        specimen = load(source)
    except Inconclusive as error:
        for implementation, case in asked:
            yield (
                Trial(installed("uvicorn"), implementation, case, detail=str(error)),
                Observation(error=error.__cause__),
            )
        return
    for implementation, case in asked:
        trial, seen = judge(specimen, implementation, case)
        if source and outside(source):
            trial.verdict, trial.detail = "inconclusive", f"uvicorn came from {outside(source)[0]}, not from {source}"
        yield trial, seen


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; {' '.join(self.format_usage().split())}\n")


def main() -> int:
    gc.disable()  # a trial is over before collecting would pay
    parser = Parser(
        description="Serve server.py with the uvicorn at hand, dial it with client.py, print the verdict.",
        epilog="Exit status: 0 open, 1 rejected, 125 inconclusive, 2 wrong usage. Of several trials: 1 where one is"
        " rejected, else 125 where one is inconclusive. With --expect: 0 as expected, 1 otherwise, 125 inconclusive.",
    )
    parser.add_argument("--ws", nargs="+", default=["auto"], choices=IMPLEMENTATIONS, help="implementations (auto)")
    parser.add_argument("--case", nargs="+", default=["server-headers"], choices=CASES, help="cases (server-headers)")
    parser.add_argument("--source", type=Path, help="a checkout of uvicorn to import instead of the installed one")
    parser.add_argument("--expect", choices=tuple(PROMISES), help="the verdict that counts as success")
    parser.add_argument("--quiet", action="store_true", help="print the verdict alone")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, for each trial")
    options = parser.parse_args()
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    trials = []
    for trial, seen in run(options):
        trials.append(trial)
        if options.json:
            print(json.dumps(asdict(trial)), flush=True)
        else:
            if not options.quiet:
                show(trial, seen, colour)
                print(f"\n{promise(options.expect, trial, seen)}" if options.expect else "")
            print(f"verdict: {trial.verdict}" + (f" - {trial.detail}" if trial.detail else ""), flush=True)
    return status([trial.verdict for trial in trials], options.expect)


def status(verdicts: List[str], expected: Optional[str]) -> int:
    """The exit status of these verdicts: 0 good, 1 bad, 125 skip, as `git bisect run` reads them."""
    good = expected or "open"
    if any(verdict not in (good, "inconclusive") for verdict in verdicts):
        return 1
    return 125 if "inconclusive" in verdicts else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # Python's own status for an exception is 1, which would be taken for a verdict.
        with contextlib.suppress(OSError):
            print(f"verdict: inconclusive - the trial itself failed: {describe(error)}", flush=True)
        os._exit(125)  # where stdout is full or closed, the exit would try it again and change the status
