"""Pages and pictures as they are sent: in a format that models read, and no larger than helps them.

Pillow makes the files. It is part of the extra ``documents``.
"""

from __future__ import annotations

import importlib
import io
from typing import TYPE_CHECKING

import numpy as np
import pypdfium2 as pdfium

from kimi_beam.input.readers.content import Picture, ReadOptions
from kimi_beam.input.readers.optional_libraries import missing_extra

if TYPE_CHECKING:
    from PIL import Image

MOST_BYTES = 1_000_000
"""A picture that would have more bytes than this is compressed more strongly."""
_QUALITY = 85
_STRIPS = 32
_LARGER = 1.5
"""A PNG shows letters as they are, and may have so many times the bytes of the JPEG. With noise it has more."""
_BLANK_AT = 4
"""A page is blank if it shows nothing where so many pixels in each direction are taken together."""
_BLANK = 16
"""The most by which the grey levels of a blank page differ, of 256."""
_COMPRESSION = 4
"""Half the time of the usual 6, for files of the same size."""
_STRONGER = ((70, 1.0), (50, 1.0), (50, 0.7), (40, 0.5), (30, 0.35))
"""The quality of JPEG and the share of the longer side that are tried, one after the other, on a large picture."""


def page_picture(
    page: pdfium.PdfPage, options: ReadOptions, *, is_scan: bool = False, may_be_blank: bool = True
) -> Picture | None:
    """A page as a picture.

    Args:
        page: The page.
        options: The resolution and the longest side.
        is_scan: Whether it is a scan. Scans are sent in grey, and as PNG if that is small.
        may_be_blank: Whether a picture is wanted of a page that shows nothing.

    Returns:
        The picture; None if the page shows nothing and no picture of such a page is wanted.

    Raises:
        UnreadableError: Pillow is not installed.
    """
    try:
        importlib.import_module("PIL.Image")
    except ImportError:
        raise missing_extra("documents") from None
    width, height = page.get_size()
    scale = min(options.picture_dpi / 72, options.longest_side / max(width, height, 1.0))
    bitmap = page.render(scale=scale, grayscale=is_scan, may_draw_forms=False)
    image = bitmap.to_pil()
    if not may_be_blank and _is_blank(image):
        return None
    return encoded(image, as_png=is_scan)


def _is_blank(image: Image.Image) -> bool:
    pixels = np.asarray(image.convert("L").reduce(_BLANK_AT))
    return int(pixels.max()) - int(pixels.min()) <= _BLANK


def encoded(image: Image.Image, *, as_png: bool = False) -> Picture:
    """A picture as a file of no more than `MOST_BYTES`: as PNG if that is asked for and small, as JPEG otherwise.

    Args:
        image: The picture, in grey or in colour.
        as_png: Whether PNG is tried first.
    """
    if as_png and _is_small_png(image):
        content = _file(image, "PNG", compress_level=_COMPRESSION)
        if len(content) <= MOST_BYTES:
            return Picture(content, "image/png", *image.size)
    image = image if image.mode in ("L", "RGB") else image.convert("RGB")
    content = _file(image, "JPEG", quality=_QUALITY)
    smaller = image
    for quality, share in _STRONGER:
        if len(content) <= MOST_BYTES:
            break
        smaller = image
        if share < 1:
            smaller = image.resize((max(int(image.width * share), 1), max(int(image.height * share), 1)))
        content = _file(smaller, "JPEG", quality=quality)
    return Picture(content, "image/jpeg", *smaller.size)


def _is_small_png(image: Image.Image) -> bool:
    """Whether a picture is small as PNG, told by strips of it: of a photograph it takes long, to be thrown away."""
    from PIL import Image

    height = max(image.height // _STRIPS, 1)
    strips = Image.new(image.mode, (image.width, 3 * height))
    for number in range(3):
        top = (image.height - height) * (number + 1) // 4
        strips.paste(image.crop((0, top, image.width, top + height)), (0, number * height))
    size = len(_file(strips, "PNG", compress_level=1))
    if size * image.height / strips.height > 2 * MOST_BYTES:
        return False
    photograph = strips if image.mode in ("L", "RGB") else strips.convert("RGB")
    return size <= _LARGER * len(_file(photograph, "JPEG", quality=_QUALITY))


def _file(image: Image.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
