"""`KeepArrival`: copies event time and window of a document from its Beam element into `Document.arrival`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import IntervalWindow

from kimi_beam.beam_extensions.arrival import with_arrival
from kimi_beam.beam_extensions.element_types import wrong_element
from kimi_beam.types.document import Document


class KeepArrival(beam.DoFn):
    """``Document -> Document``: adds the event time, the window, and a name for this delivery.

    Args:
        anew: Whether to replace the time and window that a document has from an earlier pipeline or `Extract`. If not,
            they stay.
    """

    def __init__(self, *, anew: bool = False) -> None:
        self._anew = anew

    def process(
        self, document: Document, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> Iterator[Document]:
        if not isinstance(document, Document):
            raise wrong_element("Extract", document, Document)
        edges = (window.start.micros, window.end.micros) if isinstance(window, IntervalWindow) else None
        yield with_arrival(document, timestamp.micros, edges, anew=self._anew)
