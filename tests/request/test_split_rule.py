"""Which documents are asked for in parts, and of which size."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pictures
import pytest
from both_paths import both_paths
from harness import RECEIPT
from long_invoices import INVOICE, invoice

from kimi_beam.columnar import Documents
from kimi_beam.errors import ConfigError
from kimi_beam.request import batches
from kimi_beam.request.batches import IN_PARTS
from kimi_beam.request.checks import prepare, prepare_texts
from kimi_beam.request.context_window import PICTURE_TOKENS
from kimi_beam.request.document_parts import DocumentParts
from kimi_beam.request.packing import Batching
from kimi_beam.request.prompt import Prompt
from kimi_beam.request.split_rule import SplitRule, item_tokens
from kimi_beam.request.splitting import split
from kimi_beam.schema import OutputSchema
from kimi_beam.types.document import Document, Layout
from kimi_beam.types.earlier_runs import Earlier, EarlierPart
from kimi_beam.wire.size_limits import HARD_MAX_BYTES


def test_a_document_that_fits_is_asked_for_whole() -> None:
    prompt = Prompt(OutputSchema(INVOICE))
    assert prompt.split_rule.limits(invoice(100).document.text, 10_000) is None
    assert prompt.split_rule.limits("word " * 100_000, 600_000) is None, "long prose has a short answer"


def test_rows_whose_answer_would_be_too_long_are_divided_so_that_each_answer_fits() -> None:
    prompt = Prompt(OutputSchema(INVOICE))
    text = invoice(2_000).document.text
    limits = prompt.split_rule.limits(text, 10_000)
    assert limits is not None
    for part in split(Document("a", text), limits):
        assert prompt.split_rule.limits(part.text, 10_000) is None
    many = Prompt(OutputSchema(RECEIPT))
    assert many.split_rule.limits(text, 10_000) is None, "no list is asked for"


def test_a_text_alone_and_a_whole_document_are_divided_alike() -> None:
    by_size = Prompt(OutputSchema(INVOICE), chunk_tokens=1_000)
    by_answer = Prompt(OutputSchema(INVOICE), max_completion_tokens=1_000)
    with both_paths("fast", "careful") as taken:
        for prompt, rows in product((by_size, by_answer), range(1, 80)):
            document = Document("a", invoice(rows).document.text)
            (row,) = prepare_texts(Documents.of([document]), prompt, lambda _shown, _round: b"k" * 16)
            taken["fast" if row else "careful"] += 1
            is_divided = prompt.split_rule.limits(document.text, 10_000) is not None
            assert (prepare(document, prompt).key == IN_PARTS) == is_divided
            assert not (is_divided and row), "the fast way would send it whole"
    assert by_size.split_rule.limits(invoice(79).document.text, 10_000) is not None
    assert by_answer.split_rule.limits(invoice(79).document.text, 10_000) is not None


@pytest.mark.parametrize("chunk_tokens", [0, 199])
def test_parts_that_are_all_context_are_refused(chunk_tokens: int) -> None:
    with pytest.raises(ConfigError, match="chunk_tokens is at least 200"):
        Prompt(OutputSchema(RECEIPT), chunk_tokens=chunk_tokens)


def test_a_document_with_answered_parts_is_asked_for_in_parts_whatever_its_size() -> None:
    earlier = Earlier(parts=(EarlierPart(0, 4), EarlierPart(4, 8)))
    assert prepare(Document("a", "textTEXT", earlier=earlier), Prompt(OutputSchema(RECEIPT))).key == IN_PARTS


def test_the_widest_list_counts() -> None:
    assert item_tokens(OutputSchema(RECEIPT).response_format["json_schema"]["schema"]) is None
    width = item_tokens(OutputSchema(INVOICE).response_format["json_schema"]["schema"])
    assert width is not None
    assert 15 < width < 30
    assert SplitRule(None, None, 100, width).least_rows == int(100 / (width + 6)) + 1


def test_a_scan_larger_than_a_batch_may_be_is_divided_so_that_each_batch_is_sendable() -> None:
    """Also one without any text: its pages are pictures alone."""
    prompt = Prompt(OutputSchema(RECEIPT))
    parts = DocumentParts(prompt, lambda _shown, _round: b"k" * 16, Batching())
    pages = tuple(pictures.uri(pictures.png(bytes([number]) * 900_000)) for number in range(12))
    scan = Document("scan", "", pages, layout=Layout((0,) * 12))
    item = prepare(scan, prompt)
    assert (item.key, item.size > HARD_MAX_BYTES) == (IN_PARTS, True)
    divided = parts.divide(batches.encode([item]), list)
    assert (divided.rest, divided.replies) == (None, [])
    assert all(batches.head(blob).size_bytes <= HARD_MAX_BYTES for blob in divided.parts)
    asked = [document for blob in divided.parts for document in batches.decode(blob)]
    assert [picture for document in asked for picture in document.images] == list(pages)
    assert len(asked) > 2


def test_a_picture_that_no_request_can_hold_is_refused_and_its_neighbours_with_it() -> None:
    large = pictures.uri(pictures.png(bytes(6_100_000)))
    item = prepare(Document("a", "t", (large, large)), Prompt(OutputSchema(RECEIPT)))
    assert item.document.failure is not None
    assert item.document.failure.code == "too_large"


def test_pictures_count_against_the_window_and_the_size_of_parts() -> None:
    by_window, by_chunk = Prompt(OutputSchema(RECEIPT)), Prompt(OutputSchema(RECEIPT), chunk_tokens=4_000)
    assert by_window.room is not None
    few, many = by_window.room // PICTURE_TOKENS, by_window.room // PICTURE_TOKENS + 1
    assert by_window.split_rule.limits("", 1_000, few) is None
    assert by_window.split_rule.limits("word " * PICTURE_TOKENS, 1_000, few) is not None
    assert by_window.split_rule.limits("", 1_000, many) is not None
    assert by_chunk.split_rule.limits("", 1_000, 1) is None, "a picture alone cannot be divided"
    assert by_chunk.split_rule.limits("word " * 100, 1_000, 1) is None
    assert by_chunk.split_rule.limits("", 1_000, 2) is not None


@pytest.mark.parametrize("pages", [2, 10])
def test_a_scan_whose_answer_was_cut_off_is_divided_in_two(pages: int) -> None:
    parts = DocumentParts(Prompt(OutputSchema(RECEIPT)), lambda _shown, _round: b"k" * 16, Batching())
    scan = Document(
        "scan", "", tuple(f"data:image/png;base64,AAAA{n}" for n in range(pages)), layout=Layout((0,) * pages)
    )
    assert sorted(len(part.images) for part in parts.split_further(scan)) == [pages // 2, -(-pages // 2)]
    (alone,) = parts.split_further(scan)[:1]
    assert parts.split_further(replace(alone, images=alone.images[:1], part=None)) == []


@pytest.mark.parametrize(
    ("members", "grows"),
    [
        ({"a": {"type": ["string", "null"]}, "b": {"enum": ["x", 1]}}, False),
        ({"a": {"type": "object", "properties": {"b": {"type": "number"}}}}, False),
        ({"a": {"type": ["array", "null"], "items": {"type": "string"}}}, True),
        ({"a": {"type": "array"}}, True),
        ({"a": {"type": "object"}}, True),
        ({"a": {"type": "object", "additionalProperties": {"type": "string"}}}, True),
        ({"a": {}}, True),
        ({"a": {"$ref": "#/$defs/a"}}, True),
    ],
)
def test_an_answer_grows_with_the_text_where_its_schema_has_room_for_more_values(
    members: dict[str, object], grows: bool
) -> None:
    schema = {"type": "object", "properties": members, "$defs": {"a": {"type": "array", "items": {"type": "number"}}}}
    assert Prompt(OutputSchema(schema)).split_rule.grows is grows
