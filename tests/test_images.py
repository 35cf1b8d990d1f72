"""Images: what the service would refuse, or choke on, is turned away before it is paid for."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.images import MEDIA_TYPES, data_uri, problem

PNG = b"\x89PNG\r\n\x1a\n\x00"
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
def test_a_picture_that_was_made_here_passes_unless_it_is_markup(content: bytes, media: str) -> None:
    made = data_uri(content, media)
    assert base64.b64decode(made.partition(",")[2]) == content
    assert problem(made) is None or content.lstrip()[:1] == b"<" or content.startswith(b"\xef\xbb\xbf")


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
def test_what_is_no_base64_is_refused(wrong: str) -> None:
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
def test_what_is_no_data_uri_is_refused(wrong: str) -> None:
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
    assert problem(uri(PNG * 2_000_000)) is None
    assert problem("data:image/png" + ";a" * 5_000_000) is not None
    assert problem("data:" + ";" * 5_000_000 + ",") is not None
    assert time.process_time() - began < 3
