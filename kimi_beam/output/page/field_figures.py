"""`FieldFigures`: what a report says of each field of the rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

from kimi_beam.output.page.histograms import Histogram
from kimi_beam.output.page.value_counts import ValueCounts
from kimi_beam.schema import jsontext
from kimi_beam.schema.additional import pointer
from kimi_beam.scoring.answer_leaves import AnswerLeaf, answer_leaves
from kimi_beam.scoring.compared_places import Place

_INDEX = re.compile(r"/\d+(?=/|$)")
_EVERYTHING_ELSE = "others"
_MAX_FIELDS = 500
"""So many fields have figures of their own. Where keys are data, each document may have others."""


class FieldFigures:
    """The figures of one field.

    Attributes:
        filled: How many values there are.
        empty: At how many places there is none.
        grounding: How many of the values stand in their documents in which way; empty if nobody has looked.
    """

    def __init__(self) -> None:
        self.filled = self.empty = 0
        self.grounding: Counter[str] = Counter()
        self._values = ValueCounts()
        self._numbers, self._lengths = Histogram(), Histogram()

    def add(self, value: Any, match: str | None) -> None:
        """Counts a value, or a place without one.

        Args:
            value: The value; None if there is none.
            match: How it stands in its document; None if nobody has looked.
        """
        if value is None:
            self.empty += 1
            return
        self.filled += 1
        if match is not None:
            self.grounding[match] += 1
        if isinstance(value, str):
            self._values.add(value)
            self._lengths.add(len(value))
            return
        self._values.add(jsontext.dumps_any(value).decode())
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) and isfinite(value):
            self._numbers.add(float(value))

    def to_json(self) -> dict[str, Any]:
        """The figures as a JSON object. ``numbers`` and ``lengths`` are None where there are no numbers or texts."""
        return {
            "filled": self.filled,
            "empty": self.empty,
            **self._values.to_json(),
            "numbers": self._numbers.to_json(),
            "lengths": self._lengths.to_json(),
            "grounding": dict(self.grounding),
        }


class FieldTable:
    """The figures of all fields.

    Args:
        root: The places of the schema.
    """

    def __init__(self, root: Place) -> None:
        self._root = root
        self._fields: dict[str, FieldFigures] = {name: FieldFigures() for name in root.leaves[:_MAX_FIELDS]}

    def add(self, leaves: list[AnswerLeaf], matches: Mapping[str, str]) -> None:
        """Counts the leaves of a row.

        Args:
            leaves: They (`all_leaves`).
            matches: How values stand in their document, by their pointers.
        """
        for leaf in leaves:
            name = leaf.field
            if name not in self._fields:
                name = name if len(self._fields) < _MAX_FIELDS else _EVERYTHING_ELSE
                self._fields.setdefault(name, FieldFigures())
            self._fields[name].add(leaf.value, matches.get(leaf.pointer))

    def to_json(self) -> list[dict[str, Any]]:
        """The figures of each field, in the order of the schema."""
        return [{"field": name, **figures.to_json()} for name, figures in self._fields.items()]


def all_leaves(answer: Any, root: Place) -> list[AnswerLeaf]:
    """The single values of an answer and the places where it lacks one; also those that are not compared with gold.

    Args:
        answer: The answer.
        root: The places of its schema.
    """
    found = list(answer_leaves(answer, root))
    known = {leaf.pointer for leaf in found}
    others = ((at, value) for at, value in flat(answer) if value not in (None, [], {}) and at not in known)
    found += [AnswerLeaf(at, field_of(at), value, "") for at, value in others]
    return found


def field_of(at: str) -> str:
    """The pointer of a value's field: ``*`` stands for any index."""
    return _INDEX.sub("/*", at)


def flat(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """The single values in a JSON value with their pointers, in order. Empty objects and lists are single values."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flat(inner, pointer(at, key))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from flat(inner, pointer(at, index))
    else:
        yield at, value
