"""``x-check``: equations that the values of an answer fulfil, such as ``sum(line_items.line_total) == total_net``.

The language has paths, ``sum(path)``, ``count(path)``, numbers, ``+ - *``, parentheses, and one ``==``, ``<=`` or
``>=``. Everything is computed in decimals. A side that lacks a value makes the equation say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any

from kimi_beam.errors import SchemaError

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?)|(?P<path>[^\W\d]\w*(?:\.[^\W\d]\w*)*)|(?P<mark>==|<=|>=|[-+*()]))"
)
_LONGEST = 500
_TOLERANCE = Decimal("0.01")
"""By how much two sides may differ, because amounts are rounded. Sides without a fraction are compared exactly."""

_Value = Callable[[Any], "Decimal | None"]


@dataclass(frozen=True)
class SumCheck:
    """One equation.

    Attributes:
        text: The equation as it is written in the schema.
    """

    text: str
    _left: _Value
    _right: _Value
    _sign: str

    @property
    def paths(self) -> frozenset[str]:
        """The paths that it names, such as ``line_items.total``."""
        ahead = zip(found := list(_TOKEN.finditer(self.text)), [*found[1:], None], strict=True)
        return frozenset(one["path"] for one, after in ahead if one["path"] and not (after and after["mark"] == "("))

    def problem(self, instance: Any) -> str | None:
        """Why an answer does not fulfil the equation, in one line; None if it does, or if a value is missing."""
        with localcontext() as context:
            context.prec = 50
            left, right = self._left(instance), self._right(instance)
            if left is None or right is None:
                return None
            apart = abs(left - right) if self._sign == "==" else left - right if self._sign == "<=" else right - left
        if apart <= (_TOLERANCE if _has_fraction(left) or _has_fraction(right) else 0):
            return None
        return f"{self.text}: {_spelt(left)} {'!=' if self._sign == '==' else 'against'} {_spelt(right)}"


def unmet_checks(checks: Sequence[SumCheck], answer: Any) -> Iterator[SumCheck]:
    """The equations that an answer does not fulfil."""
    return (check for check in checks if check.problem(answer) is not None)


def sum_checks(schema: Any) -> tuple[SumCheck, ...]:
    """The equations of a schema: those of ``x-check`` at its root, a string or a list of strings.

    Raises:
        SchemaError: One cannot be read.
    """
    written = schema.get("x-check", ()) if isinstance(schema, Mapping) else ()
    return tuple(map(_parse, [written] if isinstance(written, str) else _listed(written)))


def _listed(written: Any) -> list[str]:
    if isinstance(written, (list, tuple)) and all(isinstance(one, str) for one in written):
        return list(written)
    raise SchemaError('x-check: it is a string such as "sum(items.amount) == total", or a list of such strings')


def _parse(text: str) -> SumCheck:
    reader = _Reader(text)
    left = reader.sum()
    sign = reader.next("an equation needs ==, <= or >=")
    if sign not in ("==", "<=", ">="):
        raise reader.error(f"{sign!r} where ==, <= or >= is expected")
    right = reader.sum()
    if reader.ahead is not None:
        raise reader.error(f"{reader.ahead!r} follows the end")
    return SumCheck(text.strip(), left, right, sign)


class _Reader:
    """Reads an equation, from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        if len(text) > _LONGEST:
            raise self.error(f"it has more than {_LONGEST} characters")
        self._tokens = self._split(text)
        self._kinds: list[str] = [kind for kind, _ in self._tokens]
        self._position = 0

    def _split(self, text: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        position, text = 0, text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self.error(f"{text[position:].strip()[:20]!r} is not understood")
            assert match.lastgroup is not None
            found.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()
        return found

    def error(self, reason: str) -> SchemaError:
        """The error that is raised for the equation."""
        return SchemaError(f"x-check: {reason} in {self._text[:100]!r}")

    @property
    def ahead(self) -> str | None:
        """The next token; None at the end."""
        return self._tokens[self._position][1] if self._position < len(self._tokens) else None

    def next(self, otherwise: str) -> str:
        """Takes the next token."""
        if self.ahead is None:
            raise self.error(otherwise)
        self._position += 1
        return self._tokens[self._position - 1][1]

    def sum(self, depth: int = 0) -> _Value:
        """Reads terms that are added or subtracted."""
        value = self._product(depth)
        while self.ahead in ("+", "-"):
            sign, other = self.next(""), self._product(depth)
            value = _combined(value, other, Decimal.__add__ if sign == "+" else Decimal.__sub__)
        return value

    def _product(self, depth: int) -> _Value:
        value = self._one(depth)
        while self.ahead == "*":
            self.next("")
            value = _combined(value, self._one(depth), Decimal.__mul__)
        return value

    def _one(self, depth: int) -> _Value:
        token = self.next("it ends too early")
        kind = self._tokens[self._position - 1][0]
        if depth > 20:
            raise self.error("parentheses are nested too deep")
        if token == "(":  # noqa: S105
            value = self.sum(depth + 1)
            self._close()
            return value
        if token == "-":  # noqa: S105
            return _combined(_constant(Decimal(0)), self._one(depth + 1), Decimal.__sub__)
        if kind == "number":
            return _constant(Decimal(token))
        if kind != "path":
            raise self.error(f"{token!r} where a path, a number or sum(…) is expected")
        if self.ahead != "(":
            return _only(tuple(token.split(".")))
        if token not in ("sum", "count"):
            raise self.error(f"there is no function {token!r}: there are sum(…) and count(…)")
        self.next("")
        path = self.next("it ends too early")
        if self._tokens[self._position - 1][0] != "path":
            raise self.error(f"{path!r} where the path of the values is expected")
        self._close()
        return _summed(tuple(path.split("."))) if token == "sum" else _counted(tuple(path.split(".")))  # noqa: S105

    def _close(self) -> None:
        if self.next("a parenthesis is not closed") != ")":
            raise self.error("a parenthesis is not closed")


def _combined(one: _Value, other: _Value, how: Callable[[Decimal, Decimal], Decimal]) -> _Value:
    def value(instance: Any) -> Decimal | None:
        left, right = one(instance), other(instance)
        return None if left is None or right is None else how(left, right)

    return value


def _constant(number: Decimal) -> _Value:
    return lambda _: number


def _only(path: tuple[str, ...]) -> _Value:
    def value(instance: Any) -> Decimal | None:
        found = [_decimal(one) for one in values_at(instance, path)]
        return found[0] if len(found) == 1 else None

    return value


def _summed(path: tuple[str, ...]) -> _Value:
    def value(instance: Any) -> Decimal | None:
        found = [_decimal(one) for one in values_at(instance, path)]
        return None if None in found or not found else sum((one for one in found if one is not None), Decimal(0))

    return value


def _counted(path: tuple[str, ...]) -> _Value:
    return lambda instance: Decimal(sum(1 for one in values_at(instance, path) if one is not None))


def values_at(instance: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """All values at a path of names; the items of arrays on the way are passed through.

    A member that is missing counts as null, so that a sum that lacks a value is not taken for a complete one.
    """
    if isinstance(instance, list):
        for item in instance:
            yield from values_at(item, path)
    elif not path:
        yield instance
    elif isinstance(instance, Mapping):
        yield from values_at(instance.get(path[0]), path[1:])
    else:
        yield None


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        return None
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except (InvalidOperation, ValueError):
        return None
    return number if number.is_finite() else None


def _has_fraction(number: Decimal) -> bool:
    return number != number.to_integral_value()


def _spelt(number: Decimal) -> str:
    return f"{number:f}" if abs(number.adjusted()) < 40 else str(number)
