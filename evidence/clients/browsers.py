"""The browsers: each opens a page that dials, and tells on its console and in its logs what came of it."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from evidence.clients.dialing import OFFERED
from evidence.processes import started
from evidence.rows import Row
from harness import place
from harness.place import Unavailable

PAGE = f"""<!doctype html><script>
const socket = new WebSocket("URL", ["{OFFERED}"]);
socket.onopen = () => {{ console.log("it opened with <" + socket.protocol + ">"); socket.send("scope?"); }};
socket.onmessage = () => {{ console.log("a message came"); socket.close(); }};
socket.onclose = () => console.log("it closed;");
</script>"""
# For firefox. Whatever else a browser would ask for goes to a proxy that is not there: it reaches this machine alone.
PREFERENCES = """user_pref("devtools.console.stdout.content", true);
user_pref("network.proxy.type", 1);
user_pref("network.proxy.socks", "127.0.0.1");
user_pref("network.proxy.socks_port", 9);"""
# The reason for a refusal: Firefox logs it, WebKitGTK says it on its console, and Chromium notes it in its net log.
FAILED = r"WebsocketChannel::OnStartRequest: |WebSocket connection to '[^']*' failed: |(?=Error during WebSocket)"
WORDS = re.compile(rf"""(?:{FAILED})([^"\\\n]+)""")


class Browser(NamedTuple):
    """A browser: what its program may be called, and how it is started in a folder of its own."""

    programs: tuple[str, ...]
    options: str

    def ready(self) -> tuple[str, Callable[[str], Row]]:
        """Its version, and how it dials. Raises Unavailable or OSError where it, or its screen, is not there."""
        with self._home() as (folder, program, variables):
            said = place.run([program, "--version"], folder, variables)
        return re.findall(r"\d+(?:\.\d+)+\w*", said)[0], self.dial

    def dial(self, url: str) -> Row:
        """What came of one handshake, as the scripts of the other clients tell it. Raises Unavailable."""
        for _ in range(5):  # a browser that is ended does not always write its last words
            with self._home() as (folder, program, variables):
                page = folder / "page.html"
                page.write_text(PAGE.replace("URL", url))
                (folder / "user.js").write_text(PREFERENCES)
                command = [program, *self.options.split(), page.as_uri()]
                with started(command, folder / "printed.log", variables, re.compile("it closed;").search):
                    pass
                said = "\n".join(file.read_text(errors="replace") for file in folder.glob("*.log"))
            opened, words = re.search(r"it opened with <([^>]*)>", said), WORDS.search(said)
            if opened or words:
                break
        subprotocol, reason = (found[1] or None if found else None for found in (opened, words))
        outcome = "refused" if not opened else "opened" if "a message came" in said else "failed"
        return {"outcome": outcome, "subprotocol": subprotocol, "reason": reason}

    @contextmanager
    def _home(self) -> Iterator[tuple[Path, str, dict[str, str]]]:
        """A folder of its own, its program, and its environment: of the user's only where programs and WebKit lie."""
        beside = [*Path("/usr/lib").glob("*/webkit2gtk-4.*"), *Path("/usr/libexec").glob("webkit2gtk-4.*")]
        path = os.pathsep.join([os.environ["PATH"], *map(str, beside)])
        found = [program for name in self.programs if (program := shutil.which(name, path=path))]
        if not found:
            raise Unavailable(f"{self.programs[0]} is not installed")
        with place.scratch("browser") as folder, ExitStack() as stack:
            variables = {"PATH": path, "HOME": str(folder), "TMPDIR": str(folder), "MOZ_LOG": "sync,nsWebSocket:5"}
            if "-headless" not in self.options:  # it needs a screen
                number, said = re.compile(r"(?m)^\d+$"), folder / "screen.txt"
                stack.enter_context(started(["Xvfb", "-displayfd", "1"], said, variables, number.search))
                variables["DISPLAY"] = f":{number.findall(said.read_text())[0]}"
            yield folder, found[0], variables


BROWSERS = {
    "chromium": Browser(
        ("chromium", "chromium-browser", "google-chrome"),
        "-headless -no-sandbox -proxy-server=127.0.0.1:9 -user-data-dir=. -enable-logging=stderr -log-net-log=net.log",
    ),
    "firefox": Browser(("firefox", "firefox-esr"), "-headless -no-remote -profile ."),
    "webkitgtk": Browser(("MiniBrowser",), "--enable-write-console-messages-to-stdout=true"),
}
