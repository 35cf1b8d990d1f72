"""Which of a document's numbers is the total, the tax, the quantity: the words on its line decide."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from kimi_beam.emulator.labels import Label
from kimi_beam.emulator.page import Page
from kimi_beam.emulator.values import Amount

_WORD = re.compile(r"[^\W\d_]+")
_TOTAL = re.compile(
    r"(?<![^\W\d_])(?:(?:sub)?total|amount|amt|payable|due|balance|tot|\w*betrag|\w*summe|zahlen|montant|payer)(?![^\W\d_])"
)
# What the other words on a line say about whether its amount is the one to pay. A heuristic, and a general one: these
# are the words of tills and invoices, not of any document.
_WEIGHTS: Final[dict[str, int]] = {
    **dict.fromkeys(("grand", "rounded", "payable", "final", "zahlbetrag", "zahlen", "payer"), 25),
    **dict.fromkeys(("due", "incl", "inclusive", "including", "included", "ttc", "brutto", "gesamt", "bill"), 15),
    **dict.fromkeys(("total", "tot", "gesamtbetrag", "gesamtsumme", "endbetrag", "rechnungsbetrag", "bruttosumme"), 12),
    **dict.fromkeys(("nett", "invoice", "to", "pay", "after", "sales", "amount", "amt", "rounding"), 4),
    **dict.fromkeys(("net", "summe", "netto", "before", "ht"), -8),
    **dict.fromkeys(("tax", "gst", "vat", "sst", "mwst", "ust", "tva", "steuer", "umsatzsteuer", "service"), -30),
    **dict.fromkeys(("steuerbetrag", "mwstbetrag"), -30),
    **dict.fromkeys(("sub", "subtotal", "zwischensumme", "positionssumme", "nettobetrag", "previous", "prior"), -40),
    **dict.fromkeys(("excl", "excluding", "excluded", "exclusive", "ohne", "hors", "without"), -45),
    **dict.fromkeys(("qty", "quantity", "items", "item", "pcs", "count", "points", "weight", "units", "no"), -60),
    **dict.fromkeys(("discount", "disc", "saving", "savings", "saved", "rabatt", "remise", "deposit", "tip"), -60),
    **dict.fromkeys(("change", "cash", "tender", "tendered", "paid", "visa", "card", "master", "summary", "adj"), -60),
    **dict.fromkeys(("adjustment", "rückgeld", "rendu", "anzahlung", "zuschläge", "abschläge", "zugaben"), -60),
}
_INCLUDES: Final = frozenset({"incl", "inclusive", "including", "included", "inc"})
_TAXES: Final = frozenset({"tax", "gst", "vat", "sst", "mwst", "ust", "tva"})
_LEAST: Final = 50  # score below which a number is not what was asked for
_LONGEST_LINE: Final = 400  # characters of a line that can be a row of a bill
_SUMMARY_LINES: Final = 6  # below a "GST summary" heading, totals are those of the summary


@dataclass(frozen=True)
class _Row:
    """A line's amounts and words."""

    amounts: list[Amount]
    words: list[str]
    line: int


def find_amounts(page: Page, label: Label) -> list[Amount]:
    """Return the numbers that a label may mean, best first."""
    ranked = sorted(_totals(page) if label.means("total") else _labelled(page, label), key=lambda pair: -pair[0])
    return [amount for score, amount in ranked if score >= _LEAST]


def _labelled(page: Page, label: Label) -> Iterator[tuple[int, Amount]]:
    starts = [amount.start for amount in page.amounts]
    percent = label.kind == "percent"
    for mention in page.mentions(label):
        behind = page.typed_after(mention, page.amounts, starts=starts)
        behind = [amount for amount in behind if amount.percent == percent] if percent else behind
        between = _WORD.findall(page.lower[mention.end : behind[0].outer[0]]) if behind else []
        behind = _before_next_label(page, behind)
        score = mention.score_typed - 4 * len(between)
        money = [amount for amount in behind if amount.money]
        plain = [amount for amount in behind if not amount.percent] or behind
        chosen = money[-1] if money else plain[0] if plain else None
        if chosen is not None and len(between) <= 6:
            yield score, chosen


def _before_next_label(page: Page, amounts: list[Amount]) -> list[Amount]:
    """Keep the amounts up to the next words with a colon: ``Net: 10.00  Tax: 1.00``."""
    kept = amounts[:1]
    for before, after in pairwise(amounts):
        between = page.text[before.outer[1] : after.outer[0]]
        if ":" in between and _WORD.search(between):
            break
        kept.append(after)
    return kept


def _rows(page: Page) -> Iterator[_Row]:
    position = 0
    amounts = page.amounts
    while position < len(amounts):
        line = page.line_of(amounts[position].start)
        end = page.starts[line] + len(page.lines[line])
        here = []
        while position < len(amounts) and amounts[position].start <= end:
            here.append(amounts[position])
            position += 1
        if len(page.lines[line]) > _LONGEST_LINE:
            continue
        yield _Row(here, _WORD.findall(page.lines[line].lower()), line)


def _totals(page: Page) -> Iterator[tuple[int, Amount]]:
    """Score every amount on a line that speaks of a total."""
    rows = list(_rows(page))
    balance = _cash_less_change(rows)
    summary = rounded = -_SUMMARY_LINES - 1
    for row in rows:
        lower = page.lines[row.line].lower()
        words = row.words
        heading = page.lines[row.line - 1].lower() if row.line else ""
        if "summary" in heading or "summary" in lower or "tax code" in heading:
            summary = row.line
        money = [amount for amount in row.amounts if amount.money]
        if any(word.startswith(("round", "rundung", "arrondi")) for word in words) and "rounded" not in words:
            rounded = row.line if row.amounts[-1].value else rounded
        if not _TOTAL.search(lower):
            bare = not set(words) - {"rm", "eur", "usd", "gbp", "chf", "myr", "sgd"}
            if bare and money and (_ends_with_total(heading) or (balance is not None and money[-1].value == balance)):
                yield 100 + (40 if row.line - rounded == 1 else 0), money[-1]
            continue
        amount = money[-1] if money else row.amounts[-1]
        if amount.percent:
            continue
        score = 100 + sum(_WEIGHTS.get(word, 0) for word in dict.fromkeys(words))
        if not _INCLUDES.isdisjoint(words) and not _TAXES.isdisjoint(words):
            score += 30 * len(_TAXES.intersection(words))  # a total that includes tax is not a tax
        score -= 40 if row.line - summary <= _SUMMARY_LINES else 0
        score += 30 if balance is not None and amount.value == balance else 0
        score -= 25 if not amount.money else 0
        score -= 5 * max(0, len(words) - 8)
        # Of equals the first counts, for sorting is stable; but where an amount was rounded, what follows that.
        score += 40 if 0 < row.line - rounded <= 3 and row.line - summary > _SUMMARY_LINES else 0
        yield score, amount


def _ends_with_total(heading: str) -> bool:
    return bool(_TOTAL.search(heading)) and not any(letter.isdigit() for letter in heading)


def _cash_less_change(rows: list[_Row]) -> object:
    """Return what was paid in cash less the change, which is the total; None when either is not printed."""
    cash = change = None
    for row in rows:
        if "cash" in row.words and "change" not in row.words and row.amounts[-1].money:
            cash = row.amounts[-1].value
        elif "change" in row.words and row.amounts[-1].money:
            change = row.amounts[-1].value
    return None if cash is None or change is None else cash - abs(change)
