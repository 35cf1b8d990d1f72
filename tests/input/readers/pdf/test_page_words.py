"""A word that is drawn twice is read once, whichever words stand around it."""

from __future__ import annotations

import random

import numpy as np
from both_paths import both_paths

from kimi_beam.input.readers.pdf.characters import Characters
from kimi_beam.input.readers.pdf.layout.page_words import by_direction

TEXTS = "abc"


def characters(words: list[tuple[str, float, float, float]]) -> Characters:
    """Characters of one letter a word, each drawn by an object of its own: text, left, base and size."""
    count = len(words)
    left, base, sizes = (np.array([word[place] for word in words]) for place in (1, 2, 3))
    return Characters(
        codes=np.array([ord(word[0]) for word in words], np.uint32),
        boxes=np.column_stack((left, base - 0.2 * sizes, left + 0.5 * sizes, base + 0.9 * sizes)),
        objects=np.arange(count),
        spaces=np.zeros(count, np.bool_),
        handles=np.arange(1, count + 1),
        first=np.arange(count),
        origins=np.column_stack((left, base)),
        sizes=sizes,
        widths=np.ones(count),
        angles=np.zeros(count),
        fonts=np.ones(count, np.int64),
        is_blank=np.zeros(count, np.bool_),
    )


def drawn_once(words: list[tuple[str, float, float, float]]) -> list[tuple[str, float, float, float]]:
    """The definition: a word is left out that begins within a quarter of its size of an equal one before it."""
    kept: list[tuple[str, float, float, float]] = []
    for word in words:
        near = 0.25 * word[3]
        if not any(
            word[0] == other[0] and abs(word[1] - other[1]) < near and abs(word[2] - other[2]) < near for other in kept
        ):
            kept.append(word)
    return kept


def test_words_that_are_drawn_twice_are_those_that_stand_where_an_equal_one_does() -> None:
    chance = random.Random(5)
    with both_paths("alone", "once", "twice", at_least=100) as taken:
        for _ in range(600):
            # From a page with a few words to one on which they overlap; they are apart, so that none runs into another.
            extent = chance.choice([30, 200, 2_000])
            words: list[tuple[str, float, float, float]] = []
            for _ in range(chance.randint(1, 25)):
                place = chance.uniform(-extent, extent), chance.uniform(-extent, extent)
                if words and chance.random() < 0.3:
                    place = words[-1][1] + chance.uniform(-4, 4), words[-1][2] + chance.uniform(-4, 4)
                words.append((chance.choice(TEXTS), *place, chance.choice([4.0, 10.0, 14.0])))
            # What stands beside its predecessor is one word with it.
            read = characters([word for word in words for word in (word, ("z", 90_000.0, 90_000.0, 4.0))])
            (direction,) = by_direction(read, np.ones(len(read), np.bool_), np.zeros((0, 4)))
            found = [word.text for word in direction.words if word.text != "z"]
            expected = drawn_once(words)
            assert found == [word[0] for word in expected]
            taken["twice" if len(expected) < len(words) else "once" if extent < 2_000 else "alone"] += 1


def test_a_page_that_repeats_one_word_is_not_compared_word_by_word() -> None:
    """Of 40,000 equal words each with each would be 800 million comparisons, which take minutes."""
    words = [("a", 2.5 * (index % 200), 2.5 * (index // 200), 8.0) for index in range(40_000)]
    read = characters([word for pair in words for word in (pair, ("z", 9e6, 9e6, 1.0))])
    (direction,) = by_direction(read, np.ones(len(read), np.bool_), np.zeros((0, 4)))
    assert sum(word.text == "a" for word in direction.words) == len(words)
