"""The summary of a run, ``summary.json``: counts of documents, tokens and their cost.

Summaries add up: those of files or workers make that of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from kimi_beam.report import metrics
from kimi_beam.service.models import is_stand_in
from kimi_beam.service.prices import Price, bill
from kimi_beam.types.answer import Usage

FILE_NAME = "summary.json"
"""The file's name in the output directory."""
_COUNTED_BY_THE_PIPELINE = frozenset({metrics.DOCUMENTS, metrics.EXTRACTIONS, metrics.DEAD_LETTERS})
COUNTERS = tuple(name for name in metrics.ALL if name not in _COUNTED_BY_THE_PIPELINE)
"""Keys of ``summary.json`` that are the runner's counters; null if the runner has no metrics."""
SKIPPED_NAMES = "skipped_names"
"""The key of the paths of files that were passed over."""
MEASURED_BY_THE_LAUNCHER = (*COUNTERS, *metrics.DISTRIBUTIONS, SKIPPED_NAMES, "wall_s", "journal")
"""Keys whose values only the process knows that launches the pipeline: it writes them into the file at the end."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of settled documents and their tokens. `Summary()` is zero, and ``+`` adds two.

    Attributes:
        extractions: Documents that became rows.
        dead_letters: Documents that became dead letters, by code.
        usage: The tokens of all of them.
        came_in: Documents that a stream has read, if the stream records that; else 0.
        answered_by: How many rows each model answered, by the name that the service gave; empty if it gave none.
        grounding: For each field of the answers, as a JSON Pointer with ``*`` for any item, how many of its values
            stand in their documents in which way; empty if they were not grounded.
    """

    extractions: int = 0
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    came_in: int = 0
    answered_by: Mapping[str, int] = field(default_factory=dict)
    grounding: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __add__(self, other: Summary) -> Summary:
        """The sum."""
        return Summary(
            self.extractions + other.extractions,
            _added(self.dead_letters, other.dead_letters),
            self.usage + other.usage,
            self.came_in + other.came_in,
            _added(self.answered_by, other.answered_by),
            _added_by_field(self.grounding, other.grounding),
        )

    @property
    def failed(self) -> int:
        """Documents that became dead letters."""
        return sum(self.dead_letters.values())

    @property
    def documents(self) -> int:
        """Documents that became rows or dead letters."""
        return self.extractions + self.failed


def _added(some: Mapping[str, int], others: Mapping[str, int]) -> dict[str, int]:
    return {name: some.get(name, 0) + others.get(name, 0) for name in sorted(some.keys() | others.keys())}


_MAX_FIELDS = 500
"""How many fields a summary counts: where keys are data, such as names of people, each document may have others."""
OTHER_FIELDS = "others"
"""What stands for the fields that are not counted one by one."""


def _added_by_field(
    some: Mapping[str, Mapping[str, int]], others: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    total: dict[str, dict[str, int]] = {}
    for field_name, counts in (*some.items(), *others.items()):
        name = field_name if field_name in total or len(total) < _MAX_FIELDS else OTHER_FIELDS
        total[name] = _added(total.get(name, {}), counts)
    return total


_MAX_MODELS = 50
"""How many models a summary names: a service might give another name with each answer."""


def _by_model(answered_by: Mapping[str, int]) -> dict[str, int]:
    """The counts as they stand in ``summary.json``: the most frequent models first, the rest as one count."""
    counts = sorted(answered_by.items(), key=lambda pair: (-pair[1], pair[0]))
    named = {name or "not stated": count for name, count in counts[:_MAX_MODELS]}
    rest = sum(count for _, count in counts[_MAX_MODELS:])
    return {**named, **({"others": rest} if rest else {})}


def to_json(
    summary: Summary,
    *,
    model: str,
    schema_hash: str,
    price: Price | None = None,
    run: str | None = None,
    not_rerun: Mapping[str, int] | None = None,
    emulated: bool = False,
) -> bytes:
    """The text of ``summary.json``. The values that the pipeline does not know (`MEASURED_BY_THE_LAUNCHER`) are null.

    Args:
        summary: The counts of the run.
        model: The model that was asked.
        schema_hash: `OutputSchema.hash`.
        price: A price to use instead of the model's listed one; None: the listed one.
        run: The run's id, by which a run that is started again recognises its own output.
        not_rerun: For a redrive: how many dead letters were not run again, by code. None for any other run.
        emulated: Whether the emulator is known to have answered. It counts as known too if a model's name says so.
    """
    emulated = emulated or any(map(is_stand_in, summary.answered_by))
    billed = bill(model, summary.usage, price)
    usage = summary.usage
    content = {
        "documents": summary.documents,
        "extractions": summary.extractions,
        "dead_letters": dict(summary.dead_letters),
        **(
            {"grounding": {name: dict(counts) for name, counts in summary.grounding.items()}}
            if summary.grounding
            else {}
        ),
        **({"left": dict(sorted(not_rerun.items()))} if not_rerun is not None else {}),
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "cached_tokens": usage.cached_tokens,
            "completion_tokens": usage.completion_tokens,
        },
        # The emulator costs nothing. What the real model would have cost has a key of its own, lest it be added up.
        "emulated": emulated,
        "cost_usd": 0.0 if emulated else billed and billed.cost,
        "cache_saved_usd": 0.0 if emulated else billed and billed.cache_saved,
        "would_have_cost_usd": billed.cost if emulated and billed else None,
        "model": model,
        "model_answered": _by_model(summary.answered_by),
        "schema_hash": schema_hash,
        **dict.fromkeys(MEASURED_BY_THE_LAUNCHER),
        "run": run,
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
