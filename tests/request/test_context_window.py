"""A text past the model's window is asked for in parts, and none that may fit is."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from harness import RECEIPT, run_extract
from hypothesis import given, settings
from hypothesis import strategies as st
from long_invoices import shown_text

import kimi_beam as kb
from kimi_beam.columnar import Documents
from kimi_beam.emulator import Emulator
from kimi_beam.request.batches import IN_PARTS
from kimi_beam.request.checks import prepare, prepare_texts
from kimi_beam.request.context_window import about_tokens, least_tokens
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.service.models import MODELS

PROMPT = Prompt(OutputSchema(RECEIPT))
ROOM = PROMPT.room or 0
# Kimi's pattern for texts in ASCII: each match is one token or more.
PATTERN = re.compile(
    r"[^\r\na-zA-Z0-9]?[A-Z]*[a-z]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\na-zA-Z0-9]?[A-Z]+[a-z]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[0-9]{1,3}| ?[^\sa-zA-Z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@settings(derandomize=True, max_examples=1_500)
@given(st.text(st.characters(max_codepoint=127), max_size=40) | st.text("aB1 '.\n\tslt", max_size=30))
def test_no_text_has_fewer_tokens_than_are_counted(text: str) -> None:
    assert least_tokens(text) <= sum(1 for _ in PATTERN.finditer(text)) <= max(1, len(text))


@settings(derandomize=True, max_examples=1_000)
@given(st.text(max_size=40))
def test_a_text_of_any_alphabet_has_no_more_than_one_a_run_unless_it_is_ascii(text: str) -> None:
    runs = re.split(r"[ \t\n\r\x0b\x0c]+", text)
    assert least_tokens(text) <= sum(1 if not run.isascii() else len(run) for run in runs if run)


def counted_run_by_run(text: str) -> int:
    """The definition of the bound, in the words of its module."""
    total = 0
    for run in filter(None, re.split(r"[ \t\n\r\x0b\x0c]+", text)):
        pieces = re.findall(r"(?<!['A-Za-z])[A-Za-z]+|[0-9]{1,3}", run)
        total += max(1, len(pieces)) if run.isascii() else 1
    return total


@settings(derandomize=True, max_examples=2_000)
@given(st.text("aB'12.-\xa0\u6771\ud800 \n\t\x1c", max_size=30) | st.text(max_size=30))
def test_the_bound_of_a_text_is_that_of_its_runs(text: str) -> None:
    assert least_tokens(text) == counted_run_by_run(text) <= len(text)
    assert about_tokens(text) <= len(text) * 4 // 3 + 1, "by this bound most texts are told without counting"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("Hello world", 2),
        ("1234567890", 4),
        ("don't", 1),
        ("a1b2", 4),
        ("1,234.50", 3),
        ("\u6771\u4eac \u6771\u4eac", 2),
        ("nai\u0308ve1234", 1),
        ("--------", 1),
    ],
)
def test_what_is_counted(text: str, count: int) -> None:
    assert least_tokens(text) == count


def test_the_room_is_what_instructions_schema_and_answer_leave() -> None:
    assert MODELS[PROMPT.model].context - PROMPT.answer_limit > ROOM
    longer = Prompt(OutputSchema(RECEIPT), instructions="word " * 50_000)
    assert ROOM - 50_000 - 50 < (longer.room or 0) <= ROOM - 49_000
    assert Prompt(OutputSchema(RECEIPT), max_completion_tokens=100_000).room == ROOM + PROMPT.answer_limit - 100_000
    assert Prompt(OutputSchema(RECEIPT), model="@cf/of/somebody").room is None
    assert Prompt(OutputSchema(RECEIPT), is_elsewhere=True).room is None


@pytest.mark.parametrize("unit", ["w ", "word\n", "123", "\u20ac\t", "a-b ", "x1"])
def test_the_last_text_that_may_fit_is_sent_and_the_next_is_not(unit: str) -> None:
    each = least_tokens(unit * 1_000) / 1_000
    count = int(ROOM / each)
    fits, exceeds = kb.Document("a", unit * count), kb.Document("b", unit * (count + 1))
    assert prepare(fits, PROMPT).document.failure is None
    assert prepare(fits, PROMPT).key != IN_PARTS
    assert prepare(exceeds, PROMPT).key == IN_PARTS, "it is asked for in parts"
    message = PROMPT.exceeds_window(exceeds.text)
    assert message is not None
    assert f"at least {least_tokens(exceeds.text)} tokens" in message
    assert f"at most {ROOM} may fit" in message
    rows = prepare_texts(Documents.of([exceeds, kb.Document("c", "short")]), PROMPT, lambda _shown, _round: b"k" * 16)
    assert [row is None for row in rows] == [True, False], "the fast way would send it"


def test_the_largest_text_that_a_request_can_hold_is_counted_in_a_moment() -> None:
    for text in ("a1" * 3_990_000, "word 1234 " * 790_000, " " * 7_900_000, "x" * 7_900_000):
        began = time.process_time()
        least_tokens(text)
        assert time.process_time() - began < 3


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_text_beyond_the_window_is_asked_for_in_parts(api: str, tmp_path: Path) -> None:
    words = "word word word word word word word word word word\n" * 28_000
    documents = [
        kb.Document("long", f"COMPANY: B\n{words}TOTAL: 2.50"),
        kb.Document("short", "COMPANY: A\nTOTAL: 1.50"),
    ]

    def answer(messages: Any, _: Any) -> str:
        text = shown_text(messages)
        return json.dumps({"company": "B" if "COMPANY: B" in text else None, "total": 2.5 if "TOTAL" in text else None})

    with Emulator(answer=answer) as emulator:
        where = kb.WorkersAI("0123456789abcdef0123456789abcdef", base_url=emulator.base_url, api=api)  # type: ignore[arg-type]
        outcome = run_extract(documents, "", tmp_path, where=where, batching=kb.Batching(max_bytes=900_000))
        assert emulator.stats()["paid_twice"] == 0
    assert (len(outcome.rows), outcome.codes) == (2, {})
    rows = {row["_document_id"]: row for row in outcome.rows}
    assert (rows["long"]["company"], rows["long"]["total"]) == ("B", 2.5)
    assert rows["long"]["_provenance"]["parts"] > 2
    assert rows["short"]["_provenance"]["parts"] is None
