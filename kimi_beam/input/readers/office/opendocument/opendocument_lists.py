"""The marks of list items in OpenDocument files, whose numbers stand nowhere in their text: ``4.2``, ``(a)``, ``-``."""

from __future__ import annotations

from dataclasses import dataclass

from kimi_beam.input.readers.office.list_numbers import format_number
from kimi_beam.input.readers.office.office_xml import Element, int_of
from kimi_beam.input.readers.office.opendocument.opendocument_styles import STYLE, TEXT

_FORMS = {"1": "decimal", "a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
_MOST_LEVELS = 10
BULLET = "- "
"""The mark of an item without a number."""


@dataclass(frozen=True, slots=True)
class _Level:
    """How the items of one level of a list are numbered."""

    form: str
    before: str
    after: str
    shown: int
    start: int


class ListMarks:
    """Counts the items of a file's lists.

    Args:
        roots: The roots of the parts that hold styles.
    """

    def __init__(self, roots: list[Element]) -> None:
        self._levels: dict[tuple[str, int], _Level] = {}
        self._counts: dict[str, list[int]] = {}
        for root in roots:
            for style in root.iter(f"{TEXT}list-style"):
                for level in style.iterfind(f"{TEXT}list-level-style-number"):
                    at = int_of(level.get(f"{TEXT}level"), 1)
                    self._levels[style.get(f"{STYLE}name", ""), at] = _Level(
                        _FORMS.get(level.get(f"{STYLE}num-format", ""), "none"),
                        level.get(f"{STYLE}num-prefix", ""),
                        level.get(f"{STYLE}num-suffix", ""),
                        min(max(int_of(level.get(f"{TEXT}display-levels"), 1), 1), at),
                        int_of(level.get(f"{TEXT}start-value"), 1),
                    )

    def begin(self, style: str, element: Element, level: int) -> None:
        """Begins a list, or a list within an item.

        Args:
            style: The name of its style.
            element: The list.
            level: How many lists are around.
        """
        goes_on = element.get(f"{TEXT}continue-numbering") == "true" or f"{TEXT}continue-list" in element.attrib
        counts = self._counts.setdefault(style, [])
        if not goes_on:
            del counts[level:]

    def mark(self, style: str, item: Element, level: int) -> str:
        """The mark of the next item of a list, with a space behind it.

        Args:
            style: The name of its style.
            item: The item.
            level: How many lists are around its list.
        """
        own = self._levels.get((style, level + 1))
        if own is None or own.form == "none" or level >= _MOST_LEVELS:
            return BULLET
        counts = self._counts.setdefault(style, [])
        del counts[level + 1 :]
        while len(counts) <= level:
            around = self._levels.get((style, len(counts) + 1))
            start = 1 if around is None else around.start
            counts.append(start - 1 if len(counts) == level else start)
        counts[level] = int_of(item.get(f"{TEXT}start-value"), counts[level] + 1)
        numbers = []
        for at in range(level + 1 - own.shown, level + 1):
            form = self._levels.get((style, at + 1), own).form
            numbers.append(format_number(counts[at], form))
        return f"{own.before}{'.'.join(number for number in numbers if number)}{own.after} "
