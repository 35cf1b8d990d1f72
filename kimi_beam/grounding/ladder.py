"""The ladder on which a value is looked for in a text: from its exact spelling to another one of the same value."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from kimi_beam.grounding.date_spellings import Order, days_of, is_midnight, is_time, split_time, time_places
from kimi_beam.grounding.number_spellings import Span, has_unit, number_of_text, shortest_of
from kimi_beam.grounding.text_index import MOST_PLACES, TextIndex
from kimi_beam.schema import jsontext
from kimi_beam.types.grounding import GroundingMatch

_LONGEST_DATE = 40
_DIGIT = re.compile(r"\d")
_NEAR_ITS_DATE = 60
"""Characters around a date in which the time of day of a date-time stands."""


class Found(NamedTuple):
    """Where a value stands."""

    match: GroundingMatch
    """How it was found."""
    spans: Sequence[Span]
    """The places, in the order of the text."""
    readings: int = 1
    """In how many ways the spelling at these places can be read."""


NOWHERE = Found("none", ())


def look_up(value: Any, index: TextIndex) -> Found:
    """Where a string or a number of an answer stands in a text.

    Args:
        value: A string, an integer, a float or a `Decimal`.
        index: The text.

    Returns:
        The places of the first rung of the ladder that has any: ``exact``, ``normalised``, ``number``, ``date``.
    """
    return _text(value, index) if isinstance(value, str) else _number(value, index)


def _text(value: str, index: TextIndex) -> Found:
    spans = index.places(value)
    if spans and (days := _date(value, index)).spans:
        # All spellings of a day are as good: that of the title is not better because the value is spelt as a stamp.
        return days._replace(spans=sorted([*spans, *_not_inside(days.spans, spans)]))
    if spans:
        text, length = index.text, len(value)
        exact = [span for span in spans if span.end - span.start == length and text.startswith(value, span.start)]
        return Found("exact", exact) if exact else Found("normalised", spans)
    number = number_of_text(value)
    if number is not None and (spans := _amounts(value, number, index)):
        return Found("number", spans)
    return _date(value, index)


def _not_inside(spans: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """The places that are no part of another one: the day of a date-time that stands as it is spelt is.

    Args:
        spans: Places.
        others: The others, in the order of the text, which do not overlap.
    """
    starts = [other.start for other in others]
    before = ((span, bisect_right(starts, span.start) - 1) for span in spans)
    return [span for span, at in before if at < 0 or others[at].end < span.end]


def _amounts(value: str, number: str, index: TextIndex) -> list[Span]:
    """Where a text that is a number stands in another spelling.

    An amount that is spelt with a fraction (``53.00``) is not any 53 of an address: it has a fraction in the text as
    well, or a unit beside it.
    """
    spans, text = index.numbers.get(number, [])[:MOST_PLACES], index.text
    if value.isdecimal():
        return spans
    return [
        span for span in spans if not text[span.start : span.end].strip("-\u2212").isdecimal() or has_unit(text, span)
    ]


def _number(value: int | float | Decimal, index: TextIndex) -> Found:
    number = shortest_of(value)
    spans = index.numbers.get(number, ())[:MOST_PLACES] if number is not None else ()
    if not spans:
        return NOWHERE
    spelling = jsontext.dumps(value).decode()
    exact = [span for span in spans if index.text[span.start : span.end] == spelling]
    return Found("exact", exact) if exact else Found("number", spans)


def _date(value: str, index: TextIndex) -> Found:
    if len(value) > _LONGEST_DATE or _DIGIT.search(value) is None:
        return NOWHERE
    if is_time(value):
        spans = time_places(value, index.text)
        return Found("normalised", spans[:MOST_PLACES]) if spans else NOWHERE
    date, time = split_time(value)
    meant = days_of(date)
    places = [place for day, order in meant.items() for place in index.days.get(day, ()) if _agree(order, place.order)]
    if time and not is_midnight(time):
        text = index.text
        places = [
            place
            for place in places
            if time_places(time, text, max(0, place.span.start - _NEAR_ITS_DATE), place.span.end + _NEAR_ITS_DATE)
        ]
    if not places:
        return NOWHERE
    evident = [place for place in places if place.is_evident]
    # A value that can be read in two ways itself was found in the same spelling: nothing else is doubtful about it.
    doubtful = not evident and len(meant) == 1
    spans = sorted({place.span for place in evident or places})
    return Found("date", spans[:MOST_PLACES], readings=2 if doubtful else 1)


def _agree(one: Order, other: Order) -> bool:
    """Whether two dates may be read in one order of day and month."""
    return one == other or "clear" in (one, other)
