"""What a worker asks the process that reads files, and what that answers: MessagePack in frames that say their length.

The worker takes an answer for untrusted, because a hostile file may have taken over the process that wrote it. So an
answer is decoded into the types below and into no others, and its length and its lists are bounded.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import replace
from typing import Annotated, TypeAlias

import msgspec

from kimi_beam.input.readers.content import Attachment, Content, HiddenText, Page, ReadOptions
from kimi_beam.types.failure import Code

LENGTH = struct.Struct(">Q")
"""The beginning of a frame: how many bytes follow."""
READY = b"ready"
"""What the process writes when it is about to read the first question."""
MAX_ANSWER_BYTES = 256 << 20
"""The longest answer that a worker reads."""
_MOST_PAGES = 100_000
_MOST_PARTS = 10_000
_SURROGATES = re.compile("[\ud800-\udfff]")


class Question(msgspec.Struct, frozen=True, array_like=True):
    """One file to read."""

    reader: str
    """The module of the reader, whose `read` is called."""
    options: ReadOptions
    seconds: float
    """The CPU time after which the kernel ends the process. The worker itself measures the time by the clock."""
    content: bytes


class Found(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What was found in the file: a `Content`, with its metadata as JSON, in which no other type can hide."""

    pages: Annotated[tuple[Page, ...], msgspec.Meta(max_length=_MOST_PAGES)]
    metadata: bytes
    hidden: Annotated[tuple[HiddenText, ...], msgspec.Meta(max_length=_MOST_PARTS)]
    attachments: Annotated[tuple[Attachment, ...], msgspec.Meta(max_length=_MOST_PARTS)]
    resident: int
    """Bytes of memory that the process holds after it has read the file; 0 if it does not know."""

    @classmethod
    def of(cls, content: Content, resident: int) -> Found:
        """The answer for a file that was read.

        Raises:
            ValueError: More pages, hidden texts or attachments than an answer may hold.
        """
        if len(content.pages) > _MOST_PAGES or max(len(content.hidden), len(content.attachments)) > _MOST_PARTS:
            raise ValueError("more pages, hidden texts or attachments than an answer may hold")
        metadata = json.dumps(dict(content.metadata), ensure_ascii=False, allow_nan=False, default=str)
        return cls(content.pages, _mended(metadata).encode(), content.hidden, content.attachments, resident)


class Unreadable(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Why the file could not be read: an `UnreadableError`."""

    code: Code
    message: str


Answer: TypeAlias = Found | Unreadable

encode = msgspec.msgpack.Encoder().encode
decode_question = msgspec.msgpack.Decoder(Question).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode


def without_surrogates(content: Content) -> Content:
    """A copy in which U+FFFD stands for each half of a surrogate pair, which UTF-8 has no bytes for."""
    return Content(
        tuple(replace(page, text=_mended(page.text)) for page in content.pages),
        content.metadata,
        tuple(replace(hidden, text=_mended(hidden.text), reason=_mended(hidden.reason)) for hidden in content.hidden),
        tuple(replace(attachment, name=_mended(attachment.name)) for attachment in content.attachments),
    )


def _mended(text: str) -> str:
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)
