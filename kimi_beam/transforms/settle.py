"""`Settle`: what came back becomes extractions and dead letters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from kimi_beam import metrics
from kimi_beam.io.contents import READ_AT_ONCE, read_again, restored
from kimi_beam.progress import PROGRESS
from kimi_beam.types import DeadLetter, Extraction, Reply
from kimi_beam.validation import Asked, settle

DEAD_LETTERS = "dead_letters"


class Settle(beam.DoFn):
    """``list[Reply] -> Extraction``, and ``DeadLetter`` by its own tag."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._nulls = Metrics.counter(metrics.NAMESPACE, metrics.NULLS_AS_ABSENT)
        self._extractions = Metrics.counter(metrics.NAMESPACE, metrics.EXTRACTIONS)
        self._dead_letters = Metrics.counter(metrics.NAMESPACE, metrics.DEAD_LETTERS)

    def process(self, element: list[Reply]) -> Iterator[Any]:
        elsewhere: list[DeadLetter] = []
        rows = letters = 0
        for outcome in settle(element, self._asked, time.time(), self._nulls.inc):
            rows, letters = rows + isinstance(outcome, Extraction), letters + isinstance(outcome, DeadLetter)
            if not isinstance(outcome, DeadLetter):
                yield outcome
            elif outcome.document.is_reference:
                elsewhere.append(outcome)
            else:
                yield beam.pvalue.TaggedOutput(DEAD_LETTERS, outcome)
        for at in range(0, len(elsewhere), READ_AT_ONCE):
            some = elsewhere[at : at + READ_AT_ONCE]
            for letter, document in zip(some, read_again([letter.document for letter in some]), strict=True):
                yield beam.pvalue.TaggedOutput(DEAD_LETTERS, restored(letter, document))
        self._extractions.inc(rows)
        self._dead_letters.inc(letters)
        PROGRESS.settle(len(element))
