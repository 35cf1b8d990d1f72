"""Each fast path is held against the careful one that it stands for, by examples that took both.

`kimi_beam/DESIGN.md` lists them all with the tests that hold them. Here are those that belong to no single module.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from both_paths import both_paths, counting, crossed
from harness import QUICK, RECEIPT, receipts, service
from hypothesis import given, settings
from hypothesis import strategies as st

import kimi_beam as kb
from kimi_beam.columnar import Results, Tokens
from kimi_beam.emulator import Emulator
from kimi_beam.journal.files import Journal
from kimi_beam.journal.recall import recall
from kimi_beam.journal.records import Answers
from kimi_beam.request import batches
from kimi_beam.request.batches import Item
from kimi_beam.schema import OutputSchema
from kimi_beam.schema.columns import Record, Tuple
from kimi_beam.transforms import make_batches
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.document import Layout
from kimi_beam.types.earlier_runs import Earlier
from kimi_beam.types.failure import Failure
from kimi_beam.types.ticket import Ticket
from kimi_beam.wire import matching

# ------------------------------------------------------------------------------------------------ the list of them

ROOT = Path(__file__).parents[2]


def test_each_pair_that_the_design_lists_is_held_by_a_test_that_counts_both_paths() -> None:
    design = (ROOT / "kimi_beam" / "DESIGN.md").read_text()
    section = design.partition("## Fast paths and the tests that hold them")[2].partition("\n## ")[0]
    pairs = [line for line in section.splitlines() if line.startswith("| ") and "Held by" not in line]
    assert len(pairs) >= 14
    for pair in pairs:
        found = re.search(r"`(tests/[\w/]+\.py)::(test_\w+)` \|$", pair)
        assert found is not None, f"no test holds {pair}"
        body = (ROOT / found[1]).read_text().partition(f"def {found[2]}(")[2].partition("\ndef test_")[0]
        assert "both_paths(" in body or "assert taken" in body or "assert not taken" in body, (
            f"{found[2]} does not count how often the fast path was taken"
        )


# ------------------------------------------------------------------------------------------------ documents


def _by_column(documents: beam.PCollection) -> beam.PCollection:
    return documents


def _one_by_one(documents: beam.PCollection) -> beam.PCollection:
    """Beam does not know their type, as after a `Map` of a user's own."""
    return documents | "Untyped" >> beam.Map(lambda document: document).with_output_types(Any)


@pytest.mark.parametrize("handed_on", [_by_column, _one_by_one])
@pytest.mark.parametrize("api", ["batch", "run"])
def test_documents_that_crossed_between_workers_take_the_fast_path(
    handed_on: Any, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: Counter[str] = Counter()
    texts = [*receipts(60)]
    others = [kb.Document("page", "TOTAL: 1.50", metadata={"page": 1}), kb.Document("again", "t", earlier=Earlier(1))]
    monkeypatch.setattr(make_batches, "prepare", counting(make_batches.prepare, taken, "one by one"))  # type: ignore[attr-defined]

    def prepared(documents: Any, *more: Any) -> Any:
        rows = fast(documents, *more)
        taken["by the hundred"] += sum(row is not None for row in rows)
        return rows

    fast = make_batches.prepare_texts  # type: ignore[attr-defined]
    monkeypatch.setattr(make_batches, "prepare_texts", prepared)
    with Emulator() as emulator, beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        made = pipeline | beam.Create([*texts, *others]) | "Crossing" >> beam.Reshuffle()
        handed_on(made) | kb.Extract(RECEIPT, service=service(emulator.base_url, api=api), polling=QUICK)
    assert taken == {"by the hundred": len(texts), "one by one": len(others)}


@pytest.mark.parametrize("change", [{}, {"source": "in/a.txt"}])
def test_a_document_that_was_pickled_is_a_text_alone_as_before(change: dict[str, Any]) -> None:
    document = kb.Document("a", "text", **change)
    assert document.is_text_alone
    assert crossed(document).is_text_alone


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"a": 1}},
        {"images": ("data:,",)},
        {"failure": Failure("read", "not_json", "no")},
        {"earlier": Earlier(1)},
        {"earlier": Earlier(0, 1)},
        {"layout": Layout((0,))},
    ],
)
def test_a_document_that_is_more_than_a_text_stays_so(change: dict[str, Any]) -> None:
    document = kb.Document("a", "text", **change)
    assert not document.is_text_alone
    assert not crossed(document).is_text_alone


