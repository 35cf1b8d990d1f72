"""Pictures that Pillow writes, and a bomb."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def picture(
    kind: str, size: tuple[int, int] = (30, 20), *, orientation: int = 1, frames: int = 1, lossless: bool = False
) -> bytes:
    images = [Image.new("RGB", size, (80 * n, 9, 9)) for n in range(frames)]
    exif = Image.Exif()
    settings: dict[str, object] = {}
    if orientation != 1:
        exif[0x0112] = orientation
        settings["exif"] = exif
    if frames > 1:
        settings |= {"save_all": True, "append_images": images[1:]}
    if kind == "WEBP":
        settings["lossless"] = lossless
    written = io.BytesIO()
    images[0].save(written, kind, **settings)
    return written.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises many pixels."""
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IEND\xaeB`\x82"
