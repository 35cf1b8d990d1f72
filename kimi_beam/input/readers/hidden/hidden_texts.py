"""Collects the texts that a person does not see, as they are found while a file is read."""

from __future__ import annotations

from kimi_beam.input.readers.content import HiddenText


class HiddenTexts:
    """The hidden texts of one file. What follows each other and is hidden in the same way is one text."""

    def __init__(self) -> None:
        self._found: list[tuple[list[str], str, int]] = []

    def add(self, text: str, reason: str, page: int = 1, between: str = " ") -> None:
        """Adds a text, unless it is white space.

        Args:
            text: The text.
            reason: How it is hidden.
            page: The number of its page, from 1.
            between: What stands between it and what was hidden in the same way before it.
        """
        if not text.strip():
            return
        if self._found and self._found[-1][1:] == (reason, page):
            self._found[-1][0].extend((between, text))
        else:
            self._found.append(([text], reason, page))

    def separate(self) -> None:
        """Says that a text that is shown follows, so that the next hidden one is a text of its own."""
        if self._found and self._found[-1][1]:
            self._found.append(([], "", 0))

    def all(self) -> tuple[HiddenText, ...]:
        """The texts, in the order of the file."""
        return tuple(
            HiddenText(" ".join("".join(pieces).split()), reason, page)
            for pieces, reason, page in self._found
            if reason
        )
