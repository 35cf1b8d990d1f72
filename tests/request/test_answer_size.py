"""The bound of an answer: never too small for a good one, never beyond reason, whatever the schema."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from exchanges import json_values
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.request.answer_size import LEAST, MOST, WITH_THINKING, answer_tokens
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.types.document import Document

KEYWORDS = [
    *("type", "properties", "items", "prefixItems", "anyOf", "oneOf", "allOf", "enum", "const", "$ref", "$defs"),
    *("maxItems", "maxLength", "additionalProperties", "required", "a", "b"),
]
_leaves = st.one_of(
    json_values,
    st.sampled_from(["string", "object", "array", "integer", "#", "#/$defs/a", "#/properties/a", "#/$defs/~0~1/%25"]),
    st.just({"$ref": "#"}),
    st.just({"$ref": "#/$defs/a"}),
)
_schemas = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=6),
    max_leaves=25,
)


@settings(derandomize=True, max_examples=700)
@given(_schemas)
def test_any_json_value_as_a_schema_has_a_bound_within_bounds(schema: Any) -> None:
    began = time.process_time()
    assert LEAST <= answer_tokens(schema) <= MOST
    assert time.process_time() - began < 1


REF = {"$ref": "#/$defs/n"}


def _tree(depth: int, width: int, keyword: str) -> Any:
    node: Any = {"type": "string"}
    for _ in range(depth):
        node = {keyword: [node] * width}
    return node


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$defs": {"n": REF}, **REF},
        {"$defs": {"n": {"anyOf": [REF] * 50}}, **REF},
        {"$defs": {"n": {"oneOf": [REF] * 50, "anyOf": [REF] * 50}}, **REF},
        {"$defs": {"n": {"allOf": [REF] * 50}}, **REF},
        {"$defs": {"n": {"prefixItems": [REF] * 50}}, **REF},
        {"$defs": {"n": {"items": [REF] * 50}}, **REF},
        {"$defs": {"n": {"properties": {f"p{i}": REF for i in range(50)}}}, **REF},
        {"$defs": {"n": {"properties": {f"p{i}": {"enum": []} for i in range(50)}, "anyOf": [REF] * 50}}, **REF},
        {"$defs": {"n": {"items": REF, "additionalProperties": REF, "anyOf": [REF, REF], "oneOf": [REF, REF]}}, **REF},
        _tree(40, 50, "anyOf"),
        _tree(40, 50, "allOf"),
        {"properties": {f"p{i}": {"type": "string"} for i in range(50_000)}},
        {"enum": [f"value {i}" for i in range(100_000)]},
        {"enum": ["x" * 10_000_000]},
        {"type": "string", "maxLength": 10**12},
        {"type": "array", "maxItems": 10**12, "items": {"type": "string"}},
    ],
    ids=range(17),
)
def test_no_schema_takes_long(schema: Any) -> None:
    began = time.process_time()
    assert LEAST <= answer_tokens(schema) <= MOST
    assert time.process_time() - began < 2, "the pipeline's construction hangs"


@pytest.mark.parametrize(
    "value",
    [
        2**70,
        -(2**70),
        Decimal("0.10000000000000000001"),
        "\ud83d",
        float("nan"),
        [[[2**70]]],
        {"a": 2**64},
        None,
        {1: 2},
    ],
)
def test_values_beyond_what_fast_json_holds_have_a_size(value: Any) -> None:
    for schema in ({"const": value}, {"enum": [value, "x"]}, {"properties": {"a": {"enum": [value]}}}):
        assert answer_tokens(schema) == LEAST


def test_a_deep_constant_has_a_size() -> None:
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    assert LEAST <= answer_tokens({"const": deep}) <= MOST


# ------------------------------------------------------------------------------------------------ larger is not smaller

_fields = st.dictionaries(
    st.sampled_from([f"field_{i}" for i in range(40)]),
    st.one_of(
        st.just({"type": "string"}),
        st.just({"type": ["number", "null"]}),
        st.just({"type": "boolean"}),
        st.just({"enum": ["a", "b"]}),
        st.builds(lambda n: {"type": "string", "maxLength": n}, st.integers(0, 10_000)),
        st.builds(lambda n: {"type": "array", "items": {"type": "string"}, "maxItems": n}, st.integers(0, 50)),
    ),
    min_size=1,
)


@settings(derandomize=True, max_examples=300)
@given(_fields, _fields)
def test_a_schema_with_more_in_it_has_no_smaller_bound(fields: Any, more: Any) -> None:
    small = {"type": "object", "properties": fields}
    large = {"type": "object", "properties": {**more, **fields}}
    assert answer_tokens(large) >= answer_tokens(small)
    assert answer_tokens({"type": "array", "items": large}) >= answer_tokens({"type": "array", "items": small})
    assert answer_tokens({"type": "array", "items": small}) >= answer_tokens(small)
    assert answer_tokens({"anyOf": [small, large]}) >= max(answer_tokens(small), answer_tokens(large))
    assert answer_tokens({"allOf": [small, large]}) >= answer_tokens(large)
    assert answer_tokens({"$defs": {"x": large}, "$ref": "#/$defs/x"}) >= answer_tokens(small)


def test_properties_that_are_named_by_a_pattern_count_as_others_do() -> None:
    large = {"type": "object", "properties": {f"field_{i}": {"type": "string"} for i in range(60)}}
    sized = {answer_tokens({"type": "object", **more}) for more in ({"patternProperties": {"x": large}},)}
    assert sized == {answer_tokens({"type": "object", "additionalProperties": large})} == {MOST}


# ------------------------------------------------------------------------------------------------ real answers


@pytest.mark.parametrize("name", ["sroie", "einvoice", "cuad"])
def test_the_gold_answers_of_real_documents_fit(shared_data: Path, name: str) -> None:
    directory = shared_data / "documents" / name
    schema = json.loads((directory / "gold.schema.json").read_bytes())
    limit = answer_tokens(schema)
    rows = [json.loads(line) for line in (directory / f"{name}.jsonl").read_bytes().splitlines()]
    sizes = [len(json.dumps(row["gold"], ensure_ascii=False, separators=(",", ":")).encode()) // 3 for row in rows]
    over = [size for size in sizes if size > limit]
    assert not over, f"{len(over)} of {len(sizes)} answers would be cut at {limit} tokens: up to {max(sizes)}"


# ------------------------------------------------------------------------------------------------ as it is sent


@pytest.mark.parametrize(
    ("more", "sent"),
    [
        ({}, LEAST),
        ({"max_completion_tokens": 77}, 77),
        ({"thinking": True}, WITH_THINKING),
        ({"thinking": True, "max_completion_tokens": 77}, 77),
        ({"model": "@cf/moonshotai/kimi-k2.7-code"}, WITH_THINKING),  # nothing turns its thinking off
    ],
)
def test_the_bound_is_sent_and_leaves_room_for_thinking(more: Any, sent: int) -> None:
    schema = OutputSchema({"type": "object", "properties": {"a": {"type": "string"}}})
    assert json.loads(Prompt(schema, **more).request(Document("a", "t"), "r"))["max_completion_tokens"] == sent
