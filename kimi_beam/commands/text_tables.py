"""Tables of plain text: columns that stand below one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kimi_beam.wire.printable import printable


def text_table(rows: Sequence[Sequence[str]], *, indent: int = 0, right_from: int | None = None) -> Iterator[str]:
    """The lines of a table.

    Args:
        rows: The cells, as many in each row.
        indent: How many spaces each line begins with.
        right_from: The first of the columns that are aligned to the right, as numbers are; None: none is.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        aligned = (
            cell.rjust(width) if right_from is not None and column >= right_from else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield (" " * indent + "  ".join(aligned)).rstrip()
