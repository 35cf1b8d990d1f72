"""`Settle`: makes extractions and dead letters of replies."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam

from kimi_beam.input.file_references import READ_AT_ONCE, read_again, restored
from kimi_beam.report import metrics
from kimi_beam.report.outcomes import OutcomesHandle
from kimi_beam.report.progress import PROGRESS
from kimi_beam.request import batches
from kimi_beam.results.settle_replies import (
    Question,
    Settled,
    extractions,
    free_repairs,
    rows_with_unnamed_keys,
    settle,
)
from kimi_beam.transforms.conservation import counted
from kimi_beam.transforms.counters import Counters
from kimi_beam.transforms.settings import ExtractSettings
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.reply import Reply

DEAD_LETTERS = "dead_letters"
"""The tag of the output with the dead letters."""


class Settle(beam.DoFn):
    """``Sequence[Reply] -> Extraction | RecordBatch``, and ``DeadLetter`` with a tag of its own.

    Args:
        settings: The settings of the `Extract`.
        outcomes_handle: Finds the outcomes of the `Extract` on each worker.
        counts: Whether each bundle outputs the counts of its documents (`counted`), with the tag `COUNTS`.
    """

    def __init__(self, settings: ExtractSettings, outcomes_handle: OutcomesHandle, *, counts: bool = False) -> None:
        self._settings, self._outcomes_handle, self._counts = settings, outcomes_handle, counts
        self._question = Question(
            settings.schema,
            settings.service.model,
            settings.prompt.version,
            coerce=settings.coerce,
            redacts=settings.redactor is not None,
            keeps_originals=settings.redactor is not None and settings.redactor.keeps_originals,
            ground=settings.ground_rules,
        )
        self._counters = Counters()

    def start_bundle(self) -> None:
        self._left = self._digests = 0

    def process(self, element: Sequence[Reply]) -> Iterator[Any]:
        settled = settle(element, self._question, time.time(), self._count_nulls, read_again)
        failures = [letter.failure for letter in settled.dead_letters]
        self._outcomes_handle.outcomes.count_settled(len(settled.reply_indices), failures)
        if not self._settings.record_batches:
            yield from extractions(settled, self._question)
        elif settled.reply_indices:
            yield settled.rows
        references: list[DeadLetter] = []
        for letter in settled.dead_letters:
            if letter.document.is_reference:
                references.append(letter)
            else:
                yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)
        for start in range(0, len(references), READ_AT_ONCE):
            some = references[start : start + READ_AT_ONCE]
            for letter, document in zip(some, read_again([letter.document for letter in some]), strict=True):
                yield beam.pvalue.TaggedOutput(DEAD_LETTERS, restored(letter, document))
        count = self._counters.count
        count(metrics.EXTRACTIONS, len(settled.reply_indices))
        count(metrics.FREE_REPAIRS, free_repairs(settled))
        count(metrics.ROWS_WITH_UNNAMED_KEYS, rows_with_unnamed_keys(settled, self._question.schema))
        count(metrics.DEAD_LETTERS, len(settled.dead_letters))
        if self._counts:
            self._left += len(settled.reply_indices) + len(settled.dead_letters)
            self._digests += sum(_digests(settled))
        tokens = settled.replies.tokens
        self._counters.measure(metrics.ANSWER_TOKENS, [number for number in tokens.completion if number])
        PROGRESS.count_settled(failures, tokens)

    def _count_nulls(self, number: int) -> None:
        self._counters.count(metrics.NULLS_AS_ABSENT, number)

    def finish_bundle(self) -> Iterator[Any]:
        if self._counts and self._left:
            yield counted(left=(self._left, self._digests))


def _digests(settled: Settled) -> Iterable[int]:
    """`batches.digest` of the id of each document that leaves by this bundle."""
    documents, letters, reply_indices = settled.replies.documents, settled.dead_letters, settled.reply_indices
    digests = documents.digests
    if digests is None:
        of_rows = [batches.digest(documents.ids[index]) for index in reply_indices]
    elif not letters and len(reply_indices) == len(digests):
        return digests
    else:
        of_rows = [digests[index] for index in reply_indices]
    return [*of_rows, *(batches.digest(letter.document.id) for letter in letters)]
