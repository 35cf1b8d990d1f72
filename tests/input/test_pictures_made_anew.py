"""Pictures that are sent as they are, and those that are made anew: one that lies on its side, or is very large."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image
from pillow_pictures import bomb, picture

from kimi_beam.input.file_parts import Part
from kimi_beam.input.file_references import read_again
from kimi_beam.input.read_parts import read_part
from kimi_beam.types.document import Document


def read(path: Path, content: bytes) -> Document:
    path.write_bytes(content)
    (document,) = read_part(Part(str(path)))
    return document


def sent(document: Document) -> bytes:
    (uri,) = document.images
    return base64.b64decode(uri.partition(",")[2])


def test_a_picture_that_needs_nothing_is_sent_byte_by_byte(tmp_path: Path) -> None:
    content = picture("JPEG", (2_000, 1_500))
    document = read(tmp_path / "a.jpg", content)
    assert sent(document) == content
    assert document.metadata == {}


def test_a_picture_that_lies_on_its_side_is_shown_upright(tmp_path: Path) -> None:
    document = read(tmp_path / "a.jpg", picture("JPEG", (300, 200), orientation=6))
    assert Image.open(io.BytesIO(sent(document))).size == (200, 300)
    assert document.metadata["media_type"] == "image/jpeg"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_large_picture_is_made_smaller_and_is_so_when_it_is_read_again(tmp_path: Path, kind: str) -> None:
    document = read(tmp_path / f"a.{kind.lower()}", picture(kind, (4_000, 1_000)))
    assert Image.open(io.BytesIO(sent(document))).size == (2_000, 500)
    if document.file is not None:
        (again,) = read_again([document.as_reference("")])
        assert (again.images, again.failure) == (document.images, None)


def test_a_bomb_is_a_dead_letter_and_is_not_decoded(tmp_path: Path) -> None:
    document = read(tmp_path / "a.png", bomb(50_000, 50_000))
    assert document.failure is not None
    assert document.failure.code == "too_many_pixels"
    assert document.images == ()
