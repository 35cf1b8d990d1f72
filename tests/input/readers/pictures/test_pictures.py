"""Pictures are sent as they are where a model reads them, and as PNG or JPEG, upright and bounded, where not."""

from __future__ import annotations

import io
import sys
import zlib

import pictures as smallest
import pillow_heif
import pytest
from PIL import Image

from kimi_beam.input.readers.content import Picture, ReadOptions, UnreadableError
from kimi_beam.input.readers.pictures import pictures

ORIENTATION, ON_ITS_SIDE = 0x0112, 6
NOISE = Image.effect_noise((300, 200), 60)


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _pictures(content: bytes, options: ReadOptions | None = None) -> list[Picture]:
    pages = pictures.read(content, options or ReadOptions()).pages
    assert all(page.picture is not None and page.text == "" for page in pages)
    return [page.picture for page in pages if page.picture is not None]


def _refusal(content: bytes, options: ReadOptions | None = None) -> tuple[str, str]:
    with pytest.raises(UnreadableError) as refused:
        pictures.read(content, options or ReadOptions())
    assert "\n" not in refused.value.message
    return refused.value.code, refused.value.message


def _decoded(picture: Picture) -> Image.Image:
    image = Image.open(io.BytesIO(picture.content))
    image.load()
    assert image.size == (picture.width, picture.height)
    return image


@pytest.mark.parametrize(("kind", "media_type"), [
    ("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp"), ("GIF", "image/gif"),
])  # fmt: skip
def test_a_picture_that_a_model_reads_is_sent_byte_by_byte(kind: str, media_type: str) -> None:
    content = _file(NOISE.convert("RGB"), kind)
    assert _pictures(content) == [Picture(content, media_type, 300, 200)]


def test_the_smallest_pictures_are_read() -> None:
    for content in (smallest.png(), smallest.gif()):
        assert [picture.content for picture in _pictures(content)] == [content]


def test_each_frame_of_a_tiff_is_a_page() -> None:
    frames = [NOISE, NOISE.convert("RGB"), NOISE.convert("1"), NOISE.convert("CMYK"), NOISE.convert("RGBA")]
    found = _pictures(_file(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    assert [picture.media_type for picture in found] == [
        *("image/png", "image/jpeg", "image/png", "image/jpeg", "image/jpeg")
    ]
    for picture in found:
        assert _decoded(picture).size == (300, 200)


def test_a_picture_of_16_bits_keeps_its_grey() -> None:
    (picture,) = _pictures(_file(Image.new("I;16", (50, 60), 40_000), "TIFF"))
    assert abs(int(_decoded(picture).getpixel((10, 10))) - 40_000 // 256) <= 1  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "AVIF", "HEIF"])
def test_other_formats_become_one_that_models_read(kind: str) -> None:
    pillow_heif.register_heif_opener()
    colored = Image.new("RGB", (120, 80), (200, 30, 40))
    (picture,) = _pictures(_file(colored, kind))
    red, green, blue = _decoded(picture).convert("RGB").getpixel((60, 40))  # type: ignore[misc]
    assert abs(red - 200) + abs(green - 30) + abs(blue - 40) < 20
    assert picture.media_type in ("image/png", "image/jpeg")


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_a_picture_that_lies_on_its_side_is_turned_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = ON_ITS_SIDE
    lying = Image.new("RGB", (120, 80), "white")
    lying.paste((0, 0, 0), (0, 0, 120, 20))  # its upper edge, which is the right one once it stands
    (picture,) = _pictures(_file(lying, kind, exif=exif))
    upright = _decoded(picture).convert("L")
    assert upright.size == (80, 120)
    assert upright.getpixel((75, 60)) < 50 < 200 < upright.getpixel((5, 60))  # type: ignore[operator]
    assert upright.getexif().get(ORIENTATION, 1) == 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_a_moving_picture_the_first_frame_is_sent(kind: str) -> None:
    frames = [Image.new("RGB", (40, 30), color) for color in ("black", "white")]
    (picture,) = _pictures(_file(frames[0], kind, save_all=True, append_images=frames[1:]))
    image = _decoded(picture)
    assert getattr(image, "n_frames", 1) == 1
    assert image.convert("L").getpixel((20, 15)) < 30  # type: ignore[operator]


def test_what_is_transparent_is_white() -> None:
    clear = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    (picture,) = _pictures(_file(clear, "TIFF"))
    assert _decoded(picture).convert("L").getpixel((20, 15)) > 250  # type: ignore[operator]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_a_large_picture_is_made_as_small_as_is_asked_for(kind: str) -> None:
    content = _file(Image.new("RGB", (3_000, 1_500), "red"), kind)
    (picture,) = _pictures(content, ReadOptions(longest_side=1_000))
    assert _decoded(picture).size == (1_000, 500)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "GIF"])
def test_too_many_pixels_are_refused_before_they_are_decoded(kind: str) -> None:
    content = _file(Image.new("L", (2_000, 1_000)), kind)
    code, message = _refusal(content, ReadOptions(max_pixels=1_999_999))
    assert code == "too_many_pixels"
    assert "2,000 x 1,000" in message
    assert _pictures(content, ReadOptions(max_pixels=2_000_000))


def test_a_bomb_of_pixels_is_refused_by_its_header() -> None:
    """A PNG of a few bytes that says that it has 10,000 million pixels."""
    content = bytearray(_file(Image.new("1", (10, 10)), "PNG"))
    content[16:24] = (100_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    assert _refusal(bytes(content))[0] == "too_many_pixels"


def test_more_frames_than_are_wanted_are_too_many_pages() -> None:
    content = _file(NOISE, "TIFF", save_all=True, append_images=[NOISE] * 4)
    assert _refusal(content, ReadOptions(max_pages=4))[0] == "too_many_pages"
    assert len(_pictures(content, ReadOptions(max_pages=5))) == 5


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_a_picture_that_is_cut_off_is_damaged(kind: str) -> None:
    content = _file(NOISE.convert("RGB"), kind)
    assert _refusal(content[: len(content) // 2])[0] == "damaged"


@pytest.mark.parametrize("content", [b"", b"no picture", b"II*\0", b"BM", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"])
def test_what_is_no_picture_is_damaged_and_the_message_is_the_same_each_time(content: bytes) -> None:
    code, message = _refusal(content)
    assert code == "damaged"
    assert "object at" not in message


def test_without_its_library_a_picture_is_sent_as_it_is_or_refused_with_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bitmap, photo = _file(NOISE, "BMP"), _file(NOISE, "JPEG")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert _pictures(photo) == [Picture(photo, "image/jpeg")]
    code, message = _refusal(bitmap)
    assert code == "reader_failed"
    assert "pip install 'kimi-beam[documents]'" in message


def test_without_its_library_heic_is_refused_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    _, message = _refusal(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert "pip install 'kimi-beam[heic]'" in message
