"""Markdown whose words come from elsewhere."""

from collections.abc import Iterable, Sequence

from harness.model import plain


def code(text: str) -> str:
    """Any text as Markdown for the cell of a table that shows it and nothing else: no markup, link or mention."""
    shown = plain(text).replace("`", "'").replace("|", "\\|")
    return f"`{shown}`" if shown else ""


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def grid(first: str, cells: Iterable[tuple[str, str, str]]) -> str:
    """The table of cells that are given as row, column and content; `first` is the title of the rows."""
    rows: dict[str, dict[str, str]] = {}
    for row, column, content in cells:
        rows.setdefault(row, {})[column] = content
    columns = list(dict.fromkeys(column for of in rows.values() for column in of))
    return table([first, *columns], ([row, *(of.get(column, "") for column in columns)] for row, of in rows.items()))
