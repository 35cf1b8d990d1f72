"""How large a picture is, read from its first bytes: whether it can show a document, or is a logo or an icon."""

from __future__ import annotations

import io
import warnings

_LEAST = 300
"""The pixels of the shorter side from which a picture may show a document."""
_LEAST_BYTES = 20_000
"""The bytes from which a picture may, where its size cannot be read."""


def shows_a_document(content: bytes) -> bool:
    """Whether a picture is large enough to show a document.

    Args:
        content: The picture.
    """
    size = _size(content)
    return len(content) >= _LEAST_BYTES if size is None else min(size) >= _LEAST


def _size(content: bytes) -> tuple[int, int] | None:
    """Width and height in pixels; None if they cannot be read."""
    try:
        from PIL import Image
    except ImportError:
        return None

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # no pixel is read here
            with Image.open(io.BytesIO(content)) as picture:
                return picture.size
    except Image.DecompressionBombError:
        return (1 << 16, 1 << 16)
    except (OSError, ValueError, SyntaxError, TypeError, ArithmeticError, LookupError):  # what its plug-ins raise
        return None
