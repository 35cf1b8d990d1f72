"""Answers, replies, schemas and documents that somebody made to hurt: bounded time and memory, and never a crash.

Heavy cases run in a process of their own with 30 seconds of CPU and 3 GB: the fault would be to take all there is.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from patience import HANGS

from kimi_beam.errors import ConfigError, SchemaError
from kimi_beam.request import batches
from kimi_beam.request.checks import prepare
from kimi_beam.request.prompt import Prompt
from kimi_beam.results.answer_text import parse
from kimi_beam.results.judging import judge
from kimi_beam.schema import OutputSchema
from kimi_beam.service.credentials import TokenSource, read_token
from kimi_beam.service.polling import Polling
from kimi_beam.types.answer import Completion
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.wire.completions import decode_item
from kimi_beam.wire.envelopes import HttpReply, Refused, Unknown
from kimi_beam.wire.matching import Matched, match
from kimi_beam.wire.protocol import Done, decode_poll, decode_submit
from kimi_beam.wire.usage import decode_usage


def bounded(answer: str, schema: str) -> None:
    """Judges an answer; both are Python expressions, as they are large."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (30, 30))

    code = f"""
from kimi_beam.results.judging import judge
from kimi_beam.schema import OutputSchema
judge({answer}, OutputSchema({schema}))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=HANGS, preexec_fn=limit, capture_output=True)


def http(body: Any, status: int = 200, **more: Any) -> HttpReply:
    return HttpReply(status, body if isinstance(body, bytes) else json.dumps(body).encode(), **more)


NODE = "{'$ref': '#/$defs/n'}"
BRANCH = f"{{'type': 'object', 'properties': {{'l': {NODE}, 'r': {NODE}}}, 'additionalProperties': False}}"
RECURSIVE = f"{{'$defs': {{'n': {{'anyOf': [{BRANCH}, {BRANCH}]}}}}, '$ref': '#/$defs/n'}}"
MANY_REFERENCES = """{
    '$defs': {f'a{i}': {'type': 'object', 'properties': {f'x{j}': {'$ref': f'#/$defs/a{j}'} for j in range(10)}}
              for i in range(10)},
    '$ref': '#/$defs/a0'}"""


@pytest.mark.parametrize(
    ("answer", "schema"),
    [
        ("'```' + chr(10) * 20000 + 'x'", "{}"),
        ("'```json' + chr(10) + ' ' * 300000 + 'x'", "{}"),
        ("'{\"l\":' * 18 + '1' + '}' * 18", RECURSIVE),
        ("'[' + ','.join(['1'] * 400000) + ']'", "{'items': {'anyOf': [{'type': 'string'}, {'type': 'null'}]}}"),
        ("'[' + ','.join(['1e-6000'] * 20000) + ']'", "{'type': 'array', 'items': {'multipleOf': 0.01}}"),
        (
            "'[' + ','.join('{\"a\":%d}' % i for i in range(8000)) + ',{\"a\":1}]'",
            "{'anyOf': [{'type': 'array', 'uniqueItems': True}, {'type': 'null'}]}",
        ),
    ],
    ids=["newlines", "spaces", "recursive union", "many violations", "tiny numbers", "unique items"],
)
def test_an_answer_cannot_take_the_workers_time_or_memory(answer: str, schema: str) -> None:
    bounded(answer, schema)


def test_references_that_multiply_do_not_hang_the_pipelines_construction() -> None:
    code = f"from kimi_beam.schema import OutputSchema\nassert len(OutputSchema({MANY_REFERENCES}).arrow_schema) == 11"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=HANGS)


def test_unions_of_references_in_circles_do_not_hang_it_either() -> None:
    def definition(i: int) -> Any:
        union = {"anyOf": [{"$ref": f"#/$defs/a{(i * 3 + k) % 12}"} for k in range(1, 4)]}
        members = {name: {"$ref": f"#/$defs/a{(i + step) % 12}"} for name, step in (("p", 5), ("q", 7))}
        return {"allOf": [union, {"type": "object", "properties": members}]}

    began = time.process_time()
    schema = OutputSchema({"$defs": {f"a{i}": definition(i) for i in range(12)}, "$ref": "#/$defs/a0"})
    assert schema.arrow_schema.names == ["p", "q", "_additional"]
    assert schema.response_format
    assert time.process_time() - began < 1


def test_each_of_very_many_properties_has_its_column_and_is_asked_for() -> None:
    schema = OutputSchema({"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(5_000)}})
    assert len(schema.arrow_schema) == 5_001
    assert len(schema.response_format["json_schema"]["schema"]["properties"]) == 5_000


# ------------------------------------------------------------------------------------------------ replies


@pytest.mark.parametrize("odd", [rb'"\ud83d"', b"-Infinity", b"NaN", b"1e999"])
def test_one_odd_value_in_one_item_does_not_cost_the_others(odd: bytes) -> None:
    body = b'{"result":{"results":[{"index":0,"result":{"x":%s}},{"index":1,"result":{}}]},"success":true}' % odd
    done = decode_poll(http(body), 0.0)
    assert isinstance(done, Done), "the job would be polled until its deadline, and all its documents given up"
    assert len(done.items) == 2


def test_an_answer_in_the_classic_shape_keeps_its_digits_and_may_be_nested_as_it_likes() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    assert isinstance(decode_item({"index": 0, "result": {"response": deep}})[0], Failure)
    body = b'{"result":{"responses":[{"id":0,"result":{"response":{"n":123456789012345678901}}}]},"success":true}'
    done = decode_poll(http(body), 0.0)
    assert isinstance(done, Done)
    completion = decode_item(done.items[0])[0]
    assert isinstance(completion, Completion)
    assert completion.text == '{"n":123456789012345678901}'
    empty = decode_item({"result": {"response": " "}})[0]
    assert isinstance(empty, Failure)
    assert empty.code == "empty_answer"


def test_a_long_error_message_is_cut_before_it_is_looked_at() -> None:
    message = "AiError: " * 400_000
    began = time.process_time()
    decode_poll(http({"success": False, "errors": [{"code": 1, "message": message}]}, 404), 0.0)
    assert time.process_time() - began < 2, "quadratic in the length of the message"


@pytest.mark.parametrize(("code", "status"), [(3046, 408), (3007, 408), (3008, 408), (2014, 504)])
def test_a_timeout_in_an_envelope_may_have_been_accepted(code: int, status: int) -> None:
    reply = http({"success": False, "errors": [{"code": code, "message": "AiError: timeout"}]}, status)
    assert isinstance(decode_submit(reply, 0.0), Unknown), "the submit would be repeated, and paid for, five times"


def test_tolerated_spellings_of_the_same_thing_are_read() -> None:
    beside = {"result": {"results": None, "responses": [{"id": 0}]}, "success": True}
    assert isinstance(decode_poll(http(beside), 0.0), Done)
    assert match([{"index": None, "id": 0}], ["a"]) == Matched([{"index": None, "id": 0}])


def test_more_cached_tokens_than_there_are_cost_nothing_below_zero() -> None:
    usage = decode_usage({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 10}})
    assert usage is not None
    assert usage.cached_tokens == 5


def test_a_retry_after_without_a_zone_is_in_gmt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        refused = decode_submit(http(b"", 429, retry_after="Thu Jul 16 05:43:33 2026"), 1_784_180_523.0)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert isinstance(refused, Refused)
    assert refused.error.retry_after == 90


# ------------------------------------------------------------------------------------------------ schemas


@pytest.mark.parametrize("keyword", [{"maximum": 1 << 64}, {"multipleOf": Decimal("0.12345678901234567890")}])
def test_a_schema_with_numbers_beyond_a_double_reaches_the_model(keyword: dict[str, Any]) -> None:
    (value,) = keyword.values()
    request = Prompt(OutputSchema({"type": "number", **keyword})).request(Document("a", "t"), "r")
    assert str(value).encode() in request


@pytest.mark.parametrize("path", ["http://example.com/a.json", "hdfs://host/x.json", "s3://a/b", "a\0b"])
def test_a_schema_that_cannot_be_reached_is_the_users_mistake(path: str) -> None:
    with pytest.raises(SchemaError, match="cannot read the schema"):
        OutputSchema(path)


def test_a_reserved_property_of_a_closed_schema_is_not_lost() -> None:
    names = {"a": {"type": "string"}, "_metadata": {"type": "string"}, "nul\0": {"type": "string"}}
    schema = {"type": "object", "properties": names, "required": list(names), "additionalProperties": False}
    batch, bad = OutputSchema(schema).to_arrow([{"a": "x", "_metadata": "KEEP", "nul\0": "THIS"}])
    assert bad == []
    (row,) = batch.to_pylist()
    assert row == {"a": "x", "_metadata_": "KEEP", "nul__": "THIS", "_additional": None}


OTHER_BASE = {
    "$id": "http://x/y",
    "$defs": {"i": {"type": "string"}},
    "type": "object",
    "properties": {"q": {"$ref": "#/$defs/i"}},
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$defs": {"i": {"type": "integer"}}, "properties": {"a": OTHER_BASE}}, {"a": {"q": "text"}}),
        (
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "definitions": {"i": {"type": "integer"}},
                "properties": {"a": {"$ref": "#/definitions/i", "allOf": [{"type": "string"}]}},
            },
            {"a": 5},
        ),
        (
            {
                "$defs": {"a b": {"type": "integer"}, "a%20b": {"type": "string"}},
                "properties": {"a": {"$ref": "#/$defs/a%20b"}},
            },
            {"a": 5},
        ),
    ],
    ids=["another base", "draft 7 siblings", "percent"],
)
def test_a_reference_is_read_as_the_validator_reads_it(schema: dict[str, Any], value: Any) -> None:
    output = OutputSchema({"type": "object", **schema})
    assert output.is_valid(value)
    assert output.to_arrow([value])[1] == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("date", "2024-W01-1"),
        ("date-time", "2024-01-01T00:00:00,1234567Z"),
        ("date-time", "0001-01-01T00:00:00+01:00"),
    ],
)
def test_a_time_that_its_cell_would_alter_or_not_give_back_stands_aside(kind: str, value: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "format": kind}}}
    (row,) = OutputSchema(schema, formats=False).to_arrow([{"a": value}])[0].to_pylist()
    assert (row["a"], json.loads(row["_additional"])) == (None, {"/a": value})


def test_a_schema_does_not_change_with_the_dict_that_it_was_made_of() -> None:
    given: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
    schema = OutputSchema(given)
    given["properties"]["b"] = {}
    assert schema.arrow_schema.names == ["a", "_additional"]


# ------------------------------------------------------------------------------------------------ documents

PROMPT = Prompt(OutputSchema({"type": "object"}))


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def through(document: Document) -> Document:
    (decoded,) = batches.decode(batches.encode([prepare(document, PROMPT)]))
    return decoded


@pytest.mark.parametrize(
    "document",
    [
        Document("a", "t", images=("\ud800",)),
        Document("a", "t", failure=Failure("read", "unreadable", "\udcff")),
        Document("a", "t", metadata={"a": deep(230)}),
        Document("a", "t", metadata={"a": deep(600)}),
        Document("a", "t", metadata={"a": 10**5000}),
        Document("a", "t", metadata={10**5000: 1}),  # type: ignore[dict-item]
        Document("a", "t", metadata={"a": Decimal("1E+7000")}),
        Document("a", "", source="\udcff"),
    ],
    ids=range(8),
)
def test_a_document_made_in_code_travels_whatever_it_holds(document: Document) -> None:
    assert through(document).id == "a"


@pytest.mark.parametrize("key", [None, 1.5, True, ["a"], b"a", ""])
@pytest.mark.parametrize("text", [None, b"x", 5, "t"])
def test_a_document_of_other_types_is_its_own_dead_letter(key: Any, text: Any) -> None:
    failure = through(Document(key, text)).failure
    assert failure is not None
    assert failure.code == "missing_id"
    wrong = through(Document("a", b"x")).failure  # type: ignore[arg-type]
    assert wrong is not None
    assert wrong.code == "missing_text"


def test_metadata_of_any_mapping_comes_back_as_it_was() -> None:
    assert through(Document("a", "t", metadata=MappingProxyType({"a": None}))).metadata == {"a": None}
    assert through(Document("a", "t", metadata={"a": float("nan"), "b": 1.5})).metadata == {"a": "nan", "b": 1.5}


# ------------------------------------------------------------------------------------------------ settings and answers


@pytest.mark.parametrize("factor", [1e6, 100_000])
def test_a_steep_factor_does_not_overflow(factor: float) -> None:
    assert Polling(factor=factor).wait("j", 64) <= 60


@pytest.mark.parametrize("setting", [{"factor": float("nan")}, {"deadline": float("nan")}, {"ceiling": float("inf")}])
def test_waits_that_are_no_numbers_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Polling(**setting)  # type: ignore[arg-type]


@pytest.mark.parametrize("secret", [b"", b"\n", b"a\nb", "tok\u00e9".encode(), b"\xff"])
def test_a_secret_that_no_header_can_carry_is_refused(secret: bytes) -> None:
    class Vault:
        def get_secret_bytes(self) -> bytes:
            return secret

    with pytest.raises(ConfigError):
        read_token(Vault())


def test_a_token_given_in_place_of_its_place_is_not_echoed() -> None:
    with pytest.raises(ConfigError) as e:
        TokenSource("env:cfut_secret").read()
    assert "cfut_secret" not in str(e.value)
    with pytest.raises(ConfigError):
        TokenSource("file:a\0b").read()


def test_reasoning_between_tags_is_not_read_as_the_answer() -> None:
    assert parse('<think>{"total": 1}</think>\n{"total": 2}').value == {"total": 2}


def test_brackets_of_the_prose_do_not_hide_the_answer_and_a_torn_one_is_none() -> None:
    assert parse('The items [1] are: {"total": 5}').value == {"total": 5}
    assert parse('All of them: [{"a": 1}, {"a": 2}] as asked').value == [{"a": 1}, {"a": 2}]
    with pytest.raises(ValueError):
        parse('[{"a":1},{"b"')


def test_a_violation_is_told_in_one_line_of_bounded_length() -> None:
    answer = '{"a\\nb' + "x" * 100_000 + '":1}'
    failure = judge(answer, OutputSchema({"additionalProperties": {"type": "string"}}))
    assert isinstance(failure, Failure)
    assert len(failure.message) < 2_000
    assert "\n" not in failure.message
