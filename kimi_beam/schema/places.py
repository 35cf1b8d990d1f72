"""What a schema says of the places in its instances: which values they may have, and what their parts are."""

from __future__ import annotations

from collections.abc import Mapping

from kimi_beam.schema.find_shapes import Shapes
from kimi_beam.schema.shapes import Shape, Term


class Places:
    """The places in the instances of a schema.

    Args:
        shapes: The shapes of the schema.
        root: The place of the whole instance.

    Attributes:
        root: The place of the whole instance.
    """

    def __init__(self, shapes: Shapes, root: Term) -> None:
        self._shapes, self.root = shapes, root

    def shape(self, place: Term) -> Shape:
        """What is known of the values at a place."""
        return self._shapes.of(place)

    def member(self, place: Term | None, name: str) -> Term | None:
        """The place of an object's member; None if the schema does not describe it."""
        if place is None:
            return None
        shape = self._shapes.of(place)
        found = shape.members.get(name, shape.rest)
        return found if isinstance(found, Term) else None

    def members(self, place: Term | None) -> Mapping[str, Term]:
        """The places of an object's named members; none if the schema does not describe any."""
        return {} if place is None else self._shapes.of(place).members

    def item(self, place: Term | None, index: int | None = None) -> Term | None:
        """The place of an array's items; None if the schema does not describe them.

        Args:
            place: The place of the array.
            index: The index of an item, as the first ones may have places of their own; None for all others.
        """
        if place is None:
            return None
        shape = self._shapes.of(place)
        return shape.prefix[index] if index is not None and index < len(shape.prefix) else shape.items

    def is_choice(self, place: Term | None) -> bool:
        """Whether the values of a place are chosen from a list (``enum``, ``const``)."""
        return place is not None and self._shapes.of(place).values is not None
