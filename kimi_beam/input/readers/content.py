"""What a reader finds in a file: the text and pictures of its pages, what a person cannot see, and what is attached.

Every reader has the form ``read(content: bytes, options: ReadOptions) -> Content`` and raises `UnreadableError` for a
file that it cannot read. It runs in a process of its own, because a hostile file may crash a parser, so `Content` has
values alone that can be sent between processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kimi_beam.types.failure import Code

PageChoice = Literal["auto", "text", "image", "both"]
"""What the model is shown of a page: its text, a picture of it, or both. ``auto``: the text, but a picture of a page
whose text layer is missing, garbled, or much less than its picture shows."""

HiddenTextPolicy = Literal["drop", "keep", "dead-letter"]
"""What becomes of a text that a parser finds and a person does not see: it is left out of the prompt, kept in it, or
makes its document a dead letter."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a user may choose about the reading of whole files.

    Attributes:
        pages: What the model is shown of each page.
        encoding: The encoding of texts that are not in UTF-8 or UTF-16; None if the user named none.
        password: The password of encrypted files; None if the user gave none. It is never shown in a repr.
        keeps_boxes: Whether the place of each character on its page is kept, for grounding.
        max_pages: The most pages of a document.
        max_pixels: The most pixels of a picture.
        picture_dpi: The resolution at which pages are rendered, in dots an inch.
        longest_side: The most pixels of the longer side of a picture that is sent.
    """

    pages: PageChoice = "auto"
    encoding: str | None = None
    password: str | None = field(default=None, repr=False)
    keeps_boxes: bool = False
    max_pages: int = 2_000
    max_pixels: int = 100_000_000
    picture_dpi: int = 150
    longest_side: int = 2_000


DEFAULT_OPTIONS = ReadOptions()


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it is sent.

    Attributes:
        content: Its bytes, in a format that models read.
        media_type: ``image/jpeg``, ``image/png``, ``image/webp`` or ``image/gif``.
        width: Pixels; 0 if they were not read.
        height: Pixels; 0 if they were not read.
    """

    content: bytes
    media_type: str
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a file. A file without pages, such as HTML, has a single one.

    Attributes:
        text: What a person sees of its text, with the layout kept; empty if only its picture is to be sent.
        picture: The page as a picture, or the picture that is the page; None if only its text is to be sent.
        boxes: The place of each character of `text` on the page (`kimi_beam.grounding.character_boxes`); None if
            not wanted.
    """

    text: str = ""
    picture: Picture | None = None
    boxes: bytes | None = None


@dataclass(frozen=True, slots=True)
class HiddenText:
    """A text that a parser finds and a person does not see.

    Attributes:
        text: The text.
        reason: How it is hidden, in words: ``white on white``, ``behind a picture``, ``off the page``.
        page: The number of its page, from 1.
    """

    text: str
    reason: str
    page: int = 1


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file inside a file, such as an attachment of a mail, which becomes a document of its own.

    Attributes:
        name: Its file name; empty if it has none.
        content: Its bytes.
    """

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Content:
    """What a reader found in one file.

    Attributes:
        pages: Its pages, in order.
        metadata: What the file says of itself, as JSON values: ``title``, ``author``, ``subject``, ``from``, ``date``.
        hidden: The hidden texts. They are in no page's text.
        attachments: Files inside it.
    """

    pages: tuple[Page, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    hidden: tuple[HiddenText, ...] = ()
    attachments: tuple[Attachment, ...] = ()


class UnreadableError(Exception):
    """A file cannot be read.

    Attributes:
        code: The code of its dead letter.
        message: One line that says what is wrong, without the file's name, and what to do: ``is encrypted: …``. What it
            quotes of the file may be anything, so it is made printable.
    """

    def __init__(self, code: Code, message: str) -> None:
        if not message.isprintable():
            message = "".join(letter if letter.isprintable() else " " for letter in message)
        super().__init__(code, message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        """The message."""
        return self.message
