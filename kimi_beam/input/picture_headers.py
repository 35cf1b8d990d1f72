"""What the header of a picture says of it, read without decoding it: its size, how it lies, and whether it moves.

By that it is decided which pictures are sent as they are, at the cost of a few microseconds, and which are made anew by
the reader of pictures, at the cost of decoding them.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from kimi_beam.input.readers.content import ReadOptions, UnreadableError

_UPRIGHT = 1
_ORIENTATION = 0x0112
_MOST_BYTES = 4_000_000
"""Bytes of a picture up to which it is sent as it is."""


class PictureHeader(NamedTuple):
    """What a header says."""

    width: int
    height: int
    is_upright: bool = True
    """Whether it lies as it is shown, by its EXIF data."""
    moves: bool = False
    """Whether it has several frames."""


def is_sent_as_it_is(content: bytes, options: ReadOptions) -> bool:
    """Whether a picture need not be made anew: it is upright, does not move, and is no larger than helps a model.

    A picture whose header cannot be read is sent as it is, so that what is wrong with it is told where all pictures are
    checked.

    Args:
        content: The bytes of a PNG, JPEG, WebP or GIF picture.
        options: How large a picture may be.

    Raises:
        UnreadableError: It has too many pixels to be decoded.
    """
    try:
        header = picture_header(content)
    except (struct.error, IndexError, ValueError):
        return True
    if header is None:
        return True
    if header.width * header.height > options.max_pixels:
        size = f"{header.width:,} x {header.height:,} pixels"
        raise UnreadableError("too_many_pixels", f"has {size}, more than {options.max_pixels:,}: make it smaller")
    is_small = max(header.width, header.height) <= options.longest_side and len(content) <= _MOST_BYTES
    return is_small and header.is_upright and not header.moves


def picture_header(content: bytes) -> PictureHeader | None:
    """What the header of a PNG, JPEG, WebP or GIF picture says; None if it is none of them, or its header is cut off.

    Raises:
        struct.error: The header is damaged.
    """
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(content)
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg(content)
    if content.startswith((b"GIF87a", b"GIF89a")):
        width, height = struct.unpack_from("<2H", content, 6)
        return PictureHeader(width, height, moves=_has_frames(content))
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp(content)
    return None


def _png(content: bytes) -> PictureHeader:
    """PNG specification, third edition, 11.2.1 and 11.3: the chunks before the first with pixels."""
    width, height = struct.unpack_from(">2I", content, 16)
    is_upright, moves, at = True, False, 8
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"IDAT":
            break
        if kind == b"acTL":
            moves = int.from_bytes(content[at + 8 : at + 12], "big") > 1
        elif kind == b"eXIf":
            is_upright = _orientation(content[at + 8 : at + 8 + length]) == _UPRIGHT
        at += 12 + length
    return PictureHeader(width, height, is_upright, moves)


def _jpeg(content: bytes) -> PictureHeader | None:
    """ITU T.81, B.1.1 and B.2.2: the segments up to the frame's, with the orientation of EXIF (CIPA DC-008, 4.5.4)."""
    is_upright, at = True, 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == 0xE1 and content[at + 4 : at + 10] == b"Exif\0\0":
            is_upright = _orientation(content[at + 10 : at + 2 + length]) == _UPRIGHT
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">2H", content, at + 5)
            return PictureHeader(width, height, is_upright)
        elif marker == 0xDA:
            return None
        at += 2 + length
    return None


def _webp(content: bytes) -> PictureHeader | None:
    """RFC 9649, 2.5 to 2.7."""
    kind = content[12:16]
    if kind == b"VP8X":
        flags = content[20]
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
        has_exif, moves = bool(flags & 0x08), bool(flags & 0x02)
        return PictureHeader(width, height, not has_exif or _webp_orientation(content) == _UPRIGHT, moves)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<2H", content, 26)
        return PictureHeader(width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return PictureHeader(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    return None


def _webp_orientation(content: bytes) -> int:
    at = 12
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        if kind == b"EXIF":
            return _orientation(content[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0"))
        at += 8 + length + length % 2
    return _UPRIGHT


def _orientation(exif: bytes) -> int:
    """The orientation in EXIF data, whose form is that of TIFF (6.0, section 2); `_UPRIGHT` if it says none."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return _UPRIGHT
    (at,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, at)
    for index in range(count):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, at + 2 + 12 * index)
        if tag == _ORIENTATION:
            return int(value)
    return _UPRIGHT


def _has_frames(content: bytes) -> bool:
    """Whether a GIF has more than one picture (GIF89a specification, 20 to 26)."""
    at = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
    frames = 0
    while at < len(content):
        introducer = content[at]
        if introducer == 0x21:
            at += 2
        elif introducer == 0x2C:
            frames += 1
            if frames > 1:
                return True
            flags = content[at + 9]
            at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        else:
            return False
        while at < len(content) and content[at]:
            at += content[at] + 1
        at += 1
    return False
