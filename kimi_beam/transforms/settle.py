"""`Settle`: what came back becomes extractions and dead letters."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from kimi_beam import batches, metrics
from kimi_beam.io.contents import READ_AT_ONCE, read_again, restored
from kimi_beam.outcomes import Watch
from kimi_beam.progress import PROGRESS
from kimi_beam.transforms.conservation import counted
from kimi_beam.types import DeadLetter, Reply
from kimi_beam.validation import Asked, Settled, extractions, rows_with_unnamed_keys, settle

DEAD_LETTERS = "dead_letters"


class Settle(beam.DoFn):
    """``Sequence[Reply] -> Extraction | RecordBatch``, and ``DeadLetter`` by its own tag.

    Args:
        asked: What was asked.
        record_batches: Whether the rows of a job leave as one record batch, or each as an `Extraction`.
        watch: Whose outcomes are counted.
        counts: Whether each bundle gives out which documents it let go (`counted`), by the tag `COUNTS`.
    """

    def __init__(
        self, asked: Asked, *, record_batches: bool = False, counts: bool = False, watch: Watch | None = None
    ) -> None:
        self._asked, self._record_batches, self._counts = asked, record_batches, counts
        self._watch = watch or Watch()
        self._nulls = Metrics.counter(metrics.NAMESPACE, metrics.NULLS_AS_ABSENT)
        self._unnamed = Metrics.counter(metrics.NAMESPACE, metrics.ROWS_WITH_UNNAMED_KEYS)
        self._extractions = Metrics.counter(metrics.NAMESPACE, metrics.EXTRACTIONS)
        self._dead_letters = Metrics.counter(metrics.NAMESPACE, metrics.DEAD_LETTERS)

    def start_bundle(self) -> None:
        self._left = self._digests = 0

    def process(self, element: Sequence[Reply]) -> Iterator[Any]:
        settled = settle(element, self._asked, time.time(), self._nulls.inc)
        self._watch.outcomes.settled(len(settled.good), [letter.failure for letter in settled.dead_letters])
        if not self._record_batches:
            yield from extractions(settled, self._asked)
        elif settled.good:
            yield settled.rows
        elsewhere: list[DeadLetter] = []
        for letter in settled.dead_letters:
            if letter.document.is_reference:
                elsewhere.append(letter)
            else:
                yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)
        for at in range(0, len(elsewhere), READ_AT_ONCE):
            some = elsewhere[at : at + READ_AT_ONCE]
            for letter, document in zip(some, read_again([letter.document for letter in some]), strict=True):
                yield beam.pvalue.TaggedOutput(DEAD_LETTERS, restored(letter, document))
        self._extractions.inc(len(settled.good))
        self._unnamed.inc(rows_with_unnamed_keys(settled, self._asked.schema))
        self._dead_letters.inc(len(settled.dead_letters))
        if self._counts:
            self._left += len(settled.good) + len(settled.dead_letters)
            self._digests += sum(_digests(settled))
        PROGRESS.settle(len(element))

    def finish_bundle(self) -> Iterator[Any]:
        if self._counts and self._left:
            yield counted(left=(self._left, self._digests))


def _digests(settled: Settled) -> Iterable[int]:
    """`batches.digest` of the id of each document that leaves."""
    documents, letters, good = settled.replies.documents, settled.dead_letters, settled.good
    known = documents.digests
    if known is None:
        of_rows = [batches.digest(documents.ids[place]) for place in good]
    elif not letters and len(good) == len(known):
        return known
    else:
        of_rows = [known[place] for place in good]
    return [*of_rows, *(batches.digest(letter.document.id) for letter in letters)]
