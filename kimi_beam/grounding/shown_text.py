"""What the model was shown of a document: text that a person sees, text that nobody sees, and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kimi_beam.types.document import Document

HIDDEN_TEXT_HEADING = "Text that a person does not see:"
"""The line above the hidden texts where they are kept. They stand at the end of the document's text."""
HIDDEN_TEXT_KEY = "hidden_text"
"""The key of the metadata with the hidden texts of a file: a list of objects with ``text``, ``reason`` and ``page``."""
_PICTURE_OF_PAGE = "[page "


class ShownText(NamedTuple):
    """The text of a document, divided by who sees it."""

    seen: str
    """What a person sees: the text, or its beginning where hidden text was kept at its end."""
    hidden: str
    """What a person does not see."""
    hidden_start: int | None
    """The index in the document's text at which `hidden` begins; None if it is not in the text."""


def shown_text(document: Document) -> ShownText:
    """The text of a document, divided by who sees it.

    Args:
        document: The document, with its text.
    """
    text, hidden = document.text, _hidden_texts(document.metadata)
    if not hidden:
        return ShownText(text, "", None)
    at = text.rfind(f"{HIDDEN_TEXT_HEADING}\n")
    if at >= 0:
        start = at + len(HIDDEN_TEXT_HEADING) + 1
        return ShownText(text[:at], text[start:], start)
    return ShownText(text, "\n".join(hidden), None)


def _hidden_texts(metadata: Mapping[str, Any]) -> list[str]:
    """The hidden texts that the metadata hold. A user's own metadata may have anything under their key."""
    listed = metadata.get(HIDDEN_TEXT_KEY)
    if not isinstance(listed, list):
        return []
    texts = [one.get("text") for one in listed if isinstance(one, Mapping)]
    return [text for text in texts if isinstance(text, str)]


def has_unread_pictures(document: Document) -> bool:
    """Whether the model was shown a picture of something that is not in the text."""
    if not document.images:
        return False
    layout = document.layout
    if layout is None or not layout.page_starts:
        return True
    starts = layout.page_starts
    positions = layout.image_positions or (0,) * len(document.images)
    text = document.text
    for position in positions:
        if position not in starts:
            return True
        page = starts.index(position)
        end = starts[page + 1] if page + 1 < len(starts) else len(text)
        of_page = text[position:end].strip()
        if not of_page or of_page.startswith(_PICTURE_OF_PAGE):
            return True
    return False
