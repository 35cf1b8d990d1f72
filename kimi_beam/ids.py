"""Document ids from other types than strings: whole numbers and UUIDs have one canonical text."""

from __future__ import annotations

import numbers
import uuid
from typing import Any


def id_text(value: Any) -> str | None:
    """The document id for a value; None if the value cannot be an id.

    A string that is not empty is its own id. A whole number becomes its decimal digits. A `uuid.UUID`, or its 16 bytes,
    becomes the text of RFC 9562: lower case with four hyphens.

    Example:
        >>> id_text("a"), id_text(7), id_text(1.5)
        ('a', '7', None)
    """
    if isinstance(value, str):
        return str(value) or None
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        return str(uuid.UUID(bytes=bytes(value))) if len(value) == 16 else None
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return str(int(value))
    return None
