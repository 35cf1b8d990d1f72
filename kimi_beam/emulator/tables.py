"""Rows of things: tables with a header, and the item lines of tills and invoices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from kimi_beam.emulator.finders import Candidate, typed_in
from kimi_beam.emulator.labels import Label
from kimi_beam.emulator.lexicon import concept_named, words
from kimi_beam.emulator.page import Page
from kimi_beam.emulator.values import Amount

Row = dict[str, list[Candidate]]
"""A property's name to what its cell may be read as."""

_ROWS: Final = 1_000  # of one table
_LINES: Final = 5_000  # in which a table's header is looked for
_WIDTH: Final = 400  # characters of a line that can be a row
_SPLIT = re.compile(r"\s*\|\s*|\t+|\s{2,}")
_COMMA = re.compile(r"\s*[;,]\s*")
_SPACE = re.compile(r"\s+")  # tells columns apart in a header only, where each is one word
_RULE = re.compile(r"^[\s|+:=_*-]+$")
_END = re.compile(
    r"^\W*(?:sub|grand|net|invoice|zwischen|brutto|netto|gesamt|end)?[- ]?"
    r"(?:total|tot|summe|betrag|amount due|balance due|amt due)(?![^\W_])"
    r"|^\W*(?:subtotal|gesamtbetrag|zwischensumme|nettobetrag|rounding|change|cash|tax|vat|gst|mwst|ust|discount|thank)(?![^\W_])",
    re.IGNORECASE,
)
_QUANTITY = re.compile(
    r"^\s*(\d{1,5}(?:[.,]\d{1,3})?)\s*(?:x|\u00d7|\*|pcs?|stk|units?|ea)(?![^\W_])\s*", re.IGNORECASE
)
_LETTERS = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class _Header:
    """Where the columns of a table are.

    Attributes:
        names: The property of each cell, None for a cell that is none.
        separator: What divides the cells of a line.
    """

    names: list[str | None]
    separator: re.Pattern[str]


def find_rows(page: Page, columns: Sequence[tuple[str, Label]]) -> list[Row]:
    """Return the rows of the table that has these columns; without such a table, lines that look like items.

    Args:
        page: The document.
        columns: Property names and their labels.
    """
    for number, line in enumerate(page.lines[:_LINES]):
        header = _header(line, columns)
        if header is not None:
            rows = list(_below(page.lines[number + 1 : number + 1 + _ROWS], header, columns))
            if rows:
                return rows
    return list(_item_lines(page.lines, columns))


def _header(line: str, columns: Sequence[tuple[str, Label]]) -> _Header | None:
    """Recognise a header: at least two cells, or most of all columns, that are labels of different properties."""
    if len(line) > _WIDTH or not _LETTERS.search(line):
        return None
    for separator in (_SPLIT, _COMMA, _SPACE):
        cells = separator.split(line.strip().strip("|").strip())
        names: list[str | None] = []
        for cell in cells:
            names.append(_column(cell, columns, names))
        known = len(names) - names.count(None)
        if known >= 2 and (separator is not _SPACE or known * 2 >= len(cells)):
            return _Header(names, separator)
    return None


def _column(cell: str, columns: Sequence[tuple[str, Label]], taken: Sequence[str | None]) -> str | None:
    own = words(re.sub(r"\([^)]*\)", "", cell)) or words(cell)
    if not own or len(own) > 4:
        return None
    best: tuple[int, str] | None = None
    for name, label in columns:
        if name in taken or label.pattern is None:
            continue
        text = " ".join(own)
        concept = concept_named(own)
        if label.pattern.fullmatch(text):
            rank = label.rank(text)
        elif concept is not None and concept.name == "line total" and _role(label) == "total":
            rank = len(label.ranks)
        else:
            continue
        if best is None or rank < best[0]:
            best = rank, name
    return best[1] if best else None


def _below(lines: Sequence[str], header: _Header, columns: Sequence[tuple[str, Label]]) -> Iterator[Row]:
    blank = 0
    for line in lines:
        if not line.strip():
            blank += 1
            if blank > 2:
                return
            continue
        blank = 0
        if len(line) > _WIDTH or _RULE.match(line):
            continue
        if _END.match(line.strip(" |")):
            return
        cells = header.separator.split(line.strip().strip("|").strip())
        if len(cells) == len(header.names) and header.separator is not _SPACE:
            named = zip(header.names, cells, strict=True)
            row: Row = {name: typed_in(cell) for name, cell in named if name is not None and cell.strip()}
        else:
            row = _guess(line, columns, money=False) or {}
            row = row if any(isinstance(cell[0], Amount) for cell in row.values()) else {}
        if row:
            yield row


