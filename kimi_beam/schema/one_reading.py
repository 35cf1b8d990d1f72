"""Reads numbers and days as people write them, where only one reading is possible.

``1.234`` is one thousand and some in one country and one and some in another, and ``05.03.2024`` is a day in March or
in May: such a text has two readings, and none of them is taken.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

from kimi_beam.schema.month_names import MONTHS

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_GROUPS = r"(?:0|[1-9]\d*|[1-9]\d{0,2}(?:(?P<group>%s)\d{3})(?:(?P=group)\d{3})*)"
_SPELLINGS = tuple(
    re.compile(rf"(?P<sign>[+-]?)(?P<whole>{_GROUPS % groups})(?:{point}(?P<fraction>\d+))?", re.ASCII)
    for groups, point in ((r"[,'\u2019 \u00a0\u202f]", r"\."), (r"[.'\u2019 \u00a0\u202f]", ","))
)
"""With a point before the fraction, and with a comma. Thousands may be grouped by the other one of them, an apostrophe
or a space."""
_MOST = 100
"""Characters of the longest text that is looked at, and digits of the largest number."""

_YEAR_FIRST = re.compile(
    r"(?P<y>\d{4})(?P<mark>[-/. ])(?P<m>\d{1,2})(?P=mark)(?P<d>\d{1,2})\.?|(\d{4})(\d{2})(\d{2})", re.ASCII
)
_YEAR_LAST = re.compile(r"(\d{1,2})(?P<mark>[-/. ])(\d{1,2})(?P=mark)(\d{4})", re.ASCII)
_DAY_NAMED = re.compile(r"(\d{1,2})(?:st|nd|rd|th|er|º|\.)?[ -]?(?:de |of )?([^\W\d_]{3,12})\.?,?[ -](?:de )?(\d{4})")
_NAMED_DAY = re.compile(r"([^\W\d_]{3,12})\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})")


def one_number(text: str) -> Decimal | None:
    """The number that a text stands for; None if it stands for none, or for either of two.

    Example:
        >>> one_number("1,234.50"), one_number("12,5"), one_number("1.234")
        (Decimal('1234.50'), Decimal('12.5'), None)
    """
    text = text.strip()
    if not text or len(text) > _MOST:
        return None
    found = {Decimal(text)} if _JSON_NUMBER.fullmatch(text) else set()
    if any(abs(number.adjusted()) > _MOST for number in found):
        return None
    for spelling in _SPELLINGS:
        match = spelling.fullmatch(text)
        if match is not None:
            whole, fraction = re.sub(r"\D", "", match["whole"]), match["fraction"]
            found.add(Decimal(f"{match['sign']}{whole}.{fraction}" if fraction else f"{match['sign']}{whole}"))
    return found.pop() if len(found) == 1 else None


def one_day(text: str) -> str | None:
    """The day that a text stands for, as ISO 8601 writes it; None if it stands for none, or for either of two.

    Example:
        >>> one_day("31/12/2024"), one_day("5 March 2024"), one_day("05/03/2024")
        ('2024-12-31', '2024-03-05', None)
    """
    text = text.strip()
    if len(text) > _MOST:
        return None
    found: set[str | None] = set()
    if match := _YEAR_FIRST.fullmatch(text):
        numbers = [match["y"], match["m"], match["d"]] if match["y"] else match.group(5, 6, 7)
        found = {_day(*numbers)}
    elif match := _YEAR_LAST.fullmatch(text):
        one, other, year = match.group(1, 3, 4)
        found = {_day(year, one, other), _day(year, other, one)}
    elif match := _DAY_NAMED.fullmatch(text):
        found = {_day(match[3], MONTHS.get(match[2].casefold(), 0), match[1])}
    elif match := _NAMED_DAY.fullmatch(text):
        found = {_day(match[3], MONTHS.get(match[1].casefold(), 0), match[2])}
    found.discard(None)
    return found.pop() if len(found) == 1 else None


def _day(year: str | int, month: str | int, day: str | int) -> str | None:
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None
