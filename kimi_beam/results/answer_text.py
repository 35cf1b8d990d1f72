"""Finds the JSON value in the text of an answer, which may have fences, prose or tagged reasoning around it.

The whole text is tried first. Only if it is no JSON is it searched for values, and nothing is guessed then: the text is
refused if its values disagree, if a value is broken off, or if its reasoning does not end. A value with one of the
faults that `kimi_beam.results.mended_json` knows is mended. Whatever was done is listed beside the value.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from kimi_beam.results.mended_json import BrokenOffError, Path, read_mended
from kimi_beam.schema import jsontext
from kimi_beam.types.answer import Repair

# The limit of values and of texts that begin like one: to look at each may take as long as the rest of the text.
_MAX_VALUES = 100
_MAX_UNMENDED = 3
"""How often a piece may turn out not to be mended: each time may take as long as the rest of the text."""
_NAMES = (
    "think|thought|reason|reflect|analys|analyz|scratch|draft|monolog|rationale|deliberat|brainstorm|ponder|"
    "chain_of|cot\\b|plan(?:ning)?\\b|思考|推理"
)
# The beginnings of everything that is not prose. Repetitions are bounded, so that a search takes linear time.
_MARK = re.compile(
    # <think>, </thinking>, <ns:thought x="y">, <|begin_of_thought|>, ◁think▷
    rf"[<◁]\|?(?P<end>/)?(?:[\w.-]{{1,40}}:)?(?P<name>\w{{0,40}}?(?:{_NAMES})\w{{0,40}})(?:\s[^<>▷]{{0,200}})?\|?[>▷]"
    r"|\[(?P<square_end>/)?(?P<square>THINK|THINKING|REASONING)\]"
    r"|<\|channel\|>\s{0,9}(?P<channel>\w{1,20})"
    r"|(?P<fence>`{3,}[A-Za-z0-9]{0,20})"
    r"|(?P<open>[{\[])"
    r"|(?P<close>[}\]])",
    re.IGNORECASE,
)
_TAG = re.compile(_MARK.pattern.partition("|(?P<fence>")[0], re.IGNORECASE)
_SPACE = re.compile(r"[ \t\r\n]*")
_FENCE_END = re.compile(r"[ \t\r\n]*(?:`{3,}|\Z)")
# "[as asked]", "[1]", "{no. 5}": most brackets in prose hold no value. They are matched without strings, so that the
# last bracket cannot be inside a string.
_SHORT = re.compile(r'\[[^\[\]{}"]{0,300}\]|\{[^\[\]{}":]{0,300}\}')
_QUOTED = re.compile(r"\[[^\[\]{}]{0,300}\]")
# A value that was closed too early is followed by further members, or by the rest of one in braces.
_GOES_ON = re.compile(r'\s{0,99},\s{0,99}"[^"]{0,200}(?:"\s{0,99}:|\Z)|[\s,]{0,99}\{[^\[\]{}":]{0,300}\}')
# What stands directly before a member or an item, so that the value behind it is a piece of a larger one.
_INSIDE = re.compile(r'(?:"\s{0,99}[:,]|\d\s{0,99},)\s{0,99}\Z')
_BEFORE = 201
_WITHOUT_END = re.compile(r"\s{0,99},\s{0,99}\Z")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z)', re.DOTALL)
_VALUE = json.JSONDecoder()
_WORD = re.compile(r"True|False|None|NaN")


class AnswerValue(NamedTuple):
    """The value of an answer."""

    value: Any
    repairs: tuple[Repair, ...] = ()
    """What was mended, and what was left out around the value."""
    nans: tuple[Path, ...] = ()
    """Where NaN stood, which was read as null."""


def parse(text: str, is_echo: Callable[[Any], bool] | None = None) -> AnswerValue:
    r"""Reads the JSON value of an answer.

    Args:
        text: The text that the model wrote. A byte order mark, fences, prose and reasoning between tags may surround
            the value. The same value several times counts as one.
        is_echo: Tells the schema, which a model may repeat before its answer. None: no value is one.

    Raises:
        BrokenOffError: The text ends inside a value.
        ValueError: There is no value, the values disagree, one is broken off, or the text ends inside its reasoning.
        jsontext.RepeatedKeyError: An object has a key twice.

    Example:
        >>> parse('Here is the JSON:\n```json\n{"total": 24.8}\n```').value
        {'total': 24.8}
    """
    plain = text.strip()
    bare = plain.removeprefix("\ufeff").strip()
    mark = (Repair("byte_order_mark"),) if len(bare) < len(plain) else ()
    try:
        return AnswerValue(jsontext.loads_unique(bare), mark)
    except jsontext.RepeatedKeyError:
        raise
    except ValueError as e:
        if _WORD.fullmatch(bare):
            word = read_mended(bare)
            return AnswerValue(word.value, (*mark, *_repairs(word.faults)), word.nans)
        try:
            found = _Search(bare)
        except _TooManyError as many:
            raise ValueError(str(many)) from None
        if found.depth:
            raise ValueError("the text ends within its reasoning") from None
        if found.broken is not None:
            raise found.broken from None
        if not found.values:
            raise e
    chosen = _agreed(found.values, is_echo or (lambda _: False))
    return AnswerValue(chosen.value, (*mark, *found.around(chosen), *_repairs(chosen.faults)), chosen.nans)


def _repairs(faults: Counter[Any]) -> list[Repair]:
    return [Repair(kind, None, count) for kind, count in faults.items()]


class _TooManyError(Exception):
    """The text holds more pieces that look like JSON than any real answer."""


class _Value(NamedTuple):
    value: Any
    start: int
    end: int
    faults: Counter[Any]
    nans: tuple[Path, ...]

    @property
    def may_be_prose(self) -> bool:
        """Whether it is an array without objects. Beside an object in the text, such an array is prose, like "[1]"."""
        return isinstance(self.value, list) and not any(isinstance(item, (dict, list)) for item in self.value)


class _Search:
    """Searches a text for JSON values outside of its reasoning.

    Attributes:
        values: The JSON values that were found.
        broken: Why a piece that begins like a value is none; None if there is no such piece.
        depth: How many tags of reasoning are still open at the end.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._forget()
        self.depth = self._candidates = self._unmended = 0
        position = 0
        while mark := (_TAG if self.depth or self.broken else _MARK).search(text, position):
            position = self._after(mark)

    def _forget(self) -> None:
        self.values: list[_Value] = []
        self.broken: ValueError | None = None
        self._quoted: Iterator[re.Match[str]] = iter(())
        self._last_quoted: tuple[int, int] = (0, 0)
        self._fences: list[tuple[int, int]] = []

    def _break_off(self, reason: ValueError, start: int) -> None:
        """Notes that no value can be read from an index on. Strings are told from there on."""
        if self.broken is None:
            self._quoted = _STRING.finditer(self._text, start)
        self.broken = reason

    def _is_quoted(self, index: int) -> bool:
        """Whether an index stands inside a string behind the place at which no value could be read."""
        while self._last_quoted[1] <= index:
            found = next(self._quoted, None)
            if found is None:
                return False
            self._last_quoted = found.span()
        return self._last_quoted[0] < index

    def around(self, chosen: _Value) -> list[Repair]:
        """What stands around the value that counts: fences and other words."""
        rest, position = "", 0
        for start, end in sorted([*self._fences, (chosen.start, chosen.end)]):
            rest += self._text[position : max(start, position)]
            position = max(end, position)
        words = f"{rest}{self._text[position:]}".strip()
        has_words = bool(words.strip("\ufeff"))
        found = [Repair("fence")] if self._fences else []
        if words:
            found.append(Repair("prose" if has_words else "byte_order_mark"))
        return found

    def _after(self, mark: re.Match[str]) -> int:
        """Handles one mark, and returns the position from which to search on."""
        kind = mark.lastgroup
        if self.broken is not None and self._is_quoted(mark.start()):
            return mark.end()  # a document may hold such a tag, and a value quote it: it ends no reasoning
        if kind == "fence":
            self._fences.append(mark.span())
            return self._fence(mark.end())
        if kind == "open":
            return self._bracket(mark.start())
        if kind == "close":
            self._break_off(ValueError(f"{mark[0]!r} at character {mark.start()} closes nothing"), mark.end())
        elif mark["channel"]:  # the format of gpt-oss, in which each channel begins with its name
            self.depth = int(mark["channel"].lower() != "final")
            if not self.depth:
                self._forget()
        elif not mark[0].rstrip(">▷|").endswith("/"):  # <think/> is empty and has no end tag
            name = (mark["name"] or "").lower()
            if mark["end"] or mark["square_end"] or name.startswith("end_"):
                self._end_reasoning()
            else:
                self.depth += 1
        return mark.end()

    def _end_reasoning(self) -> None:
        if self.depth:
            self.depth -= 1
        else:  # the opening tag was in the prompt's template, so that all text before this one was reasoning
            self._forget()

    def _fence(self, position: int) -> int:
        """Reads a fenced value, which may also be a string, a number, true, false or null."""
        start = _SPACE.match(self._text, position).end()  # type: ignore[union-attr]  # it matches anywhere
        if self._text[start : start + 1] in ("", "{", "[", "`", "<", "◁"):
            return position
        try:
            found = self._value(start)
        except ValueError:
            return position
        closed = _FENCE_END.match(self._text, found.end)
        if closed is None:
            return position
        self._fences.append((found.end, closed.end()))
        self._add(found)
        return closed.end()

    def _bracket(self, start: int) -> int:
        short = _SHORT.match(self._text, start)
        if short is not None:
            try:
                mended = read_mended(short[0])
            except ValueError:
                return short.end()
            self._add(_Value(mended.value, start, short.end(), mended.faults, mended.nans))
            return short.end()
        try:
            found = self._value(start)
        except ValueError as e:
            quoted = _QUOTED.match(self._text, start)
            if quoted is not None:
                return quoted.end()
            self._break_off(e, start)
            return start + 1
        self._add(found)
        if _GOES_ON.match(self._text, found.end):
            reason = f"what ends at character {found.end} goes on after its end"
            self._break_off(ValueError(reason), found.end)
        elif self._is_inside(start) or _WITHOUT_END.match(self._text, found.end):
            self._break_off(ValueError(f"what begins at character {start} is a piece of a larger value"), found.end)
        return found.end

    def _is_inside(self, start: int) -> bool:
        """Whether a value that begins at an index is a member or an item of another one, by what stands before it."""
        before = self._text[max(0, start - _BEFORE) : start]
        return _INSIDE.search(before) is not None or (start < _BEFORE and before.strip() in (",", ":"))

    def _value(self, start: int) -> _Value:
        """Reads the value that begins at an index.

        Raises:
            ValueError: There is none. One with a key twice is a value, which is noted as broken.
        """
        self._count_candidate()
        end = start
        try:
            end = _VALUE.raw_decode(self._text, start)[1]
            return _Value(jsontext.loads_unique(self._text[start:end]), start, end, Counter(), ())
        except jsontext.RepeatedKeyError as e:
            self._break_off(e, end)
            return _Value(None, start, end, Counter(), ())
        except (ValueError, RecursionError) as e:
            reason = e
        try:
            if self._unmended < _MAX_UNMENDED:
                mended = read_mended(self._text, start)
                return _Value(mended.value, start, mended.end, mended.faults, mended.nans)
        except BrokenOffError as e:
            self._unmended += 1
            raise BrokenOffError(f"what begins at character {start} breaks off: {e}") from None
        except jsontext.RepeatedKeyError:
            raise
        except (ValueError, RecursionError):
            self._unmended += 1
        raise ValueError(f"what begins at character {start} is no JSON: {reason}")

    def _count_candidate(self) -> None:
        self._candidates += 1
        if self._candidates > 2 * _MAX_VALUES:
            raise _TooManyError(f"more than {_MAX_VALUES} places in it look like JSON")

    def _add(self, found: _Value) -> None:
        self._count_candidate()
        self.values.append(found)


def _agreed(values: list[_Value], is_echo: Callable[[Any], bool]) -> _Value:
    if any(isinstance(one.value, (dict, list)) and not one.may_be_prose for one in values):
        values = [one for one in values if not one.may_be_prose]
    if len(values) > 1:
        values = [one for one in values if not is_echo(one.value)] or values
    first = values[0]
    if not all(jsontext.same(first.value, other.value) for other in values[1:]):
        raise ValueError(f"it holds {len(values)} JSON values that disagree")
    return first
