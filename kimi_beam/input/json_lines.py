"""Reads documents from JSON lines: hundreds at once if each line is an id and a text only, else line by line."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Annotated, Any, BinaryIO, TypeVar

import msgspec

from kimi_beam.beam_extensions.document_coder import Documents
from kimi_beam.files.paths import is_local
from kimi_beam.input import lines
from kimi_beam.input.encodings import utf8_line
from kimi_beam.input.fields import ALL_FIELDS, POSITION, Reading, failed, from_line
from kimi_beam.input.file_parts import Part
from kimi_beam.input.line_references import has_large_line, with_line_reference, with_line_references
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure

T = TypeVar("T")


def read_line_blocks(
    f: BinaryIO, part: Part, reading: Reading, *, may_be_read_again: bool = False
) -> Iterator[Documents]:
    """The documents of a part of a file, in blocks.

    Args:
        f: The opened file.
        part: The part whose lines are read.
        reading: How lines become documents.
        may_be_read_again: Whether a large line may be read once more from its place in `part.path`.
    """
    numbers = lines.LineNumbers(part, reading.max_document_bytes)
    default_id = POSITION if reading.id_field == POSITION else None
    parse = functools.partial(from_line, reading=reading, default_id=default_id)
    may_be_read_again = may_be_read_again and is_local(part.path)
    for group in lines.groups(f, part, reading.max_document_bytes, reading.encoding):
        has_large = may_be_read_again and group.position is not None and has_large_line(group.lines)
        if (block := texts_alone(group.lines, part.path, reading)) is not None:
            yield with_line_references(block, group, reading) if has_large else block
            continue
        parsed: list[Document] = []
        try:
            parsed.extend(_parse_each(group, numbers, part, parse, reading, may_refer=has_large))
        finally:
            if parsed:
                yield Documents.of(parsed)


def texts_alone(group: Sequence[bytes], path: str, reading: Reading) -> Documents | None:
    """The fast path: decodes all lines at once, at half of the CPU, if each is an id and a text and nothing else.

    Args:
        group: Lines without their line feeds.
        path: Becomes `Document.source`.
        reading: Which keys hold the id and the text.

    Returns:
        The documents. None if any line is different: then each has to be parsed by itself.
    """
    if reading.text_field == ALL_FIELDS or reading.id_field == POSITION:
        return None
    try:
        # The joined lines are decoded as one JSON list. Each item must then be one line, which holds because no string
        # contains a line feed and in an object of strings no brace follows a comma. So a line that begins with a brace
        # holds one object or more, and if there are as many objects as lines, each line holds one.
        if {*map(_FIRST, group)} != _BRACE or isinstance(group[0], lines.CutLine):
            return None
        joined = b",\n".join(group)
        if _may_repeat_a_key(joined, len(group)):
            return None
        found = _decoder(reading.id_field, reading.text_field).decode(b"".join((b"[", joined, b"]")))
    except (IndexError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if len(found) != len(group):
        return None
    return Documents([line.id for line in found], [line.text for line in found], [path] * len(found), {})


def _may_repeat_a_key(objects: bytes, count: int) -> bool:
    """Whether one of several objects, each of two strings, may have a key more than once.

    Two keys and two values have eight quotes. Further quotes are escaped, or belong to a repeated key. Escaped quotes
    are counted by their backslash; if a backslash before a quote is itself escaped, the count is not reliable and the
    answer is yes.
    """
    more = objects.count(b'"') - 8 * count
    return more > 0 and (b'\\\\"' in objects or more != objects.count(b'\\"'))


@functools.lru_cache(maxsize=8)
def _decoder(id_field: str, text_field: str) -> Any:
    """A decoder for a list of objects that have these two keys, both strings, and no others."""
    line = msgspec.defstruct(
        "TextAlone",
        [("id", Annotated[str, msgspec.Meta(min_length=1)]), ("text", str)],
        rename={"id": id_field, "text": text_field},
        forbid_unknown_fields=True,
        gc=False,
    )
    return msgspec.json.Decoder(list[line])  # type: ignore[valid-type]


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FIRST, _BRACE = itemgetter(0), set(b"{")


def read_lines(
    f: BinaryIO, part: Part, reading: Reading, parse: Callable[[bytes, str], T | Failure]
) -> Iterator[T | Document]:
    """Parses the lines of a part of a file. A line that cannot be read is a document with the id ``PATH#LINE``.

    Args:
        f: The opened file.
        part: The part whose lines are read.
        reading: Says how long a line may be.
        parse: Makes a value or a failure of a line and the file's path.
    """
    numbers = lines.LineNumbers(part, reading.max_document_bytes)
    for group in lines.groups(f, part, reading.max_document_bytes, reading.encoding):
        yield from _parse_each(group, numbers, part, parse, reading)


def _parse_each(
    group: lines.Group,
    numbers: lines.LineNumbers,
    part: Part,
    parse: Callable[[bytes, str], T | Failure],
    reading: Reading,
    *,
    may_refer: bool = False,
) -> Iterator[T | Document]:
    following = group.position or 0
    for number, line in enumerate(group.lines, group.number):
        position, following = following, following + len(line) + 1
        if isinstance(line, lines.CutLine):
            value: T | Failure = reading.too_large(f"the line of {line.size} bytes", line)
        else:
            if number == 1 and part.start == 0 and line.startswith(_BYTE_ORDER_MARK):
                line, position = line[len(_BYTE_ORDER_MARK) :], position + len(_BYTE_ORDER_MARK)
            if line.isspace() or not line:
                continue
            value = parse(line if reading.encoding is None else utf8_line(line, reading.encoding), part.path)
        if reading.id_field == POSITION and isinstance(value, Document):
            value = replace(value, id=f"{part.path}#{numbers.of(number)}")
        if isinstance(value, Failure):
            yield failed(f"{part.path}#{numbers.of(number)}", part.path, value)
        elif may_refer and isinstance(value, Document):
            yield with_line_reference(value, line, position, reading)
        else:
            yield value
