"""Rows of tables as a text shows them: lines with at least two numbers under a line with the names of the columns."""

from __future__ import annotations

import re
from typing import NamedTuple

_NUMBER = re.compile(r"(?<![\w.,])[-+(]?(?:[$€£¥]\s?)?\d[\d.,'\u2019]*(?:\s?[%€$£])?\)?(?![\w])")
_TWO_NUMBERS = re.compile(r"\d\D+\d")
_CELLS = re.compile(r"\s{2,}|\t|\s*\|\s*")
_WORDS = re.compile(r"[^\W\d_]{2,}")
_SUM = re.compile(
    r"\W*(?:sub-?\s?total|grand total|total|sum|net|gross|vat|tax|balance|amount due|carried|brought|übertrag|"
    r"zwischensumme|summe|gesamt|netto|brutto|mwst|ust|montant|somme|report)\b",
    re.I,
)
_WORD_OF_SUM = re.compile(
    r"\b(?:(?:sub-?\s?|sous-)?(?:total|totals|totaal|totale)|subtotaal|subtotale|sum|balance|carried|brought|[cb]/f(?:wd)?"
    r"|übertrag|vortrag|(?:zwischen|gesamt|seiten)?summe|gesamt\w*|saldo|riporto|report(?:er)?|transporte|suma|soma"
    r"|vat|tax|mwst|ust|tva|iva|btw|moms|discount|rabatt|skonto|remise|sconto|korting|descuento)\b",
    re.I,
)
_KIND = re.compile(
    r"(?<![\w.,:/])(?P<date>\d{1,4}(?:[./-]\d{1,2}){2}\d{0,2}|\d{1,2}:\d\d(?::\d\d)?|\d{1,2}\.\d{1,2}\.)(?!\w)"
    r"|(?<![\w.,])[-+(]?(?P<money>[$€£¥]\s?)?(?P<digits>\d[\d.,'\u2019]*)(?P<mark>\s?[%€$£¥](?!\s?\d))?"
)
_LEAST_GAPS = 5
"""A header has at least one gap between two cells, and two rows of three cells have two gaps each."""
_MOST_WITHOUT_ROW = 3
"""So many lines without numbers may follow one another inside a table: a long name that is wrapped, a page's end."""


class Table(NamedTuple):
    """A table of a text."""

    columns: str
    """The line with the names of its columns."""
    rows: tuple[str, ...]
    """Its rows: each the line that has its numbers."""


def is_sum(line: str) -> bool:
    """Whether a line begins like a sum below a table."""
    return _SUM.match(line) is not None


def may_be_sum(row: str) -> bool:
    """Whether a row has a word of a sum, a tax or a discount before its first number: "Page total", "Your discount"."""
    number = _NUMBER.search(row)
    return _WORD_OF_SUM.search(row[: number.start()] if number else row) is not None


def is_row(line: str) -> bool:
    """Whether a line has at least two numbers and is no sum below a table."""
    if not _TWO_NUMBERS.search(line):  # true of most lines of prose, and found twenty times as fast
        return False
    first = _NUMBER.search(line)
    return first is not None and _NUMBER.search(line, first.end()) is not None and not is_sum(line)


def is_header(line: str) -> bool:
    """Whether a line may hold the names of columns: at least two cells of words, without a number."""
    if len(line) > 300:
        return False
    cells = [cell for cell in _CELLS.split(line.strip()) if cell]
    return (
        len(cells) >= 2 and sum(bool(_WORDS.search(cell)) for cell in cells) >= 2
        and not _NUMBER.search(line)
    )  # fmt: skip


def may_show_rows(text: str) -> bool:
    """Whether a text may show a table of two rows, at a glance."""
    if "    " in text or text.count("|") >= _LEAST_GAPS:
        return "\n" in text
    return text.count("\t") >= _LEAST_GAPS and text.count("\n") >= 2


def may_show_rows_in_json(inner: bytes) -> bool:
    """The same of a text in JSON, as it is looked at for each document.

    Args:
        inner: The inside of its JSON string, without the quotes.
    """
    if b"    " in inner or inner.count(b"|") >= _LEAST_GAPS:
        return b"\\n" in inner
    # Two backslashes for the ends of lines, and one for each tab: a single byte is counted twice as fast as two.
    return inner.count(b"\\") >= _LEAST_GAPS + 2 and inner.count(b"\\t") >= _LEAST_GAPS


def pattern(row: str) -> str:
    """What kinds of numbers a row has, in their order: amounts (a), percentages (%) and dates (d).

    The rows of one list have the same pattern, and the lines between them, such as a discount or a period, have
    another. Whole numbers stand in names as well; they count (i) only if there is nothing else.
    """
    kinds, whole = [], 0
    for found in _KIND.finditer(row):
        mark, digits = (found["mark"] or "").strip(), (found["digits"] or "").rstrip(".,")
        if found["date"]:
            kinds.append("d")
        elif mark == "%":
            kinds.append("%")
        elif found["money"] or mark or "." in digits or "," in digits:
            kinds.append("a")
        else:
            whole += 1
    return "".join(kinds) or "i" * whole


class TableReader:
    """Follows a text line by line, and knows whether the next line stands inside a table.

    Args:
        columns: The names of the columns, if the text begins inside a table; else empty.

    Attributes:
        columns: The line with the names of the columns of the table that is open; empty if none is.
        closed: How many tables have ended.
    """

    def __init__(self, columns: str = "") -> None:
        self.columns = columns
        self.closed = 0
        self._others = 0

    def read(self, line: str, *, has_row: bool, has_names: bool) -> None:
        """Reads the next line.

        Args:
            line: The line.
            has_row: Whether it is a row (`is_row`).
            has_names: Whether it may hold the names of columns (`is_header`).
        """
        if has_names:
            # A header that is repeated at the top of a page does not end its table.
            self.closed += bool(self.columns) and line.split() != self.columns.split()
            self.columns, self._others = line.strip(), 0
        elif has_row:
            self._others = 0
        elif self.columns and line.strip():
            self._others += 1
            if self._others > _MOST_WITHOUT_ROW or is_sum(line):
                self.columns, self._others = "", 0
                self.closed += 1


def tables(text: str, columns: str = "") -> list[Table]:
    """The tables of a text that have rows.

    Args:
        text: The text, with a row of a table on one line.
        columns: The names of the columns, if the text begins inside a table; else empty.
    """
    reader = TableReader(columns)
    found: dict[int, tuple[str, list[str]]] = {}
    for line in text.splitlines():
        has_row = is_row(line)
        reader.read(line, has_row=has_row, has_names=not has_row and is_header(line))
        if has_row and reader.columns:
            found.setdefault(reader.closed, (reader.columns, []))[1].append(line.strip())
    return [Table(names, tuple(rows)) for names, rows in found.values()]
