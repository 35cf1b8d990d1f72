"""Values that the emulator makes wrong: what it changes, how often, and that its account says so."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from kimi_beam.emulator.faults import Faults
from kimi_beam.emulator.leaf_faults import LEAF_FAULTS, LeafDraws, WrongLeaf
from kimi_beam.emulator.rules.plan import plan
from kimi_beam.emulator.rules.wrong_values import with_wrong_values
from kimi_beam.schema import OutputSchema

from .peer import item, serving

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "number": {"type": "string", "pattern": "^R-[0-9]{4}$"},
        "day": {"type": "string", "format": "date"},
        "currency": {"enum": ["EUR", "USD", "GBP"]},
        "paid": {"type": "boolean"},
        "kind": {"const": "invoice"},
        "note": {"type": ["string", "null"]},
        "rate": {"anyOf": [{"type": "number", "maximum": 40}, {"type": "null"}]},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "minLength": 2},
                    "count": {"type": "integer", "minimum": 1},
                    "sum": {"$ref": "#/$defs/amount"},
                },
                "required": ["name", "count", "sum"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["number", "day", "currency", "paid", "kind", "note", "rate", "lines"],
    "additionalProperties": False,
    "$defs": {"amount": {"type": "number", "minimum": 0}},
}

RECEIPT = {"type": "object", "properties": {"company": {"type": "string"}, "total": {"type": "number"}}}


def answer(seed: int) -> dict[str, Any]:
    drawn = random.Random(seed)
    return {
        "number": f"R-{drawn.randrange(1000, 9999)}",
        "day": f"2026-03-{drawn.randrange(1, 32):02}",
        "currency": drawn.choice(["EUR", "USD", "GBP"]),
        "paid": drawn.random() < 0.5,
        "kind": "invoice",
        "note": drawn.choice([None, "by train", "7 boxes"]),
        "rate": drawn.choice([None, 7.5, 19]),
        "lines": [
            {"name": f"pen {n}", "count": drawn.randrange(1, 90), "sum": drawn.randrange(1, 9_999) / 100}
            for n in range(8)
        ],
    }


def spoilt(seed: int, spec: str, occurrence: int = 0) -> tuple[dict[str, Any], tuple[WrongLeaf, ...]]:
    draws = LeafDraws(Faults.parse(spec).probability, 1, f"document {seed}", occurrence)
    text, account = with_wrong_values(json.dumps(answer(seed)), plan(SCHEMA), f"text {seed}", draws.draw)
    return json.loads(text), account


def leaves(value: Any, at: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {pointer: one for name, inner in value.items() for pointer, one in leaves(inner, f"{at}/{name}").items()}
    if isinstance(value, list):
        return {pointer: one for n, inner in enumerate(value) for pointer, one in leaves(inner, f"{at}/{n}").items()}
    return {at: value}


@pytest.mark.parametrize("spec", ["wrong_leaf=0.3", *(f"{name}=0.3" for name in LEAF_FAULTS)])
def test_what_is_wrong_is_valid_and_in_the_account_and_nothing_else_is_changed(spec: str) -> None:
    schema = OutputSchema(SCHEMA)
    changed = 0
    for seed in range(200):
        right = leaves(answer(seed))
        wrong, account = spoilt(seed, spec)
        assert not schema.validate(wrong), (seed, account)
        found = leaves(wrong)
        differing = {at for at in right if found.get(at) != right[at]}
        assert differing == {one.pointer for one in account}
        assert all((one.right, one.wrong) == (right[one.pointer], found.get(one.pointer)) for one in account)
        assert {one.document for one in account} <= {f"text {seed}"}
        changed += len(account)
    assert changed > 50


def test_as_many_values_are_wrong_as_asked_for_by_each_fault_alike() -> None:
    accounts = [spoilt(seed, "wrong_leaf=0.05")[1] for seed in range(400)]
    values = 400 * (len(leaves(answer(0))) - 1)  # of a constant nothing else can be read
    assert 0.045 < sum(map(len, accounts)) / values < 0.055
    # Most values may not be null, and most stand in no list: another fault takes the place of what cannot strike there.
    kinds = {name: sum(one.fault == name for account in accounts for one in account) for name in LEAF_FAULTS}
    assert min(kinds.values()) > 5, kinds


def test_a_slipped_value_is_that_of_a_neighbour_and_no_value_outside_of_a_list_slips() -> None:
    slipped = 0
    for seed in range(100):
        right = answer(seed)["lines"]
        for one in spoilt(seed, "slipped_leaf=0.2")[1]:
            _, name, index, field = one.pointer.split("/")
            near = [right[n][field] for n in (int(index) - 1, int(index) + 1) if 0 <= n < len(right)]
            assert name == "lines"
            assert one.wrong in near
            slipped += 1
    assert slipped > 100


def test_the_same_document_is_misread_alike_and_asked_for_again_elsewhere() -> None:
    assert spoilt(3, "wrong_leaf=0.2") == spoilt(3, "wrong_leaf=0.2")
    first, second = spoilt(3, "wrong_leaf=0.2")[1], spoilt(3, "wrong_leaf=0.2", 1)[1]
    assert {one.pointer for one in first} != {one.pointer for one in second}


def test_what_is_no_object_is_left_as_it_is() -> None:
    draws = LeafDraws(Faults.parse("wrong_leaf=1").probability, 1, "d", 0)
    for text in ("", "null", '"R-1"', "no JSON", "{}", "[]"):
        assert with_wrong_values(text, plan(SCHEMA), "text", draws.draw) == (text, ())


@pytest.mark.parametrize("queued", [True, False])
def test_the_service_answers_wrongly_and_accounts_for_it(queued: bool) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "total", "schema": RECEIPT}}
    texts = [f"COMPANY: Shop {n} Ltd\nTOTAL: {n}.50\n" for n in range(10)]
    with serving(faults="misread_leaf=1") as peer:
        if queued:
            assert len(peer.results(peer.submit(*(item(text, response_format=form) for text in texts)))) == 10
        else:
            assert all(peer.run(text, response_format=form).status_code == 200 for text in texts)
        account, root = peer.emulator.wrong_leaves(), peer.emulator.base_url.removesuffix("/client/v4")
        assert sorted(account) == sorted(WrongLeaf(**one) for one in peer.http.get(f"{root}/wrong_leaves").json())
        assert peer.emulator.stats()["faults"] == {"misread_leaf": 20}
        peer.emulator.reset()
        assert peer.emulator.wrong_leaves() == []
    assert {(one.document, one.pointer) for one in account} == {(t, at) for t in texts for at in ("/company", "/total")}
    assert all(one.right == float(one.document.split("TOTAL: ")[1]) for one in account if one.pointer == "/total")
