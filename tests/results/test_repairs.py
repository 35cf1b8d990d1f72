"""Answers with a fault that leaves no doubt are repaired without asking again, and never into something else."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import corrupted_answers as corrupted
import pytest

from kimi_beam.results.judging import Instance, judge
from kimi_beam.results.settle_replies import Question, extractions, free_repairs, settle
from kimi_beam.schema import OutputSchema, jsontext
from kimi_beam.types.answer import Completion, Repair
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply

INVOICE: dict[str, Any] = {
    "title": "Invoice",
    "type": "object",
    "properties": {
        "number": {"type": "string"},
        "date": {"type": ["string", "null"], "format": "date"},
        "total": {"type": ["number", "null"]},
        "count": {"type": "integer"},
        "paid": {"type": "boolean"},
        "currency": {"enum": ["EUR", "USD", "Swiss Franc"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "rates": {"type": "array", "items": {"type": "number"}},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "price": {"type": "number"}, "note": {"type": "string"}},
                "required": ["name", "price"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["number", "total"],
    "additionalProperties": False,
}
SCHEMA = OutputSchema(INVOICE)
ASKED = Question(SCHEMA, "m")


def kinds(text: str, schema: OutputSchema = SCHEMA, *, coerce: bool = False) -> tuple[Any, dict[str, int]]:
    """The value of an answer, and the repairs that it needed."""
    verdict = judge(text, schema, coerce=coerce)
    assert isinstance(verdict, Instance), verdict
    return verdict.value, {
        f"{one.kind} {one.path}" if one.path is not None else one.kind: one.count for one in verdict.repairs
    }


GOOD = '{"number": "A 1", "total": 24.5}'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GOOD, {}),
        (f"```json\n{GOOD}\n```", {"fence": 1}),
        (f"\ufeff{GOOD}", {"byte_order_mark": 1}),
        (f"```json\n\ufeff{GOOD}\n```", {"fence": 1, "byte_order_mark": 1}),
        (f"Here it is: {GOOD}", {"prose": 1}),
        (f"<think>24.5?</think>\n```\n{GOOD}\n```", {"fence": 1, "prose": 1}),
        ('{"number": "A 1", "total": 24.5,\n}', {"trailing_comma": 1}),
        (f"As asked:\n```json\n{GOOD[:-1]},}}\n```", {"fence": 1, "prose": 1, "trailing_comma": 1}),
        (f'{{"result": {GOOD}}}', {"wrapping": 1}),
        (f'[{{"Invoice": {GOOD}}}]', {"wrapping": 2}),
        (f'{{"invoice": {GOOD}}}', {"wrapping": 1}),
        (f'{{"name": "Invoice", "parameters": {GOOD}}}', {"wrapping": 1}),
        (f'{{"type": "object", "properties": {GOOD}}}', {"wrapping": 1}),
        (f'{{"schema": {json.dumps(INVOICE)}, "data": {GOOD}}}', {"wrapping": 1}),
        (f"{json.dumps(INVOICE)}\n{GOOD}", {"prose": 1}),
        (f"{json.dumps(SCHEMA.response_format['json_schema']['schema'])}\n{GOOD}", {"prose": 1}),
    ],
)
def test_a_repair_that_is_not_named_would_be_unseen(text: str, named: dict[str, int]) -> None:
    assert kinds(text) == (json.loads(GOOD), named)


def test_words_of_python_and_raw_control_characters_are_read_as_they_were_meant() -> None:
    text = '{"number": "A\n1\t\x02True", "total": None, "paid": True, "tags": ["None", "NaN", ",]"],}'
    value, named = kinds(text)
    assert value == {"number": "A\n1\t\x02True", "total": None, "paid": True, "tags": ["None", "NaN", ",]"]}
    assert named == {"control_character": 3, "python_literal": 2, "trailing_comma": 1}


def test_nan_is_null_only_where_null_is_allowed() -> None:
    assert kinds('{"number": "A", "total": NaN}') == ({"number": "A", "total": None}, {"nan /total": 1})
    wrapped = '{"data": {"number": "A", "total": NaN}}'
    assert kinds(wrapped) == ({"number": "A", "total": None}, {"wrapping": 1, "nan /total": 1})
    for text in (
        '{"number": "A", "total": 1, "count": NaN}',  # a null there would be taken as absent
        '{"number": "A", "total": 1, "lines": [{"name": "x", "price": NaN}]}',
        '{"number": NaN, "total": 1}',
    ):
        assert failure_of(text).code == "schema_violation", text
    assert "/count" in failure_of('{"number": "A", "total": 1, "count": NaN}').message


def failure_of(text: str, schema: OutputSchema = SCHEMA, *, coerce: bool = False) -> Failure:
    """The failure of an answer."""
    failure = judge(text, schema, coerce=coerce)
    assert isinstance(failure, Failure), failure
    return failure


@pytest.mark.parametrize(
    "text",
    [
        f'{{"result": {GOOD}, "confidence": 0.9}}',  # the confidence would be lost
        f'{{"result": {GOOD}, "data": {GOOD}}}',
        f"[{GOOD}, {GOOD}]",
        f'{{"bill": {GOOD}}}',  # no usual name
        f'{{"number": "A", "total": {GOOD}}}',
        f"[[[[{GOOD}]]]]",
        '{"result": "{}"}',
    ],
)
def test_a_wrapping_that_holds_more_than_the_answer_is_refused(text: str) -> None:
    assert failure_of(text).code == "schema_violation"


def test_what_may_be_the_answer_in_two_ways_is_refused() -> None:
    tree = OutputSchema({"type": "object", "properties": {"data": {"type": "object"}}, "maxProperties": 1})
    assert kinds('{"data": {"data": {}}}', tree) == ({"data": {"data": {}}}, {})
    nested = OutputSchema({"type": ["object", "array"], "maxProperties": 0, "maxItems": 0})
    assert kinds("[[]]", nested) == ([], {"wrapping": 1})
    assert failure_of('{"result": [{}]}', OutputSchema({"enum": [{}, [{}]]})).code == "schema_violation"


def test_the_schema_is_no_answer_even_where_everything_is() -> None:
    anything: dict[str, Any] = {"type": "object", "title": "Anything"}
    assert failure_of(f"The schema:\n{json.dumps(anything)}", OutputSchema(anything)).code == "not_json"


TREE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "inner": {"$ref": "#"},
        "lines": {"type": "array", "items": {"$ref": "#"}},
    },
    "required": ["name"],
    "additionalProperties": False,
}
INNER = '{"name": "b"}'


@pytest.mark.parametrize(
    "text",
    [
        # Cut off, behind a value that quotes the end of reasoning.
        f'{{"name": "</think>", "inner": {INNER}',
        f'{{"name": "<|channel|>final", "lines": [{INNER}',
        f'{{"name": "[/THINK]", "inner": {INNER}, "lines": [{{"name": "c"',
        f'{{"name": "a \\"</think>", "inner": {INNER}',
        f'{{"name": "</thought> EUR" EUR, "inner": {INNER}',
        # Pieces, of which the beginning is lost.
        f'"inner": {INNER}',
        f'"a", "lines": [{INNER}], "no',
        f': {INNER}, "lines": [',
        f', {INNER}',
        f'{INNER},',
        f'12, {INNER}',
        # Closed too early.
        f'{INNER},{{2.5}}',
        f'{INNER}{{2.5\n}}',
        f'[{INNER}], "name": "a"',
    ],
)  # fmt: skip
def test_a_piece_of_an_answer_is_not_taken_for_the_answer(text: str) -> None:
    """Where items are described as the whole is, a part of the answer would be valid by itself."""
    assert failure_of(text, OutputSchema(TREE)).stage == "parse"


def test_an_answer_that_quotes_the_end_of_reasoning_is_read_also_where_it_has_a_fault() -> None:
    value = {"name": "</think>", "lines": [{"name": "<|channel|>final {"}]}
    for text in (f"```\n{json.dumps(value)}\n```", f"Done: {json.dumps(value)[:-1]},}}"):
        assert kinds(text, OutputSchema(TREE))[0] == value


def test_a_backslash_before_a_raw_line_feed_is_not_guessed_at() -> None:
    """It may join two lines, or stand for itself, or for the line feed."""
    assert failure_of('{"number": "A\\\nB", "total": 1}').code == "not_json"
    assert kinds('{"number": "A\\\\\nB", "total": 1}')[0]["number"] == "A\\\nB"


@pytest.mark.parametrize(
    ("member", "value", "named"),
    [
        ('"total": "12.50"', 12.5, {"number /total": 1}),
        ('"total": "1,234.50"', 1234.5, {"number /total": 1}),
        ('"total": "1.234,50"', 1234.5, {"number /total": 1}),
        ('"total": "1 234 567"', 1234567, {"number /total": 1}),
        ('"total": "12,5"', 12.5, {"number /total": 1}),
        ('"total": "-0.123"', -0.123, {"number /total": 1}),
        ('"total": "1234.567"', 1234.567, {"number /total": 1}),
        ('"total": "12345678901234567.89"', None, {"number /total": 1}),
        ('"total": 1, "count": "3"', 1, {"number /count": 1}),
        ('"total": 1, "count": "3.0"', 1, {"number /count": 1}),
        ('"total": 1, "tags": "new"', 1, {"array_of_one /tags": 1}),
        ('"total": 1, "rates": 7', 1, {"array_of_one /rates": 1}),
        ('"total": 1, "rates": "7"', 1, {"array_of_one /rates": 1, "number /rates/0": 1}),
        ('"total": 1, "currency": " swiss  FRANC "', 1, {"enum /currency": 1}),
        ('"total": 1, "date": "31/12/2024"', 1, {"date /date": 1}),
        ('"total": 1, "date": "2024/3/5"', 1, {"date /date": 1}),
        ('"total": 1, "date": "20240305"', 1, {"date /date": 1}),
        ('"total": 1, "date": "3. März 2024"', 1, {"date /date": 1}),
        ('"total": 1, "date": "March 3rd, 2024"', 1, {"date /date": 1}),
        ('"total": 1, "date": "07.07.2024"', 1, {"date /date": 1}),
        ('"total": "5", "lines": [{"name": "a", "price": "1.5"}]', 5, {"number /total": 1, "number /lines/0/price": 1}),
    ],
)
def test_with_coerce_a_value_that_has_one_reading_is_taken_and_without_it_is_not(
    member: str, value: Any, named: dict[str, int]
) -> None:
    text = f'{{"number": "007", {member}}}'
    assert failure_of(text).code == "schema_violation"
    found, repairs = kinds(text, coerce=True)
    assert repairs == named
    assert found["number"] == "007"
    if value is not None:
        assert found["total"] == value
        assert jsontext.dumps(found)
    else:
        assert b'"total":12345678901234567.89' in jsontext.dumps(found)
    wrapped, repairs = kinds(f"```\n[{text}]\n```", coerce=True)
    assert jsontext.same(wrapped, found)
    assert repairs == {"fence": 1, "wrapping": 1, **named}


@pytest.mark.parametrize(
    "member",
    [
        '"total": "1.234"',  # one and some, or one thousand and some
        '"total": "1,234"',
        '"total": "12.5 EUR"',
        '"total": "0123"',
        '"total": "12.34.56"',
        '"total": "1,23,456"',
        '"total": ""',
        '"total": "NaN"',
        '"total": "1e999"',
        '"total": "١٢"',
        '"total": true',
        '"total": [5]',
        '"total": 1, "count": 3.5',
        '"total": 1, "count": "3.5"',
        '"total": 1, "number": 7',
        '"total": 1, "tags": {"a": 1}',
        '"total": 1, "currency": "Euro"',
        '"total": 1, "date": "05/03/2024"',
        '"total": 1, "date": "05.03.24"',
        '"total": 1, "date": "2024-02-30"',
        '"total": 1, "date": "March 2024"',
        '"total": 1, "date": "2024-03-05T10:00:00"',
        '"total": 1, "paid": "true"',
    ],
)
def test_with_coerce_a_value_of_two_readings_or_none_is_refused(member: str) -> None:
    text = f'{{"number": "007", {member}}}'.replace('"number": "007", "total": 1, "number"', '"total": 1, "number"')
    assert failure_of(text, coerce=True).code == "schema_violation"


def test_a_text_that_two_entries_of_an_enum_resemble_is_refused() -> None:
    schema = OutputSchema({"enum": ["Open", "OPEN"]})
    assert failure_of('"open"', schema, coerce=True).code == "schema_violation"


def test_a_whole_float_is_an_integer_for_draft_4_too() -> None:
    schema = OutputSchema({"type": "object", "properties": {"n": {"type": "integer"}}}, draft="4")
    assert failure_of('{"n": 12.0}', schema).code == "schema_violation"
    value, named = kinds('{"n": 12.0}', schema, coerce=True)
    assert (value, type(value["n"]), named) == ({"n": 12}, int, {"integer /n": 1})


def test_a_row_names_its_repairs_and_a_row_without_any_says_null() -> None:
    texts = [GOOD, f"```\n{GOOD}\n```", '{"number": "A 1", "total": "24.50",}']
    replies = [Reply(Document(str(i), "t"), Completion(text, "stop", 5, "m")) for i, text in enumerate(texts)]
    settled = settle(replies, Question(SCHEMA, "m", coerce=True), 0.0)
    assert settled.dead_letters == []
    provenance: list[Any] = settled.rows.column("_provenance").to_pylist()
    assert [row["repairs"] for row in provenance] == [
        None,
        [{"kind": "fence", "path": None, "count": 1}],
        [{"kind": "trailing_comma", "path": None, "count": 1}, {"kind": "number", "path": "/total", "count": 1}],
    ]
    assert free_repairs(settled) == 3
    named = [one.provenance.report and one.provenance.report.repairs for one in extractions(settled, ASKED)]
    assert named == [None, (Repair("fence"),), (Repair("trailing_comma"), Repair("number", "/total"))]


# ------------------------------------------------------------------------------------------------ laws


def _law(records: Sequence[tuple[Any, Mapping[str, Any]]], count: int, seed: int) -> Counter[str]:
    """Corrupts records, each in one to three ways, and counts what became of them."""
    draw, found = random.Random(seed), Counter[str]()
    schemas = {id(definition): OutputSchema(dict(definition)) for _, definition in records}
    choices = [(corrupted.Layouts(gold), definition) for gold, definition in records]
    for _ in range(count):
        layouts, definition = draw.choice(choices)
        text = layouts.written(draw)
        ways = draw.sample(corrupted.LOSSLESS, draw.randint(0, 3))
        is_lossy = draw.random() < 0.5 or not ways
        if is_lossy:
            ways = [draw.choice(corrupted.LOSSY), *ways]
        # The order in which a model would do it: inside the answer first, around it last.
        order = [*corrupted.LOSSY, *corrupted.LOSSLESS[3:], *corrupted.LOSSLESS[:3]]
        for way in sorted(ways, key=order.index):
            if (
                way not in (corrupted.trailing_commas, corrupted.python_literals, corrupted.raw_controls)
                or not is_lossy
            ):
                text = way(text, draw, definition)
        verdict = judge(text, schemas[id(definition)])
        names = "+".join(way.__name__ for way in ways)
        if isinstance(verdict, Failure):
            found["lossy, refused" if is_lossy else "lossless, refused"] += 1
        else:
            assert jsontext.same(verdict.value, layouts.record), f"altered by {names}: {text}"
            found["lossy, equal" if is_lossy else "lossless, repaired"] += 1
            found.update(repair.kind for repair in verdict.repairs)
    return found


def _check(found: Counter[str], count: int) -> None:
    assert found["lossless, repaired"] >= 0.95 * (found["lossless, repaired"] + found["lossless, refused"]), found
    assert min(found["lossless, repaired"], found["lossy, refused"]) > count * 0.3, found
    for kind in (
        "fence",
        "byte_order_mark",
        "prose",
        "trailing_comma",
        "python_literal",
        "control_character",
        "wrapping",
    ):
        assert found[kind] > count / 1_000, (kind, found)


def test_100_000_corruptions_of_gold_become_the_gold_or_nothing(shared_data: Path) -> None:
    records: list[tuple[Any, Mapping[str, Any]]] = []
    for name, least in (("sroie", 300), ("einvoice", 60), ("cuad", 80)):
        directory = shared_data / "documents" / name
        definition = json.loads((directory / "gold.schema.json").read_bytes())
        lines = (directory / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        gold = [json.loads(line)["gold"] for line in lines]
        assert len(gold) >= least
        records += [(one, definition) for one in gold if len(json.dumps(one)) < 4_000]
    _check(_law(records, 100_000, seed=23), 100_000)


_PIECES = (
    '"',
    "\\",
    "\n",
    "\t",
    "\x07",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "True",
    "None",
    "NaN",
    "```",
    "</think>",
    "é",
    "\u2028",
    "7",
)


def _drawn(draw: random.Random) -> dict[str, Any]:
    """A record whose texts are made of what spoils JSON."""

    def text() -> str:
        return "".join(draw.choice(_PIECES) for _ in range(draw.randint(0, 6)))

    record = {
        "number": text(),
        "total": draw.choice([None, 0, -1.5, 1e-7, 12345678901234567890]),
        "paid": draw.random() < 0.5,
        "currency": draw.choice(["EUR", "Swiss Franc"]),
        "tags": [text() for _ in range(draw.randint(0, 3))],
        "lines": [{"name": text(), "price": draw.randint(0, 99) / 4} for _ in range(draw.randint(0, 3))],
    }
    return {key: record[key] for key in record if key in ("number", "total") or draw.random() < 0.7}


def test_corruptions_of_drawn_records_become_the_record_or_nothing(request: pytest.FixtureRequest) -> None:
    draw = random.Random(5)
    records = [(_drawn(draw), INVOICE) for _ in range(2_000)]
    count = 2_000 if request.config.getoption("--fast") else 20_000
    _check(_law(records, count, seed=7), count)
