"""The Pythons on which the root was tried by hand: plain venv and pip, then `python client.py`."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm.contrib.concurrent import thread_map

from evidence import rows
from harness import place
from harness.base import Interpreter
from harness.model import Verdict, plain
from harness.place import ROOT, Unavailable

FILE = Path(__file__).resolve().with_name("pythons.jsonl")
VERSIONS = tuple(f"3.{minor}" for minor in range(8, 17))


@dataclass(frozen=True)
class Row(rows.Row):
    """What client.py said on one Python, or why the pins could not be installed.

    Another patch release that says the same is no other row.
    """

    broken: str
    fixed: str

    def key(self) -> tuple[str, ...]:
        return (self.name,)

    def tried(self) -> bool:
        return self.fixed != ""


read = partial(rows.read, Row, FILE)
write = partial(rows.write, FILE)


def measure(versions: Sequence[str] = VERSIONS) -> list[Row]:
    """A row for each of these Pythons that is here."""
    found = []
    for version in versions:
        with suppress(Unavailable):
            found.append((f"Python {version}", Interpreter.named(version)))
    return list(thread_map(_try_out, found, max_workers=2, disable=None, leave=False, unit="Python"))


def _try_out(named: tuple[str, Interpreter]) -> Row:
    name, python = named
    try:
        with place.scratch("python") as folder:
            place.run([python.path, "-m", "venv", "venv"], folder)
            return Row(name, python.version, *(_said(folder, which) for which in ("broken", "fixed")))
    except Unavailable as error:
        return Row(name, python.version, plain(str(error)), "")


def _said(folder: Path, which: str) -> str:
    """The verdict with the pins of one requirements file. Raises Unavailable where they cannot be installed."""
    inside, requirements = str(folder / "venv" / "bin" / "python"), str(ROOT / f"requirements-{which}.txt")
    place.run([inside, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements], folder)
    status, *_ = place.execute([inside, str(ROOT / "client.py")], folder)
    return Verdict(status).name if status in (0, 1) else Verdict.inconclusive.name


def sentence(found: Sequence[Row]) -> str:
    """On which Pythons the root shows what it promises, and on which it does not."""
    held = [row.version for row in found if (row.broken, row.fixed) == ("rejected", "open")]
    others = [f"{row.version} ({row.broken}, {row.fixed})" for row in found if row.version not in held]
    text = f"With plain venv and pip, `python client.py` shows both verdicts on Python {', '.join(held)}"
    return f"{text}, and not on {', '.join(others)}." if others else f"{text}."