# ------------------------------------------------------------------------------------------------ items of a job

_REFERENCES = [f"b-{n}" for n in range(3)]
_items = st.permutations(range(3)).map(
    lambda order: [{"external_reference": f"b-{n}", "index": at, "tag": at} for at, n in enumerate(order)]
)
_in_order = st.lists(st.integers(), min_size=3, max_size=3).map(
    lambda tags: [{"external_reference": f"b-{n}", "index": n, "tag": tag} for n, tag in enumerate(tags)]
)
_odd_items = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "external_reference": st.sampled_from([*_REFERENCES, "c-0", "", None, 5]),
            "index": st.sampled_from([0, 1, 2, 3, None]),
            "success": st.booleans(),
        },
    ),
    max_size=4,
)


def test_items_in_order_are_matched_as_all_others_are() -> None:
    with both_paths("in order", "by their references") as taken, pytest.MonkeyPatch.context() as patch:
        looked: Counter[str] = Counter()
        patch.setattr(matching, "_disputed", counting(matching._disputed, looked, "looked"))
        _items_in_order_are_matched_as_all_others_are(taken, looked)


@settings(derandomize=True, max_examples=500)
@given(_in_order | _items | _odd_items)
def _items_in_order_are_matched_as_all_others_are(
    taken: Counter[str], looked: Counter[str], items: list[dict[str, Any]]
) -> None:
    looked.clear()
    found = matching.match(items, _REFERENCES)
    is_fast = bool(items) and not looked
    taken["in order" if is_fast else "by their references"] += 1
    # One item more, a stranger, has the others matched one by one.
    with_care = matching.match([*items, {"external_reference": "stranger"}], _REFERENCES)
    assert looked
    if is_fast:
        assert found == replace(with_care, surplus=with_care.surplus - 1)


# ------------------------------------------------------------------------------------------------ columns

_MEMBERS = {
    "a": {"type": "string"},
    "b": {"type": "integer"},
    "c": {"type": ["string", "null"]},
    "d": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "boolean"}}},
    "e": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
}
_SCHEMAS = [
    OutputSchema({"type": "object", "properties": _MEMBERS, "required": required})
    for required in ([], ["a", "c"], list(_MEMBERS))
]
_full = st.fixed_dictionaries(
    {
        "a": st.text("aé", max_size=3),
        "b": st.integers(-5, 5),
        "c": st.none() | st.text("c", max_size=2),
        "d": st.fixed_dictionaries({"x": st.floats(0, 9), "y": st.booleans()}),
        "e": st.lists(st.fixed_dictionaries({"n": st.integers(0, 3)}), max_size=2),
    }
)
_odd_values: st.SearchStrategy[Any] = st.sampled_from(
    [None, 5, "5", 1.5, [], {}, True, [{"n": None}], {"x": None}, [{}]]
)


@st.composite
def _partial(draw: st.DrawFn) -> dict[str, Any]:
    instance = dict(draw(_full))
    for name in draw(st.sets(st.sampled_from(sorted(_MEMBERS)), max_size=2)):
        del instance[name]
    return instance


@st.composite
def _odd(draw: st.DrawFn) -> dict[str, Any]:
    instance = dict(draw(_partial()))
    instance[draw(st.sampled_from([*_MEMBERS, "unnamed"]))] = draw(_odd_values)
    return instance


_WAYS = {"full": "_split_full_objects", "plain": "_split_plain_objects"}


def test_the_columns_are_the_same_whichever_way_they_are_made() -> None:
    with both_paths("full", "plain", "with care") as taken:
        _the_columns_are_the_same(taken)


