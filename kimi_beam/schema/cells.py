"""Columns of scalars: convert JSON values to an Arrow array and back without altering any.

The fast way converts all values at once to the Arrow type `Cells.raw`; `Cells.finish` makes the final array of that and
notices if Arrow altered a value. If a value does not fit, all are converted one by one by `Cells.cell`, and a value
that its cell cannot give back is set aside.
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
from kimi_beam.schema.additional import Additional, Place

JSON = pa.json_(pa.string())
Array: TypeAlias = Any
"""A `pyarrow.Array`. Pyarrow's stubs have a class for each type, but the type is known only at run time."""
UNFIT: Any = object()
"""Returned by `Cells.cell` for a value that has no cell."""

Values: TypeAlias = Callable[[], Sequence[Any]]
"""Returns the values of which Arrow made an array. They are taken out of their objects only if they are needed."""
REFUSES = (pa.ArrowException, ArithmeticError, LookupError, AttributeError, ValueError, TypeError)
"""The exceptions that pyarrow and the conversions here raise if a value does not fit."""


class Column(ABC):
    """The column of one place of a schema.

    Attributes:
        type: The Arrow type.
    """

    type: Any

    @abstractmethod
    def build(self, values: Sequence[Any], place: Place, additional: Additional) -> Array:
        """Converts values to an array of `type`. None, and values that are set aside, become null cells."""

    @abstractmethod
    def read(self, array: Array) -> list[Any]:
        """Converts an array back to values; a null cell gives None."""

    def fits_all_values(self) -> bool:
        """Whether each value of its JSON type has a cell, so that none is ever set aside."""
        return False


class Cells(Column):
    """A column of scalars.

    Attributes:
        raw: The Arrow type to which all values are converted at once; `pyarrow.array` or `finish` refuses a value that
            does not fit. None: there is no such type, so the values are converted one by one.
    """

    raw: Any = None

    def build(self, values: Sequence[Any], place: Place, additional: Additional) -> Array:
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
                self.unfit(value, place(index), additional)
            cells.append(cell)
        return self.array_of_cells(cells)

    def finish(self, raw: Array, values: Values) -> Array:
        """Makes the array of `type` from the array of type `raw`.

        Args:
            raw: The values converted at once.
            values: Returns the values themselves; null cells of `raw` are None among them.

        Raises:
            ValueError: A value does not fit (or another exception of `REFUSES`); `build` then converts one by one.
        """
        return raw

    def array_of_cells(self, cells: list[Any]) -> Array:
        """Makes an array of the results of `cell`."""
        return pa.array(cells, self.type)

    def cell(self, value: Any) -> Any:
        """The value in the form that `pyarrow.array` takes; `UNFIT` if the cell would not give the value back."""
        raise NotImplementedError

    def unfit(self, value: Any, location: tuple[int, str], additional: Additional) -> None:
        """Sets a value aside that has no cell; some columns refuse it instead."""
        additional.set_aside(location, value, suspect=True)

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

    def fits_all_values(self) -> bool:
        return True


class Boolean(Cells):
    """True and false."""

    type = raw = pa.bool_()

    def cell(self, value: Any) -> Any:
        return value if type(value) is bool else UNFIT

    def fits_all_values(self) -> bool:
        return True


class Bytes(Cells):
    """Bytes in base64. Only the canonical spelling is accepted, as values are read back in it."""

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
    """Strings of a closed list. The dictionary holds the whole list, so that it is the same in all batches."""

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

    def build(self, values: Sequence[Any], place: Place, additional: Additional) -> Array:
        texts: list[bytes | None] = []
        for index, value in enumerate(values):
            try:
                texts.append(None if value is None else jsontext.dumps(value))
            except (TypeError, ValueError, RecursionError) as e:
                additional.refuse(place(index), "type", f"has no JSON text: {e}")
                texts.append(None)
        # Made as binary and cast, because the UTF-8 of orjson is then checked once for the whole column.
        storage = pa.array(texts, pa.binary()).cast(pa.string())
        return pa.ExtensionArray.from_storage(JSON, storage)

    def read(self, array: Array) -> list[Any]:
        texts = array.storage if isinstance(array, pa.ExtensionArray) else array
        return [None if text is None else jsontext.loads(text) for text in texts.to_pylist()]
