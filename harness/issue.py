"""The report in the form that uvicorn asks for: measured now, and nothing in it of the machine that measured."""

import difflib
import json
import platform
import re
from html import escape
from pathlib import Path
from typing import Any

from harness import environment, evidence, readme, servers
from harness.environment import FOLDER, ROOT, Unavailable
from harness.judge import Judge, Subject
from harness.model import NO_CELL, UPSTREAM, Observation, Trial, Verdict, plain, printable
from harness.options import Asked
from harness.trial import last_line

LIMIT = 60_000  # characters; GitHub takes 65,536
LINE = 1_000  # characters of a line of others
BISECTS = FOLDER / "bisects.json"
EXAMPLE = ROOT / "upstream" / "repro.py"
TITLES = {
    "server-headers": "Sec-WebSocket-Protocol is sent twice with subprotocol= and the header in uvicorn.Config",
    "accept-headers": "Sec-WebSocket-Protocol is sent twice with subprotocol= and the header in websocket.accept",
    "unsplit-offer": 'scope["subprotocols"] holds one string where the client offers several subprotocols in one line',
}
# What upstream/repro.py has in other cases than the reported one, which it holds.
EXAMPLES = {
    "accept-headers": {
        "HEADERS": "[]",
        "ACCEPT_HEADERS": '[(b"sec-websocket-protocol", b"ocpp2.0.1, ocpp2.0, ocpp1.6")]',
    },
    "unsplit-offer": {"OFFER": '"ocpp2.0.1, ocpp1.6"', "HEADERS": "[]"},
    "none": {"HEADERS": "[]"},
}
CHECKS = (
    "I confirm this was discussed, and the maintainers suggest I open an issue.",
    "I'm aware that if I created this issue without a discussion, it may be closed without a response.",
)
RULES = """\
[RFC 6455, section 11.3.4](https://www.rfc-editor.org/rfc/rfc6455#section-11.3.4) forbids the header more than once in a
response. The [ASGI specification](https://asgi.readthedocs.io/en/latest/specs/www.html#accept-send-event) says of
`websocket.accept` that its `headers` must not include `sec-websocket-protocol`."""


