"""Colours as files write them."""

from __future__ import annotations

import pytest

from kimi_beam.input.readers.hidden.colours import BLACK, TRANSPARENT, WHITE, Colour, looks_the_same, parse_colour


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("white", WHITE),
        ("#FFF", WHITE),
        ("003366", Colour(0, 51, 102)),
        ("#00336680", None),
        ("#ffff", WHITE),
        ("#fff0", TRANSPARENT),
        ("rgb(0 51 102)", Colour(0, 51, 102)),
        ("rgb(100%, 0%, 0%)", Colour(255, 0, 0)),
        ("rgba(300, -5, 0, 1)", Colour(255, 0, 0)),
        ("rgba(1, 2, 3, .5)", None),
        ("rgb(1 2 3 / 0%)", TRANSPARENT),
        ("rgb(1, 2)", None),
        ("hsl(120, 100%, 100%)", WHITE),
        ("hsl(120, 100%, 0%)", BLACK),
        ("hsl(120, 100%, 50%)", None),
        ("hsla(0, 0%, 100%, 0)", TRANSPARENT),
        ("transparent", TRANSPARENT),
        ("var(--ink)", None),
        ("", None),
    ],
)
def test_a_colour_is_told_or_not_known(text: str, colour: Colour | str | None) -> None:
    assert parse_colour(text) == colour


def test_nearly_white_on_white_looks_the_same_and_light_grey_does_not() -> None:
    assert looks_the_same(Colour(250, 250, 255), WHITE)
    assert not looks_the_same(Colour(204, 204, 204), WHITE)
    assert not looks_the_same(Colour(255, 0, 0), Colour(255, 0, 60))
