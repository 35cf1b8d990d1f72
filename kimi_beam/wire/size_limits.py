"""How large a request may be."""

from __future__ import annotations

MAX_DOCUMENT_BYTES = 32 << 20
"""A request may hold 8 MB (`batching.HARD_MAX_BYTES`). JSON may spell a letter of two bytes with six, so that a line of
24 MB may hold a text that can still be sent; the rest is for metadata."""


BEGINNING = 64 << 10
"""Bytes of an oversize line or file that its dead letter holds."""


HARD_MAX_BYTES = 8_000_000
"""The service takes "less than 10 MB" and accepts more without a word: 14.8 MB took 40 minutes, 47 MB never finished
(Workers AI batch pages; captured by a client). The cap leaves room."""
