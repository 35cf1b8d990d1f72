"""Divides the documents of a batch that are asked for in parts, also those whose answer was cut off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from kimi_beam.request import batches
from kimi_beam.request.batches import IN_PARTS, NO_KEY, Item
from kimi_beam.request.checks import KeyOf, prepare
from kimi_beam.request.context_window import PICTURE_TOKENS, about_tokens
from kimi_beam.request.packing import Batching, Packer
from kimi_beam.request.part_references import ReadAgain, part_reference
from kimi_beam.request.prompt import Prompt
from kimi_beam.request.splitting import Limits, length_of, split
from kimi_beam.types.answer import Completion
from kimi_beam.types.document import Document, FileContent
from kimi_beam.types.earlier_runs import Earlier, EarlierPart
from kimi_beam.types.reply import Reply

_LEAST_TOKENS = 50
"""A part of fewer tokens whose answer is cut off is not split further: its length is not to blame."""


class Divided(NamedTuple):
    """A batch without the documents that were divided."""

    rest: bytes | None
    """The batch of its other documents; None if there are none."""
    parts: list[bytes]
    """Batches of the parts that are asked for."""
    replies: list[Reply]
    """Parts that earlier runs have answered, and documents whose files have changed."""
    unread: list[tuple[bytes, Reply]]
    """Documents whose files cannot be read at the moment: a batch of each alone, and its reply if it is given up."""


@dataclass(frozen=True)
class DocumentParts:
    """Makes parts of documents.

    Attributes:
        prompt: How whole documents are asked for.
        key_of: Gives the journal's key of a part.
        batching: How parts are packed.
        key_of_whole: Gives the journal's key of a whole document.
    """

    prompt: Prompt
    key_of: KeyOf
    batching: Batching
    key_of_whole: KeyOf = lambda _shown, _round: NO_KEY

    def divide(self, blob: bytes, read_again: ReadAgain) -> Divided:
        """Divides the documents of a batch that are asked for in parts.

        Args:
            blob: A batch, of which some documents have the key `IN_PARTS`.
            read_again: Reads the files of documents that travel as references.
        """
        keys = batches.head(blob).keys
        whole = [index for index, key in enumerate(keys) if key == IN_PARTS]
        others = [index for index, key in enumerate(keys) if key != IN_PARTS]
        documents = batches.decode(blob)
        asked: list[Document] = []
        replies: list[Reply] = []
        unread: list[tuple[bytes, Reply]] = []
        for index in whole:
            (document,) = read_again([documents[index]])
            if document.failure is not None:
                reply = Reply(replace(document, failure=None), document.failure)
                if document.failure.code == "unreadable":
                    unread.append((batches.select(blob, [index]), reply))
                else:
                    replies.append(reply)
                continue
            for bare, answer in self._parts(document):
                part = _of_file(bare, documents[index].file)
                if answer is None:
                    asked.append(part)
                else:
                    replies.append(Reply(part, answer))
        packed, unsendable = self.packed(asked)
        rest = batches.select(blob, others) if others else None
        return Divided(rest, packed, [*replies, *unsendable], unread)

    def split_further(self, document: Document, file: FileContent | None = None) -> list[Document]:
        """Splits a document, or a part of one, whose answer was cut off; empty if it cannot be split.

        Args:
            document: The document with its text.
            file: The fingerprint of its file, if it travels as a reference; None if it holds its text.
        """
        tokens = about_tokens(document.text)
        if tokens < _LEAST_TOKENS and len(document.images) < 2:
            return []
        size = self.prompt.split_rule.widest.size
        if len(document.images) > 1:
            size = min(size, (len(document.text.encode()) + sum(map(len, document.images))) // 2 + 1)
        parts = split(document, Limits((tokens + PICTURE_TOKENS * len(document.images)) // 2 + 1, size))
        return [_of_file(part, file) for part in parts] if len(parts) > 1 else []

    def packed(self, parts: Sequence[Document]) -> tuple[list[bytes], list[Reply]]:
        """Parts, and documents that are asked for again, as batches; and the replies of those that cannot be sent.

        Parts and documents of files are references in them.
        """
        packer: Packer[Item] = Packer(self.batching)
        closed: list[list[Item]] = []
        unsendable: list[Reply] = []
        for part in parts:
            item = self._prepared(part)
            if item.document.failure is not None:
                unsendable.append(Reply(replace(item.document, failure=None), item.document.failure))
            else:
                if part.file is not None and part.part is not None:
                    item = item._replace(document=part_reference(item.document, part.file, item.key.hex()))
                elif part.file is not None:
                    item = item._replace(document=item.document.with_file(part.file).as_reference(item.key.hex()))
                closed.append(packer.add(item, item.size))
        return [batches.encode(items) for items in (*closed, packer.flush()) if items], unsendable

    def _prepared(self, document: Document) -> Item:
        if document.part is not None:
            item = prepare(document, self.prompt.for_parts, self.key_of)
        else:
            item = prepare(document, self.prompt, self.key_of_whole)
        return item._replace(size=item.size and item.size + 2 * len(self.prompt.correction(document).encode()))

    def _parts(self, document: Document) -> Iterator[tuple[Document, Completion | None]]:
        """The parts of a document, each with the answer that an earlier run has got for it."""
        rule = self.prompt.split_rule
        size = self.prompt.overhead + self.prompt.shown(document).size
        limits = rule.limits(document.text, size, len(document.images)) or rule.widest
        known = document.earlier.parts
        if not _are_usable(known, length_of(document)):
            yield from ((part, None) for part in split(document, limits))
            return
        for earlier in known:
            parts = split(document, _ALL if earlier.answer is not None else limits, earlier.start, earlier.end)
            if len(parts) > 1:
                yield from ((part, None) for part in parts)
            else:
                attempts = parts[0].earlier.attempts
                yield replace(parts[0], earlier=Earlier(earlier.round, attempts, earlier.open)), earlier.answer


_ALL = Limits(1 << 62, 1 << 62)


def _of_file(part: Document, file: FileContent | None) -> Document:
    """The part with the fingerprint of its document's file, which is lost where a document is split or changed."""
    return part if file is None else part.with_file(file)


def _are_usable(parts: Sequence[EarlierPart], length: int) -> bool:
    """Whether these parts are all of a document's: a dead letter may have been changed by hand."""
    edges = [0, *(part.end for part in parts)]
    is_tiled = [part.start for part in parts] == edges[:-1] and edges[-1] == length
    return bool(parts) and is_tiled and all(part.start < part.end for part in parts)
