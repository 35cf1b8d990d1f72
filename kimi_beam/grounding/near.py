"""Proposes a place to a reviewer for a value that stands nowhere. It is a guess, and never counts as found."""

from __future__ import annotations

from typing import Any

from kimi_beam.grounding.date_spellings import days_of, split_time
from kimi_beam.grounding.number_spellings import Span, number_of_text, shortest_of
from kimi_beam.grounding.text_index import TextIndex

_LONGEST = 500
"""For a longer text no place is proposed: its words would be looked for around many places."""
_MOST_PLACES = 50
"""So many places of a word are looked around."""
_LEAST_DIGITS = 3
"""Numbers of fewer digits resemble too many others."""
_LEAST_SHARE = 0.5
"""The share of a value's words that have to stand at a place that is proposed."""


def near(value: Any, index: TextIndex) -> Span | None:
    """The place in a text that most resembles a value which does not stand in it; None if nothing does.

    Args:
        value: A string or a number.
        index: The text.
    """
    number = number_of_text(value) if isinstance(value, str) else shortest_of(value)
    if number is not None:
        return _near_number(number, index)
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    return _near_day(value, index) or _near_words(value, index)


def _near_number(number: str, index: TextIndex) -> Span | None:
    """A number that differs by its sign or by one digit."""
    other_sign = number[1:] if number[0] == "-" else f"-{number}"
    if other_sign in index.numbers:
        return index.numbers[other_sign][0]
    if sum(map(str.isdecimal, number)) < _LEAST_DIGITS:
        return None
    whole, _, fraction = number.partition(".")
    for other, spans in index.numbers.items():
        other_whole, _, other_fraction = other.partition(".")
        if len(other_whole) == len(whole):
            length = max(len(fraction), len(other_fraction))
            one, two = whole + fraction.ljust(length, "0"), other_whole + other_fraction.ljust(length, "0")
            if sum(digit != against for digit, against in zip(one, two, strict=True)) == 1:
                return spans[0]
    return None


def _near_day(value: str, index: TextIndex) -> Span | None:
    """A day of which two of year, month and day are those of the value."""
    for wanted in days_of(split_time(value)[0]):
        parts = wanted.timetuple()[:3]
        for day, places in index.days.items():
            if sum(one == two for one, two in zip(parts, day.timetuple()[:3], strict=True)) >= 2:
                return places[0].span
    return None


def _near_words(value: str, index: TextIndex) -> Span | None:
    """The shortest stretch with most of the value's words."""
    words = list(dict.fromkeys(value.casefold().split()))
    words = [stripped for word in words if (stripped := word.strip(".,;:()[]\"'")) and stripped in index.words]
    total = len(value.split())
    if not words or len(words) < _LEAST_SHARE * total:
        return None
    rarest = min(words, key=lambda word: len(index.words[word]))
    best: tuple[int, int, Span] | None = None
    for place in index.words[rarest][:_MOST_PLACES]:
        span = _around(place, words, index, 2 * len(value))
        count = sum(word in index.text[span.start : span.end].lower() for word in words)
        rank = -count, span.end - span.start, span
        if best is None or rank < best:
            best = rank
    assert best is not None
    return best[2] if -best[0] >= _LEAST_SHARE * total else None


def _around(place: Span, words: list[str], index: TextIndex, reach: int) -> Span:
    """The stretch around a word that has those of the other words which stand no further away."""
    start, end = place
    text = index.text[max(0, place.start - reach) : place.end + reach].lower()
    first = max(0, place.start - reach)
    for word in words:
        at = text.find(word, max(0, place.start - first - reach))
        if at >= 0:
            start, end = min(start, first + at), max(end, first + at + len(word))
    return Span(start, min(end, len(index.text)))