def report(question: Asked, broken: str, fixed: str) -> str:
    """The document, as GitHub Markdown, its parts in the order of the fields of uvicorn's issue form.

    Raises Unavailable where a release cannot be judged, ValueError where the document gets too long.
    """
    setting, case = question.setting, question.cell[1]
    with Judge(setting, subject=question.subject) as judging:
        [bad], [good] = (judging.observe(version, [question.cell]) for version in (broken, fixed))
        freeze = [f"{name}=={version}" for name, version in judging.forks().versions.items()]
    for trial, _ in (bad, good):
        if not trial.uvicorn or not (trial.ran or trial.cause is None):
            raise Unavailable(f"uvicorn {trial.uvicorn} could not be judged: {trial.reason}")
    with Judge(setting, subject=Subject(command=("python", "-m", "uvicorn", "--version"))) as judging:
        said = judging.release(broken, [NO_CELL])[0].reason.removeprefix("status 0; ")
    title = f"{last_line(bad[0])} with uvicorn {broken}"
    parts = [
        f"# {title if question.subject.app else TITLES.get(case, title)}",
        "### Initial Checks",
        "\n".join(f"- [x] {check}" for check in CHECKS),
        "### Discussion Link",
        "(the link to the discussion, category Potential Issue)",
        "### Description",
        description(question, bad, good),
        "### Example Code",
        fenced(source(question, broken), "python"),
        "### Python, Uvicorn & OS Version",
        fenced(f"{said}\n{platform.system()} {platform.machine()}", "text"),
        collapsed("pip freeze", fenced("\n".join(sorted([f"uvicorn=={broken}", *freeze])), "text")),
        collapsed("Traceback", fenced(public(bad[1].traceback), "text")) if bad[1].traceback else "",
        collapsed("Both handshakes", fenced(difference(good, bad), "diff")),
        *(
            collapsed("Bisected", fenced("\n".join([f"$ {one['command']}", *one["lines"]]), "text"))
            for one in bisects(question)
        ),
        candidate() if case in ("server-headers", "accept-headers") else "",
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    if len(text) > LIMIT:
        raise ValueError(f"the report has {len(text)} characters, and GitHub takes {LIMIT}")
    return text


def description(question: Asked, bad: tuple[Trial, Observation], good: tuple[Trial, Observation]) -> str:
    """What happens, since when, and what the rules say of it."""
    happens = [f"With uvicorn {trial.uvicorn}, {sent(trial)}: {told(trial)}." for trial, _ in (bad, good)]
    paragraphs = [" ".join(happens) + " Nothing else that is installed differs."]
    if question.subject.app:
        app = question.subject.app
        headers = "".join(f", `headers=` with {inline(f'{name}: {value}')}" for name, value in app.headers)
        offer = inline(", ".join(app.offer))
        paragraphs.append(f"The app is served with `ws={question.cell[0]}`{headers}; the client offers {offer}.")
    else:
        found = evidence.changes(evidence.read())
        paragraphs += [since(one) for one in found if (one.implementation, one.case) == question.cell]
    paragraphs.append(RULES)
    if question.cell[1] == "accept-headers":
        paragraphs.append(f"What other ASGI servers send for the same app:\n\n{servers.table(servers.read())}")
    return "\n\n".join(paragraphs)


def since(change: evidence.Change) -> str:
    """A change of a verdict, with its sources."""
    by = f", by {change.pull_request.url}" if change.pull_request else ""
    compare = f"{UPSTREAM}/compare/{change.before.uvicorn}...{change.after.uvicorn}"
    word, version = change.after.verdict.name.capitalize(), change.after.uvicorn
    return f"{word} since {version}{by} ({compare}), as measured on every release with `ws={change.implementation}`."


def sent(trial: Trial) -> str:
    lines = " and ".join(inline(value) for value in trial.sent) or "none"
    return f"the `Sec-WebSocket-Protocol` lines of the response are {lines}"


def told(trial: Trial) -> str:
    return "the handshake opens" if trial.verdict is Verdict.open else f"the client says {inline(trial.reason)}"


def source(question: Asked, broken: str) -> str:
    """The example code: the file of one's own app, or upstream/repro.py as it is for this case and implementation."""
    app = question.subject.app
    if app:
        file = Path(app.folder, app.name.rpartition(":")[0])
        return file.read_text() if file.is_file() else f"# {plain(app.name)}, which is more than one file"
    implementation, case = question.cell
    text = EXAMPLE.read_text().replace("  # noqa: E402", "")
    package = "wsproto" if implementation == "wsproto" else "websockets"
    needs = f'"uvicorn=={broken}", "{package}=={question.setting.version(package)}"'
    text = text.replace('"uvicorn", "wsproto"', needs)
    values = {"WS": f'"{implementation}"', **EXAMPLES.get(case, {})}
    return re.sub(r"(?m)^([A-Z_]+) = (.*?)(?=  #|$)", lambda line: f"{line[1]} = {values.get(line[1], line[2])}", text)


def difference(good: tuple[Trial, Observation], bad: tuple[Trial, Observation]) -> str:
    before, after = ([readme.elide(line) for line in seen.lines] for _, seen in (good, bad))
    old, new = (f"uvicorn {trial.uvicorn}" for trial, _ in (good, bad))
    return "\n".join(difflib.unified_diff(before, after, old, new, lineterm="", n=99)) or "(no difference)"


def candidate() -> str:
    """The proposal for uvicorn, called one."""
    patch = ROOT / "upstream" / "fix.patch"
    return (
        collapsed("A proposal, proven by `make upstream`", fenced(patch.read_text(), "diff")) if patch.is_file() else ""
    )


def keep_bisect(question: Asked, verb: str, command: str, lines: list[str]) -> None:
    """Keep the result of a bisect for the next report."""
    kept = environment.read_json(BISECTS)
    kept = kept if isinstance(kept, dict) else {}
    kept[f"{verb}, {question.name}"] = {"command": command, "lines": lines}
    environment.write_whole(BISECTS, json.dumps(kept))


def bisects(question: Asked) -> list[dict[str, Any]]:
    """The last bisects of this question."""
    kept = environment.read_json(BISECTS)
    kept = kept if isinstance(kept, dict) else {}
    found = [kept.get(f"{verb}, {question.name}") for verb in ("bisect", "bisect-commits")]
    return [one for one in found if isinstance(one, dict) and isinstance(one.get("lines"), list)]


def public(text: str) -> str:
    """A traceback without the paths of a machine: from the packages on, or the file's name alone."""
    kept = r'File "[^"]*?/((?:site-packages|python3\.\d+|uvicorn|harness)/[^"]*)"'
    text = re.sub(kept, r'File "\1"', text)
    return re.sub(r'File "/[^"]*/([^"/]*)"', r'File "\1"', text)


def inline(text: str) -> str:
    """Text of others as code inside a line."""
    return f"`{plain(text)[:LINE].replace('`', chr(0x2BC))}`"


def fenced(text: str, language: str) -> str:
    """Text of others as a block that it cannot break out of."""
    lines = [printable(line)[:LINE] for line in text.splitlines()]
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return "\n".join([f"{fence}{language}", *lines, fence])


def collapsed(title: str, text: str) -> str:
    return f"<details><summary>{escape(title)}</summary>\n\n{text}\n\n</details>"
