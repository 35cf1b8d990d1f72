from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_beam.errors import SchemaError
from kimi_beam.request.splitting import Limits, split
from kimi_beam.results.merging import Conflict, Merged, PartAnswer, merge
from kimi_beam.schema import OutputSchema
from kimi_beam.types.document import Document


def schema_of(properties: dict[str, Any], **more: Any) -> OutputSchema:
    return OutputSchema({"type": "object", "properties": properties, **more})


def merged(schema: OutputSchema, *values: Any) -> Merged:
    answers = [PartAnswer(10 * n, 10 * n + 10, value) for n, value in enumerate(values)]
    return merge(answers, schema.merge_rules)


ITEMS = {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}}


def test_equal_items_of_two_parts_stay_two_in_the_order_of_the_document() -> None:
    schema = schema_of({"items": ITEMS})
    rows = [{"name": "b"}, {"name": "a"}, {"name": "a"}, {"name": "b"}]
    assert merged(schema, {"items": rows[:2]}, {"items": rows[2:]}).value == {"items": rows}


def test_an_array_of_unique_items_is_a_set_and_so_is_one_that_says_union() -> None:
    tags = {"type": "array", "items": {"type": "string"}}
    for rule in ({"uniqueItems": True}, {"x-merge": "union"}):
        schema = schema_of({"tags": {**tags, **rule}})
        assert merged(schema, {"tags": ["a", "b"]}, {"tags": ["b", "c"]}).value == {"tags": ["a", "b", "c"]}


def test_objects_are_merged_member_by_member_and_conflicts_have_both_places() -> None:
    schema = schema_of({"seller": {"type": "object", "properties": {"name": {"type": "string"}}}})
    found = merged(
        schema, {"seller": {"name": "A"}}, {"seller": {"name": None, "iban": "DE1"}}, {"seller": {"name": "B"}}
    )
    assert found.value == {"seller": {"name": "A", "iban": "DE1"}}
    assert found.conflicts == (Conflict("/seller/name", "A", (0, 10), "B", (20, 30)),)


@pytest.mark.parametrize(
    ("how", "values", "expected"),
    [
        ("first", [None, 2, 3], 2),
        ("last", [1, 2, None], 2),
        ("majority", [1, 2, 2.0], 2),
        ("max", [1, 3.5, 2], 3.5),
        ("min", ["2026-02-01", "2026-01-31"], "2026-01-31"),
        ("sum", [0.1, 0.2], 0.3),
        ("sum", [1, 2, None], 3),
        ("longest", ["a", "abc", "ab"], "abc"),
        ("any", [False, None, True], True),
        ("all", [True, False], False),
    ],
)
def test_a_property_is_merged_by_its_rule(how: str, values: list[Any], expected: Any) -> None:
    kind = {"any": "boolean", "all": "boolean", "longest": "string", "min": "string"}.get(how, "number")
    schema = schema_of({"x": {"type": [kind, "null"], "x-merge": how}})
    found = merged(schema, *({"x": value} for value in values))
    assert found.value == {"x": expected}
    assert bool(found.conflicts) == (how in ("first", "last", "majority", "longest"))


def test_a_rule_behind_a_reference_or_in_a_nullable_union_counts() -> None:
    schema = schema_of(
        {"a": {"$ref": "#/$defs/n"}, "b": {"anyOf": [{"type": "number", "x-merge": "max"}, {"type": "null"}]}},
        **{"$defs": {"n": {"type": "number", "x-merge": "sum"}}},
    )
    assert merged(schema, {"a": 1, "b": 1}, {"a": 2, "b": 3}, {"b": None}).value == {"a": 3, "b": 3}


@pytest.mark.parametrize("bad", ["newest", 1, None, ["first"]])
def test_an_unknown_rule_is_refused_when_the_schema_is_loaded(bad: Any) -> None:
    with pytest.raises(SchemaError, match=r"x-merge at '/properties/x'.*first, last"):
        schema_of({"x": {"type": "string", "x-merge": bad}})


def test_a_rule_for_another_type_is_refused() -> None:
    with pytest.raises(SchemaError, match="boolean"):
        schema_of({"x": {"type": "string", "x-merge": "any"}})
    schema_of({"x": {"type": ["boolean", "null"], "x-merge": "any"}})


