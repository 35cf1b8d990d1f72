"""How rows of tables look as text, the same for every format: a row on a line, with `` | `` between its cells."""

from __future__ import annotations

from collections.abc import Iterable

BETWEEN_CELLS = " | "


def table_row(cells: Iterable[str]) -> str:
    """One row of a table as a line.

    Line feeds within a cell become spaces. An empty cell stays, so that a value keeps its column, but not at the end.

    Args:
        cells: The texts of its cells, from left to right.

    Returns:
        The line, without a line feed; empty if all cells are.
    """
    texts = [text if text.isprintable() else " ".join(text.split()) for text in map(str.strip, cells)]
    while texts and not texts[-1]:
        texts.pop()
    return BETWEEN_CELLS.join(texts)


def joined_lines(lines: Iterable[str]) -> str:
    """Lines as one text, in which no more than one empty line follows another line, and none begins or ends it.

    Args:
        lines: The lines; each may hold line feeds.
    """
    kept: list[str] = []
    for line in "\n".join(lines).split("\n"):
        stripped = line.rstrip()
        if stripped or (kept and kept[-1]):
            kept.append(stripped)
    while kept and not kept[-1]:
        kept.pop()
    return "\n".join(kept)
