"""Which of a document's numbers is the total, the tax, the quantity: the words on its line decide."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from kimi_beam.emulator.rules.labels import Label
from kimi_beam.emulator.rules.page import Page
from kimi_beam.emulator.rules.typed_text import Amount

_WORD = re.compile(r"[^\W\d_]+")
_TOTAL = re.compile(
    r"(?:total|amount|amt|payable|due|balance|tot|betrag|summe|zahlen|montant|payer|to pay|owe"
    r"|totale|totaal|betala|jumlah)"
    r"(?![^\W\d_])"
)
# What the other words on a line say about whether its amount is the one to pay. A heuristic, and a general one: these
# are the words of tills and invoices, not of any document.
_WEIGHTS: Final[dict[str, int]] = {
    **dict.fromkeys(
        ("grand", "rounded", "payable", "final", "zahlbetrag", "zahlen", "bezahlen", "payer", "owe", "betala"), 25
    ),
    **dict.fromkeys(("due", "incl", "inclusive", "including", "included", "ttc", "brutto", "gesamt", "bill"), 15),
    **dict.fromkeys(
        (
            "total",
            "tot",
            "totale",
            "totaal",
            "jumlah",
            "gesamtbetrag",
            "gesamtsumme",
            "endbetrag",
            "rechnungsbetrag",
            "bruttosumme",
        ),
        12,
    ),
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
_HANDED: Final = frozenset({"cash", "change", "tender", "tendered", "card", "visa", "master"})
_ITEM = re.compile(r"^\W*\d{1,4} ?[x\u00d7] ")  # "2 x Total Control @ 3.00 6.00"
_ASIDE = re.compile(r" ?\((?!rm|eur|usd|gbp)|\b(?:of which|including|dont|davon|darin|inkl|incl)\b")
_LUMP = re.compile(
    r"(?<![^\W_])(?:fee|price|sum|compensation|consideration|vergütung|werklohn|preis|honorar|pauschale?"
    r"|prix|forfait\w*|honoraires|bezahlt|zahlt|pays?|paid)(?![^\W_])[^.;§]{0,90}$|(?:pauschal|festpreis)\W*$"
)
_PERIODIC = re.compile(
    r"(?:per|a|each|every|pro|je|par) (?:month|year|annum|week|day|hour|monat|jahr|woche|stunde|mois|an)\b"
    r"|monthly|yearly|annual|monatlich|jährlich|mensuel|annuel"
)
_NOT_LUMP = re.compile(
    rf"{_PERIODIC.pattern}|deposit|kaution|insur|versicher|haftet|liab|up to|at most|bis zu|instal|raten von|damages"
    r"|earlier|no fee"
)
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
    found = [amount for score, amount in ranked if score >= _LEAST]
    return found if found or not label.means("total") else _lump_sum(page)


def _lump_sum(page: Page) -> list[Amount]:
    """Return the sum that a sentence agrees on or confirms; else the only amount of money there is."""
    money = [amount for amount in page.amounts if amount.currency and amount.value > 0]
    sums: list[Amount] = []
    others: list[Amount] = []
    for amount in money[:50]:
        start, end = amount.outer
        before = page.lower[max(0, start - 120) : start].replace("\n", " ")
        if _NOT_LUMP.search(before, max(0, len(before) - 60)) or _PERIODIC.search(page.lower[end : end + 25]):
            continue
        (sums if _LUMP.search(before) else others).append(amount)
    return sums[:1] or (others if len(money) == 1 else [])


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
        if _ITEM.match(lower) or (lower.rstrip().endswith(".") and _PERIODIC.search(lower)):
            continue
        aside = _ASIDE.search(lower, row.amounts[0].end - page.starts[row.line])
        end = page.starts[row.line] + aside.start() if aside is not None else 0
        before = [amount for amount in money if amount.start < end]
        if aside is not None and before and end - before[-1].outer[1] < 4:  # "Total 9.00 (of which VAT 1.50)"
            money = before
            words = _WORD.findall(lower[: aside.start()])
        amount = money[-1] if money else row.amounts[-1]
        if amount.percent:
            continue
        score = 100 + sum(_WEIGHTS.get(word, 0) for word in dict.fromkeys(words))
        if not _INCLUDES.isdisjoint(words) and not _TAXES.isdisjoint(words):
            score += 30 * len(_TAXES.intersection(words))  # a total that includes tax is not a tax
        score += 60 if "paid" in words and "total" in words and not _HANDED.intersection(words) else 0
        score -= 40 if row.line - summary <= _SUMMARY_LINES else 0
        score += 30 if balance is not None and amount.value == balance else 0
        score -= 25 if not amount.money else 0
        score -= 5 * max(0, len(words) - 8)
        following = page.lines[row.line][amount.outer[1] - page.starts[row.line] :]
        score -= 40 if len(_WORD.findall(following)) > 5 else 0  # a sentence goes on: it is not the line of a bill
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
