"""Files of JSON lines into documents: by the hundred where each line is an id and a text, else line by line."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Annotated, Any, BinaryIO, TypeVar

import msgspec

from kimi_beam.beam_extensions.document_coder import Documents
from kimi_beam.input import lines
from kimi_beam.input.fields import Reading, failed, from_line
from kimi_beam.input.file_parts import Part
from kimi_beam.types import Document, Failure

T = TypeVar("T")


def read_line_blocks(f: BinaryIO, part: Part, reading: Reading) -> Iterator[Documents]:
    """The documents of a piece, some at a time."""
    numbers = lines.Numbers(part, reading.max_document_bytes)
    parse = functools.partial(from_line, reading=reading)
    for number, some in lines.groups(f, part, reading.max_document_bytes):
        if (block := texts_alone(some, part.path, reading)) is not None:
            yield block
            continue
        held: list[Document] = []
        try:
            held.extend(_each(some, number, numbers, part, parse, reading))
        finally:
            if held:
                yield Documents.of(held)


def texts_alone(some: Sequence[bytes], path: str, reading: Reading) -> Documents | None:
    """The documents of lines that are an id and a text each, and nothing else: all at once, at half of the CPU.

    None where one is otherwise, and each has to be looked at.
    """
    try:
        # A line feed cannot stand in a string, and within an object of strings no brace follows a comma: a line that
        # begins with one is one object, or several side by side, and as many objects as lines is one a line.
        if {*map(_FIRST, some)} != _BRACE or isinstance(some[0], lines.CutLine):
            return None
        joined = b",\n".join(some)
        if _may_repeat_a_key(joined, len(some)):
            return None
        found = _decoder(reading.id_field, reading.text_field).decode(b"".join((b"[", joined, b"]")))
    except (IndexError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if len(found) != len(some):
        return None
    return Documents([one.id for one in found], [one.text for one in found], [path] * len(found), {})


def _may_repeat_a_key(objects: bytes, count: int) -> bool:
    """Whether one of some objects of two strings each may have a key more than once.

    Two keys and two values have eight quotes. What is more than that is escaped, or a key once more. Escaped ones are
    counted by their backslash, unless one is itself escaped before a quote.
    """
    more = objects.count(b'"') - 8 * count
    return more > 0 and (b'\\\\"' in objects or more != objects.count(b'\\"'))


@functools.lru_cache(maxsize=8)
def _decoder(id_field: str, text_field: str) -> Any:
    """Reads a list of objects that have these two keys, both strings, and no others."""
    line = msgspec.defstruct(
        "TextAlone",
        [("id", Annotated[str, msgspec.Meta(min_length=1)]), ("text", str)],
        rename={"id": id_field, "text": text_field},
        forbid_unknown_fields=True,
        gc=False,
    )
    return msgspec.json.Decoder(list[line])  # type: ignore[valid-type]


_FIRST, _BRACE = itemgetter(0), set(b"{")


def read_lines(
    f: BinaryIO, part: Part, reading: Reading, parse: Callable[[bytes, str], T | Failure]
) -> Iterator[T | Document]:
    """What the lines of a piece hold; one that cannot be read is a document with the id ``PATH#LINE``.

    Args:
        f: The file.
        part: Which lines of it.
        reading: How long a line may be.
        parse: Makes something of a line and the file's path.
    """
    numbers = lines.Numbers(part, reading.max_document_bytes)
    for number, some in lines.groups(f, part, reading.max_document_bytes):
        yield from _each(some, number, numbers, part, parse, reading)


def _each(
    some: Sequence[bytes],
    first: int,
    numbers: lines.Numbers,
    part: Part,
    parse: Callable[[bytes, str], T | Failure],
    reading: Reading,
) -> Iterator[T | Document]:
    for number, line in enumerate(some, first):
        if isinstance(line, lines.CutLine):
            value: T | Failure = reading.too_large(f"the line of {line.size} bytes", line)
        else:
            if number == 1 and part.start == 0:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.isspace() or not line:
                continue
            value = parse(line, part.path)
        if isinstance(value, Failure):
            yield failed(f"{part.path}#{numbers.of(number)}", part.path, value)
        else:
            yield value
