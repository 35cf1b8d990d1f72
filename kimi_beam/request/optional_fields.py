"""The fields of a document that most documents do not have, as the bytes of a batch hold them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from kimi_beam.schema import jsontext
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.document import Arrival, Document, FileContent, Layout, Part, Redacted, Redaction
from kimi_beam.types.earlier_runs import Earlier, EarlierPart, RefusedAnswer
from kimi_beam.types.failure import Code, Failure
from kimi_beam.types.ticket import OpenRequest

_NOTHING_EARLIER = Earlier()
_FILE_OF_PART = "file_of_part"
"""The name of the file of a part's document. An earlier kimi_beam, which would read all of the file as the part, does
not know it."""


def encode(document: Document) -> dict[str, Any] | None:
    """The fields that most documents do not have, by name, as JSON has them; None if it has none of them."""
    rest: dict[str, Any] = {}
    if document.metadata:
        rest["metadata"] = jsontext.dumps_any(document.metadata).decode()
    if document.images:
        rest["images"] = document.images
    if (failure := document.failure) is not None:
        rest["failure"] = failure.stage, failure.code, failure.message, failure.retryable, failure.raw
    if document.file is not None and document.is_reference:
        file = document.file
        rest["file" if document.part is None else _FILE_OF_PART] = file.size, file.checksum, file.key
        if file.pictures or file.reading or file.shows_rows:
            rest["read_again"] = file.pictures, file.reading, file.shows_rows
    if document.earlier is not _NOTHING_EARLIER and document.earlier != _NOTHING_EARLIER:
        earlier, is_open = document.earlier, document.earlier.open
        row = is_open and (is_open.request_id, is_open.key, is_open.name, is_open.count, is_open.position, is_open.form)
        rest["earlier"] = earlier.round, earlier.attempts, row
        if (refused := earlier.refused) is not None:
            failure, usage = refused.failure, refused.usage
            reasons = failure.stage, failure.code, failure.message, failure.retryable, failure.raw
            rest["refused"] = reasons, refused.problems, refused.times, _values(usage), refused.attempts
            if refused.before or refused.kept is not None:
                rest["refused_before"] = refused.before, refused.kept and _values(refused.kept), refused.first
        if earlier.sample:
            rest["sample"] = earlier.sample
        if earlier.parts:
            rest["earlier_parts"] = [_values(part) for part in earlier.parts]
    if document.arrival is not None:
        arrival = document.arrival
        rest["arrival"] = arrival.event_time, arrival.window, arrival.delivery
    if document.layout is not None:
        layout = document.layout
        boxes = None if layout.boxes is None else base64.b64encode(layout.boxes).decode()
        rest["layout"] = layout.page_starts, layout.image_positions, boxes
    if document.part is not None:
        rest["part"] = _values(document.part)
    if document.redacted is not None:
        values = [(one.kind, one.original, one.stand_in, one.start) for one in document.redacted.redactions]
        rest["redacted"] = values, jsontext.dumps_any(document.redacted.metadata).decode()
    return rest or None


NAMES = frozenset(
    {
        *("metadata", "images", "failure", "file", "earlier", "earlier_parts", "arrival", "layout", "part"),
        *("read_again", "redacted", "refused", "refused_before", "sample", _FILE_OF_PART),
    }
)
"""The names that `encode` gives. Any other is a later kimi_beam's."""


def decode(document_id: str, text: str, source: str, rest: dict[str, Any]) -> Document:
    """The document of an id, a text, a source and these fields."""
    earlier = _NOTHING_EARLIER
    if "earlier" in rest:
        round_, attempts, is_open = rest["earlier"]
        parts = tuple(_earlier_part(*values) for values in rest.get("earlier_parts", ()))
        refused = _refused(*rest["refused"], *rest.get("refused_before", ())) if "refused" in rest else None
        open_ = OpenRequest(*is_open) if is_open else None
        earlier = Earlier(round_, attempts, open_, parts, refused, rest.get("sample", 0))
    document = Document(
        document_id,
        text,
        tuple(rest.get("images", ())),
        jsontext.loads(rest["metadata"]) if "metadata" in rest else {},
        source,
        Failure(*rest["failure"]) if "failure" in rest else None,
        _arrival(*rest["arrival"]) if "arrival" in rest else None,
        earlier,
        _layout(*rest["layout"]) if "layout" in rest else None,
        _part(*rest["part"]) if "part" in rest else None,
        _redacted(*rest["redacted"]) if "redacted" in rest else None,
    )
    file = rest.get("file") or rest.get(_FILE_OF_PART)
    return document.with_file(FileContent(*file, *rest.get("read_again", ()))) if file else document


def has_open_request(rest: dict[str, Any]) -> bool:
    """Whether the document has an open request of an earlier run (`Earlier.open`)."""
    return "earlier" in rest and bool(rest["earlier"][2])


def bytes_beside(rest: dict[str, Any]) -> int:
    """Bytes of the metadata, and of the boxes of characters, that travel beside the document's request."""
    metadata: str = rest.get("metadata", "")
    boxes = rest["layout"][2] if "layout" in rest else None
    return (len(metadata) if metadata.isascii() else len(metadata.encode())) + len(boxes or "")


def bytes_in_memory(rest: dict[str, Any]) -> int:
    """About the memory that they take: pictures, metadata and boxes, and the raw text of a failure."""
    raws = [reasons[4] for reasons in (rest.get("failure"), rest.get("refused", (None,))[0]) if reasons]
    if "refused_before" in rest:
        _, kept, first = rest["refused_before"]
        raws += [kept and kept[0], first]
    return sum(map(len, rest.get("images", ()))) + sum(len(raw or "") for raw in raws) + bytes_beside(rest)


def _refused(
    reasons: list[Any],
    problems: list[list[str]],
    times: int,
    usage: list[int],
    attempts: int,
    before: Sequence[Code] = (),
    kept: list[Any] | None = None,
    first: str | None = None,
) -> RefusedAnswer:
    pairs = tuple((at, message) for at, message in problems)
    completion = Completion(*kept) if kept else None
    return RefusedAnswer(Failure(*reasons), pairs, times, Usage(*usage), attempts, tuple(before), completion, first)


def _arrival(event_time: int | None, window: list[int] | None, delivery: str) -> Arrival:
    return Arrival(event_time, (window[0], window[1]) if window else None, delivery)


def _layout(page_starts: list[int], image_positions: list[int], boxes: str | None) -> Layout:
    return Layout(tuple(page_starts), tuple(image_positions), None if boxes is None else base64.b64decode(boxes))


def _redacted(redactions: list[list[Any]], metadata: str) -> Redacted:
    return Redacted(tuple(Redaction(*one) for one in redactions), jsontext.loads(metadata))


def _values(value: Any) -> list[Any]:
    """The fields of a frozen value, also of those inside it."""
    if not is_dataclass(value):
        return value  # type: ignore[no-any-return]
    return [_values(getattr(value, field.name)) for field in fields(value)]


def _part(document_id: str, text_hash: str, start: int, end: int, length: int, *context: Any) -> Part:
    beginning, headings, columns, before = context
    return Part(document_id, text_hash, start, end, length, beginning, tuple(headings), columns, before)


def _earlier_part(
    start: int, end: int, answer: list[Any] | None, round_: int, is_open: list[Any] | None
) -> EarlierPart:
    completion = Completion(*answer) if answer else None
    return EarlierPart(start, end, completion, round_, OpenRequest(*is_open) if is_open else None)
