"""The numbers and marks of list items in Word documents, which stand nowhere in their text: ``4.2``, ``(a)``, ``-``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from kimi_beam.input.readers.office import openxml_names as n
from kimi_beam.input.readers.office.list_numbers import format_number
from kimi_beam.input.readers.office.office_xml import Element, int_of

BULLET = "-"
_MOST_OF_A_MARK = 100


@dataclass(frozen=True, slots=True)
class _Level:
    start: int
    form: str
    text: str
    style: str


@dataclass(slots=True)
class _List:
    levels: dict[int, _Level]
    style_link: str = ""
    counts: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Numbering:
    of: str
    starts: dict[int, int]
    levels: dict[int, _Level]
    is_begun: bool = False


class WordNumbering:
    """Counts the items of a document's lists, in the order in which they are asked for.

    Args:
        root: The root of the part ``numbering``; None if there is none.
        number_of_style: Gives the number of the list that a style's paragraphs are items of, if they are of one.
    """

    def __init__(self, root: Element | None, number_of_style: Callable[[str], str | None]) -> None:
        self._lists: dict[str, _List] = {}
        self._numberings: dict[str, _Numbering] = {}
        self._number_of_style = number_of_style
        for element in () if root is None else root:
            if element.tag == n.ABSTRACT_NUM:
                link = element.find(n.NUM_STYLE_LINK)
                levels = {int_of(e.get(n.ILVL)): _level(e) for e in element.iter(n.LVL)}
                number = element.get(f"{n.W}abstractNumId", "")
                self._lists[number] = _List(levels, "" if link is None else link.get(n.VAL, ""))
            elif element.tag == n.NUM:
                of = element.find(n.ABSTRACT_NUM_ID)
                starts, levels = {}, {}
                for override in element.iter(n.LVL_OVERRIDE):
                    at = int_of(override.get(n.ILVL))
                    for child in override:
                        if child.tag == n.START_OVERRIDE:
                            starts[at] = int_of(child.get(n.VAL))
                        elif child.tag == n.LVL:
                            levels[at] = _level(child)
                self._numberings[element.get(f"{n.W}numId", "")] = _Numbering(
                    "" if of is None else of.get(n.VAL, ""), starts, levels
                )

    def level_of_style(self, number: str, style: str) -> int:
        """The level of a list that belongs to a style of paragraphs; 0 if none does.

        Args:
            number: The number of the list.
            style: The style's identifier.
        """
        found = self._find(number)
        return next((at for at, level in found[1].levels.items() if level.style == style), 0) if found else 0

    def next_mark(self, number: str, at: int) -> str:
        """What stands before the next item of a list: its number as the list writes it, or `BULLET`; empty for none.

        Args:
            number: The number of the list.
            at: The item's level, from 0.
        """
        found = self._find(number)
        if found is None:
            return ""
        numbering, of = found
        level = numbering.levels.get(at) or of.levels.get(at)
        if level is None:
            return ""
        if not numbering.is_begun:
            numbering.is_begun = True
            for overridden, start in numbering.starts.items():
                of.counts[overridden] = start - 1
        of.counts[at] = of.counts.get(at, level.start - 1) + 1
        for deeper in [deeper for deeper in of.counts if deeper > at]:
            del of.counts[deeper]
        if level.form == "bullet":
            return BULLET

        def number_of(match: re.Match[str]) -> str:
            wanted = int(match[1]) - 1
            other = numbering.levels.get(wanted) or of.levels.get(wanted) or level
            return format_number(of.counts.setdefault(wanted, other.start), other.form)

        return re.sub(r"%([1-9])", number_of, level.text).strip()

    def _find(self, number: str) -> tuple[_Numbering, _List] | None:
        for _ in range(4):  # a list may be that of a style, which names another
            numbering = self._numberings.get(number)
            of = self._lists.get(numbering.of) if numbering else None
            if numbering is None or of is None:
                return None
            if not of.style_link or of.levels:
                return numbering, of
            number = self._number_of_style(of.style_link) or ""
        return None


def _level(element: Element) -> _Level:
    values = {child.tag: child.get(n.VAL, "") for child in element}
    return _Level(
        int_of(values.get(n.START), 1),
        values.get(n.NUM_FMT, "decimal"),
        values.get(n.LVL_TEXT, "")[:_MOST_OF_A_MARK],
        values.get(n.P_STYLE, ""),
    )
