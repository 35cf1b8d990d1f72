"""Estimates the number of tokens of a text: one for every four bytes of UTF-8, rounded up.

The rule is simple so that figures can be checked by hand [assumed: the usual rule of thumb; Kimi's own tokenizer is not
part of this package].
"""

from __future__ import annotations

from typing import Final

BYTES_PER_TOKEN: Final = 4


def estimate(text: str) -> int:
    """Return the number of tokens ``text`` is charged as."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def cut(text: str, tokens: int) -> str:
    """Return the longest beginning of ``text`` that is charged as at most ``tokens`` tokens."""
    return text.encode("utf-8", "surrogatepass")[: max(tokens, 0) * BYTES_PER_TOKEN].decode("utf-8", "ignore")
