"""Words in reading order where scripts that run to the left (Hebrew, Arabic) stand on a line.

On the page the words of both directions stand from left to right. A line is read in the direction of most of its
letters, and in it each stretch of the other direction in its own: ``Ltd`` stays behind ``XYZ`` in a line of Hebrew.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kimi_beam.input.readers.pdf.layout.page_words import Word

_LEFTWARD = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")


def has_leftward_letters(text: str) -> bool:
    """Whether a text has letters of a script that is read from right to left.

    Args:
        text: The text.
    """
    return not text.isascii() and _LEFTWARD.search(text) is not None


def in_both_directions(words: Sequence[Word]) -> list[Word]:
    """Words in the order in which a person reads them.

    Args:
        words: The words of a cell, from left to right.
    """
    letters = sum(sum(map(str.isalpha, word.text)) for word in words)
    leftward = sum(len(_LEFTWARD.findall(word.text)) for word in words)
    if 2 * leftward > letters:
        return [word for run in reversed(_runs_to_the_right(words)) for word in run]
    return [word for run in _runs_to_the_left(words) for word in run]


def _runs_to_the_right(words: Sequence[Word]) -> list[list[Word]]:
    """Words of a line that is read to the left: those from a word in Latin letters on, up to the next of the line."""
    runs: list[list[Word]] = []
    for word in words:
        if runs and _begins_to_the_right(runs[-1][0]) and not has_leftward_letters(word.text):
            runs[-1].append(word)  # a number behind a word in Latin letters goes with it
        else:
            runs.append([word])
    return runs


def _runs_to_the_left(words: Sequence[Word]) -> list[list[Word]]:
    """Words of a line that is read to the right, each stretch of words that are read to the left turned round."""
    runs: list[list[Word]] = []
    for word in words:
        if runs and has_leftward_letters(word.text) and has_leftward_letters(runs[-1][0].text):
            runs[-1].insert(0, word)
        else:
            runs.append([word])
    return runs


def _begins_to_the_right(word: Word) -> bool:
    return not has_leftward_letters(word.text) and any(map(str.isalpha, word.text))
