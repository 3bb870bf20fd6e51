"""The browsers: each opens a page that dials, and tells on its console and in its logs what came of it."""

import contextlib
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from evidence import processes
from evidence.clients.dialing import OFFERED
from harness import place
from harness.place import Unavailable

LIMIT = 15.0  # seconds for a browser to start and to dial
TRIES = 3
PAGE = f"""<!doctype html><script>
const socket = new WebSocket("URL", ["{OFFERED}"]);
socket.onopen = () => {{ console.log("it opened with <" + socket.protocol + ">"); socket.send("scope?"); }};
socket.onmessage = () => {{ console.log("a message came"); socket.close(); }};
socket.onclose = () => console.log("it closed;");
</script>"""
VERSION = r"\d+(?:\.\d+)+\w*"
# For firefox. Whatever else a browser would ask for goes to a proxy that is not there: it reaches this machine alone.
PREFERENCES = """
user_pref("devtools.console.stdout.content", true);
user_pref("dom.push.connection.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.proxy.type", 1);
user_pref("network.proxy.http", "127.0.0.1");
user_pref("network.proxy.http_port", 9);
user_pref("network.proxy.ssl", "127.0.0.1");
user_pref("network.proxy.ssl_port", 9);
"""


@dataclass(frozen=True)
class Browser:
    """A browser: what its program may be called, how it is started in a folder of its own, and its words on a refusal.

    `words` is a pattern of what stands in the files that it leaves there, with the reason as its only group.
    """

    name: str
    programs: tuple[str, ...]
    options: str
    words: str
    screen: bool = False

    def version(self) -> str:
        """The version that it says it has. Raises Unavailable where it, or the screen that it needs, is not there."""
        with place.scratch("browser") as folder:
            return str(re.findall(VERSION, self._run(folder, "--version", VERSION))[0])

    def dial(self, url: str) -> dict[str, str | bool | None]:
        """What came of one handshake, as the programs of the other clients tell it. Raises Unavailable."""
        for _ in range(TRIES):  # a browser that is ended does not always write its last words
            with place.scratch("browser") as folder:
                (folder / "page.html").write_text(PAGE.replace("URL", url))
                (folder / "user.js").write_text(PREFERENCES)
                said = self._run(folder, (folder / "page.html").as_uri(), "it closed;")
            opened, words = re.search(r"it opened with <([^>]*)>", said), re.search(self.words, said)
            if opened or words:
                break
        error = None if "a message came" in said else words[1] if words else ""
        return {"opened": bool(opened), "subprotocol": opened[1] if opened else None, "error": error}

    def _program(self) -> str:
        if self.screen and not shutil.which("Xvfb"):
            raise Unavailable("Xvfb is not installed")
        for name in self.programs:
            for found in [shutil.which(name), *map(str, Path("/").glob(name[1:]) if name[0] == "/" else [])]:
                if found:
                    return found
        raise Unavailable(f"{self.name} is not installed")

    def _run(self, folder: Path, argument: str, until: str) -> str:
        """What it leaves in the folder once that matches a pattern. Raises Unavailable where it never does."""
        theirs = ("XDG_", "MOZ_")  # folders and settings of the user's
        variables = {name: value for name, value in processes.direct().items() if not name.startswith(theirs)}
        variables.update(HOME=str(folder), TMPDIR=str(folder), MOZ_LOG="nsWebSocket:5")
        command = [self._program(), *self.options.split(), argument]
        with contextlib.ExitStack() as stack:
            if self.screen:
                number, screen = folder / "screen.txt", ["Xvfb", "-displayfd", "1", "-nolisten", "tcp"]
                stack.callback(_stop, stack.enter_context(processes.started(screen, folder, number, variables)))
                variables["DISPLAY"] = ":" + _wait(number, r"(?m)^\d+$")
            printed = folder / "printed.log"
            process = stack.enter_context(processes.started(command, folder, printed, variables))
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
        if found := re.search(pattern, file.read_text(errors="replace")):
            return found[0]
        time.sleep(0.05)
    raise Unavailable(f"no answer within {LIMIT:g} s")


BROWSERS = (
    Browser(
        "chromium",
        ("chromium", "chromium-browser", "google-chrome"),
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
        " --disable-component-update --proxy-server=127.0.0.1:9 --enable-logging=stderr"
        " --user-data-dir=profile --log-net-log=net.log",
        r"(Error during WebSocket handshake: [^\"\\]+)",
    ),
    Browser(
        "firefox",
        ("firefox-esr", "firefox"),
        "--headless --no-remote --profile .",
        r"WebsocketChannel::OnStartRequest: (Server replied [^\n]+)",
    ),
    Browser(
        "webkitgtk",
        ("/usr/lib/*/webkit2gtk-4.*/MiniBrowser", "/usr/libexec/webkit2gtk-4.*/MiniBrowser"),
        "--enable-write-console-messages-to-stdout=true",
        r"WebSocket connection to '[^']*' failed: ([^\n]+)",
        screen=True,
    ),
)
