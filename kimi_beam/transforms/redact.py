"""`Redact`: takes sensitive values out of documents, before any other step of an `Extract` sees them."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam

from kimi_beam.beam_extensions.element_types import wrong_element
from kimi_beam.request.redact_document import Redactor
from kimi_beam.types.document import Document


class Redact(beam.DoFn):
    """``Document -> Document``, with stand-ins in the places of sensitive values.

    Args:
        redactor: What finds the values.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def process(self, document: Document) -> Iterator[Document]:
        if not isinstance(document, Document):
            raise wrong_element("Extract", document, Document)
        yield self._redactor.redact(document)