def _item_lines(lines: Sequence[str], columns: Sequence[tuple[str, Label]]) -> Iterator[Row]:
    """Yield rows for lines that have a description and an amount of money, up to the first total."""
    roles = {_role(label) for _, label in columns}
    if not roles & {"quantity", "price", "total"}:
        return
    for number, line in enumerate(lines[:_ROWS]):
        if _END.match(line.strip()):
            if number > 2:
                return
            continue
        if ":" in line or len(line) > 200:
            continue
        row = _guess(line, columns, money=True)
        if row:
            yield row


def _guess(line: str, columns: Sequence[tuple[str, Label]], *, money: bool) -> Row | None:
    """Read a line without columns by the types of what stands in it.

    The amounts are told apart by arithmetic where it is possible: quantity times price is the total.
    """
    page = Page(line)
    amounts = [amount for amount in page.amounts if not amount.percent]
    leading = _QUANTITY.match(line)
    text_end = next((a.outer[0] for a in amounts if not (leading and a.start < leading.end())), len(line))
    description = line[leading.end() if leading else 0 : text_end].strip(" \t|@x\u00d7*-")
    trailing = [a for a in amounts if a.start >= text_end]
    if not leading and amounts and amounts[0].start < 4 and not line[: amounts[0].start].strip():
        # "2 Widget 4.50 9.00": a number before the words is the quantity.
        following = line[amounts[0].end :]
        words_ = re.match(
            r"\s*([^\d@|]*[^\W\d_][^@|]*?)(?=\s+[@x\u00d7]?\s*\D{0,3}\d+[.,]\d{2}(?!\d)|\s*[@|]|$)", following
        )
        if words_:
            description = words_[1].strip(" \t|@-")
            trailing = [a for a in amounts[1:] if a.start >= amounts[0].end + words_.end()]
            leading_value: Amount | None = amounts[0]
        else:
            leading_value = None
    else:
        leading_value = next((a for a in amounts if leading and a.start < leading.end()), None)
    if money and not (any(amount.money for amount in trailing) and sum(c.isalpha() for c in description) > 2):
        return None
    found = _told_apart(leading_value, trailing)
    row: Row = {}
    for name, label in columns:
        role = _role(label)
        if role in found:
            row[name] = [found[role], found[role].text]
        elif role == "text" and description and not any(_is_text(row[n]) for n in row):
            row[name] = [description]
        elif role == "date" and page.dates:
            row[name] = [page.dates[0]]
    return row or None


def _told_apart(leading: Amount | None, trailing: list[Amount]) -> dict[str, Amount]:
    found: dict[str, Amount] = {}
    numbers = ([leading] if leading else []) + trailing
    for first in range(len(numbers)):
        for second in range(first + 1, len(numbers)):
            for third in numbers[second + 1 :]:
                product = numbers[first].value * numbers[second].value
                if third.value and abs(product - third.value) <= Decimal("0.011"):
                    quantity, price = numbers[first], numbers[second]
                    if quantity.money and not price.money:
                        quantity, price = price, quantity
                    return {"quantity": quantity, "price": price, "total": third}
    money = [amount for amount in trailing if amount.money]
    if money:
        found["total"] = money[-1]
        if len(money) > 1:
            found["price"] = money[-2]
    plain = [amount for amount in trailing if not amount.money and amount.value == int(amount.value)]
    if leading is not None:
        found["quantity"] = leading
    elif plain and money and plain[0].start < money[0].start:
        found["quantity"] = plain[0]
    return found


def _role(label: Label) -> str:
    """Say what a column of items holds: quantity, price, total, date, text or something else."""
    if label.means("quantity"):
        return "quantity"
    if label.means("unit price"):
        return "price"
    if label.kind == "amount" and (label.means("total") or label.means("line total") or "total" in label.words):
        return "total"
    if label.kind == "date":
        return "date"
    return "text" if label.kind in ("text", "party") and not label.means("unit") else "other"


def _is_text(candidates: list[Candidate]) -> bool:
    return isinstance(candidates[0], str)
