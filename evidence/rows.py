"""Measurements as they are kept: one line of JSON each, so that `git diff evidence/` is a comparison."""

import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.place import ROOT, write_whole

# One measurement. Where it could not be made here, `missing` says why, and it is not kept.
Row = dict[str, Any]
# What is not compared: when and where it was made, and with which versions.
BESIDE = {"version", "measured", "platform", "python", "websockets", "released"}


def here() -> Row:
    """When and where something is measured."""
    day, machine = time.strftime("%Y-%m-%d", time.gmtime()), f"{platform.system()} {platform.machine()}"
    return {"measured": day, "platform": machine}


def said(row: Row) -> Row:
    """What a row says, whenever and wherever it was measured."""
    return {name: value for name, value in row.items() if name not in BESIDE}


@dataclass(frozen=True)
class Kept:
    """A file of rows. `key` tells what a row measures; by the first of it, its name, the rows are sorted."""

    name: str
    key: Callable[[Row], tuple[Any, ...]]
    folder: Path = ROOT / "evidence"

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.jsonl"

    def read(self) -> list[Row]:
        """The rows of the file, none where there is no file."""
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.is_file() else []

    def write(self, found: Sequence[Row]) -> None:
        """Put what was found into the file. Raises Unavailable.

        A kept row stays where the new one says the same. Where one of a name is missing, all kept rows of that name
        stay; else those of its rows that were not found go, such as those of another version.
        """
        new = {self.key(row): row for row in found if "missing" not in row}
        whole = {name for name, *_ in new} - {self.key(row)[0] for row in found if "missing" in row}
        rows = {key: row for row in self.read() if (key := self.key(row)) in new or key[0] not in whole}
        rows |= {key: row for key, row in new.items() if said(row) != said(rows.get(key, {}))}
        ordered = sorted(rows, key=lambda key: key[0])
        write_whole(self.file, "".join(f"{json.dumps(rows[key])}\n" for key in ordered))
