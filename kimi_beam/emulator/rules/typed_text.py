"""Typed values in text: dates, amounts, currencies, e-mail and web addresses, yes and no.

Every pattern is linear in the length of the text, and every value keeps where and how it was printed.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final


@dataclass(frozen=True)
class Found:
    """A value and where it stands.

    Attributes:
        start: Offset of its first character.
        end: Offset after its last character.
        text: As printed, without currency.
    """

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Date(Found):
    """A calendar date that exists."""

    value: dt.date


@dataclass(frozen=True)
class Amount(Found):
    """A number.

    Attributes:
        value: What it says.
        decimals: Digits after the decimal separator.
        currency: ISO code of the currency next to it, empty when there is none.
        outer: Offsets with the currency.
        percent: Whether a percent sign follows.
    """

    value: Decimal
    decimals: int
    currency: str
    outer: tuple[int, int]
    percent: bool = False

    @property
    def money(self) -> bool:
        """Whether it looks like an amount of money: two decimals, or a currency."""
        return (self.decimals == 2 or bool(self.currency)) and not self.percent


_MONTHS: Final = (
    ("january", "jan", "januar", "jänner", "janvier", "janv"),
    ("february", "feb", "februar", "février", "fevrier", "févr"),
    ("march", "mar", "märz", "mrz", "mars"),
    ("april", "apr", "avril", "avr"),
    ("may", "mai"),
    ("june", "jun", "juni", "juin"),
    ("july", "jul", "juli", "juillet", "juil"),
    ("august", "aug", "août", "aout"),
    ("september", "sep", "sept", "septembre"),
    ("october", "oct", "oktober", "okt", "octobre"),
    ("november", "nov", "novembre"),
    ("december", "dec", "dezember", "dez", "décembre", "decembre", "déc"),
)
_MONTH_NUMBER: Final = {name: number for number, names in enumerate(_MONTHS, 1) for name in names}
_MONTH = "(?:" + "|".join(sorted(_MONTH_NUMBER, key=len, reverse=True)) + ")"
# Every pattern here begins with a digit on its own: the regex engine then skips all other characters at full speed.
_DATE = re.compile(
    rf"""[0-9] (?:
      \d{{3}} (?P<s1>[-/.]) \d{{1,2}} (?P=s1) \d{{1,2}} (?P<ymd>) (?!\d)
    | \d? (?P<s2>\ ?[-/.]\ ?) \d{{1,2}} (?P=s2) (?: \d{{4}} | \d{{2}} ) (?P<dmy>) (?!\d|[.,]\d)
    | \d{{7}} (?P<compact>) (?!\d)
    | \d? (?:st|nd|rd|th|er|\.)? (?:\ (?:day\ )?of)? [ \-/.]{{0,2}} (?P<month>{_MONTH}) \.? ,? [ \-/']{{0,2}}
    (?:\d{{4}}|\d{{2}}) (?!\d) | \d? (?:st|nd|rd|th)? ,? \ {{1,2}} \d{{4}} (?P<after_month>) (?!\d|[-/.]\d)
    )""",
    re.VERBOSE,
)
_MONTH_BEFORE = re.compile(rf"(?<![^\W\d_])({_MONTH})\.? {{0,2}}$")
_STATE = re.compile(
    r", ?(?:A[LKZR]|C[AOT]|D[CE]|FL|GA|HI|I[DLNA]|K[SY]|LA|M[EDAINSOT]|N[EVHJMYCD]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[TA]"
    r"|W[AVIY])(?: \d{5}(?:-\d{4})?)?[ \t]*$",
    re.MULTILINE,
)
_DIGITS = re.compile(r"\d+")
_CURRENCIES: Final = {
    "rm": "MYR", "myr": "MYR", "eur": "EUR", "€": "EUR", "euro": "EUR", "euros": "EUR", "fr.": "CHF", "sfr": "CHF",
    "usd": "USD", "us$": "USD", "$": "USD",
    "gbp": "GBP", "£": "GBP", "chf": "CHF", "sgd": "SGD", "s$": "SGD", "cad": "CAD", "c$": "CAD", "aud": "AUD",
    "a$": "AUD", "jpy": "JPY", "¥": "JPY", "cny": "CNY", "inr": "INR", "₹": "INR", "sek": "SEK", "nok": "NOK",
    "dkk": "DKK", "pln": "PLN", "czk": "CZK", "brl": "BRL", "r$": "BRL", "idr": "IDR", "thb": "THB", "hkd": "HKD",
    "nzd": "NZD", "mxn": "MXN", "zar": "ZAR", "aed": "AED", "krw": "KRW", "₩": "KRW", "try": "TRY", "₺": "TRY",
}  # fmt: skip
_SIGN = "|".join(re.escape(sign) for sign in sorted(_CURRENCIES, key=len, reverse=True))
_AMOUNT = re.compile(r"[0-9](?:\d{0,2}(?:[ \u00a0\u202f]\d{3}){1,4},\d{2}(?!\d)|\d*(?:[.,']\d+)*)")
_SIGN_BEFORE = re.compile(rf"(?<![a-z])({_SIGN}) ?-?$")
_SIGN_AFTER = re.compile(rf" ?({_SIGN})(?![a-z0-9])")
_CODE = re.compile(rf"(?<![a-z])(?!fr\.)({_SIGN})(?![a-z])")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"')\]]{1,500}", re.IGNORECASE)
_YES: Final = frozenset({"yes", "true", "y", "x", "[x]", "☑", "✓", "✔", "on", "ja", "wahr", "oui", "vrai", "paid"})
_NO: Final = frozenset({"no", "false", "n", "[ ]", "[]", "☐", "off", "nein", "falsch", "non", "faux", "none", "unpaid"})


def dates(text: str, lower: str) -> list[Date]:
    """Return the dates in a text, in order.

    ``03/04/2026`` is read day first, unless another date of the same text can only be month first, or the text says
    MM/DD or has an American address and dollars. Two digits of a year mean 1970 to 2069.

    Args:
        text: The text.
        lower: The same text in lower case, of the same length.
    """
    matches = [match for match in _DATE.finditer(lower) if not _continues(lower, match.start())]
    numeric = [match for match in matches if match.lastgroup == "dmy"]
    month_first = any(map(_month_first, numeric)) or (bool(numeric) and _american(text, lower))
    found = []
    for match in matches:
        start = match.start()
        if match.lastgroup == "after_month":
            before = _MONTH_BEFORE.search(lower, max(0, start - 14), start)
            if before is None:
                continue
            start = before.start()
            day, year = _DIGITS.findall(match[0])
            value = _calendar(year, _MONTH_NUMBER[before[1]], int(day))
        else:
            value = _date(match, month_first)
        if value is not None:
            found.append(Date(start, match.end(), text[start : match.end()], value))
    return found


def _continues(lower: str, start: int) -> bool:
    """Whether what begins here is the rest of a longer number."""
    return start > 0 and (lower[start - 1].isdigit() or lower[start - 1] == ".") and lower[max(0, start - 2)].isdigit()


def _month_first(match: re.Match[str]) -> bool:
    first, second, _ = map(int, _DIGITS.findall(match[0]))
    return "." not in match["s2"] and first <= 12 < second <= 31


def _american(text: str, lower: str) -> bool:
    """Whether a text writes the month first though no date shows it: it says so, or is from the United States."""
    return "mm/dd" in lower or ("$" in text and _STATE.search(text) is not None)


def _date(match: re.Match[str], month_first: bool) -> dt.date | None:
    pieces = _DIGITS.findall(match[0])
    if match["month"]:
        return _calendar(pieces[-1], _MONTH_NUMBER[match["month"]], int(pieces[0]))
    if match.lastgroup == "compact":
        digits = match[0]
        return _calendar(digits[:4], int(digits[4:6]), int(digits[6:])) if digits[:2] in ("19", "20") else None
    if match.lastgroup == "ymd":
        return _calendar(pieces[0], int(pieces[1]), int(pieces[2])) if pieces[0][0] in "12" else None
    day, month = int(pieces[0]), int(pieces[1])
    if month_first and "." not in match["s2"]:
        day, month = month, day
    return _calendar(pieces[2], month, day)


def _calendar(year: str, month: int, day: int) -> dt.date | None:
    number = int(year)
    if len(year) == 2:
        number += 2000 if number < 70 else 1900
    try:
        return dt.date(number, month, day)
    except ValueError:
        return None


def amounts(text: str, lower: str) -> Iterator[Amount]:
    """Yield the numbers in a text: not those inside dates, times, codes and identifiers.

    Args:
        text: The text.
        lower: The same text in lower case, of the same length.
    """
    for match in _AMOUNT.finditer(lower):
        start, end = match.span()
        before = lower[start - 1] if start else " "
        sign = None
        if not before.isdigit() and (before.isalpha() or before in " -$€£¥₹₩₺"):
            sign = _SIGN_BEFORE.search(lower, max(0, start - 5), start)
        negative = before == "-" and (start < 2 or not lower[start - 2].isalnum() or sign is not None)
        if sign is None and not negative and (before.isalnum() or before in "-/:_#.,"):
            continue
        after = lower[end] if end < len(lower) else " "
        unit = _SIGN_AFTER.match(lower, end) if sign is None and (after == " " or after > "9") else None
        if unit is None and (after.isalnum() or after in "/:_"):
            continue
        if sign is not None and sign.start() and lower[sign.start() - 1] == "-":  # "-£2.50", but not "A-£2.50"
            negative = negative or sign.start() < 2 or lower[sign.start() - 2].isspace()
        if after == "-":  # "1.84-" as some tills print it, but not "03-7654321"
            if end + 1 < len(lower) and lower[end + 1].isalnum():
                continue
            negative = True
        number = _decimal(text[start:end])
        if number is None:
            continue
        value, decimals = number
        currency = _CURRENCIES[found[1]] if (found := sign or unit) else ""
        outer = (sign.start() if sign else start - (before == "-"), unit.end() if unit else end)
        printed = text[start - (before == "-" and negative) : end]
        percent = lower.startswith(("%", " %"), end)
        yield Amount(start, end, printed, -value if negative else value, decimals, currency, outer, percent)


def _decimal(text: str) -> tuple[Decimal, int] | None:
    """Read ``1,234.56``, ``1.234,56``, ``1 234,56``, ``1'234.56``: value and decimals; None for ``25.12.2018``."""
    text = text.replace("'", "").replace(" ", "").replace("\u00a0", "").replace("\u202f", "")
    if len(text) > 30:
        return None
    if text.isdigit():
        return Decimal(text), 0
    groups = text.replace(",", ".").split(".")
    last = "." if text.rfind(".") > text.rfind(",") else ","
    other = "," if last == "." else "."
    thousands = all(len(group) == 3 for group in groups[1:]) and len(groups[0]) <= 3
    if text.count(last) > 1 or (other not in text and last == "," and thousands):
        return (Decimal("".join(groups)), 0) if thousands and other not in text else None
    if not all(len(group) == 3 for group in groups[1:-1]):
        return None
    return Decimal("".join(groups[:-1]) + "." + groups[-1]), len(groups[-1])


def currencies(lower: str) -> list[str]:
    """Return the ISO codes of all currency signs in a text, in order."""
    return [_CURRENCIES[match[1]] for match in _CODE.finditer(lower)]


def emails(text: str) -> list[str]:
    """Return the e-mail addresses in a text, in order."""
    return [match[0].rstrip(".-") for match in _EMAIL.finditer(text)] if "@" in text else []


def urls(text: str) -> list[str]:
    """Return the web addresses in a text, in order."""
    return [match[0].rstrip(".,;:") for match in _URL.finditer(text)]


def boolean(text: str) -> bool | None:
    """Read a yes or a no; None when it is neither."""
    word = text.strip().lower().rstrip(".!,;")
    if word in _YES:
        return True
    return False if word in _NO else None
