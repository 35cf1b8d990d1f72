"""What may name a document: a string, or what has one canonical text."""

from __future__ import annotations

import numbers
import uuid
from typing import Any


def id_text(value: Any) -> str | None:
    """The id that a value stands for, None where it stands for none.

    Strings that are not empty stand for themselves; whole numbers for their decimal digits; a `uuid.UUID`, or its 16
    bytes, for the text of RFC 9562: lower case with four hyphens.
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
