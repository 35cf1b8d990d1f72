"""Changes values of an invalid instance to the type that the schema wants, where the schema leaves one way only.

A value is looked at only where its JSON type, its spelling in an enum or its format is one that the schema does not
allow there, so that no valid value is changed. The validator decides whether the result is valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from kimi_beam.schema import jsontext
from kimi_beam.schema.additional import pointer
from kimi_beam.schema.find_shapes import Shapes
from kimi_beam.schema.one_reading import one_day, one_number
from kimi_beam.schema.shapes import Shape, Term, kind_of
from kimi_beam.schema.violations import is_of_format

Change = Literal["number", "integer", "array_of_one", "enum", "date"]


class Coerced(NamedTuple):
    """An instance with other values."""

    value: Any
    changes: Sequence[tuple[Change, str]]
    """What was changed, with the JSON Pointer of each changed value."""


class Coercion:
    """Coerces the instances of one schema.

    Args:
        shapes: The shapes of the schema.
        root: The place of a whole instance.
        whole_floats: Whether 12.0 is an integer, as it is from draft 6 on.
    """

    def __init__(self, shapes: Shapes, root: Term, *, whole_floats: bool) -> None:
        self._shapes, self._root, self._whole_floats = shapes, root, whole_floats

    def coerced(self, instance: Any) -> Coerced:
        """The instance with every value changed that can be changed in one way; it is not changed itself.

        Args:
            instance: An invalid instance.
        """
        changes: list[tuple[Change, str]] = []
        return Coerced(self._value(self._root, instance, "", changes), changes)

    def _value(self, term: Term, value: Any, at: str, changes: list[tuple[Change, str]]) -> Any:
        shape = self._shapes.of(term)
        kind = kind_of(value)
        if kind not in shape.kinds and not (kind == "integer" and "number" in shape.kinds):
            return self._of_other_kind(shape, kind, value, at, changes)
        if kind == "integer" and type(value) is not int and not self._whole_floats and "number" not in shape.kinds:
            changes.append(("integer", at))
            return int(value)
        if isinstance(value, str):
            return self._text(shape, value, at, changes)
        if isinstance(value, (dict, list)):
            inside = self._inside(shape, value, at)
            new = {token: self._value(inner, value[token], place, changes) for token, inner, place in inside}
            if isinstance(value, list):
                return [new.get(index, item) for index, item in enumerate(value)]
            return {key: new.get(key, item) for key, item in value.items()}
        return value

    @staticmethod
    def _inside(shape: Shape, value: Any, at: str) -> Iterator[tuple[Any, Term, str]]:
        """The key or index of each member or item that the schema describes, its term and its pointer."""
        terms: Iterable[tuple[Any, Term | bool | None]]
        if isinstance(value, dict):
            terms = ((key, shape.members.get(key, shape.rest)) for key in value)
        else:
            terms = enumerate([*shape.prefix[: len(value)], *[shape.items] * (len(value) - len(shape.prefix))])
        for token, term in terms:
            if isinstance(term, Term):
                yield token, term, pointer(at, token)

    def _of_other_kind(self, shape: Shape, kind: str, value: Any, at: str, changes: list[tuple[Change, str]]) -> Any:
        number = one_number(value) if kind == "string" else None
        fits = number is not None and ("number" in shape.kinds or ("integer" in shape.kinds and _is_whole(number)))
        makes_array = "array" in shape.kinds and kind in ("string", "integer", "number", "boolean")
        if fits and not makes_array:
            assert number is not None
            changes.append(("number", at))
            return int(number) if "number" not in shape.kinds else _as_json(number)
        if makes_array and not fits:
            changes.append(("array_of_one", at))
            part = shape.prefix[0] if shape.prefix else shape.items
            return [value if part is None else self._value(part, value, pointer(at, 0), changes)]
        return value

    def _text(self, shape: Shape, text: str, at: str, changes: list[tuple[Change, str]]) -> str:
        if shape.values is not None:
            if text not in shape.values:
                alike = {one for one in shape.values if isinstance(one, str) and _folded(one) == _folded(text)}
                if len(alike) == 1:
                    changes.append(("enum", at))
                    return alike.pop()
            return text
        if shape.format == "date" and self._shapes.asserts_formats and not is_of_format("date", text, formats=True):
            day = one_day(text)
            if day is not None:
                changes.append(("date", at))
                return day
        return text


def _is_whole(number: Decimal) -> bool:
    return number == number.to_integral_value()


def _as_json(number: Decimal) -> Any:
    """The number as JSON's reader would give it: with all its digits."""
    return jsontext.loads(format(number, "f").encode())


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
