"""Columns of single values: JSON values to an Arrow array and back, without altering one.

Each column first tries all values at once, which Arrow does fast; where one of them does not fit, all are looked at one
by one, and what a cell cannot give back goes aside.
"""

from __future__ import annotations

import base64
import binascii
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import date, datetime, timezone
from decimal import Decimal, InvalidOperation
from types import NoneType
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from kimi_beam import jsontext
from kimi_beam.schema.aside import Aside, Place

JSON = pa.json_(pa.string())
Array: TypeAlias = Any
"""A `pyarrow.Array`. The stubs give each type's a class of its own; which it is, is known here when the schema is."""
UNFIT: Any = object()
"""Instead of a cell: the value has none."""

_ARROW_REFUSES = (pa.ArrowException, OverflowError, ValueError, TypeError)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DATE_TIME_PATTERN = r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)"
_DATE_TIME = re.compile(_DATE_TIME_PATTERN, re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_YEAR_1, _YEAR_9999 = -719_162, 2_932_896  # days since 1970 of the first day and the last that Python has a date for
_DAY = 86_400_000_000
_FALSE, _TRUE = pa.scalar(0.0), pa.scalar(1.0)
_EXACT = 1 << 53
"""Beyond it a double is not the integer that its digits spell."""


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
    """A column whose values have no parts."""

    plain: frozenset[type] | None = frozenset()
    """Python types that `array` takes as they are or refuses, and never alters. None: it does so with all."""

    def is_plain(self, values: Sequence[Any]) -> bool:
        """Whether `array` can be asked for all values at once."""
        return self.plain is None or set(map(type, values)) <= self.plain

    def build(self, values: Sequence[Any], place: Place, aside: Aside) -> Array:
        if self.is_plain(values):
            try:
                return self.array(values)
            except _ARROW_REFUSES:
                pass
        cells = []
        for index, value in enumerate(values):
            cell = None if value is None else self.cell(value)
            if cell is UNFIT:
                cell = None
                self.unfit(value, place(index), aside)
            cells.append(cell)
        return self.array_of_cells(cells)

    def array(self, values: Sequence[Any]) -> Array:
        """All values at once.

        Raises:
            ValueError, TypeError, OverflowError, pyarrow.ArrowException: One of them does not fit.
        """
        return pa.array(values, self.type)

    def array_of_cells(self, cells: list[Any]) -> Array:
        """An array of what `cell` gave."""
        return pa.array(cells, self.type)

    def cell(self, value: Any) -> Any:
        """What Arrow takes for a value; `UNFIT` where the cell would not give it back."""
        raise NotImplementedError

    def unfit(self, value: Any, where: tuple[int, str], aside: Aside) -> None:
        """What becomes of a value that has no cell."""
        aside.hold(where, value, suspect=True)

    def read(self, array: Array) -> list[Any]:
        values: list[Any] = array.to_pylist()
        return values


class Text(Cells):
    """Strings as they are."""

    plain: frozenset[type] | None = None
    type = pa.string()

    def cell(self, value: Any) -> Any:
        if type(value) is not str:
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

    plain: frozenset[type] | None = None
    type = pa.bool_()

    def cell(self, value: Any) -> Any:
        return value if type(value) is bool else UNFIT

    def holds_all(self) -> bool:
        return True


class Integer(Cells):
    """Whole numbers, 1.0 among them."""

    plain: frozenset[type] | None = None

    def __init__(self, kind: Any) -> None:
        self.type = kind
        signed = pa.types.is_signed_integer(kind)
        self._low = -(1 << (kind.bit_width - 1)) if signed else 0
        self._high = (1 << (kind.bit_width - signed)) - 1

    def array(self, values: Sequence[Any]) -> Array:
        try:
            # Integers alone have a sum that is one (so have booleans, which Arrow refuses): faster than to ask each.
            whole = type(sum(values)) is int
        except (TypeError, ArithmeticError):
            whole = set(map(type, values)) <= {int, NoneType}
        if not whole:
            raise TypeError("not only integers: Arrow would cut 1.5 down to 1")
        return pa.array(values, self.type)

    def cell(self, value: Any) -> Any:
        if type(value) not in (int, float, Decimal) or not self._low <= value <= self._high:
            return UNFIT
        if type(value) is float and abs(value) > _EXACT:
            return UNFIT
        return int(value) if value == int(value) else UNFIT


class Float(Cells):
    """Numbers that a double gives back."""

    plain: frozenset[type] | None = None
    type: Any = pa.float64()

    def array(self, values: Sequence[Any]) -> Array:
        numbers = pa.array(values, self.type)
        # Booleans have become 0.0 and 1.0: only where there are such are types looked at. All else is refused or kept.
        like_booleans = pc.or_(pc.equal(numbers, _FALSE), pc.equal(numbers, _TRUE))
        if pc.any(like_booleans).as_py() and bool in set(map(type, values)):
            raise TypeError("a boolean among the numbers")
        return numbers

    def cell(self, value: Any) -> Any:
        if type(value) is float:
            return value
        if type(value) not in (int, Decimal):
            return UNFIT
        try:
            number = float(value)
        except OverflowError:
            return UNFIT
        # By its digits: 2**63 is a double too, but one that is written 9.223372036854776e+18. And an integer exactly:
        # the double that is written like 1192092895507812500000000000000000 is another number.
        return number if Decimal(repr(number)) == value and (type(value) is Decimal or number == value) else UNFIT


class Digits(Cells):
    """Decimal numbers, from their digits.

    Args:
        kind: decimal128 or decimal256.
        text: Whether strings of digits are numbers too. They come back as numbers unless `as_text`.
        as_text: Whether the numbers come back as strings.
    """

    plain = frozenset({float, Decimal, int, NoneType})

    def __init__(self, kind: Any, *, text: bool = False, as_text: bool = False) -> None:
        self.type, self._text, self._as_text = kind, text, as_text
        if pa.types.is_decimal256(kind):
            self.plain = frozenset()
        self._unit = Decimal(1).scaleb(-kind.scale)
        self._limit = Decimal(1).scaleb(kind.precision - kind.scale)
        self._shift = float(10**kind.scale)
        self._digits = min(15, kind.precision)

    def array(self, values: Sequence[Any]) -> Array:
        if float not in set(map(type, values)):
            return pa.array(values, self.type)
        # A double of up to 15 digits is the nearest one to them: its digits are those that, divided, give it again.
        numbers = pa.array(values, pa.float64())
        digits = pc.round(pc.multiply(numbers, self._shift))
        same = pc.equal(pc.divide(digits, self._shift), numbers)
        if _beyond(digits, -(10**self._digits) + 1, 10**self._digits - 1) or pc.all(same).as_py() is False:
            raise ValueError("a number of more digits")
        unscaled: Any = digits.cast(pa.int64()).cast(pa.decimal128(38, 0))
        return pa.Array.from_buffers(self.type, len(unscaled), unscaled.buffers(), unscaled.null_count)

    def cell(self, value: Any) -> Any:
        if type(value) is float:
            if abs(value) > _EXACT:
                return UNFIT
            value = Decimal(repr(value))  # the digits that were written: `jsontext` reads longer ones as Decimal
        elif type(value) is str and self._text:
            try:
                value = Decimal(value)
            except InvalidOperation:
                return UNFIT
        elif type(value) not in (int, Decimal):
            return UNFIT
        if type(value) is int:
            return value if -self._limit < value < self._limit else UNFIT
        if not value.is_finite() or not -self._limit < value < self._limit:
            return UNFIT
        exponent = value.as_tuple().exponent
        if exponent >= -self.type.scale:
            return value
        return value if value == value.quantize(self._unit) else UNFIT

    def read(self, array: Array) -> list[Any]:
        if self._as_text:
            return [None if d is None else str(d) for d in array.to_pylist()]
        return [
            None if d is None else int(d) if d == d.to_integral_value() else jsontext.number(d)
            for d in array.to_pylist()
        ]


class Date(Cells):
    """``YYYY-MM-DD``."""

    plain: frozenset[type] | None = None
    type = pa.date32()

    def array(self, values: Sequence[Any]) -> Array:
        text = pa.array(values, pa.string())
        days = text.cast(self.type)
        if not days.cast(pa.string()).equals(text) or _beyond(days.cast(pa.int32()), _YEAR_1, _YEAR_9999):
            raise ValueError("a date of another spelling, or of the year 0")
        return days

    def cell(self, value: Any) -> Any:
        # Python 3.11 reads more spellings than ISO 8601's plain one, which would then come back altered.
        if type(value) is str and _DATE.fullmatch(value):
            try:
                return date.fromisoformat(value)
            except ValueError:
                pass
        return UNFIT

    def read(self, array: Array) -> list[Any]:
        values: list[Any] = array.cast(pa.string()).to_pylist()
        return values


class DateTime(Cells):
    """RFC 3339 date-times: equal as instants, which is what they are."""

    plain: frozenset[type] | None = None
    type: Any = pa.timestamp("us", "UTC")

    def array(self, values: Sequence[Any]) -> Array:
        text = pa.array(values, pa.string())
        if pc.all(pc.match_substring_regex(text, f"^{_DATE_TIME_PATTERN}$")).as_py() is False:
            raise ValueError("a date-time of another spelling")
        instants = text.cast(self.type)
        if _beyond(instants.cast(pa.int64()), _YEAR_1 * _DAY, (_YEAR_9999 + 1) * _DAY - 1):
            raise ValueError("an instant that no calendar year holds")
        return instants

    def cell(self, value: Any) -> Any:
        """Microseconds since 1970."""
        if type(value) is not str or not _DATE_TIME.fullmatch(value):
            return UNFIT
        text = value.upper().replace("Z", "+00:00")
        head, _, tail = text.partition(".")
        if tail:
            digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
            if digits[6:].strip("0"):
                return UNFIT  # finer than a microsecond
            text = f"{head}.{digits[:6]:0<6}{tail[len(digits) :]}"
        try:
            # An instant that no calendar year holds overflows.
            delta = datetime.fromisoformat(text).astimezone(timezone.utc) - _EPOCH
        except (ValueError, OverflowError):
            return UNFIT
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds

    def read(self, array: Array) -> list[Any]:
        return [None if text is None else _rfc3339(text) for text in array.cast(pa.string()).to_pylist()]


def _rfc3339(text: str) -> str:
    """Arrow's ``2026-03-01 12:00:00.500000Z`` as ``2026-03-01T12:00:00.5Z``."""
    day, _, clock = text.removesuffix("Z").partition(" ")
    return f"{day}T{clock.rstrip('0').rstrip('.') if '.' in clock else clock}Z"


def _beyond(numbers: Array, low: int, high: int) -> bool:
    found: Any = pc.min_max(numbers).as_py()
    return found["min"] is not None and not low <= found["min"] <= found["max"] <= high


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

    plain: frozenset[type] | None = None
    type = pa.dictionary(pa.int32(), pa.string())

    def __init__(self, values: Sequence[str]) -> None:
        self._values = pa.array(values, pa.string())
        self._known = frozenset(values)

    def array(self, values: Sequence[Any]) -> Array:
        text = pa.array(values, pa.string())
        indices = pc.index_in(text, value_set=self._values)
        if indices.null_count != text.null_count:
            raise ValueError("a value that is not listed")
        return pa.DictionaryArray.from_arrays(indices, self._values)

    def array_of_cells(self, cells: list[Any]) -> Array:
        return self.array(cells)

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
