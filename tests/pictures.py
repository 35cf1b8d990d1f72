"""The smallest pictures of each kind that a model reads, made here byte by byte."""

from __future__ import annotations

import base64
import struct
import zlib


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(note: bytes = b"") -> bytes:
    """One grey pixel; the note, which tells one picture from another, may be as long as a large picture."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    text = _chunk(b"tEXt", b"Comment\0" + note) if note else b""
    return b"\x89PNG\r\n\x1a\n" + header + text + _chunk(b"IDAT", zlib.compress(b"\0\x80")) + _chunk(b"IEND", b"")


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg(preview: bytes = b"") -> bytes:
    """The segments of a picture of eight by eight pixels; the preview stands in its head, as cameras write one."""
    exif = _segment(0xE1, b"Exif\0\0" + preview) if preview else b""
    table = _segment(0xDB, bytes([0, *[1] * 64]))
    frame = _segment(0xC0, struct.pack(">BHHB3B", 8, 8, 8, 1, 1, 0x11, 0))
    huffman = _segment(0xC4, bytes([0, 1, *[0] * 15, 0])) + _segment(0xC4, bytes([0x10, 1, *[0] * 15, 0]))
    scan = _segment(0xDA, bytes([1, 1, 0, 0, 63, 0])) + b"\x3f\xff\x00"
    return (
        b"\xff\xd8" + _segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") + exif + table + frame + huffman + scan + b"\xff\xd9"
    )


def gif() -> bytes:
    """One black pixel."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    control = b"\x21\xf9\x04\0\0\0\0\0"
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return screen + control + image + b"\x3b"


def webp() -> bytes:
    """One pixel, lossless."""
    content = bytes.fromhex("2f000000000750c00216b0ff8188e87f00")
    body = b"WEBPVP8L" + struct.pack("<I", len(content)) + content + b"\0"
    return b"RIFF" + struct.pack("<I", len(body)) + body


EACH = {"image/png": png(), "image/jpeg": jpeg(), "image/gif": gif(), "image/webp": webp()}
"""A picture of each media type."""


def uri(content: bytes = EACH["image/png"], media_type: str = "image/png") -> str:
    """A picture as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
