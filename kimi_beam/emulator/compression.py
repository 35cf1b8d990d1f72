"""Requests and replies as they wait in memory: compressed, as a hundred thousand of them must fit."""

from __future__ import annotations

import pyarrow as pa

_LZ4 = pa.Codec("lz4_raw")
"""Begins at once, and a request is a few kilobytes: zlib takes seven times as long for it, zstd fourteen times."""
_LENGTH_BYTES = 8


def pack(data: bytes) -> bytes:
    """The bytes as they wait."""
    return len(data).to_bytes(_LENGTH_BYTES, "big") + _LZ4.compress(data, asbytes=True)


def unpack(packed: bytes) -> bytes:
    """What `pack` was given."""
    length = int.from_bytes(packed[:_LENGTH_BYTES], "big")
    return bytes(_LZ4.decompress(packed[_LENGTH_BYTES:], length, asbytes=True))
