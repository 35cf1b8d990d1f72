"""Writes a dead letter as one JSON line, and reads it again. Every line has every key."""

from __future__ import annotations

import base64
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from kimi_beam.beam_extensions.arrival import micros, to_datetime
from kimi_beam.errors import KimiBeamError
from kimi_beam.schema import jsontext
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Arrival, Document, Layout
from kimi_beam.types.earlier_runs import Earlier, EarlierPart
from kimi_beam.types.failure import Failure
from kimi_beam.types.ticket import OpenRequest
from kimi_beam.wire.size_limits import BEGINNING, HARD_MAX_BYTES, MAX_DOCUMENT_BYTES

SUFFIX = ".jsonl"


if TYPE_CHECKING:
    from kimi_beam.results.dead_letter_fields import LayoutLine, Line

VERSION = 2
"""The version of the line's format. A reader refuses a version that it does not know."""


def encode(dead_letter: DeadLetter) -> bytes:
    """The line of a dead letter, with its line feed."""
    document, failure, usage = dead_letter.document, dead_letter.failure, dead_letter.usage
    content = _Content.of(document)
    arrival = document.arrival or Arrival()
    line: dict[str, Any] = {
        "document_id": document.id,
        "document": {
            "id": document.id,
            "text": content.text,
            "images": content.images,
            "metadata": orjson.Fragment(content.metadata),
            "layout": content.layout and _written(content.layout),
            "truncated": _lacks_something(dead_letter, content),
        },
        "source": document.source,
        "stage": failure.stage,
        "code": failure.code,
        "message": failure.message,
        "retryable": failure.retryable,
        "attempts": dead_letter.attempts,
        "request_id": dead_letter.request_id,
        "raw": failure.raw,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "cached_tokens": usage.cached_tokens,
            "completion_tokens": usage.completion_tokens,
        },
        "model": dead_letter.model,
        "schema_hash": dead_letter.schema_hash,
        "failed_at": datetime.fromtimestamp(dead_letter.failed_at, timezone.utc).isoformat(timespec="milliseconds"),
        "event_time": _iso(arrival.event_time),
        "window": arrival.window and [_iso(edge) for edge in arrival.window],
        "delivery": arrival.delivery or None,
        "round": dead_letter.round,
        "open_request": dead_letter.open and asdict(dead_letter.open),
        "parts": [asdict(part) for part in document.earlier.parts] or None,
        "version": VERSION,
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


class _Content(NamedTuple):
    """The content of a document as its line holds it: complete if it can be sent, else its beginning."""

    text: str
    images: list[str]
    metadata: bytes
    layout: Layout | None
    truncated: bool

    @classmethod
    def of(cls, document: Document) -> _Content:
        """Cuts a text that is too large for any request, and drops what else is too large."""
        text, images, layout = document.text, list(document.images), document.layout
        metadata = jsontext.dumps_any(dict(document.metadata))
        # A character has four bytes at most, so that most texts need not be encoded to know that they fit.
        if len(text) * 4 > HARD_MAX_BYTES and len(encoded := text.encode("utf-8", "surrogatepass")) > HARD_MAX_BYTES:
            text = encoded[:BEGINNING].decode("utf-8", "ignore")
        if sum(map(len, images)) > HARD_MAX_BYTES:
            images = []
        if len(metadata) > MAX_DOCUMENT_BYTES:
            metadata = b"{}"
        if layout is not None and layout.boxes is not None and len(layout.boxes) > MAX_DOCUMENT_BYTES:
            layout = replace(layout, boxes=None)
        is_cut = (
            text is not document.text
            or len(images) < len(document.images)
            or (metadata == b"{}" and bool(document.metadata))
        )
        return cls(text, images, metadata, None if is_cut else layout, is_cut)


def _written(layout: Layout) -> dict[str, Any]:
    boxes = None if layout.boxes is None else base64.b64encode(layout.boxes).decode()
    return {"page_starts": layout.page_starts, "image_positions": layout.image_positions, "boxes": boxes}


