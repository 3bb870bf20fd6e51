"""The reporter's own library: the version for which #1606 was a fix, and the one for which it was a break."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evidence import markdown, rows
from harness import asking, base
from harness.index import Index
from harness.judge import Judge
from harness.place import ROOT

FILE = Path(__file__).resolve().with_name("library.jsonl")
VERSIONS, UVICORNS = ("0.3.0", "0.4.0"), ("0.19.0", "0.20.0")  # 0.3.0 accepts without subprotocol=, 0.4.0 with it


@dataclass(frozen=True)
class Row(rows.Row):
    """The lines that go out with one version on one uvicorn, and the verdict."""

    uvicorn: str
    sent: list[str]
    verdict: str

    def key(self) -> tuple[str, ...]:
        return self.name, self.version, self.uvicorn

    def tried(self) -> bool:
        return self.verdict != "inconclusive"


read = partial(rows.read, Row, FILE)
write = partial(rows.write, FILE)


def measure(index: Index) -> list[Row]:
    """A row for each version on each uvicorn. Raises Unavailable."""
    words = {"APP": f"{ROOT}/tests/apps/central.py:app", "WS": "websockets", "WEBSOCKETS": base.pins()["websockets"]}
    words |= {"OFFER": "ocpp1.6", "HEADER": "Sec-WebSocket-Protocol: ocpp1.6", "NONE": "rejected"}
    found = []
    for version in VERSIONS:
        asked = asking.question({**words, "WITH": f"ocpp-asgi=={version} jsonschema<4.18"}, index)
        with Judge(asked, index) as judging:
            for release in (one for one in index.releases("uvicorn") if one.version in UVICORNS):
                [trial] = judging.release(release)
                found.append(Row("ocpp-asgi", version, release.version, trial.sent, trial.verdict.name))
    return found


def table(found: Sequence[Row]) -> str:
    """What each version sends and agrees on, as a Markdown table."""
    lines: dict[str, list[str]] = {}
    for row in found:
        told = f"{len(row.sent)} {'line' if len(row.sent) == 1 else 'lines'}, {row.verdict}"
        lines.setdefault(f"{row.name} {row.version}", []).append(told)
    return markdown.table(
        ["", *(f"uvicorn {name}" for name in UVICORNS)], ([name, *told] for name, told in lines.items())
    )
