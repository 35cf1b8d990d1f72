"""Random schemas of all keywords: every valid instance is read back unaltered, and nothing crashes."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kimi_beam.errors import SchemaError
from kimi_beam.schema import ADDITIONAL, OutputSchema, jsontext

_NAMES = st.sampled_from(["a", "b", "c", "", "a/b", "~", "_additional"])
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(
        [0, 1, -1, 5, 2**31, 2**63, -(2**63), 2**64, 10**30, 1.0, 0.5, 0.01, 19.99, 1e300, -0.0, 1e23, 10**23, 2.0**60]
    ),
    st.sampled_from(["", "a", "x", "2026-03-01", "2026-03-01T12:00:00Z", "2026-03-01T12:00:60Z", "0000-01-01", "AA=="]),
    st.sampled_from([Decimal("0.10000000000000000001"), Decimal("1E+400")]),
)
_VALUES = st.recursive(
    _SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(_NAMES, v, max_size=3), max_leaves=8
)
_TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "object", "array"])


def _keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    schemas = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(_NAMES, inner, max_size=3)
    optional: dict[str, st.SearchStrategy[Any]] = {
        "type": _TYPES | st.lists(_TYPES, min_size=1, max_size=3, unique=True),
        "properties": named,
        "required": st.lists(_NAMES, max_size=2, unique=True),
        "additionalProperties": inner,
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$", ""]), inner, max_size=2),
        "items": inner,
        "prefixItems": schemas,
        "minItems": st.integers(0, 2),
        "contains": inner,
        "allOf": schemas,
        "anyOf": schemas,
        "oneOf": schemas,
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "dependentSchemas": named,
        "unevaluatedProperties": inner,
        "unevaluatedItems": inner,
        "propertyNames": inner,
        "enum": st.lists(_VALUES, min_size=1, max_size=3),
        "const": _VALUES,
        "format": st.sampled_from(["date", "date-time", "byte", "uuid", "int32", "time"]),
        "minimum": st.sampled_from([0, -1, 0.5, -(2**40)]),
        "maximum": st.sampled_from([10, 255, 2**64 - 1, 1e300]),
        "multipleOf": st.sampled_from([1, 0.01, 0.5, 1e-6, 3]),
        "$ref": st.sampled_from(["#", "#/$defs/a", "#/$defs/b"]),
        "$dynamicRef": st.sampled_from(["#", "#/$defs/a"]),
    }
    few = st.lists(st.sampled_from(sorted(optional)), min_size=1, max_size=4, unique=True)
    return few.flatmap(lambda keys: st.fixed_dictionaries({key: optional[key] for key in keys}))


_SCHEMAS = st.recursive(
    st.booleans() | st.just({}) | _TYPES.map(lambda t: {"type": t}) | _VALUES.map(lambda v: {"const": v}),
    _keywords,
    max_leaves=10,
)


@st.composite
def _roots(draw: st.DrawFn) -> Any:
    root = draw(_keywords(_SCHEMAS))
    return {**root, "$defs": {"a": draw(_SCHEMAS), "b": draw(_SCHEMAS)}}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(_same, one, other))
    if one is None or isinstance(one, bool) or other is None or isinstance(other, bool):
        return one is other
    if isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    # By their digits, as in JSON; and to Python, where neither was read as Decimal.
    numbers = [Decimal(repr(n)) if isinstance(n, float) else Decimal(n) for n in (one, other)]
    return numbers[0] == numbers[1] and (one == other or Decimal in (type(one), type(other)))


@settings(derandomize=True, max_examples=400, suppress_health_check=list(HealthCheck))
@given(definition=_roots(), instances=st.lists(_VALUES, min_size=4, max_size=12), formats=st.booleans())
def test_whatever_the_schema_what_it_holds_valid_comes_back_from_a_file(
    definition: Any, instances: list[Any], formats: bool
) -> None:
    try:
        schema = OutputSchema(definition, formats=formats, keep_nulls=True)
    except SchemaError:
        return  # two references that lead to each other, say
    again = OutputSchema(jsontext.loads(jsontext.dumps(definition)), formats=formats, keep_nulls=True)
    assert again.arrow_schema.equals(schema.arrow_schema, check_metadata=True)
    assert json.loads(jsontext.dumps(schema.response_format))
    assert json.loads(jsontext.dumps(schema.simple_response_format))
    valid = [schema.is_valid(instance) for instance in instances]
    assert [not schema.validate(instance) for instance in instances] == valid
    batch, bad = schema.to_arrow(instances)
    batch.validate(full=True)
    refused = {index for index, _ in bad}
    assert not any(valid[index] for index in refused), "a valid instance has a row, always"
    file = io.BytesIO()
    pq.write_table(pa.Table.from_batches([batch]), file)
    back = schema.from_arrow(pq.read_table(file))
    kept = [instance for index, instance in enumerate(instances) if index not in refused]
    assert len(back) == len(kept)
    for one, other in zip(back, kept, strict=True):
        assert _same(one, other), f"{other!r} came back as {one!r}"
    usual = OutputSchema(definition, formats=formats)
    whole = [instance for instance, is_valid in zip(instances, valid, strict=True) if is_valid]
    for one, other in zip(usual.from_arrow(usual.to_arrow(whole)[0]), whole, strict=True):
        assert usual.is_valid(one), f"{other!r} came back as {one!r}, which is not valid"
        assert _same(_bare(one), _bare(other)), f"{other!r} came back as {one!r}"


def _bare(value: Any) -> Any:
    """The value without the null members of its objects."""
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items() if item is not None}
    return [_bare(item) for item in value] if isinstance(value, list) else value


@settings(derandomize=True, max_examples=150, suppress_health_check=list(HealthCheck))
@given(definition=_roots(), instance=_VALUES)
def test_a_null_is_taken_for_absent_only_where_null_is_no_value(definition: Any, instance: Any) -> None:
    try:
        schema = OutputSchema(definition)
    except SchemaError:
        return
    less, count = schema.without_sent_nulls(instance)
    assert (less is instance) == (count == 0)
    assert OutputSchema(definition, closed=True).validate(instance) or schema.is_valid(instance)
    assert schema.arrow_schema.names[-1] == ADDITIONAL
