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
