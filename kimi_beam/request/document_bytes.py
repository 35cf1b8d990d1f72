"""The bytes that a document takes up in its request, as one value that is measured, hashed and sent.

A document stands in a request as the content of the user's message. Packing needs the number of these bytes, the
journal identifies the document by their hash, and a submit sends them. All three use the same value, `DocumentBytes`.
It is kept in pieces so that a large text is not copied until it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import orjson

if TYPE_CHECKING:
    import hashlib

_BACKTICKS = re.compile(r"`{3,}")


def fenced(text: str, label: str = "document") -> str:
    """The text between two lines of backticks, one more than its longest row of them, so that it cannot close them."""
    # To search for one character is several times as fast as the pattern.
    longest = max(map(len, _BACKTICKS.findall(text)), default=2) if "`" in text else 2
    fence = "`" * (longest + 1)
    return f"{fence}{label}\n{text}\n{fence}"


_OPENING, _CLOSING = orjson.dumps(fenced("\0")).split(orjson.dumps("\0")[1:-1])
"""The JSON before and after a text without a backtick."""

AROUND = len(_OPENING) + len(_CLOSING)
"""How many bytes `DocumentBytes` has beside those of a text without a backtick."""


class DocumentBytes(NamedTuple):
    """All that the model is shown of a document, as JSON in pieces that are sent one after the other.

    Examples:
        >>> DocumentBytes.of_inner(b"TOTAL 1.50").text
        b'TOTAL 1.50'
    """

    opening: bytes
    """The JSON before the text: the pictures, or a quotation mark and the fence."""
    text: bytes
    """The text. If the document is more than a text: all of it that is words, fenced and in quotation marks."""
    closing: bytes
    """The JSON after the text."""
    rest: tuple[tuple[bytes, bytes], ...] = ()
    """Where pictures stand amid the words: the words after them, in quotation marks, each with the JSON after it."""

    @classmethod
    def of_inner(cls, inner: bytes) -> DocumentBytes:
        """The bytes of a document that is only a text.

        Args:
            inner: The text as JSON, without its quotation marks.
        """
        if b"`" in inner:  # the fence must be longer
            return cls(b"", orjson.dumps(fenced(orjson.loads(b'"' + inner + b'"'))), b"")
        return tuple.__new__(cls, (_OPENING, inner, _CLOSING, ()))  # takes half the time of `cls(…)`

    @classmethod
    def of(cls, fenced_words: str, images: Sequence[str] = (), positions: Sequence[int] = ()) -> DocumentBytes:
        """The bytes of a document that may have pictures or metadata beside its text.

        The words stay one fenced text where pictures stand amid them, which a model is shown as one document.

        Args:
            fenced_words: The text, after the metadata if the model is shown any; each is fenced.
            images: The pictures as data URIs.
            positions: For each picture the index in `fenced_words` at which it stands, in ascending order. Empty: all
                of them before the words.

        Raises:
            TypeError: Not valid Unicode (lone surrogates).
        """
        if not images:
            return cls(b"", orjson.dumps(fenced_words), b"")
        groups = [(at, [uri for _, uri in some]) for at, some in groupby(_placed(images, positions), itemgetter(0))]
        before = groups.pop(0)[1] if groups[0][0] == 0 else []
        ends = [at for at, _ in groups]
        words = [orjson.dumps(fenced_words[start:end]) for start, end in pairwise([0, *ends, len(fenced_words)])]
        closings = [b"}," + _parts(some) + _TEXT_PART for _, some in groups] + [b"}]"]
        opening = b"[" + (_parts(before) + _TEXT_PART if before else _TEXT_PART[1:])
        return cls(opening, words[0], closings[0], tuple(zip(words[1:], closings[1:], strict=True)))

    @property
    def size(self) -> int:
        """How many bytes are sent."""
        rest = sum(len(text) + len(closing) for text, closing in self.rest) if self.rest else 0
        return len(self.opening) + len(self.text) + len(self.closing) + rest

    def pieces(self, sendable: Callable[[bytes], bytes]) -> tuple[bytes, ...]:
        """The pieces as they are sent.

        Args:
            sendable: Alters words, and not the pictures among them, without changing their length.
        """
        further = [piece for text, closing in self.rest for piece in (sendable(text), closing)]
        return self.opening, sendable(self.text), self.closing, *further

    def key(self, common: hashlib.blake2b) -> bytes:
        """The hash by which the journal identifies the document.

        Args:
            common: A hash of everything that all documents of the run have in common. It is not changed.
        """
        hasher = common.copy()
        hasher.update(self.opening)
        hasher.update(self.text)
        hasher.update(self.closing)
        for text, closing in self.rest:
            hasher.update(text)
            hasher.update(closing)
        return hasher.digest()


_TEXT_PART = b',{"type":"text","text":'


def _parts(images: Sequence[str]) -> bytes:
    """The parts of a message that are these pictures, without the brackets around them."""
    return orjson.dumps([{"type": "image_url", "image_url": {"url": uri}} for uri in images])[1:-1]


def _placed(images: Sequence[str], positions: Sequence[int]) -> Iterable[tuple[int, str]]:
    return zip(positions, images, strict=True) if positions else zip([0] * len(images), images, strict=True)
