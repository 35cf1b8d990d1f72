"""`source_texts`: the texts of documents that an earlier run has read, from the file that their rows name."""

from __future__ import annotations

from collections.abc import Iterator, Set

from apache_beam.io.filesystem import BeamIOError

from kimi_beam.errors import InputError
from kimi_beam.files.local_listing import escaped
from kimi_beam.files.paths import is_local
from kimi_beam.input.fields import Reading
from kimi_beam.input.file_parts import find_parts
from kimi_beam.input.read_parts import read_part
from kimi_beam.types.document import Document

_MEMBER = "!/"
"""Stands between the path of an archive and the name of a member."""


def source_texts(source: str, ids: Set[str], reading: Reading) -> dict[str, str]:
    """The texts of some documents of a file, by id; without those that are not there any more.

    Args:
        source: The document's `Document.source`: a path, or ``ARCHIVE!/MEMBER``.
        ids: The ids of the documents.
        reading: How files become documents.
    """
    found: dict[str, str] = {}
    try:
        for document in source_documents(source, reading):
            if document.id in ids and document.failure is None:
                found[document.id] = document.text
            if len(found) == len(ids):
                break
    except (InputError, OSError, BeamIOError):
        return found  # whoever asks is told which texts are missing
    return found


def source_documents(source: str, reading: Reading) -> Iterator[Document]:
    """The documents of a file, or of the archive that it is a member of; none if it is not there any more.

    Args:
        source: As for `source_texts`.
        reading: How files become documents.

    Raises:
        InputError: The filesystem cannot be reached or used.
        OSError: The file cannot be read.
    """
    if not source or (is_local(source) and source.endswith("/")):
        return
    for path in dict.fromkeys((source, source.partition(_MEMBER)[0])):
        # The name of a file may have characters of a glob.
        parts = list(find_parts((escaped(path) if is_local(path) else path,), reading.encoding))
        for part in parts:
            yield from read_part(part, reading)
        if parts:
            return
