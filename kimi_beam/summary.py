"""What a run came to: counts and tokens that add up, from a file, a worker or a whole run alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from kimi_beam.pricing import Price, bill
from kimi_beam.types import Usage

FILE_NAME = "summary.json"
COUNTERS = ("batches", "submits", "polls", "event_pulls", "requests", "unknown_submits", "resubmits")
"""Keys of ``summary.json`` that come from the runner's metrics: null where it has none."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of documents that left, and their tokens. A monoid: `Summary()` is its zero, ``+`` adds.

    Attributes:
        extractions: Documents that became rows.
        dead_letters: Documents that became dead letters, by code.
        usage: Tokens of both.
        came_in: Of a stream, documents that came in, where that is written down.
    """

    extractions: int = 0
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    came_in: int = 0

    def __add__(self, other: Summary) -> Summary:
        """The sum."""
        codes = sorted(self.dead_letters.keys() | other.dead_letters.keys())
        return Summary(
            self.extractions + other.extractions,
            {code: self.dead_letters.get(code, 0) + other.dead_letters.get(code, 0) for code in codes},
            self.usage + other.usage,
            self.came_in + other.came_in,
        )

    @property
    def failed(self) -> int:
        """Documents that became dead letters."""
        return sum(self.dead_letters.values())

    @property
    def documents(self) -> int:
        """Documents that left."""
        return self.extractions + self.failed


def to_json(
    summary: Summary,
    *,
    model: str,
    schema_hash: str,
    measured: Mapping[str, Any] | None = None,
    price: Price | None = None,
    run: str | None = None,
    left: Mapping[str, int] | None = None,
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
    """
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
        "cost_usd": billed and billed.cost,
        "cache_saved_usd": billed and billed.cache_saved,
        "model": model,
        "schema_hash": schema_hash,
        **{name: measured.get(name) for name in (*COUNTERS, "wall_s", "journal")},
        "run": run,
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
