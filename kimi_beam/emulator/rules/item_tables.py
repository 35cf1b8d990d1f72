"""Rows of things: tables with a header, and the item lines of tills and invoices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from kimi_beam.emulator.rules.finders import Candidate, typed_in
from kimi_beam.emulator.rules.headings import SPACE, Header, Headings, role_of
from kimi_beam.emulator.rules.labels import Label
from kimi_beam.emulator.rules.letterhead import is_prose
from kimi_beam.emulator.rules.page import Page
from kimi_beam.emulator.rules.typed_text import Amount

Row = dict[str, list[Candidate]]
"""A property's name to what its cell may be read as."""

_ROWS: Final = 1_000  # of one table
_LINES: Final = 5_000  # in which a table's header is looked for
_WIDTH: Final = 400  # characters of a line that can be a row
_RULE = re.compile(r"^[\s|+:=_*-]+$")
_END = re.compile(
    r"^\W*(?:sub|grand|net|invoice|zwischen|brutto|netto|gesamt|end)?[- ]?"
    r"(?:total|tot|summe|betrag|amount due|balance due|amt due)(?![^\W_])"
    r"|^\W*(?:subtotal|gesamtbetrag|zwischensumme|nettobetrag|rounding|change|cash|tax|vat|gst|mwst|ust|discount"
    r"|thank)(?![^\W_])",
    re.IGNORECASE,
)
_QUANTITY = re.compile(
    r"^\s*(\d{1,5}(?:[.,]\d{1,3})?)\s*(?:x|\u00d7|\*|pcs?|stk|units?|ea)(?![^\W_])\s*", re.IGNORECASE
)
_END_ALONE = re.compile(
    r"^\W*(?:net|netto|nett|service|service charge|goods and services|imponibile|moms|iva|btw|tva|rundung"
    r"|zwischentotal)\W*(?:[\d€£$]|$|(?:rm|eur|usd|gbp|chf|sek)\b|vat)"
    r"|^\W*(?:moms|iva|btw|tva|sst|mwst)\W*\d|^\W*(?:you owe|to pay|zu bezahlen|zu zahlen|att betala|jumlah|totale|zzgl"
    r"|dont tva|sales tax|service tax|less)(?![^\W_])",
    re.IGNORECASE,
)
# Continues a table on the next page; no row of its own.
_CARRIED = re.compile(
    r"^\W*(?:carried|brought) (?:forward|over)|^\W*(?:übertrag|à reporter|report)(?![^\W_])", re.IGNORECASE
)
_EDGES = re.compile(r"^[\s|@\u00d7*.\u2026_-]+|(?:[\s|@\u00d7*.\u2026:;,\u2014-]|\s[xà](?=\W*$))+$")
_KEY = re.compile(r"^[A-Za-z_]{1,12}\d{0,3}=")
_WORDS_FOLLOW = re.compile(r"\s+[^\W\d_]")
_NUMBERS: Final = 12  # of a line that are multiplied with one another
_PRICED = re.compile(
    r"^\s*(?:(?P<quantity>\d{1,4}(?:[.,]\d{1,3})? ?[x\u00d7*]) ?|(?=@))(?P<price>(?:@ ?)?\D{0,3}\d.*)$", re.IGNORECASE
)
_AFTER_LAST = re.compile(r"[ *]{0,3}[A-Z%)]{0,3}[*|]?\s*$")
_LETTERS = re.compile(r"[^\W\d_]")


def find_rows(page: Page, columns: Sequence[tuple[str, Label]]) -> list[Row]:
    """Return the rows of the table that has these columns; without such a table, lines that look like items.

    Args:
        page: The document.
        columns: Property names and their labels.
    """
    headings = Headings(columns)
    for number, line in enumerate(page.lines[:_LINES]):
        header = headings.header(line)
        if header is not None:
            rows = list(_below(page.lines[number + 1 : number + 1 + _ROWS], header, columns))
            if rows:
                return rows
    return list(_item_lines(page.lines, columns))


def _below(lines: Sequence[str], header: Header, columns: Sequence[tuple[str, Label]]) -> Iterator[Row]:
    blank = 0
    apart = False
    roles = {name: role_of(label) for name, label in columns}
    shaped = {"quantity", "price"} <= {roles[name] for name in header.names if name}
    total = next((name for name in header.names if name and roles[name] == "total"), None)
    counts = {name for name, role in roles.items() if role == "quantity"}
    found = False
    for line in lines:
        if not line.strip():
            blank += 1
            apart = True
            if blank > 2:
                return
            continue
        blank = 0
        if _RULE.match(line):
            apart = True
            continue
        if len(line) > _WIDTH or _CARRIED.match(line):
            continue
        if _END.match(line.strip(" |")) or _END_ALONE.match(line.strip(" |")):
            return
        cells = header.separator.split(line.strip().strip("|").strip())
        if len(cells) == len(header.names) and header.separator is not SPACE:
            named = zip(header.names, cells, strict=True)
            row: Row = {
                name: [cell.strip()] if roles[name] == "text" else typed_in(cell)
                for name, cell in named
                if name is not None and cell.strip()
            }
            if counts and "quantity" not in {roles[name] for name in header.names if name}:
                guess = _guess(line, columns, money=True) or {}
                row = guess if counts & guess.keys() else row
        else:
            row = _guess(line, columns, money=False) or {}
            row = row if any(isinstance(cell[0], Amount) for cell in row.values()) else {}
        kinds = {roles[name] for name, cell in row.items() if isinstance(cell[0], Amount)}
        if shaped and found and apart and kinds == {"total"}:
            return  # a sum below the table: it has neither a quantity nor a price
        if row and (not shaped or total is None or kinds):
            if shaped and total is not None and "total" not in kinds and header.separator is not SPACE:
                continue
            found, apart = True, False
            yield row


