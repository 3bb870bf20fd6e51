"""The browsers: each opens a page that dials, and tells on its console and in its logs what came of it."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness import environment
from harness.clients.libraries import OFFERED
from harness.environment import Unavailable

LIMIT = 15.0  # seconds for a browser to start and to dial
TRIES = 3
PAGE = """<!doctype html><script>
const socket = new WebSocket("URL", ["OFFERED"]);
socket.onopen = () => console.log("it opened with <" + socket.protocol + ">");
socket.onmessage = () => console.log("a message came");
socket.onclose = () => console.log("it closed;");
</script>"""
VERSION = r"\d+(?:\.\d+)+\w*"
# Whatever else a browser would ask for goes to a proxy that is not there: it reaches this machine alone.
NOWHERE = "127.0.0.1:9"
FIREFOX: dict[str, str | int] = {
    "devtools.console.stdout.content": True,
    "dom.push.connection.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.proxy.type": 1,
    **{f"network.proxy.{kind}": "127.0.0.1" for kind in ("http", "ssl")},
    **{f"network.proxy.{kind}_port": 9 for kind in ("http", "ssl")},
}


class NotInstalled(Unavailable):
    """A program that a client runs in is not on this machine."""


@dataclass(frozen=True)
class Browser:
    """A browser: what its program may be called, how it is started in a folder of its own, and its words on a refusal.

    `words` is a pattern of what stands in the files that it leaves there, with the reason as its only group.
    """

    name: str
    programs: tuple[str, ...]
    options: tuple[str, ...]
    words: str
    variables: dict[str, str] = field(default_factory=dict)
    preferences: dict[str, str | int] = field(default_factory=dict)
    screen: bool = False

    def program(self) -> str:
        """Where it is. Raises NotInstalled where it, or the screen that it needs, is not."""
        if self.screen and not shutil.which("Xvfb"):
            raise NotInstalled("Xvfb is not installed")
        for name in self.programs:
            for found in [shutil.which(name), *map(str, Path("/").glob(name[1:]) if name[0] == "/" else [])]:
                if found:
                    return found
        raise NotInstalled(f"{self.name} is not installed")

    def dial(self, url: str) -> dict[str, str | bool | None]:
        """What came of one handshake, as the programs of the other clients tell it. Raises Unavailable."""
        for _ in range(TRIES):  # a browser that is ended does not always write its last words
            with environment.scratch("browser") as folder:
                (folder / "page.html").write_text(PAGE.replace("URL", url).replace("OFFERED", OFFERED))
                lines = [f"user_pref({json.dumps(name)}, {json.dumps(to)});" for name, to in self.preferences.items()]
                (folder / "user.js").write_text("\n".join(lines))
                said = self._run(folder, [(folder / "page.html").as_uri()], "it closed;")
            opened = re.search(r"it opened with <([^>]*)>", said)
            words = re.search(self.words, said)
            if opened or words:
                break
        error = None if "a message came" in said else words[1] if words else ""
        return {"opened": bool(opened), "subprotocol": opened[1] if opened else None, "error": error}

    def version(self) -> str:
        """The version that it says it has, or nothing. Raises NotInstalled where it is not there."""
        self.program()
        with environment.scratch("browser") as folder, contextlib.suppress(Unavailable):
            return str(re.findall(VERSION, self._run(folder, ["--version"], VERSION))[0])
        return ""

    def _run(self, folder: Path, arguments: list[str], until: str) -> str:
        """What it leaves in the folder once that matches a pattern. Raises Unavailable where it never does."""
        theirs = re.compile(r"XDG_|MOZ_|\w+_proxy$", re.IGNORECASE)  # folders and proxies of the user's
        variables = {name: value for name, value in os.environ.items() if not theirs.match(name)}
        variables.update(self.variables, HOME=str(folder), TMPDIR=str(folder))
        command = [self.program(), *(option.format(folder=folder) for option in self.options), *arguments]
        with contextlib.ExitStack() as stack:
            if self.screen:
                number = folder / "screen.txt"
                screen = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp"]
                stack.callback(_stop, stack.enter_context(environment.started(screen, folder, number)))
                variables["DISPLAY"] = ":" + _wait(number, r"(?m)^\d+$")
            printed = folder / "printed.log"
            process = stack.enter_context(environment.started(command, folder, printed, variables))
            _wait(printed, until)
            _stop(process)
        return "\n".join(file.read_text(errors="replace") for file in sorted(folder.glob("*.log")))


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Let a process put away what it has open; what is left of it is killed."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)


def _wait(file: Path, pattern: str) -> str:
    """What in a growing file matches. Raises Unavailable where nothing does in time."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        found = re.search(pattern, file.read_text(errors="replace"))
        if found:
            return found[0]
        time.sleep(0.05)
    raise Unavailable(f"no answer within {LIMIT:g} s")


BROWSERS = (
    Browser(
        "chromium",
        ("chromium", "chromium-browser", "google-chrome"),
        (
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync", f"--proxy-server={NOWHERE}", "--enable-logging=stderr"),
            *("--user-data-dir={folder}/profile", "--log-net-log={folder}/net.log"),
        ),
        r"(Error during WebSocket handshake: [^\"\\]+)",
    ),
    Browser(
        "firefox",
        ("firefox-esr", "firefox"),
        ("--headless", "--no-remote", "--profile", "{folder}"),
        r"WebsocketChannel::OnStartRequest: (Server replied [^\n]+)",
        {"MOZ_LOG": "nsWebSocket:5"},
        FIREFOX,
    ),
    Browser(
        "webkitgtk",
        ("/usr/lib/*/webkit2gtk-4.*/MiniBrowser", "/usr/libexec/webkit2gtk-4.*/MiniBrowser"),
        ("--enable-write-console-messages-to-stdout=true",),
        r"WebSocket connection to '[^']*' failed: ([^\n]+)",
        screen=True,
    ),
)
