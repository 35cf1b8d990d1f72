"""Makes the document of what a reader found in a file: its pages' texts joined, and where pages and pictures stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from kimi_beam.grounding.shown_text import HIDDEN_TEXT_HEADING, HIDDEN_TEXT_KEY
from kimi_beam.input.readers.content import Content, HiddenText, HiddenTextPolicy, Page
from kimi_beam.input.readers.hidden.invisible_characters import without_invisible_characters
from kimi_beam.types.document import Document, Layout
from kimi_beam.types.failure import Failure
from kimi_beam.wire import images

BETWEEN_PAGES = "\n\n"
"""What stands between the texts of two pages: a blank line, as between two paragraphs."""
MOST_HIDDEN_CHARACTERS = 20_000
"""How many characters of hidden texts the metadata hold. What is beyond them is cut."""


def document_of(
    document_id: str, source: str, content: Content, told: dict[str, Any], policy: HiddenTextPolicy = "drop"
) -> Document:
    """The document of a file.

    Args:
        document_id: Its id.
        source: The path of the file.
        content: What the file's reader found.
        told: What is known of the file beside its content, such as its media type: the first keys of the metadata.
        policy: What becomes of the text that a person does not see. In the metadata it is named in any case.

    Returns:
        The document. If the policy is ``dead-letter`` and there is a hidden text, it holds no text and has a failure.
    """
    content = without_invisible_characters(content)
    metadata = {**told, "pages": len(content.pages), **content.metadata}
    if content.hidden:
        metadata[HIDDEN_TEXT_KEY] = _named(content.hidden)
    if content.hidden and policy == "dead-letter":
        failure = _refusal(document_id, content.hidden)
        return Document(document_id, "", metadata=metadata, source=source, failure=failure)
    text, layout = _joined(content.pages)
    if content.hidden and policy == "keep":
        shown = "\n".join((HIDDEN_TEXT_HEADING, *(hidden.text for hidden in content.hidden)))
        text = f"{text}{BETWEEN_PAGES}{shown}" if text else shown
    pictures = tuple(
        images.data_uri(page.picture.content, page.picture.media_type)
        for page in content.pages
        if page.picture is not None
    )
    return Document(document_id, text, pictures, metadata, source, layout=layout)


def _joined(pages: Sequence[Page]) -> tuple[str, Layout]:
    """The text of all pages, and where each page and each picture stands in it.

    A page that is a picture alone is a line of the text as well, if there are other pages: the model is told which page
    it sees, and a long document can be split there.
    """
    texts = [page.text for page in pages]
    if len(pages) > 1:
        texts = [_shown_as(page, number) for number, page in enumerate(pages, 1)]
    last = max((index for index, text in enumerate(texts) if text), default=0)
    pieces: list[str] = []
    starts: list[int] = []
    positions: list[int] = []
    end = 0
    for index, (page, text) in enumerate(zip(pages, texts, strict=True)):
        starts.append(end)
        if page.picture is not None:
            positions.append(end)
        # The blank line belongs to the page before it: no text between two pictures is blank.
        piece = text + BETWEEN_PAGES if text and index < last else text
        pieces.append(piece)
        end += len(piece)
    boxes = [page.boxes for page in pages]
    return "".join(pieces), Layout(
        tuple(starts),
        tuple(positions) if any(positions) else (),
        msgspec.msgpack.encode(boxes) if any(boxes) else None,
    )


def _shown_as(page: Page, number: int) -> str:
    """What the text holds of a page: its own text, or a line that stands for its picture."""
    return page.text if page.text or page.picture is None else f"[page {number}: a picture]"


# ------------------------------------------------------------------------------------------------ hidden text


def _named(hidden: Sequence[HiddenText]) -> list[dict[str, Any]]:
    """The hidden texts as metadata, cut where they are long."""
    left = MOST_HIDDEN_CHARACTERS
    named = []
    for one in hidden:
        if left <= 0:
            break
        named.append({"text": one.text[:left], "reason": one.reason, "page": one.page})
        left -= max(1, len(one.text))
    return named


def _refusal(document_id: str, hidden: Sequence[HiddenText]) -> Failure:
    first = hidden[0]
    more = f", and {len(hidden) - 1} more" if len(hidden) > 1 else ""
    message = (
        f"{document_id} holds text that a person does not see ({first.reason}, page {first.page}{more}): look at it, "
        f"and read it with --hidden-text drop or keep"
    )
    return Failure("read", "hidden_text", message, raw="\n".join(one.text for one in hidden)[:MOST_HIDDEN_CHARACTERS])
