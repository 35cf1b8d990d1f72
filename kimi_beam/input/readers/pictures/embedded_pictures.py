"""Pictures in files whose pages cannot be drawn: office files and web pages.

A receipt that is pasted into a Word document must not be an empty document. A page with next to no text is sent with
its pictures, and with ``pages`` ``image`` or ``both`` every page is. Logos and icons are not sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kimi_beam.input.readers.content import Page, Picture, ReadOptions, UnreadableError
from kimi_beam.input.readers.pictures import pictures as picture_reader
from kimi_beam.input.readers.pictures.picture_sizes import shows_a_document

_LITTLE_TEXT = 200
"""The characters, without white space, below which a page has next to no text."""


def pages_with_pictures(
    texts: Sequence[str], pictures: Mapping[int, Sequence[bytes]], options: ReadOptions
) -> tuple[Page, ...]:
    """The pages of a file.

    Args:
        texts: The text of each page.
        pictures: The pictures of each page, by its index, as the file holds them.
        options: `pages` says when they are sent, the others how large they may be.

    Returns:
        The pages. The first picture of a page is sent with it, and each other one is a page that follows.

    Raises:
        UnreadableError: There is neither a text nor a picture that can be read, or a picture is too large.
    """
    found: list[Page] = []
    seen: set[bytes] = set()
    reason: UnreadableError | None = None
    for at, text in enumerate(texts or ("",)):
        sent: list[Picture] = []
        if options.pages in ("image", "both") or (options.pages == "auto" and _is_little(text)):
            for content in pictures.get(at, ()):
                if content in seen or not shows_a_document(content):
                    continue
                seen.add(content)
                try:
                    read = picture_reader.read(content, options).pages
                except UnreadableError as e:
                    if e.code not in ("damaged", "reader_failed"):
                        raise
                    reason = e
                    continue
                sent += [page.picture for page in read if page.picture is not None]
        found.append(Page(text, sent[0] if sent else None))
        found += [Page(picture=picture) for picture in sent[1:]]
        if len(found) > max(options.max_pages, len(texts)):
            message = f"has more than {options.max_pages:,} pages and pictures: split it, or allow more"
            raise UnreadableError("too_many_pages", message)
    if reason is not None and not any(page.text or page.picture for page in found):
        message = f"holds no text, and a picture that {reason.message}"
        raise UnreadableError(reason.code, message) from reason
    return tuple(found)


def _is_little(text: str) -> bool:
    return len(text) < 10 * _LITTLE_TEXT and sum(map(len, text.split())) < _LITTLE_TEXT
