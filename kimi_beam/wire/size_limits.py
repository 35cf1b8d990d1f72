"""How large a request to the service and a document may be, in bytes.

`MAX_DOCUMENT_BYTES` and `BEGINNING` bound what is read, and they stand here and not with the input because the text
and metadata in a dead letter, which `kimi_beam.results` writes, are bounded by them too.
"""

from __future__ import annotations

MAX_DOCUMENT_BYTES = 32 << 20
"""The longest line, file or row that is read. A request may have 8 MB (`HARD_MAX_BYTES`). JSON may spell a character of
two bytes with six, so that a line of 24 MB may hold a text that can still be sent; the rest is room for metadata."""


BEGINNING = 64 << 10
"""How many bytes of an oversize line or file its dead letter keeps."""


HARD_MAX_BYTES = 8_000_000
"""The largest request that is sent. The service documents "less than 10 MB" but also accepts larger requests, of which
one of 14.8 MB took 40 minutes and one of 47 MB never finished (Workers AI batch pages; captured by a client)."""