@settings(derandomize=True, max_examples=600)
@given(
    st.sampled_from(_SCHEMAS),
    st.lists(_full, min_size=1, max_size=3) | st.lists(_partial(), max_size=3) | st.lists(_full | _odd(), max_size=3),
)
def _the_columns_are_the_same(taken: Counter[str], schema: OutputSchema, instances: list[dict[str, Any]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, way in _WAYS.items():
            patch.setattr(Record, way, counting(getattr(Record, way), taken, name, refused=f"not {name}"))
        patch.setattr(Record, "as_objects", counting(Record.as_objects, taken, "with care"))
        found, bad = schema.to_arrow(instances)

    def refuse(*_: Any) -> Any:
        raise ValueError("only with care")

    for without in (("_split_full_objects",), ("_split_full_objects", "_split_plain_objects")):
        with pytest.MonkeyPatch.context() as patch:
            for way in without:
                patch.setattr(Record, way, refuse)
                patch.setattr(Tuple, way, refuse)
            with_care, bad_with_care = schema.to_arrow(instances)
        assert found.equals(with_care)
        assert bad == bad_with_care


_NOT_NULL = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}
_AROUND: dict[str, tuple[Any, Any]] = {
    "itself": (_NOT_NULL, lambda value: value),
    "nested": ({"type": "object", "properties": {"o": _NOT_NULL}}, lambda value: {"o": value}),
    "in a list": (
        {"type": "object", "properties": {"l": {"type": "array", "items": _NOT_NULL}}},
        lambda value: {"l": [{"a": "x", "b": 1}, value]},
    ),
    "in a map": (
        {"type": "object", "properties": {"m": {"type": "object", "additionalProperties": _NOT_NULL}}},
        lambda value: {"m": {"k": value}},
    ),
    "in a union": (
        {"type": "object", "properties": {"u": {"anyOf": [_NOT_NULL, {"type": "string"}]}}},
        lambda value: {"u": value},
    ),
}


@pytest.mark.parametrize("around", _AROUND)
@pytest.mark.parametrize("required", [[], ["a"], ["a", "b"]])
@pytest.mark.parametrize(
    "wrong", [{"a": None, "b": 1}, {"a": None}, {"a": None, "b": 1, "more": 2}], ids=["full", "plain", "with care"]
)
def test_null_where_it_may_not_be_is_refused_by_the_columns_themselves(
    around: str, required: list[str], wrong: dict[str, Any]
) -> None:
    """A caller of `to_arrow` need not have validated what it gives: no other step would find it out."""
    schema, wrapped = _AROUND[around]
    text = str(schema).replace("'properties': {'a'", f"'required': {required}, 'properties': {{'a'")
    made = OutputSchema(eval(text))
    good = wrapped({"a": "x", "b": 1})
    batch, bad = made.to_arrow([good, wrapped(wrong), good])
    assert [index for index, _ in bad] == [1]
    assert made.from_arrow(batch) == [good, good]


# ------------------------------------------------------------------------------------------------ the journal


@pytest.mark.parametrize("first", [0, 1])
def test_a_batch_that_is_answered_as_a_whole_is_recalled_as_one_that_is_not(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [
        kb.Document(f"d{n}", f"text {n}", (), {"n": n} if n % 3 == 0 else {}, "in.jsonl") for n in range(first, 7)
    ]
    documents = [crossed(document) if n % 2 else document for n, document in enumerate(documents)]
    keys = [bytes([n + 1]) * 16 for n in range(len(documents))]
    results = [
        Failure("infer", "refusal", "no", raw="no")
        if n == 4
        else Completion(f'{{"n": {n}}}', "stop", 1_700_000_000, "m")
        for n in range(len(documents))
    ]
    journal = Journal(str(tmp_path))
    usages = [Usage(10 + n, n, 5) for n in range(len(documents))]
    tickets = [Ticket(f"job {n // 3}", 1) for n in range(len(documents))]
    journal.write_answers(Answers(keys, Results.of(results), Tokens.of(usages), tickets))
    new = kb.Document("new", "never asked")
    known = [Item(document, 100, key) for document, key in zip(documents, keys, strict=True)]
    taken: Counter[str] = Counter()
    monkeypatch.setattr(batches, "items", counting(batches.items, taken, "with care"))
    whole = recall(batches.encode(known), keys, journal)
    assert not taken, "the shortcut was not taken"
    mixed = recall(batches.encode([*known, Item(new, 100, b"n" * 16)]), [*keys, b"n" * 16], journal)
    assert taken == {"with care": 1}
    assert list(whole.answered) == list(mixed.answered)
    assert [reply.document for reply in whole.answered] == documents
    assert whole.fresh is None
    assert mixed.fresh is not None
    assert batches.decode(mixed.fresh) == [new]
