"""Texts whose encoding a file says of itself: web pages and mails. What is said may be wrong, and is tried first."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

from kimi_beam.input.encodings import NotTextError, text_of
from kimi_beam.input.readers.content import UnreadableError

_WEB_NAMES = {"iso-8859-1": "cp1252", "latin1": "cp1252", "latin-1": "cp1252"}
"""What browsers read these names as: each is a part of cp1252, in which such texts nearly always are."""
_NO_ENCODINGS = frozenset(
    {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
)
"""Codecs of Python that are no encodings of files, and UTF-7, in which a text can pass as another."""
_MANY_BYTES = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
"""A letter of several bytes in UTF-8."""


def decode_declared(content: bytes, declared: Iterable[str | None], fallback: str | None) -> str:
    """The text of bytes.

    Args:
        content: The bytes.
        declared: The encodings that the file names, the most trustworthy first.
        fallback: The encoding of texts that name none and are not in UTF-8; None for cp1252, as browsers do.

    Raises:
        UnreadableError: They are no text (``not_text``).
    """
    names = [name for name in (_codec(said) for said in declared if said) if name]
    if b"\0" in content or content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return text_of(content)
        except NotTextError as e:
            if b"\0" in content and not any(name.startswith(("utf-16", "utf-32")) for name in names):
                raise UnreadableError("not_text", str(e)) from e
    for name in (*names, "utf-8"):
        if not (name.startswith(("utf-16", "utf-32")) and b"\0" not in content):
            try:
                return content.decode(name)
            except (UnicodeError, ValueError):
                continue
    if "utf-8" in names and _MANY_BYTES.search(content):
        return content.decode("utf-8", "replace")  # it is in UTF-8 but for some bytes
    return content.decode(_codec(fallback or "") or "cp1252", "replace")


def _codec(name: str) -> str | None:
    """Python's name of an encoding of texts; None if it knows none."""
    name = name.strip().strip("\"'").lower()
    try:
        codec = codecs.lookup(_WEB_NAMES.get(name, name))
        "".encode(codec.name)  # a codec of another kind refuses a text
    except (LookupError, ValueError, TypeError):
        return None
    return None if codec.name.replace("_", "-") in _NO_ENCODINGS else codec.name
