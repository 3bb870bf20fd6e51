"""Measurements as they are kept: one line of JSON each, so that `git diff evidence/` is a comparison."""

import json
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from harness import place


def today() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d")


@dataclass(frozen=True)
class Row:
    """One measurement. Two are equal where they say the same, whenever and wherever they were made."""

    name: str
    version: str = field(compare=False)  # the key has it where it counts
    measured: str = field(default_factory=today, compare=False, kw_only=True)
    platform: str = field(default=f"{platform.system()} {platform.machine()}", compare=False, kw_only=True)

    def key(self) -> tuple[str, ...]:
        """What was measured: of two rows with one key, the later one counts."""
        return self.name, self.version

    def tried(self) -> bool:
        """Whether it could be measured here."""
        raise NotImplementedError


Kind = TypeVar("Kind", bound=Row)


def read(kind: type[Kind], file: Path) -> list[Kind]:
    """The rows of a file, none where there is no file."""
    return [kind(**json.loads(line)) for line in file.read_text().splitlines()] if file.is_file() else []


def write(file: Path, found: Sequence[Row]) -> None:
    """Put what was found into a file, sorted. Raises Unavailable.

    A row that says what the kept one says leaves that one as it is. What could not be tried is not written, and then
    all kept rows of that name stay; else the ones of other versions go.
    """
    if not found:
        return
    tried = {row.key(): row for row in found if row.tried()}
    whole = {row.name for row in found} - {row.name for row in found if not row.tried()}

    def stays(row: Row) -> bool:
        return tried[row.key()] == row if row.key() in tried else row.name not in whole

    kept = {row.key(): row for row in filter(stays, read(type(found[0]), file))}
    rows = ordered({**tried, **kept}.values())
    place.write_whole(file, "".join(json.dumps(asdict(row)) + "\n" for row in rows))


def ordered(found: Iterable[Kind]) -> list[Kind]:
    """Rows by name, version and what else they are of; 9.0 comes before 10.0."""
    return sorted(found, key=lambda row: _natural(" ".join(row.key())))


def _natural(text: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]
