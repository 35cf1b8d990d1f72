"""Compresses the requests and replies that wait in memory, of which a hundred thousand must fit."""

from __future__ import annotations

import pyarrow as pa

_LZ4 = pa.Codec("lz4_raw")
"""LZ4, because a request has only a few kilobytes: zlib takes seven times as long for it, zstd fourteen times."""
_LENGTH_BYTES = 8


def pack(data: bytes) -> bytes:
    """Compress bytes."""
    return len(data).to_bytes(_LENGTH_BYTES, "big") + _LZ4.compress(data, asbytes=True)


def unpack(packed: bytes) -> bytes:
    """Decompress the result of `pack`."""
    length = int.from_bytes(packed[:_LENGTH_BYTES], "big")
    return bytes(_LZ4.decompress(packed[_LENGTH_BYTES:], length, asbytes=True))
