"""Puts redacted values back: into answers before they are validated, and into the documents that rows are made of.

A dead letter is made of what the model was shown, so that no file of dead letters holds a redacted value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import orjson

from kimi_beam.columnar import Documents, Replies
from kimi_beam.results.stand_ins import Restorer
from kimi_beam.schema import jsontext
from kimi_beam.types.answer import AnswerReport
from kimi_beam.types.document import Document, Layout, Redaction
from kimi_beam.types.failure import Failure

_PIECE = "the answer holds a piece of a redacted value, which cannot be put back: ask for the whole value"


def restored_replies(asked: Replies) -> Replies:
    """The replies as if nothing had been redacted.

    An answer that holds a piece of a stand-in becomes a failure, because that piece would stand in the row as a value.

    Args:
        asked: The replies for documents as they were sent.
    """
    redacted = {index: one for index, one in asked.documents.others.items() if one.redacted is not None}
    if not redacted:
        return asked
    documents, texts, failures, reports = list(asked.documents), list(asked.results.texts), {}, dict(asked.reports)
    for index, document in redacted.items():
        assert document.redacted is not None
        restorer = Restorer(document.redacted.redactions)
        whole = documents[index] = restored_document(document)
        answer = texts[index]
        if answer is None:
            continue
        if restorer.has_pieces(answer, f"{whole.text}\n{jsontext.dumps_any(whole.metadata).decode()}"):
            failures[index] = Failure("validate", "redacted_value", _PIECE, retryable=True, raw=answer)
            texts[index] = None
        else:
            texts[index] = restorer.restored(answer, _in_json)
        if index in reports:
            reports[index] = _restored_report(reports[index], restorer)
    results = asked.results._replace(texts=texts, failures={**asked.results.failures, **failures})
    columns = Documents.of(documents)
    columns.digests = asked.documents.digests
    return Replies(columns, results, asked.tokens, asked.tickets, asked.open_requests, reports)


def restored_document(document: Document) -> Document:
    """A document with its values, as it came in."""
    redacted = document.redacted
    if redacted is None:
        return document
    in_text = [one for one in redacted.redactions if one.start >= 0]
    pieces: list[str] = []
    position = 0
    for one in in_text:
        pieces += (document.text[position : one.start], one.original)
        position = one.start + len(one.stand_in)
    text = "".join((*pieces, document.text[position:]))
    layout = document.layout and shifted_layout(document.layout, in_text, back=True)
    return replace(document, text=text, metadata=redacted.metadata, layout=layout, redacted=None)


def original_of(document: Document) -> Document:
    """A document of a dead letter, as it came in. It has no parts: their answers hold stand-ins, and are asked again.

    With a journal they are not paid for again, because the same text gets the same stand-ins.
    """
    if document.redacted is None:
        return document
    return replace(restored_document(document), earlier=replace(document.earlier, parts=()))


def shifted_layout(layout: Layout, redactions: Sequence[Redaction], *, back: bool = False) -> Layout:
    """The layout of a text after its values were redacted, or `back` after they were put back.

    Args:
        layout: The layout before. The boxes are those of the characters of the file, and stay.
        redactions: What was redacted in the text, in its order.
        back: Whether the layout is that of the redacted text.
    """
    edges: list[tuple[int, int]] = []
    growth = 0
    for one in redactions:
        if one.start < 0:
            continue
        change = len(one.stand_in) - len(one.original)
        begin = one.start if back else one.start - growth
        edges.append((begin + len(one.stand_in if back else one.original), -change if back else change))
        growth += change

    def moved(index: int) -> int:
        return index + sum(change for end, change in edges if end <= index)

    starts, positions = (tuple(map(moved, some)) for some in (layout.page_starts, layout.image_positions))
    return Layout(starts, positions, layout.boxes)


def _restored_report(report: AnswerReport, restorer: Restorer) -> AnswerReport:
    conflicts = jsontext.loads(restorer.restored(jsontext.dumps_any(report.conflicts).decode(), _in_json))
    return replace(report, conflicts=tuple(conflicts), incomplete=tuple(map(restorer.restored, report.incomplete)))


def _in_json(value: str) -> str:
    return orjson.dumps(value)[1:-1].decode()
