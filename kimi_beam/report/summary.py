"""What a run came to: counts and tokens that add up, from a file, a worker or a whole run alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from kimi_beam.service.models import is_stand_in
from kimi_beam.service.prices import Price, bill
from kimi_beam.types import Usage

FILE_NAME = "summary.json"
COUNTERS = (
    "batches",
    "submits",
    "polls",
    "event_pulls",
    "requests",
    "unknown_submits",
    "resubmits",
    "documents_maybe_paid_twice",
    "mismatched_items",
    "rows_with_unnamed_keys",
)
"""Keys of ``summary.json`` that come from the runner's metrics: null where it has none."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of documents that left, and their tokens. A monoid: `Summary()` is its zero, ``+`` adds.

    Attributes:
        extractions: Documents that became rows.
        dead_letters: Documents that became dead letters, by code.
        usage: Tokens of both.
        came_in: Of a stream, documents that came in, where that is written down.
        answered_by: The rows by the model that the service says answered; an empty name where it did not say.
    """

    extractions: int = 0
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    came_in: int = 0
    answered_by: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Summary) -> Summary:
        """The sum."""
        return Summary(
            self.extractions + other.extractions,
            _added(self.dead_letters, other.dead_letters),
            self.usage + other.usage,
            self.came_in + other.came_in,
            _added(self.answered_by, other.answered_by),
        )

    @property
    def failed(self) -> int:
        """Documents that became dead letters."""
        return sum(self.dead_letters.values())

    @property
    def documents(self) -> int:
        """Documents that left."""
        return self.extractions + self.failed


def _added(some: Mapping[str, int], others: Mapping[str, int]) -> dict[str, int]:
    return {name: some.get(name, 0) + others.get(name, 0) for name in sorted(some.keys() | others.keys())}


_MOST_MODELS = 50
"""Names of models in a summary: a service may say another with each answer."""


def _by_model(answered_by: Mapping[str, int]) -> dict[str, int]:
    """The counts as ``summary.json`` has them: the most frequent first, the rest in one."""
    counts = sorted(answered_by.items(), key=lambda pair: (-pair[1], pair[0]))
    named = {name or "not stated": count for name, count in counts[:_MOST_MODELS]}
    rest = sum(count for _, count in counts[_MOST_MODELS:])
    return {**named, **({"others": rest} if rest else {})}


def to_json(
    summary: Summary,
    *,
    model: str,
    schema_hash: str,
    measured: Mapping[str, Any] | None = None,
    price: Price | None = None,
    run: str | None = None,
    left: Mapping[str, int] | None = None,
    emulated: bool = False,
) -> bytes:
    """The text of ``summary.json``.

    Args:
        summary: The run's.
        model: The model that was asked.
        schema_hash: `OutputSchema.hash`.
        measured: Counters by name, ``wall_s``, and where the ``journal`` is; what is missing is null.
        price: Takes the place of the model's own.
        run: Which run it is, so that it knows its own result again.
        left: Of a run over dead letters, by code: those that were not run again. None: it was no such run.
        emulated: Whether it is known that the emulator answered. It is so too where a model that answered says it.
    """
    emulated = emulated or any(map(is_stand_in, summary.answered_by))
    billed = bill(model, summary.usage, price)
    measured = measured or {}
    usage = summary.usage
    content = {
        "documents": summary.documents,
        "extractions": summary.extractions,
        "dead_letters": dict(summary.dead_letters),
        **({"left": dict(sorted(left.items()))} if left is not None else {}),
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "cached_tokens": usage.cached_tokens,
            "completion_tokens": usage.completion_tokens,
        },
        # A stand-in is not paid. What the model that was asked would have cost stands apart, lest it be added up.
        "emulated": emulated,
        "cost_usd": 0.0 if emulated else billed and billed.cost,
        "cache_saved_usd": 0.0 if emulated else billed and billed.cache_saved,
        "would_have_cost_usd": billed.cost if emulated and billed else None,
        "model": model,
        "model_answered": _by_model(summary.answered_by),
        "schema_hash": schema_hash,
        **{name: measured.get(name) for name in (*COUNTERS, "wall_s", "journal")},
        "run": run,
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
