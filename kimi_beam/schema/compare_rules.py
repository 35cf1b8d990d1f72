"""``x-compare``: when an answer's value counts as that of the gold, where answers are scored or compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

from kimi_beam.schema.places import Places
from kimi_beam.schema.shapes import Shape

CompareRule: TypeAlias = Literal["exact", "space", "case", "alphanumeric", "number", "ordered", "ignore"]
"""What a property may say in ``x-compare``.

``exact``: strings are equal character by character. ``space``, as strings without a rule: runs of white space are one
space, and none counts at the ends. ``case``: neither white space nor case counts. ``alphanumeric``: letters and digits
count alone, without case. ``number``: strings that spell a decimal number are equal as numbers. ``ordered``: the items
of an array are compared position by position. ``ignore``: the property is not compared.
"""

TYPES_OF: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(get_args(CompareRule), ()),
    **dict.fromkeys(("exact", "space", "case", "alphanumeric"), ("string",)),
    "number": ("string", "number", "integer"),
    "ordered": ("array",),
}
"""The types of which a property has to be for each rule; empty if it may be of any."""


class CompareRules(Places):
    """What a schema says about the comparison of values, place by place."""

    def rule(self, shape: Shape) -> CompareRule | None:
        """The rule of a shape; None if it has none."""
        found: CompareRule | None = shape.facets.get("x-compare")
        return found if found in TYPES_OF else None
