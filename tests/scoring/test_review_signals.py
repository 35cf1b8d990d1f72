"""Which signals a value has, and that no further one makes it look better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kimi_beam.schema import OutputSchema
from kimi_beam.schema.sum_checks import sum_checks
from kimi_beam.scoring.answer_leaves import AnswerLeaf, answer_leaves
from kimi_beam.scoring.compared_places import places_of
from kimi_beam.scoring.review_signals import (
    MATCH_SIGNALS,
    SIGNALS,
    FieldHabits,
    RowEvidence,
    as_places,
    risk,
    row_signals,
)
from kimi_beam.scoring.row_places import Place
from kimi_beam.types.grounding import GROUNDED

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "shop": {"type": ["string", "null"]},
        "currency": {"enum": ["EUR", "USD"]},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "count": {"type": "integer"}, "sum": {"type": "number"}},
            },
        },
        "note": {"type": "string", "x-compare": "ignore"},
    },
}
ANSWER: dict[str, Any] = {
    "shop": None,
    "currency": "EUR",
    "lines": [{"name": "pen", "count": 2, "sum": 3.0}, {"name": "ink", "count": 1, "sum": 4.0}],
    "note": "n",
}
LEAVES = list(answer_leaves(ANSWER, places_of(OutputSchema(SCHEMA))))
PLACES = {
    "/currency": Place("exact", 0, 3, 1),
    **{
        f"/lines/{row}/{key}": Place("exact", 100 + 60 * row + at, 105 + 60 * row + at, 1)
        for row in range(2)
        for at, key in ((0, "name"), (20, "count"), (40, "sum"))
    },
}
EVIDENCE = RowEvidence(places=PLACES)


def signals(evidence: RowEvidence, habits: dict[str, FieldHabits] | None = None) -> dict[str, dict[str, float]]:
    return {leaf.pointer: found for leaf, found in row_signals(LEAVES, evidence, habits or {})}


def test_each_value_and_each_place_without_one_is_a_leaf_but_what_is_ignored() -> None:
    assert [(one.pointer, one.field, one.value, one.item) for one in LEAVES] == [
        ("/currency", "/currency", "EUR", ""),
        ("/shop", "/shop", None, ""),
        ("/lines/0/name", "/lines/*/name", "pen", "/lines/0"),
        ("/lines/0/count", "/lines/*/count", 2, "/lines/0"),
        ("/lines/0/sum", "/lines/*/sum", 3.0, "/lines/0"),
        ("/lines/1/name", "/lines/*/name", "ink", "/lines/1"),
        ("/lines/1/count", "/lines/*/count", 1, "/lines/1"),
        ("/lines/1/sum", "/lines/*/sum", 4.0, "/lines/1"),
    ]


def test_a_value_that_is_not_grounded_is_riskier_than_any_that_is() -> None:
    least = min(share for match, share in MATCH_SIGNALS.items() if match not in GROUNDED)
    assert least > max(MATCH_SIGNALS[match] for match in GROUNDED)


@pytest.mark.parametrize(
    ("changed", "pointer", "name"),
    [
        ({"conflicts": ["/lines/0/sum"]}, "/lines/0/sum", "conflict"),
        ({"conflicts": ["/lines/0"]}, "/lines/0/sum", "conflict"),
        ({"coerced": ["/lines/0/sum"]}, "/lines/0/sum", "coerced"),
        ({"asked_again": ["/shop"]}, "/shop", "asked_again"),
        ({"failed": frozenset(("lines.sum",))}, "/lines/1/sum", "failed_check"),
        ({"places": {**PLACES, "/lines/0/sum": Place("exact", 900, 903, 1)}}, "/lines/0/sum", "apart"),
        ({"places": {**PLACES, "/lines/0/sum": PLACES["/lines/0/sum"]._replace(candidates=3)}}, "/lines/0/sum",
         "ambiguous"),
    ],
)  # fmt: skip
def test_a_signal_is_on_its_value_alone_and_makes_it_riskier(changed: Any, pointer: str, name: str) -> None:
    before, after = signals(EVIDENCE), signals(replace(EVIDENCE, **changed))
    assert name in after[pointer]
    assert name not in before[pointer]
    assert risk(after[pointer]) > risk(before[pointer])
    others = [one for one, found in after.items() if name in found and one != pointer]
    assert others in ([], ["/lines/0/sum"], ["/lines/0/name", "/lines/0/count"])


def test_a_place_that_rows_share_is_told_but_not_where_the_whole_column_shares_it() -> None:
    lines = [{"name": f"n{row}", "count": row, "sum": 1.0} for row in range(10)]
    leaves = list(answer_leaves({"lines": lines}, places_of(OutputSchema(SCHEMA))))
    places = {
        one.pointer: Place("exact", *((0, 3) if one.field == "/lines/*/sum" else (100 * at, 100 * at + 3)), 1)
        for at, one in enumerate(leaves)
    }
    places["/lines/4/name"] = places["/lines/3/name"]
    found = {leaf.pointer: names for leaf, names in row_signals(leaves, RowEvidence(places=places), {})}
    assert {pointer for pointer, names in found.items() if "same_place" in names} == {"/lines/4/name"}, (
        "the third item has its name from its own row"
    )
    assert "other_row" in found["/lines/4/name"]
    for name in ("name", "count"):
        places[f"/lines/4/{name}"] = places[f"/lines/3/{name}"]
    found = {leaf.pointer: names for leaf, names in row_signals(leaves, RowEvidence(places=places), {})}
    assert {pointer for pointer, names in found.items() if "same_place" in names} == {
        f"/lines/{row}/{name}" for row in (3, 4) for name in ("name", "count")
    }, "a row that was read twice"


def placed(layout: Callable[[int, int], int], rows: int = 12) -> tuple[list[AnswerLeaf], dict[str, Place]]:
    """The leaves of an answer with many rows, and their places by a layout of row and column."""
    lines = [{"name": f"n{row}", "count": row, "sum": row / 4} for row in range(rows)]
    leaves = list(answer_leaves({"lines": lines}, places_of(OutputSchema(SCHEMA))))
    places = {}
    for leaf in leaves:
        if leaf.item:
            row, name = leaf.pointer.split("/")[2:]
            at = layout(int(row), ("name", "count", "sum").index(name))
            places[leaf.pointer] = Place("exact", at, at + 3, 1)
    return leaves, places


def strayed(leaves: list[AnswerLeaf], places: dict[str, Place]) -> set[str]:
    found = row_signals(leaves, RowEvidence(places=places), {})
    return {leaf.pointer for leaf, names in found if {"other_row", "apart"} & names.keys()}


LAYOUTS: dict[str, Callable[[int, int], int]] = {
    "aligned columns": lambda row, column: 80 * row + 25 * column,
    "names of any length": lambda row, column: 60 * row + (0, 10 + row * 7 % 23, 22 + row * 7 % 23)[column],
    "a line for each value": lambda row, column: 90 * row + 30 * column,
    "pages between rows": lambda row, column: 70 * row + 600 * (row // 5) + 20 * column,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_value_of_the_next_row_is_told_from_those_of_its_own(name: str) -> None:
    leaves, places = placed(LAYOUTS[name])
    assert strayed(leaves, places) == set()
    for row, column in ((0, "name"), (4, "count"), (7, "sum"), (11, "count")):
        other = places[f"/lines/{row + 1 if row < 11 else row - 1}/{column}"]
        assert strayed(leaves, {**places, f"/lines/{row}/{column}": other}) == {f"/lines/{row}/{column}"}
    swapped = {"/lines/2/sum": places["/lines/3/sum"], "/lines/3/sum": places["/lines/2/sum"]}
    assert strayed(leaves, {**places, **swapped}) == set(swapped), "values that changed places share none"


def test_where_columns_follow_each_other_no_value_is_told_to_be_of_another_row() -> None:
    leaves, places = placed(lambda row, column: 1_000 * column + 10 * row)
    found = row_signals(leaves, RowEvidence(places=places), {})
    assert {name for _, names in found for name in names} <= {"exact", "null", "usually_there"}


def test_what_a_field_usually_is_makes_what_differs_suspicious() -> None:
    found = Place("exact", 0, 1, 1)
    leaves = {one.field: one for one in LEAVES}
    habits = {"/currency": FieldHabits(), "/shop": FieldHabits()}
    for _ in range(95):
        habits["/currency"].add(leaves["/currency"], found)
        habits["/shop"].add(leaves["/shop"]._replace(value="Shop"), found)
    unusual = replace(EVIDENCE, places={**PLACES, "/currency": Place("derived", None, None, 0)})
    seen = signals(unusual, habits)
    assert risk(seen["/currency"]) > 0.5
    assert risk(seen["/shop"]) > 0.4
    seen = signals(unusual, {})
    assert max(risk(seen["/currency"]), risk(seen["/shop"])) < 0.05


def test_a_text_with_letters_is_suspicious_where_its_field_is_usually_digits_alone() -> None:
    (pen,) = (one for one in LEAVES if one.pointer == "/lines/0/name")
    for usual, is_suspicious in (("89.00", True), ("25/12/2018", True), ("pen", False), ("pen 2", False)):
        habit = FieldHabits()
        for value in [usual] * 40 + ["10 pens", "pencil"]:
            habit.add(pen._replace(value=value), None)
        for value in ("89.00 1 89.00 S", "pen", "89.00", "12-01-19"):
            ((_, seen),) = row_signals([pen._replace(value=value)], RowEvidence(), {pen.field: habit})
            assert ("unlike_others" in seen) is (is_suspicious and not value[-1].isdecimal()), (usual, value)
            assert (risk(seen) > 0.25) is ("unlike_others" in seen)
    (one, *_) = (leaf for leaf in LEAVES if leaf.value == 3.0)
    assert "unlike_others" not in signals(RowEvidence(), {one.field: FieldHabits(40, 40, 0, 40)})[one.pointer]


def test_without_grounding_all_values_are_alike_but_for_the_other_signals() -> None:
    assert as_places(None) is None
    found = signals(RowEvidence(conflicts=["/lines/0/sum"]))
    assert found["/lines/1/sum"] == {"not_grounded": SIGNALS["not_grounded"]}
    assert risk(found["/lines/0/sum"]) > risk(found["/lines/1/sum"])


def test_another_signal_never_makes_a_value_look_better() -> None:
    names = {**MATCH_SIGNALS, **SIGNALS}
    for name, share in names.items():
        others = {other: names[other] for other in names if other != name}
        assert 0 < share < 1
        assert risk({}) == 0 < risk({name: share}) <= risk({**others, name: share}) <= 1


def test_an_equation_names_its_paths_and_no_functions() -> None:
    (check,) = sum_checks({"x-check": "sum(lines.sum) + 2 * fee == sum - (count(lines))"})
    assert check.paths == {"lines.sum", "fee", "sum", "lines"}
