"""`source_texts`: the texts of documents that an earlier run has read, from the file that their rows name."""

from __future__ import annotations

from collections.abc import Set

from apache_beam.io.filesystem import BeamIOError

from kimi_beam.errors import InputError
from kimi_beam.files.paths import is_local
from kimi_beam.input.fields import Reading
from kimi_beam.input.file_parts import find_parts
from kimi_beam.input.read_parts import read_part

_MEMBER = "!/"


def source_texts(source: str, ids: Set[str], reading: Reading) -> dict[str, str]:
    """The texts of some documents of a file, by id; without those that are not there any more.

    Args:
        source: The document's `Document.source`: a path, or ``ARCHIVE!/MEMBER``.
        ids: The ids of the documents.
        reading: How files become documents.
    """
    found: dict[str, str] = {}
    if not source or (is_local(source) and source.endswith("/")):
        return found
    try:
        for part in find_parts((source.partition(_MEMBER)[0],), reading.encoding):
            for document in read_part(part, reading):
                if document.id in ids and document.failure is None:
                    found[document.id] = document.text
            if len(found) == len(ids):
                break
    except (InputError, OSError, BeamIOError):
        return found  # whoever asks is told which texts are missing
    return found