def test_what_no_part_states_is_null_or_an_empty_list_where_it_is_required() -> None:
    schema = schema_of(
        {"total": {"type": ["number", "null"]}, "items": ITEMS, "name": {"type": "string"}},
        required=["total", "items", "name"],
    )
    found = merged(schema, {}, {"items": []})
    assert found.value == {"total": None, "items": []}, "a name that is required and missing is a violation"
    assert not schema.is_valid(found.value)
    assert merged(schema, {}, {}).value == {"total": None, "items": []}


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ({"type": "array", "items": {"type": "object"}}, []),
        ({"type": ["array", "null"]}, None),
        ({"type": "array", "minItems": 1}, None),
        ({"type": "object", "required": ["a"], "properties": {"a": {"type": "array"}}}, {"a": []}),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, {}),
        ({"type": ["object", "null"], "required": ["a"], "properties": {"a": {"type": "array"}}}, None),
        ({"type": "string"}, None),
    ],
)
def test_a_document_of_which_no_part_states_anything_is_empty(definition: Any, expected: Any) -> None:
    schema = OutputSchema(definition)
    assert merged(schema, None, None).value == expected
    assert schema.is_valid(expected) == (definition["type"] != "string" and "minItems" not in definition)


@pytest.mark.parametrize(
    ("values", "expected", "kept"),
    [
        ([False, None, True], True, (20, 30)),
        ([None, False, False], False, None),
        ([True, False], True, (0, 10)),
        ([None, None], None, None),
    ],
)
def test_yes_in_one_part_counts_more_than_no_in_another(values: list[Any], expected: Any, kept: Any) -> None:
    """A model that does not see a clause in its part answers false for it. The contradiction is kept all the same."""
    schema = schema_of({"x": {"type": ["boolean", "null"]}})
    found = merged(schema, *({"x": value} for value in values))
    assert found.value == {"x": expected}
    assert [(one.kept, one.kept_span) for one in found.conflicts] == ([] if kept is None else [(True, kept)])
    first = merged(schema_of({"x": {"type": "boolean", "x-merge": "first"}}), *({"x": value} for value in values))
    assert first.value == {"x": next((value for value in values if value is not None), None)}


def test_an_item_that_was_read_in_the_context_is_left_out_but_a_repeated_row_is_not() -> None:
    schema = schema_of({"items": {"type": "array", "items": {"type": "object"}}})
    before, own = "Bolt  2  4.00\nNut  1  1.50", "Nut  1  1.50\nScrew  9  9.00"
    bolt, nut, screw = (
        {"name": n, "qty": q, "sum": s} for n, q, s in (("Bolt", 2, 4.0), ("Nut", 1, 1.5), ("Screw", 9, 9))
    )
    for answered, kept, left_out in (
        ([nut, screw], [nut, screw], 0),
        ([bolt, nut, nut, screw], [nut, screw], 2),
        ([bolt, screw], [screw], 1),
        (
            [{"name": "Something that the model made up"}, screw],
            [{"name": "Something that the model made up"}, screw],
            0,
        ),
    ):
        found = merge([PartAnswer(0, 9, {"items": answered}, own, before)], schema.merge_rules)
        assert (found.value["items"], found.from_context) == (kept, left_out)


ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), max_size=60)


@given(ROWS, st.integers(40, 400), st.booleans())
def test_the_rows_of_all_parts_are_those_of_the_document(
    rows: list[tuple[int, int]], tokens: int, greedy: bool
) -> None:
    """However it is split, and also if the model lists what stands in the context: rows repeat often here."""
    lines = [f"Widget {number}    {count}    {count}.50" for number, count in rows]
    text = "\n".join(["Shop", "", "Item       Qty   Sum", *lines, "", "Total  99.00"])
    schema = schema_of({"rows": {"type": "array", "items": {"type": "object"}}})

    def read(shown: str) -> list[dict[str, Any]]:
        each = [line.split() for line in shown.splitlines() if line.startswith("Widget")]
        return [{"name": f"Widget {n}", "count": int(c), "sum": float(s)} for _, n, c, s in each]

    answers = []
    for part in split(Document("a", text), Limits(tokens, 1_000_000)):
        assert part.part is not None
        shown = f"{part.part.before}\n{part.text}" if greedy else part.text
        where = part.part.start, part.part.end
        answers.append(PartAnswer(*where, {"rows": read(shown)}, part.text, part.part.before))
    assert merge(answers, schema.merge_rules).value["rows"] == read(text)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(JSONS, min_size=1, max_size=4))
def test_whatever_parts_answer_is_merged_without_an_error_and_one_part_alone_is_unchanged(values: list[Any]) -> None:
    schema = schema_of({"a": {"type": "array"}, "b": {"type": ["number", "null"], "x-merge": "sum"}})
    json.dumps(merged(schema, *values).value)
    assert merged(schema, values[0]).value == (values[0] if values[0] is not None else {})


def test_many_conflicts_are_bounded() -> None:
    made = random.Random(1)
    values = [{f"k{n}": made.random() for n in range(300)} for _ in range(3)]
    assert len(merged(schema_of({"k0": {"type": "number"}}), *values).conflicts) == 100
