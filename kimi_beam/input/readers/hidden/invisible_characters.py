"""Texts that are written in characters without a shape, which a model reads and a person does not see.

Unicode's tags (U+E0000 to U+E007F) repeat ASCII invisibly. They are of use in the flags of England, Scotland and Wales
alone, where they follow a black flag.
"""

from __future__ import annotations

import re
from dataclasses import replace

from kimi_beam.input.readers.content import Content, HiddenText, Page

REASON = "characters without a shape"
_FLAG_OR_TAGS = re.compile("(\U0001f3f4[\U000e0020-\U000e007e]{3,6}\U000e007f)|([\U000e0000-\U000e007f]+)")
"""A flag, which stays, or tags."""
_FIRST = 0xE0000


def without_invisible_characters(content: Content) -> Content:
    """What a reader found, with the texts in tags of Unicode among the hidden ones.

    Args:
        content: What it found.

    Returns:
        The same, if there are none. The boxes of a page that has some are dropped, because they are for each character.
    """
    if not any(map(_tags, content.pages)):
        return content
    pages: list[Page] = []
    hidden = list(content.hidden)
    for number, page in enumerate(content.pages, 1):
        tags = _tags(page)
        if tags:
            page = replace(page, text=_FLAG_OR_TAGS.sub(lambda found: found[1] or "", page.text), boxes=None)
            text = "".join(chr(ord(tag) - _FIRST) for tag in tags)
            hidden.append(HiddenText("".join(filter(str.isprintable, text)), REASON, number))
        pages.append(page)
    return replace(content, pages=tuple(pages), hidden=tuple(hidden))


def _tags(page: Page) -> str:
    return "" if page.text.isascii() else "".join(tags for _, tags in _FLAG_OR_TAGS.findall(page.text))
