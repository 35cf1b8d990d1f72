"""Large lines of JSON travel as references to their place in the file, as large files do."""

from __future__ import annotations

from collections.abc import Sequence

from kimi_beam.columnar import Documents
from kimi_beam.input.fields import Reading
from kimi_beam.input.file_references import WORTH_READING_TWICE, line_fingerprint
from kimi_beam.input.lines import Group
from kimi_beam.types.document import Document


def has_large_line(lines: Sequence[bytes]) -> bool:
    """Whether a line may hold a document that is worth reading twice."""
    return max(map(len, lines), default=0) >= WORTH_READING_TWICE


def with_line_reference(document: Document, line: bytes, position: int, reading: Reading) -> Document:
    """The document with the fingerprint of its line, if it is worth reading twice; else the document itself.

    Args:
        document: The document that the line is.
        line: Its bytes in the file, without the line feed.
        position: Where it begins in the file.
        reading: How lines become documents.
    """
    if document.failure is not None or len(document.text) + sum(map(len, document.images)) < WORTH_READING_TWICE:
        return document
    return document.with_file(line_fingerprint(document, line, position, reading))


def with_line_references(documents: Documents, group: Group, reading: Reading) -> Documents:
    """The same for the documents of some lines, of which each is a text alone.

    Args:
        documents: One for each line.
        group: The lines.
        reading: How lines become documents.
    """
    position = group.position
    assert position is not None
    others: dict[int, Document] = {}
    for index, line in enumerate(group.lines):
        if len(line) >= WORTH_READING_TWICE:
            document = with_line_reference(documents[index], line, position, reading)
            if document.file is not None:
                others[index] = document
        position += len(line) + 1
    return documents.with_others(others)
