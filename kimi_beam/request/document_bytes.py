"""The bytes of a document in its request: spelled once, for whoever measures, names or sends them.

A document stands in a request as the content of the user's message. Packing wants to know how many bytes that is, the
journal names the document by their hash, and a submit sends them. All three work on one value, `DocumentBytes`, which
is kept in pieces: nothing of a large text is copied until it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import orjson

if TYPE_CHECKING:
    import hashlib

_BACKTICKS = re.compile(r"`{3,}")


def fenced(text: str, label: str = "document") -> str:
    """The text between two lines of backticks, one more than it has anywhere in a row, so that it cannot close them."""
    # One character is looked for several times as fast as three.
    longest = max(map(len, _BACKTICKS.findall(text)), default=2) if "`" in text else 2
    fence = "`" * (longest + 1)
    return f"{fence}{label}\n{text}\n{fence}"


_OPENING, _CLOSING = orjson.dumps(fenced("\0")).split(orjson.dumps("\0")[1:-1])
"""What stands around a text without a backtick, as JSON."""

AROUND = len(_OPENING) + len(_CLOSING)
"""Bytes that `DocumentBytes` has beside a text without a backtick."""


class DocumentBytes(NamedTuple):
    """What the model is shown of a document, as JSON, in three pieces: joined, they are it.

    Examples:
        >>> DocumentBytes.of_inner(b"TOTAL 1.50").text
        b'TOTAL 1.50'
    """

    opening: bytes
    """What stands before the text: pictures, or a quotation mark and the fence."""
    text: bytes
    """The text, or all that is said in words."""
    closing: bytes
    """What stands behind it."""

    @classmethod
    def of_inner(cls, inner: bytes) -> DocumentBytes:
        """Of a text alone.

        Args:
            inner: The text as JSON has it between its quotation marks.
        """
        if b"`" in inner:  # the fence depends on it
            return cls(b"", orjson.dumps(fenced(orjson.loads(b'"' + inner + b'"'))), b"")
        return tuple.__new__(cls, (_OPENING, inner, _CLOSING))  # one is made for each document: half the time of `cls`

    @classmethod
    def of(cls, said: str, images: Sequence[str] = ()) -> DocumentBytes:
        """Of a document that may be more than a text.

        Args:
            said: All that is said in words, fenced.
            images: Data URIs.

        Raises:
            TypeError: Not valid Unicode (lone surrogates).
        """
        words = orjson.dumps(said)
        if not images:
            return cls(b"", words, b"")
        parts = orjson.dumps([{"type": "image_url", "image_url": {"url": uri}} for uri in images])
        return cls(parts[:-1] + b',{"type":"text","text":', words, b"}]")

    @property
    def size(self) -> int:
        """How many bytes they are, as many as are sent."""
        return len(self.opening) + len(self.text) + len(self.closing)

    def key(self, begun: hashlib.blake2b) -> bytes:
        """The hash that the journal names the document by.

        Args:
            begun: What has been told to all that the documents of a run have in common; it is not changed.
        """
        same = begun.copy()
        same.update(self.opening)
        same.update(self.text)
        same.update(self.closing)
        return same.digest()
