"""Columns of single values: JSON values to an Arrow array and back, without altering one.

Arrow first takes all values at once, as `Cells.raw`, which is fast; `Cells.finish` makes cells of that and finds out
what Arrow altered. Where one value does not fit, all are looked at one by one, and what a cell cannot give back goes
aside.
"""

from __future__ import annotations

import base64
import binascii
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from kimi_beam.schema import jsontext
from kimi_beam.schema.aside import Aside, Place

JSON = pa.json_(pa.string())
Array: TypeAlias = Any
"""A `pyarrow.Array`. The stubs give each type's a class of its own; which it is, is known here when the schema is."""
UNFIT: Any = object()
"""Instead of a cell: the value has none."""

Values: TypeAlias = Callable[[], Sequence[Any]]
"""The values of which Arrow made an array: taken out of their objects only where somebody has to look at them."""
REFUSES = (pa.ArrowException, ArithmeticError, LookupError, AttributeError, ValueError, TypeError)
"""What is raised where values do not fit."""


class Column(ABC):
    """What one place of a schema becomes.

    Attributes:
        type: The Arrow type.
    """

    type: Any

    @abstractmethod
    def build(self, values: Sequence[Any], place: Place, aside: Aside) -> Array:
        """An array of `type` with a cell for each value; None and what goes aside are null cells."""

    @abstractmethod
    def read(self, array: Array) -> list[Any]:
        """The values of an array; None for a null cell."""

    def holds_all(self) -> bool:
        """Whether each value of its JSON type has a cell, so that none is ever null for want of room."""
        return False


class Cells(Column):
    """A column whose values have no parts.

    Attributes:
        raw: The Arrow type that all values are taken as at once: `pyarrow.array` refuses what is no such value, or
            `finish` does. None: there is none, they have to be looked at.
    """

    raw: Any = None

    def build(self, values: Sequence[Any], place: Place, aside: Aside) -> Array:
        if self.raw is not None:
            try:
                return self.finish(pa.array(values, self.raw), lambda: values)
            except REFUSES:
                pass
        cells = []
        for index, value in enumerate(values):
            cell = None if value is None else self.cell(value)
            if cell is UNFIT:
                cell = None
                self.unfit(value, place(index), aside)
            cells.append(cell)
        return self.array_of_cells(cells)

    def finish(self, raw: Array, values: Values) -> Array:
        """An array of `type` of what `pyarrow.array` made of the values.

        Args:
            raw: An array of the type `raw`.
            values: Of which it was made; null cells of `raw` are None there.

        Raises:
            ValueError: One of them does not fit, or anything else of `REFUSES`: `build` looks at each.
        """
        return raw

    def array_of_cells(self, cells: list[Any]) -> Array:
        """An array of what `cell` gave."""
        return pa.array(cells, self.type)

    def cell(self, value: Any) -> Any:
        """What Arrow takes for a value; `UNFIT` where the cell would not give it back."""
        raise NotImplementedError

    def unfit(self, value: Any, where: tuple[int, str], aside: Aside) -> None:
        """What becomes of a value that has no cell."""
        aside.set_aside(where, value, suspect=True)

    def read(self, array: Array) -> list[Any]:
        values: list[Any] = array.to_pylist()
        return values


class Text(Cells):
    """Strings as they are."""

    type: Any = pa.string()
    raw: Any = pa.string()

    def cell(self, value: Any) -> Any:
        if not isinstance(value, str):
            return UNFIT
        try:
            value.encode()
        except UnicodeEncodeError:
            return UNFIT
        return value

    def holds_all(self) -> bool:
        return True


class Boolean(Cells):
    """True and false."""

    type = raw = pa.bool_()

    def cell(self, value: Any) -> Any:
        return value if type(value) is bool else UNFIT

    def holds_all(self) -> bool:
        return True


class Bytes(Cells):
    """Bytes in base64, in its one plain spelling."""

    type = pa.binary()

    def cell(self, value: Any) -> Any:
        try:
            content = base64.b64decode(value, validate=True) if type(value) is str else None
        except (binascii.Error, ValueError):
            return UNFIT
        return UNFIT if content is None or base64.b64encode(content).decode() != value else content

    def read(self, array: Array) -> list[Any]:
        return [None if content is None else base64.b64encode(content).decode() for content in array.to_pylist()]


class Category(Cells):
    """Strings of a closed list. The dictionary is the whole list, so that all batches have the same."""

    type = pa.dictionary(pa.int32(), pa.string())
    raw = pa.string()

    def __init__(self, values: Sequence[str]) -> None:
        self._values = pa.array(values, pa.string())
        self._known = frozenset(values)

    def finish(self, raw: Array, values: Values) -> Array:
        return self._listed(raw)

    def _listed(self, text: Array) -> Array:
        indices: Array = pc.index_in(text, value_set=self._values)
        if indices.null_count != text.null_count:
            raise ValueError("a value that is not listed")
        return pa.DictionaryArray.from_arrays(indices, self._values)

    def array_of_cells(self, cells: list[Any]) -> Array:
        return self._listed(pa.array(cells, pa.string()))

    def cell(self, value: Any) -> Any:
        return value if type(value) is str and value in self._known else UNFIT


class Json(Cells):
    """Values of any kind, as their JSON text."""

    type = JSON

    def build(self, values: Sequence[Any], place: Place, aside: Aside) -> Array:
        texts: list[bytes | None] = []
        for index, value in enumerate(values):
            try:
                texts.append(None if value is None else jsontext.dumps(value))
            except (TypeError, ValueError, RecursionError) as e:
                aside.refuse(place(index), "type", f"has no JSON text: {e}")
                texts.append(None)
        # Binary first: orjson's bytes are UTF-8, which is then checked once for all of them.
        storage = pa.array(texts, pa.binary()).cast(pa.string())
        return pa.ExtensionArray.from_storage(JSON, storage)

    def read(self, array: Array) -> list[Any]:
        texts = array.storage if isinstance(array, pa.ExtensionArray) else array
        return [None if text is None else jsontext.loads(text) for text in texts.to_pylist()]
