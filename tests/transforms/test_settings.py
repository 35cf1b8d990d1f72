"""The one value in which the options of `Extract` travel to its steps."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import fields
from typing import Any

import pytest
from harness import RECEIPT, extract_settings, service

import kimi_beam as kb
from kimi_beam.errors import ConfigError
from kimi_beam.journal.records import Journaling
from kimi_beam.queue.event_inbox import Events
from kimi_beam.report.outcomes import OutcomesHandle, StopAfter
from kimi_beam.request.guidance import Guidance
from kimi_beam.request.redact_document import Redactor
from kimi_beam.schema import OutputSchema
from kimi_beam.synchronous.tools import Tool
from kimi_beam.transforms.dispatch import DispatchBounded
from kimi_beam.transforms.make_batches import MakeBatches
from kimi_beam.transforms.request import Request
from kimi_beam.transforms.settings import ExtractSettings
from kimi_beam.transforms.settle import Settle

WHERE = service("http://127.0.0.1:1")
SYNCHRONOUS = service("http://127.0.0.1:1", api="run")


def lookup(name: str) -> str:
    """Looks a company up."""
    return name


EXAMPLE = kb.Example("Total: 1.00", {"company": None, "total": 1.0})
UNUSUAL: dict[str, tuple[Any, Any]] = {
    "instructions": ("Read it.", "Read it."),
    "prompt_metadata": (["source"], ("source",)),
    "batching": (kb.Batching(max_items=3), kb.Batching(max_items=3)),
    "polling": (kb.Polling(first=3.0), kb.Polling(first=3.0)),
    "max_in_flight": (7, 7),
    "max_concurrency": (8, 8),
    "max_completion_tokens": (99, 99),
    "structured_output": ("prompt", "prompt"),
    "thinking": (True, True),
    "tools": ([lookup], (Tool(lookup),)),
    "journal": ("somewhere", Journaling("somewhere")),
    "events": ("0" * 32, Events("0" * 32)),
    "record_batches": (True, True),
    "shards": (5, 5),
    "max_submits_at_once": (6, 6),
    "stop_after": ("40%", StopAfter(40, is_share=True)),
    "chunk_tokens": (4_000, 4_000),
    "coerce": (True, True),
    "repairs": (3, 3),
    "samples": (3, 3),
    "examples": ([EXAMPLE], Guidance.of([EXAMPLE], None, None)),
    "glossary": ({"Net": "without tax"}, Guidance.of([], {"Net": "without tax"}, None)),
    "language": ("de-CH", Guidance.of([], None, "de-CH")),
    "redact": ("iban", Redactor.of("iban", "refuse", keeps_originals=False)),
    "redact_images": ("allow", Redactor.of("iban", "allow", keeps_originals=False)),
    "keep_originals": (True, Redactor.of("iban", "refuse", keeps_originals=True)),
    "ground": (True, True),
    "require_grounding": ("total", ("total",)),
    "max_cost": (2.5, 2.5),
    "price": (kb.Price(1.0, 0.5, 2.0), kb.Price(1.0, 0.5, 2.0)),
}
"""Of each keyword of `Extract`: a value that is not its default, and what the steps are to see."""
SETTING_OF = {
    "journal": "journaling",
    **dict.fromkeys(("examples", "glossary", "language"), "guidance"),
    **dict.fromkeys(("redact", "redact_images", "keep_originals"), "redactor"),
}
"""The names of the settings that are not called as their keywords are."""
GIVEN_WITH: dict[str, dict[str, Any]] = {name: {"redact": "iban"} for name in ("redact_images", "keep_originals")}
GIVEN_WITH["max_cost"] = {"journal": "somewhere"}
"""What has to be given beside a keyword that says something about another one."""
CHANGED_WITH = {"require_grounding": {"ground"}, "max_cost": {"journaling"}}
"""The other settings that a keyword changes."""


def test_each_keyword_has_a_test() -> None:
    keywords = set(inspect.signature(kb.Extract).parameters) - {"schema", "service"}
    assert keywords == set(UNUSUAL)
    settings = {field.name for field in fields(ExtractSettings)} - {"schema", "service", "prompt"}
    assert settings == {SETTING_OF.get(name, name) for name in keywords}


@pytest.mark.parametrize("keyword", UNUSUAL)
def test_the_settings_of_extract_reach_its_steps_and_nothing_else_changes(keyword: str) -> None:
    where = SYNCHRONOUS if keyword == "tools" else WHERE
    given, expected = UNUSUAL[keyword]
    settings = kb.Extract(RECEIPT, service=where, **GIVEN_WITH.get(keyword, {}), **{keyword: given})._settings
    usual = ExtractSettings(schema=OutputSchema(RECEIPT), service=where)
    name = SETTING_OF.get(keyword, keyword)
    assert getattr(settings, name) == expected != getattr(usual, name)
    others = {field.name for field in fields(ExtractSettings) if field.init} - {name, "schema"}
    others -= CHANGED_WITH.get(keyword, set())
    assert {other: getattr(settings, other) for other in others} == {other: getattr(usual, other) for other in others}


def test_the_prompt_is_made_of_the_settings() -> None:
    settings = extract_settings(
        SYNCHRONOUS, instructions="Read it.", prompt_metadata=("source",), max_completion_tokens=99, thinking=True
    )
    prompt = settings.prompt
    assert (prompt.instructions, prompt.metadata_keys, prompt.thinking) == ("Read it.", ("source",), True)
    assert (prompt.max_completion_tokens, prompt.api, prompt.schema) == (99, "run", settings.schema)


@pytest.mark.parametrize("name", ["max_in_flight", "max_concurrency", "max_completion_tokens", "shards"])
def test_a_number_that_is_not_positive_is_refused_however_the_settings_are_made(name: str) -> None:
    with pytest.raises(ConfigError, match="must be at least 1"):
        extract_settings(WHERE, **{name: 0})


def test_the_extract_of_settings_has_those() -> None:
    settings = extract_settings(WHERE, max_in_flight=3)
    assert kb.Extract.from_settings(settings)._settings is settings


def test_a_step_travels_small_and_without_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "s3cr3t-t0ken")
    where = kb.WorkersAI.from_env(account_id="0" * 32, base_url="http://127.0.0.1:1")
    settings, outcomes_handle = extract_settings(where), OutcomesHandle()
    where.authorization()  # what has been read once may be kept, but not sent
    steps = [
        MakeBatches(settings, 1),
        DispatchBounded(settings, outcomes_handle, 1),
        Request(settings, outcomes_handle, 1, bounded=True),
        Settle(settings, outcomes_handle),
    ]
    for step in steps:
        pickled = pickle.dumps(step)
        assert len(pickled) < 12_000, type(step).__name__
        assert b"s3cr3t" not in pickled
    assert "s3cr3t" not in repr(settings)
    assert pickle.loads(pickle.dumps(settings)).prompt.request(kb.Document("d", "t"), "r") == settings.prompt.request(
        kb.Document("d", "t"), "r"
    )
