"""What a user is told where a library of an extra is not installed."""

from __future__ import annotations

from kimi_beam.input.readers.content import UnreadableError


def missing_extra(extra: str) -> UnreadableError:
    """The error of a file whose reader needs an extra.

    Args:
        extra: The extra that brings the library.
    """
    install = f"pip install 'kimi-beam[{extra}]'"
    return UnreadableError("reader_failed", f"needs libraries that are not installed here: {install}")
