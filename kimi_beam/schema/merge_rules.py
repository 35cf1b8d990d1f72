"""``x-merge``: how the values of one place become one, where a document is asked for in parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

from kimi_beam.schema.places import Places
from kimi_beam.schema.shapes import Term

How: TypeAlias = Literal["first", "last", "majority", "longest", "any", "all", "max", "min", "sum", "union"]
"""What a property may say in ``x-merge``."""

TYPES_OF: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(get_args(How), ()),
    "any": ("boolean",),
    "all": ("boolean",),
    "sum": ("number", "integer"),
    "union": ("array",),
    "longest": ("string",),
}
"""The types of which a property has to be for each rule; empty if it may be of any."""


class MergeRules(Places):
    """The rules of a schema's places."""

    def how(self, place: Term | None) -> How | None:
        """The rule of a place; None if the schema has none for it, and its kind decides.

        Arrays with ``uniqueItems`` are sets, which is the rule ``union``.
        """
        if place is None:
            return None
        facets = self._shapes.of(place).facets
        if (how := facets.get("x-merge")) in get_args(How):
            return how
        return "union" if facets.get("uniqueItems") is True else None

    def has_all_rows(self, place: Term | None, count: int) -> bool:
        """Whether an array is to have each row that the text shows.

        It is not if the schema says so (``"x-complete": false``), if it is full, or if it is a set.

        Args:
            place: The place of the array.
            count: How many items it has.
        """
        if place is None:
            return True
        facets = self._shapes.of(place).facets
        most = facets.get("maxItems")
        is_full = isinstance(most, (int, float)) and not isinstance(most, bool) and count >= most
        return facets.get("x-complete") is not False and not is_full and self.how(place) != "union"

    def empty_members(self, place: Term | None) -> Mapping[str, Any]:
        """What stands for the required members of an object that no part has: null, or an empty list."""
        if place is None:
            return {}
        shape, found = self._shapes.of(place), dict[str, Any]()
        for name, term in shape.members.items():
            if name in shape.required and (self._shapes.of(term).null or self.empty(term) == []):
                found[name] = self.empty(term)
        return found

    def empty(self, place: Term | None) -> Any:
        """What stands for a value that no part has: null, or an empty list or object where null may not stand."""
        if place is None or self._shapes.of(place).null:
            return None
        shape = self._shapes.of(place)
        return {} if shape.likely == {"object"} else [] if shape.likely == {"array"} and not shape.least else None
