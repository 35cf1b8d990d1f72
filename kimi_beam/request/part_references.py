"""Parts that travel without their text, which is cut out of their document's file again when it is needed.

A document that travels as a reference may have hundreds of parts, and those of all documents wait in a runner's state.
What the model is shown beside a part (`Part.context`) travels with it: it can only be told from the whole text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from kimi_beam.request.splitting import stretch, text_hash
from kimi_beam.types.document import Document, FileContent
from kimi_beam.types.failure import Failure

ReadAgain: TypeAlias = "Callable[[Sequence[Document]], list[Document]]"
"""Reads the files of references, and passes on documents that hold their content. What cannot be read, or has changed,
has a failure."""


def part_reference(part: Document, file: FileContent, key: str) -> Document:
    """A part without its text and pictures.

    Args:
        part: The part.
        file: The fingerprint of its document's file.
        key: The part's key in the journal, in hexadecimal digits; empty if it has none.
    """
    return part.with_file(replace(file, pictures=len(part.images))).as_reference(key)


def reading_parts(read_again: ReadAgain) -> ReadAgain:
    """The same function for parts as well. The file of a document is read once for all of its parts.

    Args:
        read_again: Reads the files of whole documents.
    """

    def read(documents: Sequence[Document]) -> list[Document]:
        wholes: dict[_WholeName, Document] = {}
        for document in documents:
            if document.part is not None and document.is_reference:
                wholes.setdefault(_whole_name(document), _whole_reference(document))
        if not wholes:
            return read_again(documents)
        others = [document for document in documents if document.part is None or not document.is_reference]
        found = read_again([*others, *wholes.values()])
        read_wholes = {name: _checked(whole, name) for name, whole in zip(wholes, found[len(others) :], strict=True)}
        read_others = iter(found)
        return [
            _cut(document, read_wholes[_whole_name(document)])
            if document.part is not None and document.is_reference
            else next(read_others)
            for document in documents
        ]

    return read


class _WholeName(NamedTuple):
    """What tells the document of a part from others: two of one id differ in their text."""

    document_id: str
    text_hash: str
    source: str
    checksum: str


def _whole_name(reference: Document) -> _WholeName:
    part, file = reference.part, reference.file
    assert part is not None
    assert file is not None
    return _WholeName(part.document_id, part.text_hash, reference.source, file.checksum)


def _whole_reference(reference: Document) -> Document:
    """The reference of the document that a part belongs to."""
    part, file = reference.part, reference.file
    assert part is not None
    assert file is not None
    whole = Document(part.document_id, "", metadata=reference.metadata, source=reference.source)
    return whole.with_file(replace(file, key=""))


def _checked(whole: Document, name: _WholeName) -> Document:
    """The document, with a failure if another text was read of its unchanged file than before it was divided."""
    if whole.failure is not None or text_hash(whole) == name.text_hash:
        return whole
    message = f"{whole.source} is unchanged, but another text was read of it now than before"
    return replace(whole, failure=Failure("read", "file_changed", message, retryable=True))


def _cut(reference: Document, whole: Document) -> Document:
    """A part with its text, or with the failure of its document."""
    part = reference.part
    assert part is not None
    text, images, layout = stretch(whole, part.start, part.end)
    found = replace(reference, text=text, images=images, layout=layout, failure=whole.failure)
    # With the fingerprint, its reply can be kept without its text.
    return found if found.failure is not None or reference.file is None else found.with_file(reference.file)
