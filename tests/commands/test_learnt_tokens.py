"""The estimate beside the count of a real vocabulary, on real receipts, invoices and contracts."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from harness import ACCOUNT
from token_counts_of import SETS, counter, records, schemas

import kimi_beam as kb
from kimi_beam.commands.estimate.expected_requests import Expected, Expecting, messages_of
from kimi_beam.commands.estimate.forecast import Forecast, forecast
from kimi_beam.commands.estimate.learnt_tokens import Factors, learnt_of
from kimi_beam.commands.estimate.sample_totals import SampleTotals
from kimi_beam.request.token_counts import likely_tokens
from kimi_beam.schema import OutputSchema
from kimi_beam.transforms.settings import ExtractSettings

DRAWS = 100


@pytest.fixture(scope="module")
def answered(shared_data: Path) -> dict[str, tuple[ExtractSettings, list[Expected]]]:
    """For each set, its documents with what was expected of them, and what o200k counts of prompt and answer."""
    count = counter()
    found = {}
    for name in SETS:
        own = shared_data / "documents" / name / "gold.schema.json"
        schema = own if own.exists() else shared_data / "documents" / "einvoice" / "gold.schema.json"
        service = kb.WorkersAI(account_id=ACCOUNT)
        settings = ExtractSettings(schema=OutputSchema(str(schema)), service=service, repairs=0)
        expecting, every = Expecting(settings, None), []
        for record in records(shared_data, name):
            document = kb.Document(str(record["id"]), str(record["text"]))
            expected = expecting.expect(document)
            if expected.requests == 1:
                messages = messages_of(settings.prompt.request(document))
                prompt = sum(count(message["content"]) for message in messages) + 12
                answer = count(json.dumps(record["gold"], separators=(",", ":"), ensure_ascii=False))
                every.append(replace(expected, usage=kb.Usage(prompt, 0, answer)))
        found[name] = (settings, every)
    return found


def told(settings: ExtractSettings, documents: list[Expected], factors: Factors) -> Forecast:
    totals = SampleTotals()
    totals.add_whole(documents)
    return forecast(totals, factors, settings, 1)


def counted(documents: list[Expected], name: str) -> int:
    return sum(int(getattr(one.usage, name)) for one in documents)


@pytest.mark.parametrize("name", SETS)
def test_without_any_answer_the_prompt_is_told_within_fifteen_percent(
    name: str, answered: dict[str, tuple[ExtractSettings, list[Expected]]]
) -> None:
    settings, every = answered[name]
    found = told(settings, every, Factors())
    prompt, completion = counted(every, "prompt_tokens"), counted(every, "completion_tokens")
    assert abs(found.prompt.likely / prompt - 1) <= 0.15
    assert found.prompt.low <= prompt <= found.prompt.high
    assert found.completion.low <= completion <= found.completion.high


@pytest.mark.parametrize("name", ["sroie", "einvoice", "cuad"])
def test_after_fifty_answers_the_prompt_of_others_is_within_five_percent_and_the_band_holds_what_is_counted(
    name: str, answered: dict[str, tuple[ExtractSettings, list[Expected]]]
) -> None:
    settings, every = answered[name]
    held = {"prompt": 0, "completion": 0}
    for seed in range(DRAWS):
        order = random.Random(seed).sample(every, len(every))
        asked, others = order[: min(50, len(order) // 2)], order[min(50, len(order) // 2) :]
        found = told(settings, others, learnt_of(asked))
        prompt, completion = counted(others, "prompt_tokens"), counted(others, "completion_tokens")
        assert abs(found.prompt.likely / prompt - 1) <= 0.05, seed
        held["prompt"] += found.prompt.low <= prompt <= found.prompt.high
        held["completion"] += found.completion.low <= completion <= found.completion.high
    assert min(held.values()) >= 0.95 * DRAWS, held


def test_schemas_are_told_within_fifteen_percent(shared_data: Path) -> None:
    count, texts = counter(), schemas(shared_data)
    assert abs(sum(map(likely_tokens, texts)) / sum(map(count, texts)) - 1) <= 0.15


@pytest.mark.parametrize("name", SETS)
def test_half_a_sets_documents_is_told_as_well_as_the_other_half(name: str, shared_data: Path) -> None:
    count, texts = counter(), [str(record["text"]) for record in records(shared_data, name)]
    for half in (texts[::2], texts[1::2]):
        assert abs(sum(map(likely_tokens, half)) / sum(map(count, half)) - 1) <= 0.15


def test_texts_without_ascii_have_as_many_tokens_as_vocabularies_make_of_them() -> None:
    count = counter()
    # The vocabulary of GPT; Kimi's is made for Chinese, so that it makes fewer.
    for text in (
        "合同双方应当按照约定全面履行自己的义务。" * 9,
        "Договор вступает в силу со дня подписания сторонами. " * 9,  # noqa: RUF001 - Russian
    ):
        assert 0.5 <= likely_tokens(text) / count(text) <= 2, text[:20]
