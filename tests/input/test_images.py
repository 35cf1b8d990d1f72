"""Images: pictures that the service would refuse are refused before they are paid for."""

from __future__ import annotations

import base64
import time

import pictures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.wire.images import MEDIA_TYPES, data_uri, problem, with_true_media_type

PNG = pictures.png()
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def uri(content: bytes, media: str = "image/png") -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize(
    "media", ["image/png", "image/jpeg", "image/jpg", "image/webp", "image/gif", "IMAGE/PNG", "image/png;charset=x"]
)
def test_pictures_of_each_kind_that_is_read_pass(media: str) -> None:
    assert problem(uri(PNG, media)) is None


@settings(derandomize=True, max_examples=200)
@given(st.binary(min_size=1, max_size=60), st.sampled_from(sorted(MEDIA_TYPES.values())))
def test_bytes_that_are_no_picture_are_refused_under_each_name(content: bytes, media: str) -> None:
    made = data_uri(content, media)
    assert base64.b64decode(made.partition(",")[2]) == content
    assert problem(made) is not None, "what is no picture is paid for"


@pytest.mark.parametrize(
    "media",
    [
        "image/svg+xml",
        "image/tiff",
        "image/bmp",
        "image/heic",
        "application/pdf",
        "text/plain",
        "",
        "audio/wav",
        "image/",
    ],
)
def test_any_other_kind_is_refused_by_name(media: str) -> None:
    told = problem(uri(PNG, media))
    assert told is not None
    assert "PNG, JPEG, WebP and GIF" in told
    assert (media or "text/plain") in told


@pytest.mark.parametrize(
    "content",
    [
        SVG,
        b"\n\t " + SVG,
        b"\xef\xbb\xbf" + SVG,
        b"\xef\xbb\xbf\r\n<?xml version='1.0'?>" + SVG,
        b'<?xml version="1.0"?>' + SVG,
        b"<!-- made by hand -->" + SVG,
        b"<!DOCTYPE svg>" + SVG,
        SVG.replace(b"svg", b"SVG"),
    ],
)
@pytest.mark.parametrize("media", ["image/png", "image/jpeg"])
def test_an_svg_under_another_name_is_found_out(content: bytes, media: str) -> None:
    assert problem(uri(content, media)) == "an SVG under another name"  # 8005 otherwise


@pytest.mark.parametrize(
    "wrong",
    [
        "data:image/png;base64,%%%",
        "data:image/png;base64,AAA",
        "data:image/png;base64,AA==AA==",
        "data:image/png;base64,AA\nAA",
        "data:image/png;base64,AA AA",
        "data:image/png;base64,AA_-",
        "data:image/png;base64,\xe9\xe9\xe9\xe9",
        "data:image/png;base64,\ud83d",
        "data:image/png;base64,=",
    ],
)
def test_images_that_are_not_base64_are_refused(wrong: str) -> None:
    assert problem(wrong) == "an image that is not valid base64"  # 5004 otherwise


def test_percent_encoded_and_empty_pictures_are_refused() -> None:
    assert problem("data:image/png,%89PNG") == "an image that is not in base64"
    assert problem("data:image/png;base64,") == "an empty image"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "https://example.com/a.png",
        "http://example.com/data:image/png;base64,AAAA",
        "file:///a.png",
        "a.png",
        "data:",
        "data:image/png;base64",
        " data:image/png;base64,AAAA",
        "\ud83d",
        "data:" + "x" * 300 + ",",
    ],
)
def test_images_that_are_not_data_uris_are_refused(wrong: str) -> None:
    told = problem(wrong)
    assert told is not None
    assert "data URI" in told
    assert "\n" not in told


@settings(derandomize=True, max_examples=500)
@given(st.text(max_size=40) | st.text(max_size=40).map(lambda rest: f"data:image/png;base64,{rest}"))
def test_no_text_at_all_raises_and_each_problem_is_one_short_line(text: str) -> None:
    told = problem(text)
    assert told is None or (len(told) < 200 and "\n" not in told)


def test_twenty_megabytes_and_a_hostile_head_take_no_time() -> None:
    began = time.process_time()
    assert problem(uri(pictures.png(bytes(20_000_000)))) is None
    assert problem("data:image/png" + ";a" * 5_000_000) is not None
    assert problem("data:" + ";" * 5_000_000 + ",") is not None
    assert time.process_time() - began < 3


# ------------------------------------------------------------------------------------------------ by their bytes


@pytest.mark.parametrize("media_type", pictures.EACH)
@pytest.mark.parametrize("named", ["image/png", "image/jpeg", "image/webp", "image/gif"])
def test_a_picture_gets_the_media_type_of_its_content_whatever_its_suffix_says(media_type: str, named: str) -> None:
    content = pictures.EACH[media_type]
    assert problem(uri(content, named)) is None
    assert data_uri(content, named).startswith(f"data:{media_type};base64,")
    assert with_true_media_type(uri(content, named)) == uri(content, media_type)


@pytest.mark.parametrize("media_type", pictures.EACH)
def test_a_picture_that_was_cut_off_anywhere_is_refused(media_type: str) -> None:
    content = pictures.EACH[media_type]
    least = {"image/gif": 1}.get(media_type, 0)  # its first frame is whole without the last byte
    passed = [size for size in range(len(content) - least) if problem(uri(content[:size], media_type)) is None]
    assert passed == []
    assert "cut off" in (problem(uri(content[: len(content) * 2 // 3], media_type)) or "")


def test_a_preview_in_the_head_of_a_picture_does_not_pass_for_its_end() -> None:
    content = pictures.jpeg(preview=pictures.jpeg())
    assert problem(uri(content)) is None
    assert "cut off" in (problem(uri(content[:-3])) or "")


@pytest.mark.parametrize("after", [b"\0\0\0", b"written by a phone", pictures.png()])
@pytest.mark.parametrize("media_type", pictures.EACH)
def test_bytes_after_the_end_of_a_picture_are_accepted(media_type: str, after: bytes) -> None:
    assert problem(uri(pictures.EACH[media_type] + after, media_type)) is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"%PDF-1.7\n", "a PDF"),
        (b"BM\x36\0\0\0", "BMP"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"<html><body>404</body></html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"TOTAL: 10.50", "54 4f 54 41"),
        (bytes(100), "00 00 00 00"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "52 49 46 46"),
    ],
)
def test_a_known_kind_of_file_that_is_no_picture_is_named(content: bytes, told: str) -> None:
    assert told in (problem(uri(content)) or "")


@settings(derandomize=True, max_examples=500)
@given(st.sampled_from(sorted(pictures.EACH)), st.data())
def test_damaged_pictures_are_looked_at_without_harm(media_type: str, data: st.DataObject) -> None:
    content = bytearray(pictures.EACH[media_type])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    problem(uri(bytes(content), media_type))
