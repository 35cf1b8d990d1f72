"""Reads the documents of rows again, which hold no text: from the paths that they name, by the readers of the run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from apache_beam.io.filesystem import BeamIOError

from kimi_beam.errors import KimiBeamError
from kimi_beam.input.fields import Reading
from kimi_beam.input.source_texts import source_documents
from kimi_beam.output.page.field_figures import flat
from kimi_beam.output.page.shown_document import ShownRow
from kimi_beam.schema import jsontext
from kimi_beam.types.document import Document

_LONGEST = 200_000
"""So many characters of a text are shown."""
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+", re.IGNORECASE)
_MOST_PICTURES = 4

NO_SOURCE = "Its text is not here: the row names no file that it was read from."
UNCHECKED = "As its file is now: the row does not say where its values stand (--ground), so that nothing was compared."
UNSURE = "As its file is now: no value stands in it as it is spelt, so that nothing could be compared."
CHANGED = "Its file has changed since: the values do not stand where they did."


class SourceText(NamedTuple):
    """What a page shows of a document beside its row."""

    text: str | None
    """None if it is not to be had."""
    note: str
    """What a person should know of it; empty for most."""
    pictures: tuple[str, ...] = ()
    """Data URIs."""


def text_of(document: Document) -> SourceText:
    """What a page shows of a document."""
    pictures = tuple(uri for uri in document.images if _PICTURE.fullmatch(uri))
    notes = []
    if len(document.text) > _LONGEST:
        notes.append(f"The first {_LONGEST:,} of {len(document.text):,} characters.")
    if (left := len(document.images) - len(pictures[:_MOST_PICTURES])) > 0:
        notes.append(f"{left} more {'picture is' if left == 1 else 'pictures are'} not shown.")
    return SourceText(document.text[:_LONGEST], " ".join(notes), pictures[:_MOST_PICTURES])


def texts_again(rows: Mapping[int, ShownRow], reading: Reading) -> Iterator[tuple[int, SourceText]]:
    """Reads the documents of rows again, each file once. The files of doubtful rows come first.

    Args:
        rows: The rows by their position.
        reading: How the run's files became documents.
    """
    by_source: dict[str, dict[str, int]] = {}
    for position, row in sorted(rows.items(), key=lambda pair: (-pair[1].expected_errors, pair[0])):
        by_source.setdefault(row.source, {})[row.document_id] = position
    for source, wanted in by_source.items():
        open_ones, trouble = dict(wanted), ""
        if source:
            try:
                for document in source_documents(source, reading):
                    if (position := open_ones.pop(document.id, -1)) >= 0:
                        yield position, _compared(document, rows[position])
                    if not open_ones:
                        break
            except (KimiBeamError, BeamIOError, OSError) as e:
                trouble = " ".join(str(e).split())[:300]
        for position in open_ones.values():
            missing = f"Its text is not here: {trouble or 'no document at ' + source + ' has its id'}."
            yield position, SourceText(None, missing if source else NO_SOURCE)


def _compared(document: Document, row: ShownRow) -> SourceText:
    """The text of a document, if the values of its row stand where they stood."""
    if document.failure is not None:
        return SourceText(None, f"Its text cannot be read again: {document.failure.message}")
    grounding: Sequence[Mapping[str, Any]] | None = row.beside.get("_grounding")
    shown = text_of(document)
    if grounding is None:
        return shown._replace(note=f"{UNCHECKED} {shown.note}".rstrip())
    values, compared = dict(flat(row.answer)), 0
    for one in grounding:
        if one["end"] is None:
            continue
        stands, value = document.text[one["start"] : one["end"]], values.get(one["path"])
        spelling = value if isinstance(value, str) else jsontext.dumps_any(value).decode()
        if one["end"] > len(document.text) or (one["match"] == "exact" and stands != spelling):
            return SourceText(None, CHANGED)
        compared += one["match"] == "exact"
    return shown if compared or not row.beside["_grounding"] else shown._replace(note=f"{UNSURE} {shown.note}".rstrip())