def _lacks_something(letter: DeadLetter, content: _Content) -> bool:
    """Whether the line holds less than the document did: it was too large, or has stand-ins for redacted values."""
    failure = letter.failure
    was_cut_by_reading = failure.stage == "read" and failure.code == "too_large"
    document = letter.document
    is_emptied = failure.code == "unredactable" and not document.text and not document.images
    is_redacted = document.redacted is not None or is_emptied
    return content.truncated or letter.truncated or was_cut_by_reading or is_redacted


def _iso(micros: int | None) -> str | None:
    at = to_datetime(micros)
    return at.isoformat(timespec="microseconds") if at else None


class DeadLetterError(KimiBeamError):
    """A dead letter was written in an unknown version of the format."""


def decode(line: bytes) -> DeadLetter:
    """Reads the dead letter of a line.

    Raises:
        DeadLetterError: Another version of kimi_beam wrote the line.
        ValueError: The line is no dead letter, or a damaged one.
    """
    content = jsontext.loads_unique(line)
    if not isinstance(content, dict) or "version" not in content:
        raise ValueError("it has no version, as each dead letter has")
    if content["version"] != VERSION:
        message = f"a dead letter of version {content['version']!r:.40}; this kimi_beam reads {VERSION}"
        raise DeadLetterError(message)
    from kimi_beam.results.dead_letter_fields import checked

    read = checked(content)
    try:
        failed_at = datetime.fromisoformat(read["failed_at"]).timestamp()
    except OverflowError:
        raise ValueError("/failed_at: no moment that can be counted") from None
    document, open_request = read["document"], read["open_request"]
    if open_request is not None and open_request["position"] >= open_request["count"]:
        raise ValueError("/open_request/position: not below the count")
    return DeadLetter(
        Document(
            document["id"],
            document["text"],
            tuple(document["images"]),
            document["metadata"],
            read["source"],
            arrival=_arrival(read),
            earlier=_NOTHING_EARLIER if not read.get("parts") else Earlier(parts=_parts(read)),
            layout=_layout(document.get("layout")),
        ),
        Failure(read["stage"], read["code"], read["message"], read["retryable"], read["raw"]),
        read["attempts"],
        read["request_id"],
        Usage(**read["usage"]),
        read["model"],
        read["schema_hash"],
        failed_at,
        read["round"],
        OpenRequest(**open_request) if open_request else None,
        document.get("truncated", False),
    )


def _layout(read: LayoutLine | None) -> Layout | None:
    """The layout of the document.

    Raises:
        ValueError: It is malformed.
    """
    if read is None:
        return None
    boxes = read["boxes"]
    starts, positions = tuple(read["page_starts"]), tuple(read["image_positions"])
    try:
        return Layout(starts, positions, None if boxes is None else base64.b64decode(boxes, validate=True))
    except ValueError as e:
        raise ValueError(f"/document/layout: {e}") from None


_NOTHING_EARLIER = Earlier()


def _parts(read: Line) -> tuple[EarlierPart, ...]:
    """The parts of the document, if it was asked for in parts; else empty."""
    return tuple(
        EarlierPart(
            part["start"],
            part["end"],
            Completion(**part["answer"]) if part["answer"] else None,
            part["round"],
            OpenRequest(**part["open"]) if part["open"] else None,
        )
        for part in read.get("parts") or ()
    )


def _arrival(read: Line) -> Arrival | None:
    """The arrival of the document; None if it was not read from a stream.

    Raises:
        ValueError: A time is malformed.
    """
    if read["delivery"] is None:
        return None
    at, window = read["event_time"], read["window"]
    edges = [micros(datetime.fromisoformat(edge)) for edge in window or ()]
    return Arrival(
        None if at is None else micros(datetime.fromisoformat(at)),
        (edges[0], edges[1]) if edges else None,
        read["delivery"],
    )
