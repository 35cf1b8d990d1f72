"""What is read off a picture's header is what Pillow says, and a bomb is known before it is decoded."""

from __future__ import annotations

import contextlib

import pictures
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pillow_pictures import bomb, picture

from kimi_beam.input.picture_headers import PictureHeader, is_sent_as_it_is, picture_header
from kimi_beam.input.readers.content import ReadOptions, UnreadableError

OPTIONS = ReadOptions()
FORMATS = ("PNG", "JPEG", "GIF", "WEBP")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (30, 20), (257, 1000)])
def test_the_size_is_that_of_the_picture(kind: str, size: tuple[int, int]) -> None:
    assert picture_header(picture(kind, size)) == PictureHeader(*size)
    if kind == "WEBP":
        assert picture_header(picture(kind, size, lossless=True)) == PictureHeader(*size)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_picture_that_lies_on_its_side_is_known(kind: str, orientation: int) -> None:
    content = picture(kind, orientation=orientation)
    assert picture_header(content) == PictureHeader(30, 20, is_upright=orientation == 1)
    assert is_sent_as_it_is(content, OPTIONS) is (orientation == 1)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
@pytest.mark.parametrize("frames", [1, 3])
def test_a_picture_that_moves_is_known(kind: str, frames: int) -> None:
    content = picture(kind, frames=frames)
    assert picture_header(content) == PictureHeader(30, 20, moves=frames > 1)
    assert is_sent_as_it_is(content, OPTIONS) is (frames == 1)


def test_a_picture_larger_than_helps_is_made_anew() -> None:
    assert is_sent_as_it_is(picture("PNG", (2_000, 2)), OPTIONS)
    assert not is_sent_as_it_is(picture("PNG", (2_001, 2)), OPTIONS)
    assert not is_sent_as_it_is(picture("JPEG", (2, 2_001)), OPTIONS)


def test_a_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(UnreadableError, match="50,000 x 50,000 pixels, more than 100,000,000") as refused:
        is_sent_as_it_is(bomb(50_000, 50_000), OPTIONS)
    assert refused.value.code == "too_many_pixels"


@pytest.mark.parametrize("content", [b"", b"x", *(content[:9] for content in pictures.EACH.values())])
def test_a_picture_that_is_cut_off_is_left_to_those_who_check_it(content: bytes) -> None:
    assert is_sent_as_it_is(content, OPTIONS)


@given(st.sampled_from(FORMATS), st.data())
def test_no_change_of_a_picture_raises_anything_else(kind: str, data: st.DataObject) -> None:
    content = bytearray(picture(kind, orientation=1 if kind == "GIF" else 6))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, min(len(content) - 1, 200)))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnreadableError):
        is_sent_as_it_is(bytes(content[: data.draw(st.integers(0, len(content)))]), OPTIONS)
