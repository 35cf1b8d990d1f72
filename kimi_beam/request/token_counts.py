"""Estimates the tokens of texts and pictures before anything is sent, where the model's own count is not known yet.

The vocabulary of Kimi is in no package, so a text is counted by the classes of its characters. The table is fitted on
receipts, invoices, contracts and JSON Schemas with the vocabulary o200k (``python -m tests.benchmarks.token_table``);
other vocabularies of its size differ by one to eight in a hundred. Bytes divided by four would be off by half.
"""

from __future__ import annotations

import math
import re
import string
from typing import NamedTuple

from kimi_beam.request.context_window import PICTURE_TOKENS


class CharacterClass(NamedTuple):
    """Characters that take about as many tokens each."""

    characters: bytes
    """Its characters, all of them in ASCII."""
    tokens: float
    """The tokens of one of them."""


ASCII_CLASSES = {
    "small letters": CharacterClass(string.ascii_lowercase.encode(), 0.211),
    "capitals": CharacterClass(string.ascii_uppercase.encode(), 0.367),
    "digits": CharacterClass(string.digits.encode(), 1.007),
    "punctuation": CharacterClass(string.punctuation.encode(), 0.289),
    "spaces": CharacterClass(b" \t", 0.038),
    "line ends": CharacterClass(b"\n\r\x0b\x0c", 0.417),
}
"""The classes of ASCII by their names. A digit counts as a whole token, as the marks beside it do not."""
OTHER_CLASSES = {
    "letters with marks": (re.compile(r"[\xa0-\u024f]"), 1.229),
    # The documents hold no other scripts: these two are assumed, by what the vocabularies of others make of them.
    "Chinese, Japanese and Korean": (re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]"), 0.75),
}
"""The classes of other characters by their names, with the tokens of one."""
OTHER_SCRIPTS = 0.5
"""The tokens of a character of any other script [assumed]."""
_ASCII = bytes(range(128))
_PATCH = 28
"""Pixels of a side of the square that becomes one token: two patches of 14 pixels (see `PICTURE_TOKENS`)."""


def class_counts(text: str) -> dict[str, int]:
    """How many characters of each class a text has.

    Args:
        text: Any text.
    """
    content = text.encode("utf-8", "surrogatepass")
    counts = {name: len(content) - len(content.translate(None, one.characters)) for name, one in ASCII_CLASSES.items()}
    rest = "" if text.isascii() else content.translate(None, _ASCII).decode("utf-8", "surrogatepass")
    for name, (pattern, _) in OTHER_CLASSES.items():
        counts[name] = sum(1 for _ in pattern.finditer(rest)) if rest else 0
    counts["other scripts"] = len(rest) - sum(counts[name] for name in OTHER_CLASSES)
    return counts


def likely_tokens(text: str) -> float:
    """About how many tokens a text has.

    Args:
        text: Any text.
    """
    return sum(_TOKENS[name] * count for name, count in class_counts(text).items())


_TOKENS = {
    **{name: one.tokens for name, one in ASCII_CLASSES.items()},
    **{name: tokens for name, (_, tokens) in OTHER_CLASSES.items()},
    "other scripts": OTHER_SCRIPTS,
}


def tokens_of_picture(width: int, height: int) -> int:
    """About how many tokens a picture of so many pixels has.

    Args:
        width: Its width in pixels.
        height: Its height in pixels.
    """
    return min(PICTURE_TOKENS, math.ceil(width / _PATCH) * math.ceil(height / _PATCH))
