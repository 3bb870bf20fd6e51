"""The browsers: each opens a page that dials, and tells on its console and in its logs what came of it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
# For firefox. Whatever else a browser would ask for goes to a proxy that is not there: it reaches this machine alone.
PREFERENCES = """
user_pref("devtools.console.stdout.content", true);
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

    programs: tuple[str, ...]
    options: str
    words: str
    screen: bool = False

    def ready(self) -> tuple[str, Callable[[str], dict[str, Any]]]:
        """Its version, and how it dials. Raises Unavailable where it, or the screen that it needs, is not there."""
        with place.scratch("browser") as folder:
            variables = _variables(folder)
            said = place.run([*self._command(variables["PATH"]), "--version"], folder, variables)
        return re.findall(r"\d+(?:\.\d+)+\w*", said)[0], self.dial

    def dial(self, url: str) -> dict[str, Any]:
        """What came of one handshake, as the programs of the other clients tell it. Raises Unavailable."""
        for _ in range(TRIES):  # a browser that is ended does not always write its last words
            said = self._said(url)
            opened, words = re.search(r"it opened with <([^>]*)>", said), re.search(self.words, said)
            if opened or words:
                break
        error = None if "a message came" in said else words[1] if words else ""
        return {"opened": bool(opened), "subprotocol": opened[1] if opened else None, "error": error}

    def _said(self, url: str) -> str:
        """What it leaves in its folder once the page has come to its end. Raises Unavailable where it never does."""
        with place.scratch("browser") as folder:
            page, printed, variables = folder / "page.html", folder / "printed.log", _variables(folder)
            page.write_text(PAGE.replace("URL", url))
            (folder / "user.js").write_text(PREFERENCES)
            command = [*self._command(variables["PATH"]), *self.options.split(), page.as_uri()]

            def ended() -> bool:
                return "it closed;" in printed.read_text(errors="replace")

            with processes.started(command, printed, variables, ended, LIMIT) as process:
                _stop(process)
            return "\n".join(file.read_text(errors="replace") for file in sorted(folder.glob("*.log")))

    def _command(self, path: str) -> list[str]:
        if self.screen and not shutil.which("xvfb-run"):
            raise Unavailable("xvfb-run is not installed")
        found = [program for name in self.programs if (program := shutil.which(name, path=path))]
        if not found:
            raise Unavailable(f"{self.programs[0]} is not installed")
        return [*(["xvfb-run", "-a"] if self.screen else []), found[0]]


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Let a process and its group, perhaps with a screen, put away what they have open, for at most 5 s."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the second is what macOS says of zombies
        os.killpg(process.pid, signal.SIGTERM)
        for _ in range(250):
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.02)


def _variables(folder: Path) -> dict[str, str]:
    """The environment of a browser: of the user's nothing but the programs, with WebKitGTK's, which lie beside them."""
    beside = [*Path("/usr/lib").glob("*/webkit2gtk-4.*"), *Path("/usr/libexec").glob("webkit2gtk-4.*")]
    path = os.pathsep.join([os.environ["PATH"], *map(str, beside)])
    return {"PATH": path, "HOME": str(folder), "TMPDIR": str(folder), "MOZ_LOG": "nsWebSocket:5"}


BROWSERS = {
    "chromium": Browser(
        ("chromium", "chromium-browser", "google-chrome"),
        "--headless --no-sandbox --disable-gpu --no-first-run --proxy-server=127.0.0.1:9"
        " --enable-logging=stderr --user-data-dir=profile --log-net-log=net.log",
        r"(Error during WebSocket handshake: [^\"\\]+)",
    ),
    "firefox": Browser(
        ("firefox", "firefox-esr"),
        "--headless --no-remote --profile .",
        r"WebsocketChannel::OnStartRequest: (Server replied [^\n]+)",
    ),
    "webkitgtk": Browser(
        ("MiniBrowser",),
        "--enable-write-console-messages-to-stdout=true",
        r"WebSocket connection to '[^']*' failed: ([^\n]+)",
        screen=True,
    ),
}