def _item_lines(lines: Sequence[str], columns: Sequence[tuple[str, Label]]) -> Iterator[Row]:
    """Yield rows for lines that have a description and an amount of money, up to the first total."""
    roles = {role_of(label) for _, label in columns}
    if not roles & {"quantity", "price", "total"}:
        return
    names = {name: role_of(label) for name, label in columns}
    pending = ""
    counted = 0  # rows so far that have a quantity; all of them, or it is none
    apart = False
    for number, line in enumerate(lines[:_ROWS]):
        if not line.strip():
            apart, pending = True, ""
            continue
        if _END.match(line.strip()) or _END_ALONE.match(line):
            if number > 2 and (counted or number > 4):
                return
            continue
        many = _QUANTITY.match(line) is not None
        if (":" in line and not many) or len(line) > 200 or (is_prose(line) and not many and ".." not in line):
            pending = ""
            continue
        row = _item_line(line, pending, columns)
        pending = line.strip() if row is None and _LETTERS.search(line) else ""
        if row is None:
            continue
        kinds = {names[name] for name, cell in row.items() if isinstance(cell[0], Amount)}
        if kinds == {"total"} and apart and counted >= 1:
            return  # what follows the positions is a sum
        counted = counted + 1 if "quantity" in kinds else counted
        apart = False
        yield row


def _item_line(line: str, pending: str, columns: Sequence[tuple[str, Label]]) -> Row | None:
    """Read one line of a till: "2 X 6.30  12.60" belongs to the words above it."""
    if not any(map(str.isdigit, line)):
        return None
    amounts = Page(line).amounts
    if not amounts or not _AFTER_LAST.match(line, amounts[-1].outer[1]) or amounts[-1].value < 0:
        return None
    priced = _PRICED.match(line) if pending else None
    if priced is not None:
        line = f"{priced['quantity'] or ''} {pending} {priced['price']}".strip()
    return _guess(line, columns, money=True)


def _guess(line: str, columns: Sequence[tuple[str, Label]], *, money: bool) -> Row | None:
    """Read a line without columns by the types of what stands in it.

    The amounts are told apart by arithmetic where it is possible: quantity times price is the total.
    """
    page = Page(line)
    amounts = [amount for amount in page.amounts if not amount.percent]
    begin, leading = _leading(line, amounts)
    trailing = [amount for amount in amounts if amount.start >= begin]
    found = _told_apart(leading, trailing, line)
    ends = [amount.outer[0] for amount in found.values() if amount is not leading]
    each = line.rfind("@", begin)
    end = min([*ends, each if each > begin else len(line)])
    description = _KEY.sub("", _EDGES.sub("", line[begin:end]))
    if money and not (any(amount.money for amount in trailing) and sum(c.isalpha() for c in description) > 2):
        return None
    row: Row = {}
    for name, label in columns:
        role = role_of(label)
        if role in found:
            row[name] = [found[role], found[role].text]
        elif role == "text" and description and not any(_is_text(row[n]) for n in row):
            row[name] = [description]
        elif role == "date" and page.dates:
            row[name] = [page.dates[0]]
    return row or None


def _leading(line: str, amounts: Sequence[Amount]) -> tuple[int, Amount | None]:
    """Return where the words begin, and the number before them: "2 x Widget" and "2 Widget 4.50" have two of it."""
    match = _QUANTITY.match(line)
    first = amounts[0] if amounts else None
    if match is not None:
        return match.end(), first if first is not None and first.start < match.end() else None
    if first is not None and not line[: first.start].strip() and _WORDS_FOLLOW.match(line, first.end):
        return first.end, first
    return 0, None


def _told_apart(leading: Amount | None, trailing: list[Amount], line: str) -> dict[str, Amount]:
    found: dict[str, Amount] = {}
    numbers = [*([leading] if leading else []), *trailing][-_NUMBERS:]
    for third, total in reversed(list(enumerate(numbers))):
        for second in range(third - 1, 0, -1):
            for first in range(second - 1, -1, -1):
                product = numbers[first].value * numbers[second].value
                if total.value and abs(product - total.value) <= Decimal("0.011"):
                    quantity, price = numbers[first], numbers[second]
                    if quantity.money and not price.money:
                        quantity, price = price, quantity
                    return {"quantity": quantity, "price": price, "total": total}
    money = [amount for amount in trailing if amount.money]
    if money:
        found["total"] = money[-1]
        if len(money) > 1:
            found["price"] = money[-2]
    plain = [amount for amount in trailing if not amount.money and amount.value == int(amount.value)]
    if leading is not None:
        found["quantity"] = leading
    elif plain and money and plain[-1].start < money[0].start:
        between = line[plain[-1].end : money[0].outer[0]]
        if not _LETTERS.search(between.replace("x", "").replace("X", "")):
            found["quantity"] = plain[-1]
    return found


def _is_text(candidates: list[Candidate]) -> bool:
    return isinstance(candidates[0], str)
