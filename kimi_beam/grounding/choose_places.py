"""Chooses among the places of values that stand in a text several times: those of one item of a list belong together.

The items of a list are taken in the order of the text, and each gets a stretch of it in which its leaves stand close
together, so that an amount that many rows have goes to its own row. Values outside of lists take a place that no item
has taken, on a line that names the value's key, or else the first one.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from kimi_beam.grounding.leaves import Group, Leaf
from kimi_beam.grounding.number_spellings import Span

_MOST_STRETCHES = 48
"""So many stretches are compared for an item."""
_LEAST_STRETCHES = 4
_WORK = 40_000
"""So many stretches are compared for all items of a list, so that a long list costs no more for each item."""
_MOST_LINES = 20
"""What is further away than so many lines is no longer closer than anything else."""
_MISSING = 2.0 * _MOST_LINES
"""The cost of a leaf that stands nowhere near the others."""
_OUT_OF_ORDER = 6.0 * _MOST_LINES
"""The cost of an item that begins before the one before it ends."""
_BEHIND = 0.05
"""The cost of a line that would be passed over between two items."""
_SHARED, _SHARED_IN_ROW = 1.5, 0.5
"""The cost of a place that two equal leaves of an item share, of which the text may print one alone."""
_LABEL_BEFORE, _LABEL_AFTER = 200, 100
"""Characters before and after a value in which the words of its key may stand."""
_STEM = 5
"""So many letters of a word of a key are looked for: governing law is also what governs, by the laws."""
_MOST_COMPARED = 200
"""So many places of one value are compared by the words around them."""
_KEY_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+")


class _Stretch(NamedTuple):
    """A stretch of the text in which an item may stand."""

    start: int
    end: int
    cost: float
    """How far apart its leaves stand, in lines."""
    spans: tuple[Span | None, ...]
    """The place of each leaf of the item; None for one that stands nowhere near."""


class PlaceChooser:
    """Chooses the places of the leaves of one answer.

    Args:
        text: The text in which they stand.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._taken: set[Span] = set()

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        at = self._text.find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = self._text.find("\n", at + 1)
        return starts

    def _line(self, place: int) -> int:
        return bisect_right(self._line_starts, place) - 1

    def choose(self, answer: Group) -> None:
        """Sets `Leaf.span` and `Leaf.candidates` of all leaves that stand somewhere."""
        for items in answer.lists:
            self._choose_items(items, 0, len(self._text))
        for leaf in answer.leaves:
            self._choose_alone(leaf)

    # -------------------------------------------------------------------------------------------- single values

    def _choose_alone(self, leaf: Leaf) -> None:
        spans = leaf.found.spans
        if len(spans) < 2:
            self._take(leaf, spans[0] if spans else None, 1)
            return
        best = [span for span in spans if span not in self._taken] or list(spans)
        if len(best) > 1 and (words := _key_words(leaf.path)):
            ranks = [self._named(span, words) for span in best[:_MOST_COMPARED]]
            most = max(ranks)
            best = [span for span, rank in zip(best, ranks, strict=False) if rank == most]
        self._take(leaf, best[0], len(best))

    def _named(self, span: Span, words: Sequence[str]) -> int:
        """How much the text around a place resembles a label of the key: its words on the line, and around it."""
        starts, number = self._line_starts, self._line(span.start)
        end = starts[number + 1] if number + 1 < len(starts) else len(self._text)
        before, after = max(0, span.start - _LABEL_BEFORE), span.end + _LABEL_AFTER
        around = self._text[before:after].casefold()
        line = self._text[max(before, starts[number]) : min(end, after)].casefold()
        return sum((word in around) + (word in line) for word in words)

    def _take(self, leaf: Leaf, span: Span | None, candidates: int) -> None:
        leaf.span, leaf.candidates = span, candidates * leaf.found.readings if span else 0

    # -------------------------------------------------------------------------------------------- items of lists

    def _choose_items(self, items: Sequence[Group], start: int, end: int) -> None:
        """Chooses the places of the items of a list within a stretch of the text."""
        known = [(item, leaves) for item in items if (leaves := _found(item))]
        if not known:
            return
        most = max(_LEAST_STRETCHES, min(_MOST_STRETCHES, _WORK // len(known)))
        stretches, expected = [], start
        for _, leaves in known:
            rarest = min(leaves, key=lambda leaf: (_count(leaf, start, end), -len(str(leaf.value))))
            anchors = _within(rarest.found.spans, start, end) or rarest.found.spans
            stretches.append(self._stretches(leaves, _some(anchors, expected, most)))
            expected = self._likely_end(stretches[-1], expected)
        chosen = _in_order(stretches)
        for number, ((item, leaves), index) in enumerate(zip(known, chosen, strict=True)):
            one = stretches[number][index]
            first = stretches[number - 1][chosen[number - 1]].end if number else start
            last = stretches[number + 1][chosen[number + 1]].start if number + 1 < len(known) else end
            equal = [
                other
                for other in stretches[number]
                if other.cost == one.cost and (other is one or (other.start >= first and other.end <= last))
            ]
            self._place_leaves(leaves, one, equal)
            for inner in item.lists:
                self._choose_items(inner, max(start, one.start), max(last, one.end))

    def _likely_end(self, stretches: Sequence[_Stretch], expected: int) -> int:
        """Where an item ends that is expected from a place on: there the next one is looked for first."""
        line = self._line(expected)
        after = [one for one in stretches if one.start >= expected]
        if not after:
            return expected
        return min(after, key=lambda one: one.cost + _BEHIND * (self._line(one.start) - line)).end

    def _stretches(self, leaves: Sequence[Leaf], anchors: Sequence[Span]) -> list[_Stretch]:
        """The stretches around some places of an item's rarest leaf, in the order of the text.

        Around each place the other leaves are looked for near it, after it and before it, as a row may go on over some
        lines below.
        """
        found: dict[tuple[Span | None, ...], _Stretch] = {}
        for anchor in anchors:
            line = self._line(anchor.start)
            stretch = self._around(leaves, anchor, line, forwards=True, backwards=True)
            found.setdefault(stretch.spans, stretch)
            if not stretch.cost:
                continue
            for forwards in (True, False):
                stretch = self._around(leaves, anchor, line, forwards=forwards, backwards=not forwards)
                found.setdefault(stretch.spans, stretch)
        return sorted(found.values(), key=lambda stretch: (stretch.start, stretch.end, stretch.cost))

    def _around(self, leaves: Sequence[Leaf], anchor: Span, line: int, *, forwards: bool, backwards: bool) -> _Stretch:
        cost, start, end = 0.0, anchor.start, anchor.end
        spans: list[Span | None] = []
        used: set[Span] = set()
        for leaf in leaves:
            best: Span | None = None
            least = float(_MOST_LINES)
            for span in _neighbours(leaf.found.spans, self._line_starts, line):
                away = self._line(span.start) - line
                if (away < 0 and not backwards) or (away > 0 and not forwards):
                    continue
                apart = abs(away) + ((_SHARED if away else _SHARED_IN_ROW) if span in used else 0.0)
                if apart < least:
                    best, least = span, apart
            spans.append(best)
            if best is None:
                cost += _MISSING
            else:
                used.add(best)
                cost += least
                start, end = min(start, best.start), max(end, best.end)
        return _Stretch(start, end, cost, tuple(spans))

    def _place_leaves(self, leaves: Sequence[Leaf], stretch: _Stretch, equal: Sequence[_Stretch]) -> None:
        """Gives the leaves of an item their places, each another one where equal values stand in one line."""
        used: set[Span] = set()
        for position, (leaf, span) in enumerate(zip(leaves, stretch.spans, strict=True)):
            if span is None:
                self._take(leaf, leaf.found.spans[0], len(leaf.found.spans))
                continue
            line = self._line(span.start)
            in_line = _around_line(leaf.found.spans, self._line_starts, line)
            free = [other for other in in_line if other not in used and other >= span]
            place = free[0] if free else span
            used.add(place)
            self._taken.add(place)
            elsewhere = {self._line(other) for one in equal if (other := _start(one.spans[position])) is not None}
            self._take(leaf, place, max(1, len(in_line) + len(elsewhere - {line})))


def _found(item: Group) -> list[Leaf]:
    """The leaves of an item that stand somewhere; those of its own lists only if it has no other."""
    own = [leaf for leaf in item.leaves if leaf.found.spans]
    return own or [leaf for leaf in item.all() if leaf.found.spans]


def _start(span: Span | None) -> int | None:
    return None if span is None else span.start


def _within(spans: Sequence[Span], start: int, end: int) -> list[Span]:
    return [span for span in spans if span.start >= start and span.end <= end]


def _count(leaf: Leaf, start: int, end: int) -> int:
    """How many places a leaf has in a stretch; more than any other if it has none."""
    spans = leaf.found.spans
    return bisect_left(spans, (end, 0)) - bisect_left(spans, (start, 0)) or 1 << 30


def _some(anchors: Sequence[Span], expected: int, most: int) -> Sequence[Span]:
    """Some of the places of an item: those around the one at which it is expected."""
    if len(anchors) <= most:
        return anchors
    first = max(0, min(bisect_left(anchors, (expected, 0)) - most // 4, len(anchors) - most))
    return anchors[first : first + most]


def _neighbours(spans: Sequence[Span], line_starts: Sequence[int], line: int) -> Iterator[Span]:
    """The places that may be the nearest: those on a line, and the next ones before and after it."""
    start = line_starts[line]
    end = line_starts[line + 1] if line + 1 < len(line_starts) else 1 << 62
    first, last = bisect_left(spans, (start, 0)), bisect_left(spans, (end, 0))
    yield from spans[first : min(last, first + _NEIGHBOURS)]
    yield from spans[max(0, first - _NEIGHBOURS) : first][::-1]
    yield from spans[last : last + _NEIGHBOURS]


_NEIGHBOURS = 3
"""So many places are looked at on the line, before and after it: equal values of one item take different ones."""


def _around_line(spans: Sequence[Span], line_starts: Sequence[int], line: int) -> Sequence[Span]:
    """The places on a line."""
    end = line_starts[line + 1] if line + 1 < len(line_starts) else 1 << 62
    return spans[bisect_left(spans, (line_starts[line], 0)) : bisect_left(spans, (end, 0))]


def _in_order(stretches: Sequence[Sequence[_Stretch]]) -> list[int]:
    """The index of the stretch of each item with which all of them together cost least."""
    costs = [[one.cost for one in stretches[0]]]
    origins: list[list[int]] = []
    for before, here in pairwise(stretches):
        last = costs[-1]
        by_end = sorted(range(len(before)), key=lambda index: before[index].end)
        ends = [before[index].end for index in by_end]
        best: list[int] = []
        for index in by_end:
            best.append(index if not best or last[index] < last[best[-1]] else best[-1])
        cheapest = best[-1]
        row, origin = [], []
        for one in here:
            at = bisect_right(ends, one.start) - 1
            in_order = last[best[at]] if at >= 0 else float("inf")
            disordered = last[cheapest] + _OUT_OF_ORDER
            origin.append(best[at] if at >= 0 and in_order <= disordered else cheapest)
            row.append(min(in_order, disordered) + one.cost)
        costs.append(row)
        origins.append(origin)
    index = min(range(len(costs[-1])), key=lambda number: costs[-1][number])
    chosen = [index]
    for origin in reversed(origins):
        index = origin[index]
        chosen.append(index)
    return chosen[::-1]


def _key_words(path: str) -> list[str]:
    """The words of a key, as a label of the text may have them: total and gross of ``/total_gross``."""
    return [word.casefold()[:_STEM] for word in _KEY_WORD.findall(path.rpartition("/")[2]) if len(word) > 2]
