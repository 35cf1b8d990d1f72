"""Reads pictures: those that models read as they are, the others as PNG or JPEG, each frame of a TIFF a page.

A picture is made anew only where it must be: it lies on its side by its EXIF data, it is larger than is sent, or it
moves, and then its first frame is what is sent. Pillow makes it, which is part of the extra ``documents``; without
Pillow, pictures of these formats are sent as they are.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kimi_beam.input.readers.content import Content, Page, Picture, ReadOptions, UnreadableError
from kimi_beam.input.readers.optional_libraries import missing_extra
from kimi_beam.input.readers.pictures.page_pictures import MOST_BYTES, encoded
from kimi_beam.wire.images import damage, media_type_of

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/gif": "GIF"}
_OTHER_FORMATS = (
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
)
"""The first bytes of formats that no model reads, and their names in Pillow."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_ORIENTATION, _UPRIGHT = 0x0112, 1


def read(content: bytes, options: ReadOptions) -> Content:
    """Reads a picture.

    Args:
        content: The bytes of the file.
        options: What the user chose.

    Raises:
        UnreadableError: It is damaged or too large, or needs a library that is missing.
    """
    media_type = media_type_of(content)
    if media_type is not None:
        if wrong := damage(content):
            raise UnreadableError("damaged", f"is {wrong}: fetch it again")
        return Content((Page(picture=_ready(content, media_type, options)),))
    kind = _other_format(content)
    if kind is None:
        raise UnreadableError("damaged", "is empty" if not content else "is damaged, or no picture of a known format")
    with _open(content, kind) as image:
        count: int = getattr(image, "n_frames", 1) if kind == "TIFF" else 1
        if count > options.max_pages:
            most = f"{options.max_pages:,}"
            raise UnreadableError(
                "too_many_pages", f"has {count:,} pages, more than the {most} that are read of a file"
            )
        return Content(tuple(Page(picture=_frame(image, index, options)) for index in range(count)))


def _ready(content: bytes, media_type: str, options: ReadOptions) -> Picture:
    """A picture of a format that models read; unchanged if it can be sent as it is."""
    try:
        with _open(content, _FORMATS[media_type]) as image:
            _check_pixels(image, options)
            moves = getattr(image, "n_frames", 1) > 1 and media_type != "image/jpeg"
            is_upright = image.getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
            if is_upright and not moves and max(image.size) <= options.longest_side and len(content) <= 4 * MOST_BYTES:
                return Picture(content, media_type, *image.size)
            return _frame(image, 0, options, as_png=media_type != "image/jpeg")
    except UnreadableError as error:
        if error.code == "reader_failed":
            return Picture(content, media_type)
        raise


def _frame(image: Image.Image, index: int, options: ReadOptions, *, as_png: bool | None = None) -> Picture:
    """One frame as a picture that can be sent: upright, in grey or colour, no larger than helps.

    Args:
        image: The opened picture, which is not decoded before its pixels are counted.
        index: Which frame.
        options: The bounds.
        as_png: Whether PNG is tried first. None: it is for grey ones.
    """
    from PIL import ImageOps

    if index:
        image.seek(index)
    _check_pixels(image, options)
    draft = max(image.size) / options.longest_side
    if draft >= 2:
        image.draft("L" if image.mode == "L" else "RGB", (int(image.width / draft), int(image.height / draft)))
    is_grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I")
    frame = ImageOps.exif_transpose(_plain(image))
    if max(frame.size) > options.longest_side:
        frame.thumbnail((options.longest_side, options.longest_side))
    return encoded(frame, as_png=is_grey if as_png is None else as_png)


def _plain(image: Image.Image) -> Image.Image:
    """A picture in grey or in red, green and blue; what is transparent is white, as on paper."""
    from PIL import Image

    exif = image.getexif()
    if image.mode.startswith("I"):  # 16 bits a pixel
        plain = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    elif image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
        colored = image.convert("RGBA")
        plain = Image.new("RGB", image.size, "white")
        plain.paste(colored, mask=colored.getchannel("A"))
    elif image.mode in ("1", "L"):
        plain = image.convert("L")
    else:
        plain = image.convert("RGB")
    plain.getexif()[_ORIENTATION] = exif.get(_ORIENTATION, _UPRIGHT)
    return plain


def _check_pixels(image: Image.Image, options: ReadOptions) -> None:
    if image.width * image.height > options.max_pixels:
        size, most = f"{image.width:,} x {image.height:,} pixels", f"{options.max_pixels:,}"
        raise UnreadableError("too_many_pixels", f"has {size}, more than {most}: make it smaller")


def _other_format(content: bytes) -> str | None:
    """Pillow's name of a format that no model reads; None if the bytes are of none that is known."""
    if content[4:8] == b"ftyp":
        brands = {content[at : at + 4] for at in (8, *range(16, min(int.from_bytes(content[:4], "big"), 64), 4))}
        if brands.intersection(_AVIF_BRANDS):
            return "AVIF"
        return "HEIF" if brands.intersection(_HEIF_BRANDS) else None
    return next((kind for begin, kind in _OTHER_FORMATS if content.startswith(begin)), None)


@contextmanager
def _open(content: bytes, kind: str) -> Iterator[Image.Image]:
    """The picture, of which only the header has been read. What goes wrong with it in the block is told as its damage.

    Only the one format is tried: others have decoders that start other programs.

    Raises:
        UnreadableError: It is damaged, or the library is missing.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise missing_extra("documents") from None
    if kind == "HEIF":
        try:
            from pillow_heif import register_heif_opener
        except ImportError:
            raise missing_extra("heic") from None
        register_heif_opener()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of many pixels, which are counted below, and of odd metadata
            with Image.open(io.BytesIO(content), formats=(kind,)) as image:
                yield image
    except (UnreadableError, MemoryError):
        raise
    except UnidentifiedImageError:  # whose message names an object in memory
        raise UnreadableError("damaged", f"is damaged: it begins as a {kind} picture and is none") from None
    except Image.DecompressionBombError as error:
        raise UnreadableError("too_many_pixels", f"has too many pixels: {error}") from None
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        raise UnreadableError("damaged", f"is damaged: {type(error).__name__}: {error}") from None
