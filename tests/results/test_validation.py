"""Replies become rows or dead letters: each document leaves exactly once, and no bad answer spoils the others."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from both_paths import both_paths, perhaps_crossed
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.results import rows
from kimi_beam.results.answer_text import parse
from kimi_beam.results.judging import Instance, judge
from kimi_beam.results.settle_replies import Question, dead_letter, extractions, replies_of_batch, settle
from kimi_beam.schema import ADDITIONAL, OutputSchema
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Arrival, Document
from kimi_beam.types.earlier_runs import Earlier
from kimi_beam.types.extraction import Extraction
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import Ticket
from kimi_beam.wire.matching import match, references

SCHEMA = OutputSchema(
    {
        "type": "object",
        "properties": {"company": {"type": ["string", "null"]}, "total": {"type": "number"}},
        "required": ["company", "total"],
    }
)
ASKED = Question(SCHEMA, "@cf/moonshotai/kimi-k2.6")
TICKET = Ticket("6283595c-babb-4dd6-b8a7-f796876f490f", 2)
GOOD = '{"company":"A","total":1.5}'
NOW = 1_784_180_999.0


def completion(text: str) -> Completion:
    return Completion(text, "stop", 1_784_180_523, "@cf/moonshotai/kimi-k2.6")


def reply(text: str, document_id: str = "a", **document: Any) -> Reply:
    return Reply(Document(document_id, "the text", **document), completion(text), Usage(10, 4, 2), TICKET)


def outcomes(*given: Reply, asked: Question = ASKED) -> list[Extraction | DeadLetter]:
    settled = settle(given, asked, NOW)
    return [*extractions(settled, asked), *settled.dead_letters]


def item(content: Any, finish: str = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {"success": True, "result": {"choices": [{"message": message, "finish_reason": finish}]}, **more}


# ------------------------------------------------------------------------------------------------ each leaves once

_texts = st.one_of(
    st.sampled_from(
        [
            GOOD,
            f"```json\n{GOOD}\n```",
            "{}",
            "null",
            "[1]",
            "no",
            '{"company":null,"total":123456789012345678901234567890}',
        ]
    ),
    st.text(max_size=20),
    st.text(alphabet='{}[]":,`json\n 1', max_size=30),
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def _items(draw: st.DrawFn, count: int, names: list[str]) -> list[Any]:
    """What a service may send for a batch: answers in any order, missing, doubled, strange, failed, or no items."""
    items: list[Any] = []
    for _ in range(draw(st.integers(0, count + 2))):
        kind = draw(st.sampled_from(["answer", "answer", "answer", "failed", "stranger", "cut", "junk", "shapeless"]))
        index = draw(st.integers(0, count))
        by = {"external_reference": names[index]} if index < count and draw(st.booleans()) else {"index": index}
        if kind == "answer":
            items.append(item(draw(_texts), **by))
        elif kind == "failed":
            items.append({**by, "success": False, "error": draw(_json)})
        elif kind == "stranger":
            items.append(item(GOOD, external_reference="somebody-else", index=0))
        elif kind == "cut":
            items.append(item('{"company":', "length", **by))
        elif kind == "junk":
            items.append(draw(_json))
        else:
            items.append({**by, "result": draw(_json.filter(lambda value: not isinstance(value, dict)))})
    return items


@settings(derandomize=True, max_examples=400)
@given(data=st.data(), count=st.integers(1, 6))
def test_every_document_leaves_exactly_once_whatever_came_back(data: st.DataObject, count: int) -> None:
    documents = [Document(f"document {n}", "text", metadata={"n": n}) for n in range(count)]
    names = references("0123456789abcdef", count)
    items = data.draw(_items(count, names))
    usage = data.draw(st.none() | st.builds(Usage, st.integers(0, 999), st.just(0), st.integers(0, 999)))
    answered, surplus, _ = replies_of_batch("0123456789abcdef", documents, items, usage, TICKET)
    assert [reply.document for reply in answered] == documents
    missing = match(items, names).items.count(None)
    assert count - missing + surplus == len(items), "asked = answered + failed + missing, and the rest is counted"
    left = outcomes(*answered)
    ids = [outcome.document_id if isinstance(outcome, Extraction) else outcome.document.id for outcome in left]
    assert sorted(ids) == sorted(document.id for document in documents)
    for outcome in left:
        if isinstance(outcome, DeadLetter):
            assert outcome.document in documents, "a dead letter must hold the whole document, to run it again"
        else:
            assert SCHEMA.is_valid(outcome.fields)
            assert outcome.row is not None
            row = outcome.row.batch.slice(outcome.row.index, 1).to_pylist()[0]
            assert row["_document_id"] == outcome.document_id
            assert row["_metadata"] == f'{{"n":{outcome.metadata["n"]}}}'
            assert row["company"] == outcome.fields["company"]


def test_the_tokens_of_a_job_are_shared_out_to_the_last_one() -> None:
    documents = [Document(str(n), "t") for n in range(3)]
    answered, _, _ = replies_of_batch(
        "b", documents, [item(GOOD, index=0), item(GOOD, index=2)], Usage(100, 30, 10), TICKET
    )
    assert sum((reply.usage for reply in answered), Usage()) == Usage(100, 30, 10)


def test_references_are_unique_and_the_same_when_a_batch_is_sent_again() -> None:
    names = references("0123456789abcdef", 1_000)
    assert len(set(names)) == 1_000
    assert names == references("0123456789abcdef", 1_000)
    assert set(names).isdisjoint(references("fedcba9876543210", 1_000))
    assert max(map(len, names)) <= 32


def test_an_empty_batch_and_a_batch_of_failures_alone_settle() -> None:
    assert outcomes() == []
    failure = Failure("poll", "deadline", "too late", retryable=True)
    (letter,) = outcomes(Reply(Document("a", "t"), failure))
    assert letter == DeadLetter(Document("a", "t"), failure, 0, None, Usage(), ASKED.model, SCHEMA.hash, NOW)


# ------------------------------------------------------------------------------------------------ what they carry


def test_an_extraction_tells_where_it_comes_from() -> None:
    (extraction,) = outcomes(reply(GOOD, source="in/a.txt", metadata={"k": Decimal("0.10000000000000000001")}))
    assert isinstance(extraction, Extraction)
    assert extraction.fields == {"company": "A", "total": 1.5}
    provenance = extraction.provenance
    assert (provenance.source, provenance.request_id, provenance.attempts) == ("in/a.txt", TICKET.request_id, 2)
    assert (provenance.model_asked, provenance.model_answered) == (ASKED.model, "@cf/moonshotai/kimi-k2.6")
    assert (provenance.usage, provenance.schema_hash, provenance.extracted_at) == (
        Usage(10, 4, 2),
        SCHEMA.hash,
        1_784_180_523,
    )
    assert extraction.row is not None
    assert extraction.row.batch.to_pylist()[0]["_metadata"] == '{"k":0.10000000000000000001}'


def test_a_dead_letter_tells_what_it_cost_and_what_the_model_said() -> None:
    (letter,) = outcomes(reply("I would rather not."))
    assert isinstance(letter, DeadLetter)
    assert (letter.failure.stage, letter.failure.code, letter.failure.retryable) == ("parse", "not_json", True)
    assert letter.failure.raw == "I would rather not."
    assert (letter.usage, letter.attempts, letter.request_id) == (Usage(10, 4, 2), 2, TICKET.request_id)
    assert (letter.model, letter.schema_hash, letter.failed_at) == (ASKED.model, SCHEMA.hash, NOW)
    assert dead_letter(reply("x"), letter.failure, ASKED, NOW).document == Document("a", "the text")


def test_a_violation_is_told_by_place_and_reason_and_may_be_tried_again() -> None:
    (letter,) = outcomes(reply('{"company":5}'))
    assert isinstance(letter, DeadLetter)
    failure = letter.failure
    assert (failure.stage, failure.code, failure.retryable, failure.raw) == (
        "validate",
        "schema_violation",
        True,
        '{"company":5}',
    )
    assert "/company: 5 is not of type" in failure.message
    assert '"total" is a required property' in failure.message


def test_one_bad_answer_never_costs_the_others_their_rows() -> None:
    deep = "[" * 600 + "]" * 600  # valid, but deeper than any JSON writer goes
    given = [
        reply(GOOD, "first"),
        reply("nonsense", "not json"),
        reply(f'{{"company":"B","total":2,"more":{deep}}}', "too deep"),
        reply('{"company":"B"}', "invalid"),
        Reply(Document("failed", "t"), Failure("infer", "refusal", "no"), Usage(), TICKET),
        reply('{"company":"C","total":3,"extra":123456789012345678901}', "last"),
    ]
    left = outcomes(*given)
    codes = {o.document.id: o.failure.code for o in left if isinstance(o, DeadLetter)}
    assert codes == {
        "not json": "not_json",
        "too deep": "not_json",
        "invalid": "schema_violation",
        "failed": "refusal",
    }
    rows = {
        o.document_id: o.row.batch.slice(o.row.index, 1).to_pylist()[0]
        for o in left
        if isinstance(o, Extraction) and o.row
    }
    assert {document_id: (row["_document_id"], row["total"]) for document_id, row in rows.items()} == {
        "first": ("first", 1.5),
        "last": ("last", 3.0),
    }
    assert json.loads(rows["last"][ADDITIONAL]) == {"/extra": 123456789012345678901}


def test_numbers_come_out_of_an_answer_with_all_their_digits() -> None:
    (extraction,) = outcomes(reply('{"company":null,"total":1234567890.12345678901234567890}'))
    assert isinstance(extraction, Extraction)
    assert extraction.fields["total"] == Decimal("1234567890.12345678901234567890")
    assert extraction.row is not None
    assert extraction.row.batch.to_pylist()[0][ADDITIONAL] == '{"/total":1234567890.12345678901234567890}'


@pytest.mark.parametrize(
    "text",
    [
        '{"total":1,"total":2}',
        '{"total":1,"total":1}',
        '{"a":[{"b":{"c":1,"d":2,"c":3}}]}',
        '{"total" :1,"total" :2}',
        '{"total"\n:1,"total"\t:2}',
        '{"a" :1,"b":2,"b":3}',
        '{"a":"\\u0022:","b":2,"b":3}',
        '{"\\u0061":1,"a":2}',
        '{"a":123456789012345678901,"a":1}',
        'The answer: {"total":1,"total":2}',
        '```json\n{"total":1,"total":2}\n```',
    ],
)
def test_an_answer_with_a_key_twice_says_two_things_and_is_none(text: str) -> None:
    result = judge(text, OutputSchema(True))
    assert isinstance(result, Failure)
    assert (result.stage, result.code, result.raw) == ("parse", "not_json", text)
    assert "twice" in result.message


@pytest.mark.parametrize(
    "text",
    [
        '{"a":{"x":1},"b":{"x":1}}',
        '{"a":"\\":","b":"\\":"}',
        '{"a\\":":1," :":2}',
        '{ "a" : 1 , "b" : ": ::" }',
        '{"a":"\\u0022:\\u0022:"}',
        '{"é":1,"e\u0301":2,"":3," ":4}',
    ],
)
def test_a_key_that_stands_once_in_each_object_is_not_taken_for_a_double(text: str) -> None:
    assert parse(text).value == json.loads(text)


NULLS = OutputSchema(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "note": {"type": "string"},
            "day": {"type": ["string", "null"]},
            "any": {},
            "lines": {
                "type": "array",
                "items": {"type": "object", "properties": {"sku": {"type": "string"}, "n": {"$ref": "#/$defs/n"}}},
            },
        },
        "required": ["name", "day"],
        "$defs": {"n": {"type": "integer"}},
    },
    keep_nulls=True,
)


@pytest.mark.parametrize(
    ("answer", "instance", "nulls"),
    [
        ({"name": "x", "day": None}, {"name": "x", "day": None}, 0),
        ({"name": "x", "day": None, "note": None}, {"name": "x", "day": None}, 1),
        ({"name": "x", "day": None, "any": None, "note": None}, {"name": "x", "day": None, "any": None}, 1),
        (
            {"name": "x", "day": "d", "lines": [{"sku": None, "n": None}, {"sku": "s", "n": 1}, {"n": None}]},
            {"name": "x", "day": "d", "lines": [{}, {"sku": "s", "n": 1}, {}]},
            3,
        ),
        ({"name": "x", "day": "d", "other": None}, {"name": "x", "day": "d", "other": None}, 0),
    ],
)
def test_a_null_for_what_may_only_be_absent_is_taken_as_absent_and_counted(
    answer: Any, instance: Any, nulls: int
) -> None:
    result = judge(json.dumps(answer), NULLS)
    assert isinstance(result, Instance)
    assert (result.value, result.nulls, result.repairs) == (instance, nulls, ())
    counted: list[int] = []
    settled = settle([reply(json.dumps(answer))], Question(NULLS, "m"), NOW, counted.append)
    assert sum(counted) == nulls
    assert NULLS.from_arrow(settled.rows) == [instance]


@pytest.mark.parametrize("answer", [{"name": None, "day": None}, {"name": "x", "day": None, "lines": None, "note": 5}])
def test_a_null_for_what_must_be_there_stays_a_violation(answer: Any) -> None:
    result = judge(json.dumps(answer), NULLS)
    assert isinstance(result, Failure)
    assert result.code == "schema_violation"


def test_a_failure_is_handed_on_as_it_is() -> None:
    failure = Failure("infer", "truncated", "cut", raw="{")
    settled = settle([Reply(Document("d", "t"), failure)], ASKED, NOW)
    assert [letter.failure for letter in settled.dead_letters] == [failure]


@pytest.mark.parametrize("root", [True, {}, {"type": "string"}, {"type": "array"}, {"type": ["object", "null"]}])
def test_exotic_schemas_settle_too(root: Any) -> None:
    asked = Question(OutputSchema(root), "m")
    text = {"string": '"x"', "array": "[1,null]"}.get(str(root.get("type")) if isinstance(root, dict) else "", "null")
    (extraction,) = outcomes(reply(text), asked=asked)
    assert isinstance(extraction, Extraction)
    assert extraction.fields == json.loads(text)


# ------------------------------------------------------------------------------------------------ reading an answer


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\n\n  {GOOD} \t\r\n",
        f"\ufeff{GOOD}",
        f"\ufeff \n{GOOD}",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```",
        f"```JSON\r\n{GOOD}\r\n```\r\n",
        f"  ```json\n\n{GOOD}\n\n  ```",
        f"```json {GOOD} ```",
        f"Here is the JSON:\n```json\n{GOOD}\n```\nAnything else?",
        f"Here it is: {GOOD}",
        f"{GOOD}\n\nI left out the currency.",
        f"The fields [as asked] are {GOOD}.",
        f"<answer>{GOOD}</answer>",
        f"json\n{GOOD}",
        f"~~~json\n{GOOD}\n~~~",
    ],
)
def test_the_habits_of_models_do_not_hide_their_answer(text: str) -> None:
    assert parse(text).value == {"company": "A", "total": 1.5}


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"```json\\n{}\\n```"}',
        '```json\n{"a":"```json\\n{}\\n```"}\n```',
        'Sure: {"a":"} and ] and ``` and \\"{"}',
        '[{"a":1},{"a":[2]}]',
        'The list: [{"a":1},{"a":[2]}].',
        '"just a string"',
        "null",
        "-0.5e1",
        "123456789012345678901234567890",
    ],
)
def test_what_looks_like_a_fence_or_a_bracket_inside_the_answer_is_part_of_it(text: str) -> None:
    expected = text.removeprefix("```json\n").removesuffix("\n```") if text.startswith("```") else text
    expected = expected.removeprefix("Sure: ").removeprefix("The list: ").removesuffix(".")
    assert parse(text).value == json.loads(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "no",
        "```json\n```",
        "```",
        "}{",
        "][",
        '{"company":"A"}{"company":"B"}',  # which of the two?
        '{"company":"A"}\n{"company":"B"}',
        '{"company":"A",,}',
        "{,}",
        "{'company':'A'}",
        '{"total":-NaN}',
        '{"total":Infinity}',
        '{"total":1e9999}',
        '{"total":01}',
        "{" * 5_000 + "}" * 5_000,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
    ],
)
def test_what_is_no_answer_is_not_mended_into_one(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)
    result = judge(text, SCHEMA)
    assert isinstance(result, Failure)
    assert (result.stage, result.code) == ("parse", "not_json")
    assert len(result.message) < 300


@pytest.mark.parametrize(
    "text", ["{", '{"company":"A"', '{"company":"A', '{"company":"A",', "[" * 5_000, '```json\n{"company":"A"\n```']
)
def test_what_is_open_at_its_end_is_cut_off_and_never_closed(text: str) -> None:
    result = judge(text, SCHEMA)
    assert isinstance(result, Failure)
    assert (result.stage, result.code, result.retryable, result.raw) == ("parse", "truncated", True, text)


@settings(derandomize=True, max_examples=500)
@given(st.one_of(st.text(max_size=40), st.text(alphabet='{}[]":,`json\\u0e \n\r\t1-.', max_size=40)))
def test_no_answer_does_more_than_fail(text: str) -> None:
    result = judge(text, OutputSchema({"type": "object"}))
    assert isinstance(result, (Failure, tuple))
    if isinstance(result, Failure):
        assert result.code in ("not_json", "truncated", "schema_violation")
        assert result.raw == text


@settings(derandomize=True, max_examples=300)
@given(
    st.dictionaries(st.text(max_size=4), _json, max_size=3),
    st.sampled_from(["", "Here you are:\n", "```json\n", "```\n", "\n\n", "The answer (as JSON): "]),
)
def test_an_object_is_found_whatever_was_said_around_it(value: dict[str, Any], before: str) -> None:
    text = json.dumps(value)
    assert parse(before + text + ("\n```" if before.startswith("```") else "")).value == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 1_000_000,
        "[" * 1_000_000,
        "{" * 1_000_000,
        "[]" * 500_000,
        "{}" * 500_000,
        "`" * 1_000_000,
        "```json" * 150_000,
        "```\n" * 250_001 + "x",
        "```" + "a" * 1_000_000,
        '{"a":"' + "\\" * 1_000_001,
        '{"a":' * 200_000,
        "a [" * 300_000 + "]",
        " " * 1_000_000 + "x" + " " * 1_000_000,
    ],
)
def test_a_megabyte_of_nonsense_does_not_take_minutes(text: str) -> None:
    result = judge(text, SCHEMA)
    assert isinstance(result, Failure)
    assert result.code in ("not_json", "truncated")
    assert len(result.message) < 300


@pytest.mark.parametrize(
    "text",
    [
        "[" + ",".join(["1"] * 400_000) + "]",
        "{" + ",".join(f'"{n}":1' for n in range(80_000)) + "}",
        '{"company":"' + "x" * 1_000_000 + '","total":"x"}',
        '{"company":"A","total":0.' + "1" * 1_000_000 + ',"x":' + "[" * 190 + "]" * 190 + "}",
    ],
)
def test_a_megabyte_of_json_is_judged_in_one_short_line(text: str) -> None:
    result = judge(text, SCHEMA)
    if isinstance(result, Failure):
        assert result.code == "schema_violation"
        assert len(result.message) < 1_000
        assert "\n" not in result.message


_words = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
_arrivals = st.none() | st.builds(
    Arrival,
    st.none() | st.integers(0, 2**50),
    st.none() | st.tuples(st.integers(0, 2**50), st.integers(0, 2**50)),
    _words,
)
_valid = st.builds(
    Reply,
    perhaps_crossed(
        st.builds(Document, _words, _words, source=_words)
        | st.builds(
            Document,
            _words,
            _words,
            metadata=st.dictionaries(_words, st.integers(0, 9), max_size=2),
            source=_words,
            arrival=_arrivals,
            earlier=st.builds(Earlier, st.integers(0, 3), st.integers(0, 3)),
        )
    ),
    st.builds(Completion, st.just(GOOD), st.just("stop"), st.none() | st.integers(1, 2**31), st.none() | _words),
    st.builds(Usage, *[st.integers(0, 2**40)] * 3),
    st.builds(Ticket, st.none() | _words, st.integers(0, 3)),
)


def test_a_row_says_the_same_whether_it_is_made_of_a_reply_or_of_an_extraction() -> None:
    with both_paths("a text alone", "a text alone, pickled", "more than a text") as taken:
        _a_row_says_the_same(taken)


@settings(derandomize=True, max_examples=300)
@given(st.lists(_valid, max_size=5))
def _a_row_says_the_same(taken: Counter[str], given: list[Reply]) -> None:
    settled = settle(given, ASKED, NOW)
    by_value = settled.replies.documents.others
    for place, document in enumerate(settled.replies.documents):
        was = ", pickled" if given[place].document.earlier is not Document("", "").earlier else ""
        taken["more than a text" if place in by_value else f"a text alone{was}"] += 1
        assert (place in by_value) == (not document.is_text_alone)
    each = list(extractions(settled, ASKED))
    again, bad = rows.convert(
        SCHEMA,
        [one.document_id for one in each],
        [one.fields for one in each],
        [one.metadata for one in each],
        rows.provenance_columns([one.provenance for one in each]),
    )
    assert not bad
    assert settled.rows.num_rows == len(given)
    assert again.equals(settled.rows)
