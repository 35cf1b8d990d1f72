"""Explains why an instance is invalid, in bounded time and memory, because answers are untrusted.

The explanation of a union says why each of its branches failed. With unions inside unions it doubles at each level, and
grows with each invalid value of a large answer: at 18 levels it takes minutes, while validity itself is decided in
hundredths of a second. So an explanation that may grow like that is searched in a limited number of steps, and given up
after these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import jsonschema
from jsonschema.exceptions import best_match
from jsonschema.validators import extend, validator_for

from kimi_beam.schema import jsontext
from kimi_beam.schema.references import Scope, size
from kimi_beam.schema.source import Definition
from kimi_beam.schema.violations import Formats, Violation, all_of, first_of, is_of_format, violation

_EXPLAINERS = {
    "4": jsonschema.Draft4Validator,
    "6": jsonschema.Draft6Validator,
    "7": jsonschema.Draft7Validator,
    "2019-09": jsonschema.Draft201909Validator,
    "2020-12": jsonschema.Draft202012Validator,
}
_MAX_SIZE = 10_000
"""The size of a schema up to which everything is explained: its subschemas, counted again for each reference."""
_MAX_VALUES = 10_000
"""The number of values in an instance up to which everything is explained."""
_MAX_WORK = 50_000_000
"""Size of the schema times bytes of the instance up to which everything is explained: a reason quotes its value."""
_MAX_STEPS = 3_000
"""Keywords that a limited explanation looks at; each takes some 20 µs."""
_MAX_DEPTH = 100
"""Nesting of keywords that a limited explanation follows; each level takes some four Python calls."""
_SMALL = 2_000
_MEDIUM = 20_000
_NOT_EXPLAINED = Violation(
    "", "anyOf", "it is not what the schema says; why its unions fail is too much to be explained"
)


_LEAF = frozenset(
    {"type", "enum", "const", "format", "pattern", "minLength", "maxLength", "multipleOf", "title", "description"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "default", "examples", "x-arrow-type", "x-merge"}
    | {"x-compare"}
)


def _is_leaf(branch: Any) -> bool:
    return not isinstance(branch, dict) or _LEAF.issuperset(branch)


class Explainer:
    """Explains why instances violate one schema.

    Args:
        validator: The validator that `violations.compiled` returned.
        schema: The schema.
        documents: The other schemas that it may refer to, by URI.
        scope: Returns the resolver of its references.
        draft: Its draft, if the schema has no ``$schema``; None: 2020-12.
        formats: Whether ``format`` asserts, and whether date-times and times may then lack an offset.
    """

    def __init__(
        self,
        validator: Any,
        schema: Definition,
        documents: Mapping[str, Any],
        scope: Callable[[], Scope],
        draft: str | None,
        *,
        formats: Formats,
    ) -> None:
        self._validator, self._schema, self._documents = validator, schema, documents
        self._scope, self._draft, self._formats = scope, draft, formats

    def line(self, instance: Any) -> str:
        """The first violations of an invalid instance, or the most relevant one of a union, as one line."""
        said = self._first_violations(instance)
        if self._formats is True and any(f'is not a "{name}"' in said for name in ("date-time", "time")):
            said += " [it needs an offset from UTC, such as Z; formats='local', --formats local, takes it without one]"
        return said

    def _first_violations(self, instance: Any) -> str:
        text = jsontext.dumps_any(instance)
        if self._may_explode(text):
            return str(self._best_match(instance, text) or _NOT_EXPLAINED)
        first = first_of(self._validator, instance)
        if first is None:
            return ""
        if first.keyword in ("anyOf", "oneOf"):
            return str(self._best_match(instance, text) or first)
        is_small = len(text) < _SMALL and self._size < _MAX_SIZE
        return "; ".join(map(str, all_of(self._validator, instance)[:3] if is_small else [first]))

    def violations(self, instance: Any) -> list[Violation]:
        """All violations of an invalid instance; only one if there might be too many."""
        text = jsontext.dumps_any(instance)
        if self._may_explode(text):
            return [self._best_match(instance, text) or _NOT_EXPLAINED]
        if self._size < _MAX_SIZE:
            return all_of(self._validator, instance)
        first = first_of(self._validator, instance)
        return [] if first is None else [first]

    def first(self, instance: Any) -> Violation | None:
        """The first violation; None if the instance is valid."""
        if self._validator.is_valid(instance):
            return None
        text = jsontext.dumps_any(instance)
        if self._may_explode(text):
            return self._best_match(instance, text) or _NOT_EXPLAINED
        return first_of(self._validator, instance)

    def _may_explode(self, text: bytes) -> bool:
        """Whether there may be too many reasons why a union fails. Without unions the first violation is enough."""
        return self._has_deep_unions and (
            self._size >= _MAX_SIZE
            or text.count(b",") + text.count(b":") > _MAX_VALUES
            or self._size * len(text) > _MAX_WORK
        )

    @cached_property
    def _canonical(self) -> bytes:
        return jsontext.canonical([self._schema, dict(self._documents)])

    @cached_property
    def _has_deep_unions(self) -> bool:
        """Whether a branch of a union has subschemas. One without them fails only once, however large the value is."""
        if b'"anyOf"' not in self._canonical and b'"oneOf"' not in self._canonical:
            return False
        waiting: list[Any] = [self._schema, *self._documents.values()]
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                for keyword in ("anyOf", "oneOf"):
                    branches = value.get(keyword)
                    if isinstance(branches, list) and not all(map(_is_leaf, branches)):
                        return True
                waiting += value.values()
            elif isinstance(value, list):
                waiting += value
        return False

    @cached_property
    def _size(self) -> int:
        combines = any(word in self._canonical for word in (b'"anyOf"', b'"oneOf"', b'"allOf"', b'"depend', b'"then"'))
        # Without combinations each value is looked at by one schema only, also if the schema is recursive.
        return size(self._scope(), _MAX_SIZE) if combines else 1

    def _best_match(self, instance: Any, text: bytes) -> Violation | None:
        """The violation that `jsonschema` finds most relevant, as it looks into the branches of a union."""
        if b'"patternProperties"' in self._canonical or len(text) > _MEDIUM:
            return None
        try:
            kind = validator_for(self._schema, _EXPLAINERS[self._draft or "2020-12"])
            error = best_match(_counted(kind, _MAX_STEPS, self._formats)(self._schema).iter_errors(instance))
        except Exception:  # too many steps, or anything that it raises on a schema that only `jsonschema-rs` can read
            return None
        return error and violation(error.absolute_path, str(error.validator), error.message)


class _TooManyStepsError(Exception):
    """The explanation has reached its limit of keywords or of nesting."""


def _counted(kind: Any, steps: int, formats: Formats) -> Any:
    """A subclass of a validator class that raises `_TooManyStepsError` after this many keywords."""
    left, depth = [steps], [0]

    def counting(keyword: Callable[..., Iterator[Any] | None]) -> Callable[..., Iterator[Any]]:
        def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
            left[0] -= 1
            # Python's own recursion limit does not help, because a library in Rust panics when it is reached.
            if left[0] < 0 or depth[0] == _MAX_DEPTH:
                raise _TooManyStepsError
            depth[0] += 1
            try:
                yield from keyword(validator, value, instance, schema) or ()
            finally:
                depth[0] -= 1

        return check

    def format_(_: Any, name: Any, value: Any, __: Any) -> Iterator[Any]:
        if formats and isinstance(name, str) and not is_of_format(name, value, formats=formats):
            yield jsonschema.ValidationError(f'{jsontext.dumps_any(value).decode()} is not a "{name}"')

    keywords = {**kind.VALIDATORS, "format": format_}
    checks = {name: counting(keyword) for name, keyword in keywords.items()}
    return extend(kind, {**checks, **dict.fromkeys(_ENDLESS, _nothing_against)})


# A hostile answer can keep `jsonschema` busy for ever: its patterns are Python's, and its uniqueItems is quadratic.
_ENDLESS = ("pattern", "uniqueItems")


def _nothing_against(*_: Any) -> Iterator[Any]:
    return iter(())
