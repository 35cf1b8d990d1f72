"""Lines with scripts that run to the left are read in the order in which a person reads them."""

from __future__ import annotations

import pytest

from kimi_beam.input.readers.pdf.layout.page_lines import lines
from kimi_beam.input.readers.pdf.layout.page_words import Word


def _read(on_the_page: str) -> str:
    """The text of words that stand side by side, from left to right."""
    words, x = [], 60.0
    for text in on_the_page.split(" "):
        words.append(Word(text, x, x + 6 * len(text), 700.0, 11.0, 1, list(range(len(text)))))
        x += 6 * len(text) + 3
    (line,) = lines(words)
    return " ".join(cell.text for cell in line.cells)


@pytest.mark.parametrize(
    ("on_the_page", "read"),
    [
        ("123 רפסמ תינובשח", "תינובשח רפסמ 123"),
        ("ABC 99.50 לכה ךס", "ךס לכה ABC 99.50"),  # the number stands behind the word
        ("99.50 ABC לכה ךס", "ךס לכה ABC 99.50"),  # and here before it, as the eye meets them
        ("תירבע XYZ Ltd דובכל תינובשח", "תינובשח דובכל XYZ Ltd תירבע"),
        ("ABC ةكرشلل 06-05-2024 خيراتب", "خيراتب 06-05-2024 ةكرشلل ABC"),
        ("Delivered to Example Trading at ןג תמר today", "Delivered to Example Trading at תמר ןג today"),
        ("Total 12 of 30", "Total 12 of 30"),
    ],
)
def test_each_stretch_of_a_line_is_read_in_its_own_direction(on_the_page: str, read: str) -> None:
    assert _read(on_the_page) == read
