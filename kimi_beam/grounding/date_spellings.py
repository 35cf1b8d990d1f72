"""The days and times of day in a text, whatever their spelling: 25.12.2018, Dec 25th, 2018 and 2018-12-25 are one day.

03/04/2018 is a day in March or in April. The text itself tells which where another of its dates can be read in one way
alone (25/12/2018); where none does, both readings count and are marked as ambiguous.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Literal, NamedTuple

from kimi_beam.grounding.number_spellings import Span
from kimi_beam.schema.month_names import MONTHS

Order = Literal["day first", "month first", "clear"]
"""How a date has to be read to be a certain day. ``clear``: it can be read in one way alone."""


class DayPlace(NamedTuple):
    """A place where a text names a day."""

    span: Span
    order: Order
    """By which order of day and month it is this day."""
    is_evident: bool = True
    """Whether the date can be read in no other way, or another date of the text tells the order."""


_NUMERIC = re.compile(r"(?<!\d)(\d{1,4}) ?([./\-\u2013]) ?(\d{1,2}) ?\2 ?(\d{4}|\d{1,2})(?!\d)")
_ASIAN = re.compile(r"(?<!\d)(\d{4})\s*[年년]\s*(\d{1,2})\s*[月월]\s*(\d{1,2})\s*[日일]")
_EIGHT_DIGITS = re.compile(r"(?:19|20)\d{6}(?!\d)")
_COMPACT = re.compile(r"(?<!\d)(\d{4})(\d{2})(\d{2})(?!\d)")
_NAME = re.compile(r"\b[^\W\d_]{3,12}(?=\.?[\s,/\-.]*(?:[Oo][Ff]\s+|[Dd][Ee]\s+)?['\u2019]?\d)")
"""A word with digits behind it, as those of the day or the year stand behind the name of a month."""
_DAY_BEFORE = re.compile(
    r"(?<!\d)(\d{1,2})(?:st|nd|rd|th|er|\.|º|ª)?[\s,/\-.]*(?:(?:day\s+)?of\s+|de\s+)?$", re.IGNORECASE
)
_DAY_AFTER = re.compile(r"\.?[\s,/\-]*(\d{1,2})(?:st|nd|rd|th)?(?!\d)")
_YEAR_AFTER = re.compile(r"\.?[\s,/\-.]*(?:of\s+|de\s+)?(\d{4}|['\u2019]?\d{2})(?!\d)", re.IGNORECASE)
_BEFORE_A_MONTH = 24
"""Characters before the name of a month in which its day stands."""

_TIME = re.compile(
    r"(?<![\d:])(\d{1,2})[:.h](\d{2})(?:[:.](\d{2}))?(?:\.\d+)?(?!\d)(?:\s?([ap])\.?m\b)?", re.IGNORECASE
)
_TIME_TEXT = re.compile(r"(\d{2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?\s*(?:Z|[+-]\d{2}:?\d{2})?", re.IGNORECASE)


def days_in(text: str) -> dict[date, list[DayPlace]]:
    """Where each day is named in a text."""
    found = sorted(_days(text), key=lambda day: day[1].span)
    if any(place.order != "clear" for _, place in found):
        evident = _evident_orders(text)
        if len(evident) == 1:
            found = [(day, place) for day, place in found if place.order in ("clear", *evident)]
        else:
            found = [(day, place._replace(is_evident=place.order == "clear")) for day, place in found]
    by_day: dict[date, list[DayPlace]] = {}
    for day, place in found:
        by_day.setdefault(day, []).append(place)
    return by_day


def days_of(text: str) -> dict[date, Order]:
    """The days that a value may mean, if it is a date and nothing else; empty if it is none."""
    if not 6 <= len(text) <= 40 or not any(map(str.isdecimal, text)):
        return {}
    text = text.strip()
    return {day: place.order for day, place in _days(text) if place.span == (0, len(text))}


def split_time(text: str) -> tuple[str, str]:
    """The date and the time of a date-time; the time is empty if there is none."""
    if len(text) > 10 and text[10] in "Tt " and _TIME_TEXT.fullmatch(text[11:]) is not None:
        return text[:10], text[11:]
    return text, ""


def is_time(text: str) -> bool:
    """Whether a value is a time of day, as ``format`` ``time`` spells it."""
    return _TIME_TEXT.fullmatch(text) is not None


def time_places(time: str, text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Where a text names a time of day, with the same hours, minutes and seconds.

    Seconds that are 0 may be left out in the text.

    Args:
        time: The time, as ``format`` ``time`` spells it.
        text: The text.
        start: The index from which on it is looked for.
        end: The index up to which; None for the end of the text.
    """
    wanted = _TIME_TEXT.fullmatch(time)
    assert wanted is not None
    hours, minutes, seconds = int(wanted[1]), int(wanted[2]), int(wanted[3] or 0)
    found = []
    for match in _TIME.finditer(text, start, len(text) if end is None else end):
        hour, half = int(match[1]), (match[4] or "").lower()
        if half:
            hour = hour % 12 + 12 * (half == "p")
        if (hour, int(match[2]), int(match[3] or 0)) == (hours, minutes, seconds):
            found.append(Span(match.start(), match.end()))
    return found


