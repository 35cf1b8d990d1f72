"""Folds a text so that spellings that differ by space, case and typography alone become equal, and maps places back.

Digits are never altered: digits of other scripts become ASCII digits, and what only resembles a digit (a superscript, a
fraction, a number in a circle) stays as it is.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_SINGLE_QUOTES, _DOUBLE_QUOTES = "\u2018\u2019\u201a\u201b\u2032\u00b4`", "\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_TYPOGRAPHY = {
    **dict.fromkeys(_SINGLE_QUOTES, "'"),
    **dict.fromkeys(_DOUBLE_QUOTES, '"'),
    **dict.fromkeys(_DASHES, "-"),
}
_SOFT_HYPHEN = "\u00ad"
_BROKEN_WORD = re.compile(r"[-\u2010][^\S\n]*\r?\n\s*")
"""A hyphen at the end of a line. If letters stand around it, it may have been put there by the line break alone."""


class Folded(NamedTuple):
    """A folded text."""

    text: str
    """The text without white space, in one case and typography."""
    starts: npt.NDArray[np.int64]
    """For each character of `text`, the index of the character that it was made of."""


def fold(text: str) -> Folded:
    """Folds a text: white space goes, case and the typography of quotes, dashes and ligatures are made equal.

    A hyphen that a line break may have put into a word goes too, so that a value is also looked for without its hyphens
    (`without_hyphens`).
    """
    text = _BROKEN_WORD.sub(_joined, text) if "\n" in text else text
    return _fold_ascii(text) if text.isascii() else _fold_any(text)


def _fold_ascii(text: str) -> Folded:
    codes = np.frombuffer(text.encode("ascii"), np.uint8)
    kept = _KEPT[codes]
    return Folded(_LOWER[codes][kept].tobytes().decode("ascii"), np.flatnonzero(kept))


def _fold_any(text: str) -> Folded:
    letters = set(text)
    folded_by_letter = {letter: _folded(letter) for letter in letters}
    if any(map(unicodedata.combining, letters)):
        return _fold_with_marks(text, folded_by_letter)
    changed = {ord(letter): folded for letter, folded in folded_by_letter.items() if letter != folded}
    codes: Any = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    lengths = np.ones(int(codes.max()) + 1 if len(codes) else 1, np.int8)
    for code, folded in changed.items():
        lengths[code] = len(folded)
    return Folded(text.translate(changed), np.repeat(np.arange(len(text)), lengths[codes]))


def without_hyphens(value: str) -> str:
    """A value without the hyphens between its letters, as a text has it whose lines were broken there."""
    return _BETWEEN_LETTERS.sub("", value) if "-" in value else value


_BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")


def _joined(match: re.Match[str]) -> str:
    """The end of the line with a soft hyphen for the hyphen, so that every character keeps its place."""
    text, start, end = match.string, match.start(), match.end()
    is_inside = start > 0 and text[start - 1].isalpha() and end < len(text) and text[end].isalpha()
    return _SOFT_HYPHEN + match[0][1:] if is_inside else match[0]


def _fold_with_marks(text: str, folded_by_letter: dict[str, str]) -> Folded:
    """Folds a text in which accents stand as characters of their own: each is joined with the letter before it."""
    pieces = [folded_by_letter[letter] for letter in text]
    for match in re.finditer(rf"[^{_MARKS}][{_MARKS}]+", text):
        start, end = match.span()
        pieces[start:end] = [_folded(match[0]), *[""] * (end - start - 1)]
    return Folded("".join(pieces), np.repeat(np.arange(len(text)), [len(piece) for piece in pieces]))


_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff"


@lru_cache(65_536)
def _folded(letter: str) -> str:
    """What becomes of one character, or of a letter with its accents."""
    if letter.isspace() or unicodedata.category(letter[0]) in ("Cf", "Cc"):
        return ""
    if letter in _TYPOGRAPHY:
        return _TYPOGRAPHY[letter]
    if letter.isdecimal():
        return str(unicodedata.decimal(letter))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", letter).casefold())
    if any(one.isdigit() for one in folded):
        return letter
    return "".join(_TYPOGRAPHY.get(one, one) for one in folded if not one.isspace())


_ASCII = [_folded(chr(code)) for code in range(128)]
_KEPT = np.array([bool(folded) for folded in _ASCII])
_LOWER = np.array([ord(folded or " ") for folded in _ASCII], np.uint8)
