"""`RunFigures`: what a report says of a run as a whole, gathered row by row and dead letter by dead letter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kimi_beam.output.page.field_figures import FieldTable
from kimi_beam.output.page.histograms import Histogram
from kimi_beam.scoring.answer_leaves import AnswerLeaf
from kimi_beam.scoring.compared_places import Place
from kimi_beam.types.answer import Usage

_SAMPLES = 3
"""So many messages of the dead letters of a code are shown."""
_LONGEST_MESSAGE = 500
_OF_SUMMARY = (
    "model", "model_answered", "emulated", "cost_usd", "cache_saved_usd", "would_have_cost_usd", "wall_s",
    "schema_hash", "submits", "requests", "resubmits", "documents_maybe_paid_twice", "pictures_sent",
)  # fmt: skip
"""Values of ``summary.json`` that cannot be counted again in the files."""


@dataclass
class _Letters:
    """The dead letters of one code."""

    documents: int = 0
    retryable: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    samples: dict[str, str] = field(default_factory=dict)
    """Messages, each with the id of the first document that it was said of."""

    def to_json(self) -> dict[str, Any]:
        return {
            "documents": self.documents,
            "retryable": self.retryable,
            "stages": dict(self.stages),
            "samples": [{"id": one, "message": message} for message, one in self.samples.items()],
        }


class RunFigures:
    """The figures of a run.

    Args:
        root: The places of its schema.
        submitted: When its jobs were accepted, in Unix seconds by their ids.

    Attributes:
        rows: How many rows were added.
        dead_letters: How many dead letters, by code.
    """

    def __init__(self, root: Place, submitted: Mapping[str, float]) -> None:
        self.rows = 0
        self._submitted = submitted
        self._fields = FieldTable(root)
        self._letters: dict[str, _Letters] = {}
        self._usage = Usage()
        self._prompt, self._completion, self._waiting = Histogram(), Histogram(), Histogram()
        self._repairs: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._times: Counter[int] = Counter()
        """How many answers were made in which second."""

    @property
    def dead_letters(self) -> dict[str, int]:
        """How many dead letters there are, by code."""
        return {code: letters.documents for code, letters in sorted(self._letters.items())}

    def add_row(self, leaves: list[AnswerLeaf], beside: Mapping[str, Any], matches: Mapping[str, str] | None) -> None:
        """Counts a row.

        Args:
            leaves: The leaves of its answer.
            beside: Its column ``_provenance``.
            matches: How its values stand in the document, by their pointers; None if nobody has looked.
        """
        self.rows += 1
        self._fields.add(leaves, matches or {})
        self._add_usage(beside)
        self._notes["not_grounded"] += matches is None
        self._notes["incomplete"] += bool(beside.get("incomplete"))
        self._notes["in_parts"] += bool(beside.get("parts"))
        self._notes["with_conflicts"] += bool(beside.get("conflicts"))
        repairs = beside.get("repairs") or ()
        self._notes["repaired"] += bool(repairs)
        for one in repairs:
            self._repairs[one["kind"]] += one["count"]
        if (at := beside.get("extracted_at")) is not None:
            self._times[int(at.timestamp())] += 1
            if (submitted := self._submitted.get(beside.get("request_id") or "")) is not None:
                # The service's clock may be behind this one, and counts whole seconds.
                self._waiting.add(max(0.0, round(at.timestamp() - submitted, 1)))

    def add_letter(self, letter: Mapping[str, Any]) -> None:
        """Counts a dead letter.

        Args:
            letter: Its line.
        """
        found = self._letters.setdefault(letter["code"], _Letters())
        found.documents += 1
        found.retryable += bool(letter["retryable"])
        found.stages[letter["stage"]] += 1
        message = letter["message"][:_LONGEST_MESSAGE]
        if len(found.samples) < _SAMPLES:
            found.samples.setdefault(message, letter["document"]["id"])
        self._add_usage(letter["usage"])

    def _add_usage(self, tokens: Mapping[str, Any]) -> None:
        usage = Usage(*(tokens[name] or 0 for name in ("prompt_tokens", "cached_tokens", "completion_tokens")))
        self._usage += usage
        if usage.prompt_tokens:
            self._prompt.add(usage.prompt_tokens)
            self._completion.add(usage.completion_tokens)

    def to_json(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """The figures as a JSON object.

        Args:
            summary: The content of the run's ``summary.json``.
        """
        letters = self.dead_letters
        first, after = min(self._times, default=0), Histogram()
        for second, count in self._times.items():
            after.add(second - first, count)
        return {
            "documents": self.rows + sum(letters.values()),
            "extractions": self.rows,
            "dead_letters": letters,
            "reasons": [
                {"code": code, **one.to_json()}
                for code, one in sorted(self._letters.items(), key=lambda pair: (-pair[1].documents, pair[0]))
            ],
            "usage": {
                "prompt_tokens": self._usage.prompt_tokens,
                "cached_tokens": self._usage.cached_tokens,
                "completion_tokens": self._usage.completion_tokens,
            },
            **{name: summary[name] for name in _OF_SUMMARY if summary.get(name) is not None},
            "rows": dict(self._notes),
            "repairs": dict(self._repairs.most_common()),
            "histograms": {
                "prompt_tokens": self._prompt.to_json(),
                "completion_tokens": self._completion.to_json(),
                "queue_seconds": self._waiting.to_json(),
                "seconds_after_the_first_answer": after.to_json(),
            },
            "fields": self._fields.to_json(),
        }
