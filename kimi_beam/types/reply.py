"""A document with what came back for it."""

from __future__ import annotations

from dataclasses import dataclass

from kimi_beam.types.answer import AnswerReport, Completion, Usage
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.ticket import OpenRequest, Ticket

_NOTHING_BILLED = Usage()
_NEVER_SENT = Ticket()


@dataclass(frozen=True, slots=True)
class Reply:
    """One document with the model's answer, or with the failure to get one.

    Attributes:
        document: The document that was asked about.
        result: The answer or the failure.
        usage: The tokens billed for this document, its share of the job's.
        ticket: The job that the document was part of.
        open: The request, if the service may still answer it; else None.
        report: What is known of the answer beside its values; None for most documents.
    """

    document: Document
    result: Completion | Failure
    usage: Usage = _NOTHING_BILLED
    ticket: Ticket = _NEVER_SENT
    open: OpenRequest | None = None
    report: AnswerReport | None = None
