"""Why an instance is not valid, in bounded time and memory: validity decides, and the explanation is cut short.

An answer is untrusted, and a union's explanation says why each of its branches failed. Where unions stand in unions
that doubles with each level, and each failed value of a large answer is one more: at 18 levels it takes minutes where
validity is known in hundredths of a second. So what may grow like that is explained by counted steps, or not at all.
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
"""Places of a schema, those behind references once for each reference, that an explanation may look at."""
_MAX_VALUES = 10_000
"""Values of an instance of which each may be a reason why a branch of a union failed."""
_MAX_WORK = 50_000_000
"""Places of the schema times bytes of the instance: each reason holds the value that it is about."""
_MAX_STEPS = 3_000
"""Keywords that are looked at, some 20 µs each, where an explanation goes by counted steps."""
_MAX_DEPTH = 100
"""Keywords within keywords, of some four Python calls each, where an explanation goes by counted steps."""
_SMALL = 2_000
_MEDIUM = 20_000
_NOT_EXPLAINED = Violation(
    "", "anyOf", "it is not what the schema says; why its unions fail is too much to be explained"
)


_LEAF = frozenset(
    {"type", "enum", "const", "format", "pattern", "minLength", "maxLength", "multipleOf", "title", "description"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "default", "examples", "x-arrow-type"}
)


def _is_leaf(branch: Any) -> bool:
    return not isinstance(branch, dict) or _LEAF.issuperset(branch)


class Explainer:
    """Explains what one schema says against instances.

    Args:
        validator: What `violations.compiled` gave.
        schema: The schema.
        documents: Other schemas by URI.
        scope: Gives where its references lead.
        draft: Its draft where it does not say; None: 2020-12.
        formats: Whether ``format`` asserts, and how.
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
        """The first violations of an instance that is not valid, or the one that tells most of a union's, as a line."""
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
        """Each violation of an instance that is not valid; one where all of them might be too many."""
        text = jsontext.dumps_any(instance)
        if self._may_explode(text):
            return [self._best_match(instance, text) or _NOT_EXPLAINED]
        if self._size < _MAX_SIZE:
            return all_of(self._validator, instance)
        first = first_of(self._validator, instance)
        return [] if first is None else [first]

    def first(self, instance: Any) -> Violation | None:
        """The first violation; None where the instance is valid."""
        if self._validator.is_valid(instance):
            return None
        text = jsontext.dumps_any(instance)
        if self._may_explode(text):
            return self._best_match(instance, text) or _NOT_EXPLAINED
        return first_of(self._validator, instance)

    def _may_explode(self, text: bytes) -> bool:
        """Whether the reasons why a union fails may be too many; without one the first violation ends the search."""
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
        """Whether a union has a branch with places of its own: a leaf fails once, however large the instance is."""
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
        # Otherwise each value is looked at by one schema at a time, however often that leads back to itself.
        return size(self._scope(), _MAX_SIZE) if combines else 1

    def _best_match(self, instance: Any, text: bytes) -> Violation | None:
        """The violation that `jsonschema` holds most relevant; it looks into the branches of a union."""
        if b'"patternProperties"' in self._canonical or len(text) > _MEDIUM:
            return None
        try:
            kind = validator_for(self._schema, _EXPLAINERS[self._draft or "2020-12"])
            error = best_match(_counted(kind, _MAX_STEPS, self._formats)(self._schema).iter_errors(instance))
        except Exception:  # too many steps, or whatever it raises on a schema that only the other validator can read
            return None
        return error and violation(error.absolute_path, str(error.validator), error.message)


class _TooManyStepsError(Exception):
    """The explanation has looked at as many keywords as it may, or as deep."""


def _counted(kind: Any, steps: int, formats: Formats) -> Any:
    """The validator class, but that it looks at so many keywords and no more."""
    left, depth = [steps], [0]

    def counting(keyword: Callable[..., Iterator[Any] | None]) -> Callable[..., Iterator[Any]]:
        def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
            left[0] -= 1
            # Python's own bound on depth is no help: where a library in Rust meets it, that ends in a panic.
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


# Its patterns are Python's, which a hostile answer can keep busy for ever; its uniqueItems is quadratic.
_ENDLESS = ("pattern", "uniqueItems")


def _nothing_against(*_: Any) -> Iterator[Any]:
    return iter(())
