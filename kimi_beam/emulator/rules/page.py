"""A document as lines and values, and where in it a label is printed."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Final, TypeVar

from kimi_beam.emulator.rules import typed_text
from kimi_beam.emulator.rules.labels import Label
from kimi_beam.emulator.rules.typed_text import Amount, Date, Found

_F = TypeVar("_F", bound=Found)
_CHARACTERS: Final = 400_000  # of a document that are read
_NUMBERS: Final = 20_000  # that are looked at
_MENTIONS: Final = 200  # of one label that are looked at
_LOOKED_AHEAD: Final = 400  # characters after a label that can hold its value
# What stands between a label and its value: a remark in brackets or an alternative ("Buyer/Customer:"), then colons,
# dashes, dot leaders, space.
_SEPARATOR = re.compile(
    r"(?P<no>[ ]?(?:no|nr)\b\.?)?(?P<remark>[ ]?\([^()\n]{0,30}\)|/[^\W\d_]{2,30})?"
    r"(?P<marks>[ \t.:=#|…_\u2013\u2014>*-]*)"
)
_NEXT_LABEL = re.compile(r"\s+[^\W\d][\w./&'-]{0,30}(?:[ ]?#)?[ ]?:(?!\d|//)")
_GAP = re.compile(r" {2,}|\t|\|")
_EDGE: Final = " \t.:=#|…_\u2013\u2014>*-•"


@dataclass(frozen=True)
class Mention:
    """A place where a label is printed.

    Attributes:
        start: Offset of the label.
        end: Offset after it.
        value: Offset where its value begins, if it stands on the same line.
        line_end: Offset of the end of that line.
        score: How sure it is that this announces a value; higher is surer.
        alone: Whether nothing follows on the line.
        marked: Whether a colon or the like separates label and value.
        first: Whether it begins its line or column, so that it is a label of its own.
        score_typed: The score where a value of the right type follows directly, which makes up for a missing colon.
    """

    start: int
    end: int
    value: int
    line_end: int
    score: int
    alone: bool
    marked: bool
    score_typed: int
    first: bool


class Page:
    """A document, or a part of one.

    Args:
        text: Its text; what exceeds 400,000 characters is not read.
    """

    def __init__(self, text: str) -> None:
        text = text[:_CHARACTERS]
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        self.text = text
        lower = text.lower()
        if len(lower) != len(text):  # a few letters grow in lower case, and offsets must stay the same
            lower = "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)
        self.lower = lower

    @cached_property
    def lines(self) -> list[str]:
        """The lines, without what ends them."""
        return self.text.split("\n")

    @cached_property
    def starts(self) -> list[int]:
        """The offset of every line."""
        starts, offset = [], 0
        for line in self.lines:
            starts.append(offset)
            offset += len(line) + 1
        return starts

    @cached_property
    def dates(self) -> list[Date]:
        """All dates, in order."""
        return typed_text.dates(self.text, self.lower)

    @cached_property
    def amounts(self) -> list[Amount]:
        """All numbers that are not part of a date, in order."""
        numbers = list(islice(typed_text.amounts(self.text, self.lower), _NUMBERS))
        if not self.dates:
            return numbers
        taken = [date.start for date in self.dates]
        return [n for n in numbers if (at := bisect_right(taken, n.start) - 1) < 0 or self.dates[at].end <= n.start]

    def line_of(self, offset: int) -> int:
        """Return the number of the line an offset is on."""
        return bisect_right(self.starts, offset) - 1

    def end_of_line(self, offset: int) -> int:
        """Return the offset of the end of the line an offset is on."""
        end = self.text.find("\n", offset)
        return len(self.text) if end < 0 else end

    def mentions(self, label: Label) -> Iterator[Mention]:
        """Yield the places where a label is printed as one; plain prose that happens to use the word scores low."""
        if label.pattern is None:
            return
        for number, match in enumerate(label.pattern.finditer(self.lower)):
            if number == _MENTIONS:
                return
            start, end = match.span()
            begin = self.text.rfind("\n", 0, start) + 1
            line_end = self.end_of_line(end)
            separator = _SEPARATOR.match(self.lower, end, min(line_end, end + _LOOKED_AHEAD))
            assert separator is not None  # every part of it may be empty
            marks, value = separator["marks"], separator.end()
            before = self.text[max(begin, start - 80) : start]
            extra = 0 if not before.strip(_EDGE) or _GAP.search(before[-2:]) else len(before.split())
            extra = 0 if before.rstrip()[-1:] == "/" else extra  # "Fattura / Invoice: 7", a label in two languages
            alone = value >= line_end
            if ":" in marks or "=" in marks:
                form = 30
            elif ".." in marks or "…" in marks or "#" in marks or "\t" in marks or "|" in marks or "  " in marks:
                form = 20
            elif " - " in marks or " \u2013 " in marks or " \u2014 " in marks or (separator["no"] and marks):
                form = 15
            else:
                form = 10 if alone and not extra else -60
            bare = 100 - min(2 * label.rank(match[0]), 30)
            score = bare + form - 10 * min(extra, 4)
            # In a sentence, "as of" before a date says what it is; one word alone may be anything.
            in_prose = bare + 5 - (10 * min(extra, 4) if " " not in match[0] else 10)
            yield Mention(start, end, value, line_end, score, alone, form >= 15, max(score, in_prose), not extra)

    def value_after(self, mention: Mention) -> str:
        """Return what stands behind a label as text: up to a gap or the next label, or else the line below."""
        text = self.text[mention.value : min(mention.line_end, mention.value + _LOOKED_AHEAD)]
        if not text.strip(_EDGE):
            text = self.below(mention)
        gap = _GAP.search(text)
        if gap is not None:
            text = text[: gap.start()]
        following = _NEXT_LABEL.search(text)
        if following is not None:
            text = text[: following.start()]
        return text.strip().rstrip(" \t:;,|")

    def below(self, mention: Mention) -> str:
        """Return the line under a label, or the part of it in the label's column."""
        column = mention.start - (self.text.rfind("\n", 0, mention.start) + 1)
        row = self.line_of(mention.start)
        for line in self.lines[row + 1 : row + 4]:
            if line.strip():
                # In a column under the label; on a line of its own where columns do not match.
                return (line[column:] if column and line[: column + 1].endswith("  ") else line).strip()[:_LOOKED_AHEAD]
        return ""

    def typed_after(self, mention: Mention, found: Sequence[_F], *, starts: list[int]) -> list[_F]:
        """Return the typed values that belong to a label: those behind it on its line, else one in its column below.

        Args:
            mention: The label.
            found: Values of one type, in order.
            starts: Their offsets.
        """
        first = bisect_right(starts, mention.end - 1)
        behind = []
        for value in found[first : first + 12]:
            if value.start >= mention.line_end:
                break
            behind.append(value)
        if behind:
            return behind
        if self.text[mention.value : mention.line_end].strip(_EDGE) and not _GAP.search(
            self.text, mention.end, mention.line_end
        ):
            return []
        begin = self.text.rfind("\n", 0, mention.start) + 1
        left, right = mention.start - begin, mention.end - begin
        row = self.line_of(mention.start)
        for number in range(row + 1, min(row + 4, len(self.lines))):
            if not self.lines[number].strip():
                continue
            base = self.starts[number]
            on_line = [v for v in found[first : first + 12] if base <= v.start <= base + len(self.lines[number])]
            below = [v for v in on_line if v.start - base <= right + 2 and v.end - base >= left - 2]
            return below[:1] or (on_line[:1] if mention.alone and left == 0 else [])
        return []
