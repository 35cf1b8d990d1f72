"""Corrupts answers as models do: without losing anything, or so that something is lost."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

_STRUCTURE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]')
_WORDS = {"true": "True", "false": "False", "null": "None"}
_PROSE = ("Here is the extracted data:", "Sure! As asked (see [1]):", "The total is 12.50, the date 2024-03-05.", "***")
_NAMES = ("result", "data", "answer", "output", "response")

Corrupt = Callable[[str, random.Random, Mapping[str, Any]], str]


class Layouts:
    """A record as JSON, in the layouts that models use. Each is written once, however often it is corrupted.

    Attributes:
        record: The record.
    """

    def __init__(self, record: Any) -> None:
        self.record = record
        self._written: dict[tuple[bool, int | None], str] = {}

    def written(self, draw: random.Random) -> str:
        """The record in one of the layouts."""
        ensure_ascii, indent = layout = draw.random() < 0.3, draw.choice([None, None, 2])
        if layout not in self._written:
            self._written[layout] = json.dumps(self.record, ensure_ascii=ensure_ascii, indent=indent)
        return self._written[layout]


def _pieces(text: str) -> list[re.Match[str]]:
    """The strings and the marks of a JSON text."""
    return list(_STRUCTURE.finditer(text))


def fence(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """In a fence."""
    return f"```{draw.choice(['json', '', 'JSON'])}\n{text}\n```"


def byte_order_mark(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """Behind a byte order mark."""
    return f"\ufeff{text}"


def prose(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """Between other words."""
    before, after = draw.choice([*_PROSE, ""]), draw.choice([*_PROSE, ""])
    return f"{before}\n{text}\n{after}" if before or after else f"{text} Done."


def trailing_commas(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """With commas behind last members and items."""
    ends = [
        piece.start() for piece in _pieces(text) if piece[0] in "]}" and text[: piece.start()].rstrip()[-1] not in "[{"
    ]
    for end in sorted(draw.sample(ends, draw.randint(1, len(ends))) if ends else (), reverse=True):
        text = f"{text[:end]},{draw.choice(['', ' ', chr(10)])}{text[end:]}"
    return text


def python_literals(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """With the words of Python."""
    return re.sub(
        r'"[^"\\]*(?:\\.[^"\\]*)*"|\b(?:true|false|null)\b', lambda found: _WORDS.get(found[0], found[0]), text
    )


def raw_controls(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """With raw control characters in strings."""
    return re.sub(r"(?<!\\)((?:\\\\)*)\\([nt])", lambda found: found[1] + {"n": "\n", "t": "\t"}[found[2]], text)


def wrapping(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """Inside a wrapping."""
    title = str(schema.get("title", "extraction"))
    return draw.choice(
        [
            f'{{"{draw.choice(_NAMES)}": {text}}}',
            f'{{"{draw.choice([title, title.lower()])}": {text}}}',
            f"[{text}]",
            f'[{{"{draw.choice(_NAMES)}": {text}}}]',
            f'{{"type": "object", "properties": {text}}}',
            f'{{"name": "{title}", "arguments": {text}}}',
        ]
    )


def schema_echoed(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """Behind the schema."""
    return f"{json.dumps(schema)}\n{text}"


LOSSLESS: tuple[Corrupt, ...] = (
    fence, byte_order_mark, prose, trailing_commas, python_literals, raw_controls, wrapping, schema_echoed
)  # fmt: skip


def cut(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """Cut off anywhere."""
    return text[: draw.randrange(len(text))]


def cut_at_both_ends(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """A piece from the middle."""
    start = draw.randrange(1, len(text))
    return text[start : draw.randrange(start, len(text))]


def cut_behind_a_quoted_tag(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """Cut off, with the end of reasoning in a string."""
    strings = [piece for piece in _pieces(text) if len(piece[0]) > 1]
    at = draw.choice(strings).start() + 1
    tagged = f"{text[:at]}{draw.choice(['</think>', '<|channel|>final', '[/THINK]', '</ns:reasoning>'])}{text[at:]}"
    return tagged[: draw.randrange(at, len(tagged))]


def mark_lost(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """Without one bracket, comma, colon or quotation mark."""
    piece = draw.choice(_pieces(text))
    at = piece.start() if len(piece[0]) == 1 else draw.choice([piece.start(), piece.end() - 1])
    return text[:at] + text[at + 1 :]


def mark_doubled(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """With one bracket, comma or colon twice."""
    at = draw.choice([piece for piece in _pieces(text) if len(piece[0]) == 1]).start()
    return text[:at] + text[at] + text[at:]


def key_doubled(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """With a key twice, and another value."""
    key = draw.choice([key for key, _ in json.JSONDecoder(object_pairs_hook=list).decode(text)])
    return f"{text.rstrip()[:-1].rstrip()}, {json.dumps(key)}: {draw.choice(['null', '0', json.dumps('?')])}}}"


def other_answer(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """With a second answer that differs."""
    other = dict(json.loads(text))
    key = draw.choice(list(other))
    other[key] = "another" if other[key] != "another" else None
    return draw.choice(["{0}\nNo, rather:\n{1}", "{1}\n{0}", "[{0}, {1}]", '{{"result": {0}, "data": {1}}}']).format(
        text, json.dumps(other)
    )


def words_behind_a_value(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """With words inside the answer that are no JSON."""
    ends = [
        piece.start() for piece in _pieces(text) if piece[0] in ",]}" and text[: piece.start()].rstrip()[-1] not in "[{"
    ]
    at = draw.choice(ends)
    return f"{text[:at]} {draw.choice(['EUR', '// as stated', '(?)', 'approx.', '%'])}{text[at:]}"


def middle_lost(text: str, draw: random.Random, schema: Mapping[str, Any]) -> str:
    """Without a piece in the middle that is more than whole members."""
    marks = [piece for piece in _pieces(text) if len(piece[0]) > 1]
    begin = draw.choice(marks)
    return text[: begin.start() + 1] + text[begin.end() :]


LOSSY: tuple[Corrupt, ...] = (
    cut, cut_at_both_ends, cut_behind_a_quoted_tag, mark_lost, mark_doubled, key_doubled, other_answer,
    words_behind_a_value, middle_lost
)  # fmt: skip
