"""A text in which many values are looked up: it is folded and indexed once, when the first value needs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import cached_property, lru_cache
from unicodedata import combining

import numpy as np

from kimi_beam.grounding.date_spellings import DayPlace, days_in
from kimi_beam.grounding.folding import Folded, fold, without_hyphens
from kimi_beam.grounding.number_spellings import Span, numbers_in

MOST_PLACES = 10_000
"""So many places of one value are looked at."""
_MOST_HITS = 20_000
"""So many places are looked at of which most are inside of longer words."""
_SHORT = 3
"""Texts of so few letters stand inside of many words, and are looked up among the words of the text."""
_FEW = 20_000
"""In a text of so few characters they are looked for as all others are: its words need not be listed."""
_SURELY_TOGETHER = 8
"""A text of so many letters is known again whatever stands between them: THE  TOTAL and T H E T O T A L."""
_SURELY_A_NUMBER = 9
"""Digits of a text from which on it is known again however they are grouped, as those of an IBAN or a telephone."""
_WORD = re.compile(r"\w+")
_CONTINUED = ".,'\u2019"
_NUMBER_LIKE = re.compile(r"[\d\s.,'\u2019/:+\-\u2212]+")
_IDEOGRAPHS = 0x2E80
"""From here on, words stand in the text without spaces between them, except for Korean, whose words have endings."""


class TextIndex:
    """A text in which values are looked up.

    Args:
        text: The text.

    Attributes:
        text: The text.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._known: dict[str, list[Span]] = {}

    @cached_property
    def numbers(self) -> dict[str, list[Span]]:
        """Where each number stands, by its shortest spelling."""
        return numbers_in(self.text)

    @cached_property
    def days(self) -> dict[date, list[DayPlace]]:
        """Where each day is named."""
        return days_in(self.text)

    @cached_property
    def words(self) -> dict[str, list[Span]]:
        """Where each word stands, in one case."""
        found: dict[str, list[Span]] = {}
        for match in _WORD.finditer(self.text):
            found.setdefault(match[0].casefold(), []).append(Span(match.start(), match.end()))
        return found

    @cached_property
    def _folded(self) -> Folded:
        return fold(self.text)

    def places(self, value: str) -> list[Span]:
        """Where a text stands, whatever its space, case and typography: at most `MOST_PLACES`, in order.

        It never begins or ends inside of a word or a number, and its digits are grouped as in the value.
        """
        found = self._known.get(value)
        if found is None:
            found = self._known[value] = self._places(value)
        return found

    def _places(self, value: str) -> list[Span]:
        needle = fold(value).text
        if not needle:
            return []
        if len(self.text) > _FEW and len(needle) <= _SHORT and needle.isalnum() and needle == value.casefold():
            words = self.words.get(needle, [])
            found = [span for span in words[:_MOST_HITS] if _is_whole(self.text, span, value)][:MOST_PLACES]
            if found or (needle.isalpha() and ord(max(needle)) < _IDEOGRAPHS):
                return found
        found = list(self._hits(value, needle))
        if not found and (bare := without_hyphens(value)) != value:
            found = list(self._hits(bare, fold(bare).text))
        return found

    def _hits(self, value: str, needle: str) -> Iterator[Span]:
        folded, starts = self._folded
        text, length = self.text, len(needle)
        at, count, hits = folded.find(needle), 0, 0
        while at >= 0 and count < MOST_PLACES and hits < _MOST_HITS:
            hits += 1
            end = int(starts[at + length - 1]) + 1
            while end < len(text) and combining(text[end]):
                end += 1
            span = Span(int(starts[at]), end)
            is_whole = self._is_at_edges(at, at + length) and _is_whole(text, span, value)
            if is_whole and self._has_same_groups(value, needle, at, span):
                count += 1
                yield span
                at = folded.find(needle, at + length)
            else:
                at = folded.find(needle, at + 1)

    def _is_at_edges(self, start: int, end: int) -> bool:
        """Whether a stretch of the folded text begins and ends with whole characters of the text, and not amid a ß."""
        starts = self._folded.starts
        return (start == 0 or starts[start - 1] != starts[start]) and (
            end == len(starts) or starts[end - 1] != starts[end]
        )

    def _has_same_groups(self, value: str, needle: str, at: int, span: Span) -> bool:
        """Whether white space stands in the text where it stands in the value, as far as it has a meaning."""
        if span.end - span.start == len(value) and self.text[span.start : span.end] == value:
            return True
        gaps, there = _gaps_of(value), _gaps(self.text, self._folded, at, at + len(needle))
        if there == gaps:
            return True
        digits = sum(map(str.isdecimal, needle))
        if _NUMBER_LIKE.fullmatch(value) and digits < _SURELY_A_NUMBER:
            return False
        letters = sum(map(str.isalpha, needle))
        return all(
            digits >= _SURELY_A_NUMBER
            if needle[place - 1].isdecimal() and needle[place].isdecimal()
            else letters >= _SURELY_TOGETHER or not (needle[place - 1].isalpha() and needle[place].isalpha())
            for place in there ^ gaps
        )


def _gaps(text: str, folded: Folded, start: int, end: int) -> frozenset[int]:
    """Before which characters of a stretch of a folded text white space stands in the text; the first is 0."""
    starts = folded.starts[start:end]
    apart = np.flatnonzero(np.diff(starts) > 1).tolist()
    return frozenset(place + 1 for place in apart if _SPACE.search(text, starts[place], starts[place + 1]))


_SPACE = re.compile(r"\s")


@lru_cache(1_024)
def _gaps_of(value: str) -> frozenset[int]:
    """`_gaps` of a value, which may be compared with many places."""
    folded = fold(value)
    return _gaps(value, folded, 0, len(folded.text))


def _is_whole(text: str, span: Span, value: str) -> bool:
    """Whether a stretch is no piece of a longer word or number."""
    start, end = span
    if start and _goes_on(text[start - 1], text[start], value):
        return False
    if end < len(text) and _goes_on(text[end], text[end - 1], value):
        return False
    if text[start].isdecimal() and start > 1 and text[start - 1] in _CONTINUED and text[start - 2].isdecimal():
        return False
    return not (text[end - 1].isdecimal() and text[end : end + 1] in _CONTINUED and text[end + 1 : end + 2].isdecimal())


def _goes_on(outside: str, inside: str, value: str) -> bool:
    """Whether a character outside of a stretch belongs to the same word or number as its neighbour inside."""
    if not outside.isalnum() or not inside.isalnum():
        return False
    if outside.isdecimal() != inside.isdecimal() and _NUMBER_LIKE.fullmatch(value):
        return False  # a currency before an amount, a unit behind it
    is_spaceless = ord(outside) >= _IDEOGRAPHS and ord(inside) >= _IDEOGRAPHS and not 0xAC00 <= ord(outside) <= 0xD7A3
    return not is_spaceless or outside.isdecimal()
