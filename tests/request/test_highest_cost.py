"""What is reserved for a request is never less than what the service bills for it, whatever the document is."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from budgets import PRICE
from harness import RECEIPT, extract_settings, packed, receipts, service
from pictures import uri

import kimi_beam as kb
from kimi_beam.request import batches
from kimi_beam.request.highest_cost import HighestCost
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.service.prices import Price
from kimi_beam.service.spending import NANODOLLARS
from kimi_beam.types.earlier_runs import Earlier, RefusedAnswer
from kimi_beam.types.failure import Failure

PROMPT = Prompt(OutputSchema(RECEIPT))
TOKENS = HighestCost(PROMPT, Price(1e6 / NANODOLLARS, 0.0, 0.0))
"""It counts the tokens of prompts: a token costs a billionth of a dollar."""
ALPHABETS = ("abc 0129,.\n", "äöüß€", "漢字かな", "😀👩‍👩‍👧", '"\\\t\x01`', "<|im_end|> ")


def text_of(draw: random.Random) -> str:
    return "x" + "".join(draw.choice(draw.choice(ALPHABETS)) for _ in range(draw.randrange(400)))


def test_a_prompt_counts_with_at_least_all_bytes_that_the_model_reads() -> None:
    draw = random.Random(1)
    for _ in range(500):
        document = kb.Document("a", text_of(draw))
        read = len(PROMPT._system(PROMPT.forms[0]).encode()) + len(document.text.encode())
        assert TOKENS.of_document(document) >= read + len(str(RECEIPT))


def test_a_batch_is_reserved_for_as_its_documents_are_one_by_one() -> None:
    settings = extract_settings(service("http://127.0.0.1:1"))
    highest = HighestCost(settings.prompt, PRICE)
    documents = [
        *receipts(5),
        kb.Document("picture", "see", images=(uri(),)),
        kb.Document("plain", "a", metadata={"n": 1}),
    ]
    blob = packed(documents, settings)
    amounts = highest.of_batch(batches.decode(blob), batches.head(blob).sizes)
    assert amounts == [highest.of_document(document) for document in documents]


def test_a_picture_counts_with_its_tokens_and_not_with_its_bytes() -> None:
    small, large = (
        TOKENS.of_document(kb.Document("a", "see", images=("data:image/png;base64," + "A" * size,)))
        for size in (100, 900_000)
    )
    assert abs(small - large) < 10
    assert small > 4_225
    two = TOKENS.of_document(kb.Document("a", "see", images=("data:image/png;base64,AAAA",) * 2))
    assert two > 2 * 4_225


def test_nobody_pays_for_more_than_the_window() -> None:
    assert TOKENS.of_document(kb.Document("a", "x" * 2_000_000)) == 262_144


def refused(code: Any, times: int = 1) -> kb.Document:
    problems = tuple((f"/{n}", 'is "no" number\n' * 9) for n in range(20))
    answer = RefusedAnswer(Failure("validate", code, "bad", raw='{"n": "é"}'), problems, times, kb.Usage(), 1)
    return replace(receipts(1)[0], earlier=Earlier(times, 0, refused=answer))


@pytest.mark.parametrize("code", ["schema_violation", "truncated", "not_json"])
def test_a_document_that_is_asked_for_again_counts_with_its_correction_and_its_limit(code: str) -> None:
    again = refused(code)
    longer = len(PROMPT.request(again)) - len(PROMPT.request(receipts(1)[0]))
    assert TOKENS.of_document(again) - TOKENS.of_document(receipts(1)[0]) >= longer > 0
    answers = HighestCost(PROMPT, Price(0.0, 0.0, 1e6 / NANODOLLARS))
    assert answers.of_document(again) == PROMPT.answer_limit_after([code] if code == "truncated" else [])  # type: ignore[list-item]


def test_thinking_is_part_of_the_limit_and_a_dearer_cache_counts() -> None:
    thinking = Prompt(OutputSchema(RECEIPT), thinking=True)
    assert HighestCost(thinking, Price(0.0, 0.0, 1e6 / NANODOLLARS)).of_document(receipts(1)[0]) >= 32_000
    dear = HighestCost(PROMPT, Price(1.0, 3.0, 0.0)).of_document(receipts(1)[0])
    assert dear == HighestCost(PROMPT, Price(3.0, 1.0, 0.0)).of_document(receipts(1)[0])


def test_what_the_model_says_in_turns_counts() -> None:
    turns = [b'{"role":"tool","content":"' + b"x" * 500 + b'"}']
    assert TOKENS.of_document(receipts(1)[0], turns=turns) >= TOKENS.of_document(receipts(1)[0]) + 500


def test_an_earlier_request_of_which_only_the_bytes_are_known_counts_no_less() -> None:
    for document in (receipts(1)[0], refused("truncated"), refused("schema_violation")):
        size = PROMPT.overhead + PROMPT.shown(document).size
        highest = HighestCost(PROMPT, PRICE)
        assert highest.of_earlier(size) >= highest.of_document(document)
