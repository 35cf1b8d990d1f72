"""Folds and reads texts without any code of the project, so that no test checks grounding against itself."""

from __future__ import annotations

import calendar
import re
import unicodedata
from decimal import Decimal

_SAME = str.maketrans({**dict.fromkeys("\u2018\u2019`\u00b4", "'"), **dict.fromkeys("\u201c\u201d\u201e", '"'),
                       **dict.fromkeys("\u2010\u2011\u2013\u2014\u2212", "-"), "\u00ad": None,
                       "\u200b": None})  # fmt: skip


def folded(text: str) -> str:
    """A text without white space, in one case, with plain quotes and dashes, and without hyphens between letters."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_SAME)
    return re.sub(r"(?<=[^\W\d_])-(?=[^\W\d_])", "", "".join(plain.split()))


def numbers(text: str) -> set[Decimal]:
    """Every number that some reading of the digits of a text gives, too many rather than too few."""
    found = set()
    for match in re.finditer(r"\d(?:[\d.,'\u2019\s]*\d)?", text):
        for token in {match[0], *re.split(r"\s+", match[0]), *re.findall(r"\d+", match[0])}:
            plain = re.sub(r"[^\d.,]", "", token)
            for mark in ("", ".", ","):
                head, _, tail = plain.rpartition(mark) if mark else (plain, "", "")
                digits = re.sub(r"\D", "", head), re.sub(r"\D", "", tail)
                number = Decimal(f"{digits[0] or '0'}.{digits[1] or '0'}")
                found |= {number, number / 100}
    return found


def names_day(text: str, year: int, month: int, day: int) -> bool:
    """Whether day, month and year stand together somewhere in a text, in any order, the month as a number or a name."""
    if not 1 <= month <= 12:
        return False
    text = " ".join(text.split())
    names = [calendar.month_name[month][:3].casefold(), *_LOCAL_MONTHS[month]]
    years = {f"{year:04}", f"{year % 100:02}"}
    for match in re.finditer(rf"\b(?:{year:04}|{year % 100:02})(?!\d)|{year:04}", text):
        around = text[max(0, match.start() - 30) : match.end() + 30].casefold()
        others = re.findall(r"\d+", around)
        numbers_left = [int(one) for one in others if one not in years or int(one) in (day, month)]
        named = any(name in around for name in names)
        if day in numbers_left and (named or month in numbers_left):
            return True
    return f"{year:04}{month:02}{day:02}" in text


_LOCAL_MONTHS = {
    1: ["jan"], 2: ["f\u00e9v", "fev"], 3: ["m\u00e4r", "mars"], 4: ["avr"], 5: ["mai"], 6: ["juin"], 7: ["juil"],
    8: ["ao\u00fb"], 9: ["sep"], 10: ["okt"], 11: ["nov"], 12: ["dez", "d\u00e9c"],
}  # fmt: skip