def is_midnight(time: str) -> bool:
    """Whether a time of day is 0 o'clock, as of a date whose time is not known."""
    return not time.translate(_ZEROS).partition("+")[0].strip(" Zz-")


_ZEROS = str.maketrans("", "", "0:.")


def _days(text: str) -> list[tuple[date, DayPlace]]:
    """Each reading of each date in a text, with its place."""
    found: list[tuple[date, DayPlace]] = []
    for match in _NUMERIC.finditer(text):
        span = Span(match.start(), match.end())
        found += ((day, DayPlace(span, order)) for day, order in _readings(match[1], match[3], match[4]))
    for pattern in (_ASIAN, _COMPACT) if _has_others(text) else ():
        for match in pattern.finditer(text):
            if (day := _day(match[1], int(match[2]), int(match[3]))) is not None:
                found.append((day, DayPlace(Span(match.start(), match.end()), "clear")))
    for match in _NAME.finditer(text):
        month = MONTHS.get(match[0].casefold())
        if month is not None and (named := _named(text, match.start(), match.end(), month)) is not None:
            found.append(named)
    return found


def _has_others(text: str) -> bool:
    """Whether a text may have dates without marks between their numbers, or with those of East Asia."""
    return _EIGHT_DIGITS.search(text) is not None or "\u5e74" in text or "\ub144" in text


def _readings(first: str, second: str, third: str) -> list[tuple[date, Order]]:
    """The days that three numbers may mean."""
    if len(first) == 3 or (len(first) == 4 and len(third) == 4):
        return []
    if len(first) == 4:
        day = _day(first, int(second), int(third))
        return [] if day is None else [(day, "clear")]
    if len(third) == 1:
        return []
    found: dict[date, Order] = {}
    day_first, month_first = _day(third, int(second), int(first)), _day(third, int(first), int(second))
    if day_first is not None:
        found[day_first] = "clear" if month_first in (None, day_first) else "day first"
    if month_first is not None and month_first != day_first:
        found[month_first] = "clear" if day_first is None else "month first"
    return list(found.items())


def _evident_orders(text: str) -> set[Order]:
    """The orders of day and month of the dates that can be read in one order alone."""
    found: set[Order] = set()
    for match in _NUMERIC.finditer(text):
        if len(match[1]) > 2 or len(match[4]) == 1:
            continue
        first, second = int(match[1]), int(match[3])
        if 12 < first <= 31 and 1 <= second <= 12:
            found.add("day first")
        elif 12 < second <= 31 and 1 <= first <= 12:
            found.add("month first")
    return found


def _named(text: str, start: int, end: int, month: int) -> tuple[date, DayPlace] | None:
    """The day around the name of a month; None if no whole date is there."""
    first = max(start - _BEFORE_A_MONTH, 0)
    before = _DAY_BEFORE.search(text[first:start])
    year = _YEAR_AFTER.match(text, end)
    if before is not None and year is not None and (day := _day(year[1], month, int(before[1]))) is not None:
        return day, DayPlace(Span(first + before.start(), year.end()), "clear")
    after = _DAY_AFTER.match(text, end)
    year = None if after is None else _YEAR_AFTER.match(text, after.end())
    if after is not None and year is not None and (day := _day(year[1], month, int(after[1]))) is not None:
        return day, DayPlace(Span(start, year.end()), "clear")
    return None


def _day(year: str, month: int, day: int) -> date | None:
    """The day, if there is such a one. Years of two digits are those from 1970 to 2069."""
    digits = year.lstrip("'\u2019")
    number = int(digits)
    if len(digits) <= 2:
        number += 1900 if number >= 70 else 2000
    if not 1 <= month <= 12 or not 1 <= day <= 31 or not 1000 <= number <= 9999:
        return None
    try:
        return date(number, month, day)
    except ValueError:
        return None
