"""Reads JSON that has a fault of a closed list, each of which leaves no doubt about what was meant.

The faults are a comma behind the last member or item, Python's ``True``, ``False`` and ``None``, raw control
characters in strings, and ``NaN``, which is read as null. They are mended in the text, which is then read as strictly
as any other: nothing is closed that is open, no comma is put between two values, no key is lost, and no text is left
out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

from kimi_beam.schema import jsontext

Path: TypeAlias = "tuple[str | int, ...]"
"""The keys and indices that lead to a value."""
Fault = Literal["trailing_comma", "python_literal", "control_character"]

_PIECE = re.compile(
    r'(?P<string>"[^"\\]*(?:\\.[^"\\]*)*")'
    r'|(?P<quote>")'
    r"|(?P<open>[\[{])"
    r"|(?P<close>[\]}])"
    r"|(?P<comma>,(?=[ \t\r\n]*[\]}]))"
    r"|(?<![\w.+-])(?P<word>True|False|None|NaN)(?![\w.+-])",
    re.DOTALL,
)
_WORDS = {"True": "true", "False": "false", "None": "null", "NaN": "null"}
_CONTROL = re.compile(r"(?P<escape>\\.)|[\x00-\x1f]", re.DOTALL)
_RAW = re.compile(r"[\x00-\x1f]")
_ENDS = {"[": "]", "{": "}"}
_NO_NUMBER = object()
"""Stands for NaN while the places at which it stood are looked for."""


class BrokenOffError(ValueError):
    """The text ends inside a value: the answer was cut off."""


class MendedValue(NamedTuple):
    """A value that was read, and what had to be mended for it."""

    value: Any
    end: int
    """The index behind the value's last character."""
    faults: Counter[Fault]
    nans: tuple[Path, ...]
    """Where NaN stood, which was read as null."""


def read_mended(text: str, start: int = 0) -> MendedValue:
    """Reads the array, the object or the Python literal that begins at an index.

    Args:
        text: A text, in which other words may follow the value.
        start: The index of the value's first character.

    Raises:
        BrokenOffError: The text ends inside the value.
        jsontext.RepeatedKeyError: An object has a key twice.
        ValueError: The value has another fault.
    """
    mended, marked, position = list[str](), list[str](), start
    faults, open_brackets = Counter[Fault](), list[str]()
    for piece in _PIECE.finditer(text, start):
        kind, found = piece.lastgroup, piece[0]
        if not open_brackets and (piece.start() > start or kind not in ("open", "word")):
            break
        if kind == "quote":
            raise BrokenOffError("a string is not closed")
        between, new = text[position : piece.start()], found
        if kind == "open":
            open_brackets.append(_ENDS[found])
        elif kind == "close" and open_brackets.pop() != found:
            raise ValueError(f"{found!r} at character {piece.start()} closes another bracket")
        elif kind == "string":
            new = _CONTROL.sub(_escaped, found)
            faults["control_character"] += len(_RAW.findall(found))
        elif kind == "comma" and _follows_a_value(text, piece.start()):
            new = ""
            faults["trailing_comma"] += 1
        elif kind == "word":
            new = _WORDS[found]
            faults["python_literal"] += found != "NaN"
        mended += (between, new)
        marked += (between, found if found == "NaN" else new)
        position = piece.end()
        if not open_brackets:
            value = jsontext.loads_unique("".join(mended))
            nans = _nans("".join(marked)) if "NaN" in marked else ()
            return MendedValue(value, position, +faults, nans)
    if open_brackets:
        raise BrokenOffError(f"{len(open_brackets)} brackets are not closed")
    raise ValueError("no value begins there")


def _escaped(character: re.Match[str]) -> str:
    """A control character as JSON writes it; an escape sequence as it is.

    Raises:
        ValueError: A control character is escaped by a backslash, which may mean itself or nothing.
    """
    if character["escape"] is None:
        return json.dumps(character[0])[1:-1]
    if character[0][1] < " ":
        raise ValueError(f"a backslash stands before the raw control character {character[0][1]!r}")
    return character[0]


def _follows_a_value(text: str, comma: int) -> bool:
    """Whether a value stands before a comma. In ``[,]`` and ``[1,,]`` none does, so that one may have been lost."""
    index = comma - 1
    while text[index] in " \t\r\n":
        index -= 1
    return text[index] not in "[{,:"


def _nans(text: str) -> tuple[Path, ...]:
    value = json.loads(text, parse_constant=lambda _: _NO_NUMBER)
    return tuple(_places(value, ()))


def _places(value: Any, path: Path) -> Iterator[Path]:
    if value is _NO_NUMBER:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for token, one in inner:
        yield from _places(one, (*path, token))
