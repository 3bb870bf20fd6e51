"""The report that one attaches to an issue: measured now, and nothing in it of the machine that measured."""

import difflib
import json
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness import environments, verdicts
from harness.environments import FOLDER, ROOT
from harness.report import elide
from harness.verdicts import Setting

LIMIT = 60_000  # characters; GitHub takes 65,536 in a comment
LAST_BISECT = FOLDER / "last-bisect.json"


@dataclass(frozen=True)
class Shown:
    """What trial.py showed for one release: its first line, its handshake, the exception's line and the verdict."""

    versions: str
    handshake: list[str]
    exception: str
    verdict: str


def report(setting: Setting, broken: str, fixed: str, ws: str, case: str) -> str:
    """The document, as GitHub Markdown. Raises Unavailable where a release cannot be installed."""
    bad, good = (show(version, setting, ws, case) for version in (broken, fixed))
    uvicorn = f"uvicorn=={broken}"
    inline = (ROOT / "requirements-broken.txt").read_text().split()
    others = "".join(f"--with {pin} " for pin in (uvicorn, *setting.pins.requirements) if pin not in inline)
    sources = "\n".join(_collapsed(name, (ROOT / name).read_text()) for name in ("server.py", "client.py"))
    text = f"""# WebSocket handshake: {bad.exception or bad.verdict} with uvicorn {broken}

With uvicorn {broken} this handshake is `{_word(bad)}`, with {fixed} it is `{_word(good)}`; nothing else
installed differs. The response of {broken} has {_count(bad)}, that of {fixed} has {_count(good)}.
Case `{case}`, implementation `{ws}`.

## Environment

- {platform.system()} {platform.machine()}, Python {setting.interpreter.version}
- {uvicorn} or uvicorn=={fixed}, {", ".join(setting.pins.requirements)}

## Steps

Save the two files below as `server.py` and `client.py` in an empty folder. They name what they need, so
[uv](https://docs.astral.sh/uv/) runs them with nothing else installed:

```sh
uv run {others}server.py --help > /dev/null && {{
  uv run {others}server.py --ws {ws} --case {case} &
  sleep 3; uv run {others}client.py --case {case}; kill $!
}}
```

With `uv run --with uvicorn=={fixed} server.py` in place of `uv run server.py` it is the other release.

## Expected

One `Sec-WebSocket-Protocol` line at the most, as RFC 6455, section 11.3.4, has it, and a handshake that opens:
`{good.verdict}`

## Actual

`{bad.verdict}`

```text
{bad.exception or "no exception"}
```

The responses, {fixed} (-) against {broken} (+):

```diff
{_difference(good, bad, fixed, broken)}
```

{_last_bisect(case, ws)}
## Sources

"""
    text = private_things_removed(text) + sources
    if len(text) > LIMIT:
        raise ValueError(f"the report has {len(text)} characters, and GitHub takes {LIMIT}")
    return text


def show(version: str, setting: Setting, ws: str, case: str) -> Shown:
    """Run the trial of one release for its words. Raises Unavailable where it cannot be installed."""
    python = environments.for_release(version, setting.pins, setting.interpreter)
    command = verdicts.trial_command(python, "--ws", ws, "--case", case)
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    lines = elide(done.stdout).splitlines()
    raised = [line for line in lines if re.match(r"[\w.]+(?:Error|Invalid\w+|Exception)\b.*: ", line)]
    return Shown(
        versions=lines[0],
        handshake=[line for line in lines if re.match(r"[<>] ", line)],
        exception=raised[-1] if raised else "",
        verdict=lines[-1],
    )


def keep_bisect(command: str, lines: list[str]) -> None:
    """Keep the result of a bisect for the next report."""
    LAST_BISECT.parent.mkdir(parents=True, exist_ok=True)
    LAST_BISECT.write_text(json.dumps({"command": command, "lines": lines}))


def private_things_removed(text: str) -> str:
    """The text without the paths of this machine."""
    text = text.replace(str(ROOT), "/path/to/uvicorn-1778")
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text  # in a container it may be /


def _word(shown: Shown) -> str:
    return shown.verdict.removeprefix("verdict: ").split(" - ")[0]


def _count(shown: Shown) -> str:
    number = sum(line.lower().startswith("< sec-websocket-protocol: ") for line in shown.handshake)
    return f"{number} `Sec-WebSocket-Protocol` line" + ("" if number == 1 else "s")


def _difference(good: Shown, bad: Shown, fixed: str, broken: str) -> str:
    before, after = ([line for line in shown.handshake if line.startswith("< ")] for shown in (good, bad))
    lines = difflib.unified_diff(before, after, f"uvicorn {fixed}", f"uvicorn {broken}", lineterm="", n=99)
    return "\n".join(lines) or "(no difference)"


def _last_bisect(case: str, ws: str) -> str:
    """The result of the last bisect, where it was about this case and implementation."""
    try:
        kept = json.loads(LAST_BISECT.read_text())
    except (OSError, ValueError):
        return ""
    if f" CASE={case} WS={ws} " not in kept["command"]:
        return ""
    lines = "\n".join(kept["lines"])
    return f"## Bisect\n\n```console\n$ {kept['command']}\n{lines}\n```\n\n"


def _collapsed(name: str, source: str) -> str:
    return f"<details><summary><code>{name}</code></summary>\n\n```python\n{source}```\n\n</details>\n"
