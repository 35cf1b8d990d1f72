"""Splits a text at its structure: pages, headings, paragraphs, rows of tables, lines, sentences; never inside a word.

The parts tile the text: joined in their order they are the text, so that the spans of answered parts show whether a
document is complete. What the model is shown beside a part (`Part.context`) is taken from the text around it.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import NamedTuple

import orjson

from kimi_beam.request.context_window import PICTURE_TOKENS, about_tokens
from kimi_beam.request.heading_paths import headings, path_at
from kimi_beam.request.row_lines import TextLine, lines_inside_rows, text_lines
from kimi_beam.results.shown_rows import TableReader
from kimi_beam.types.document import Document, Layout, Part
from kimi_beam.types.earlier_runs import Earlier

BEGINNING = 1_000
"""The most characters of a document's beginning that each other part is shown."""
BEFORE = 500
"""The most characters that a part is shown of the text before it."""
_LEAST_FILLED = 0.6
"""A part is filled so far at least before a place is chosen to cut at, so that parts do not become many."""
_HARDLY_FILLED = 0.2
"""A part is filled less where its end would otherwise stand inside a row, a sentence or a word."""

_PAGE, _HEADING, _PARAGRAPH, _LINE, _INSIDE_ROW, _SENTENCE, _WORD, _CHARACTER = range(8, 0, -1)
"""How good a place is to cut at."""
_SENTENCES = re.compile(r"(?<=[.!?;。\uff01\uff1f])\s+(?=\S)")
_SPACES = re.compile(r"\s+(?=\S)")
_UNENDED = re.compile(r"[-,(/&]\s*$")


class Limits(NamedTuple):
    """The most that one part may hold."""

    tokens: int
    """Tokens of its own text (`about_tokens`) and its pictures (`picture_tokens`), estimated."""
    size: int
    """Bytes of its own text and its pictures as JSON."""


def picture_tokens(most: int) -> int:
    """The tokens that a picture counts for in a part of at most so many: the text of its page has room beside it."""
    return min(PICTURE_TOKENS, most * 3 // 5)


class _Piece(NamedTuple):
    """A stretch of text that is not cut: a line, or less if a line is too long."""

    start: int
    quality: int
    """How good it is to cut before it."""
    fill: float
    """The share of a part that it takes."""
    columns: str
    """The names of the columns, if it stands in a table."""


def split(document: Document, limits: Limits, start: int = 0, end: int | None = None) -> list[Document]:
    """Splits a document, or a part of one, into parts.

    Args:
        document: The whole document, or a part of it which is split further.
        limits: The most that a part may hold. A single picture may be larger.
        start: The place from which on it is split. Places count characters, and each picture as one.
        end: The place up to which it is split; None for its end.

    Returns:
        The parts of this stretch in their order, at least one. Each has the document's metadata, source and arrival,
        and the pictures that stand in it.
    """
    places = _Places(document)
    end = places.length if end is None else end
    pieces = list(_pieces(document, places, limits, start, end))
    columns = {piece.start: piece.columns for piece in pieces}
    found = headings(document.text)
    return [
        _part(document, places, a, b, path_at(found, places.in_text(a)), columns.get(a, ""))
        for a, b in pairwise([start, *_cuts(pieces), end])
    ]


def stretch(whole: Document, start: int, end: int) -> tuple[str, tuple[str, ...], Layout | None]:
    """The text, the pictures and the layout of a part.

    Args:
        whole: Its document.
        start: Its first place.
        end: The place behind its last one.
    """
    places = _Places(whole)
    images, layout = _pictures_and_layout(whole, places, start, end)
    return whole.text[places.in_text(start) : places.in_text(end)], images, layout


def joined(parts: Sequence[Document]) -> Document:
    """The document that parts were split from.

    Args:
        parts: All of its parts, in their order. If they are references, so is the document.
    """
    first = parts[0]
    assert first.part is not None
    if first.is_reference:
        assert first.file is not None
        pictures = sum(one.picture_count for one in parts)
        earlier = Earlier(first.earlier.round, first.earlier.attempts)
        whole = Document(first.part.document_id, "", (), first.metadata, first.source, None, first.arrival, earlier)
        return whole.with_file(replace(first.file, key="", pictures=pictures))
    pages, positions, images = list[int](), list[int](), list[str]()
    length = 0
    for one in parts:
        assert one.part is not None
        assert one.part.start == length + len(images)
        layout = one.layout or Layout()
        pages += [length + page for page in layout.page_starts]
        positions += [length + position for position in layout.image_positions or (0,) * len(one.images)]
        images += one.images
        length += len(one.text)
    boxes = first.layout.boxes if first.layout is not None else None
    whole = Document(
        first.part.document_id,
        "".join(one.text for one in parts),
        tuple(images),
        first.metadata,
        first.source,
        arrival=first.arrival,
        earlier=Earlier(first.earlier.round, first.earlier.attempts),
        redacted=first.redacted,
    )
    if first.layout is None:
        return whole
    return replace(whole, layout=Layout(tuple(pages), _unless_all_first(positions), boxes))


def length_of(document: Document) -> int:
    """The number of places of a document: its characters, and each picture as one."""
    return len(document.text) + len(document.images)


class _Places:
    """The places of a document: its characters, with a place for each picture before the character that it stands at.

    Pages that are only pictures have no text, so that characters alone would not tell them apart.
    """

    def __init__(self, document: Document) -> None:
        layout = document.layout
        self.positions = (layout.image_positions if layout else ()) or (0,) * len(document.images)
        self.pictures = [position + number for number, position in enumerate(self.positions)]
        """The place of each picture."""
        self.length = length_of(document)

    def in_text(self, place: int) -> int:
        """How many characters stand before a place."""
        return place - bisect_left(self.pictures, place)

    def of_character(self, index: int) -> int:
        """The place of a character, behind the pictures that stand at it."""
        return index + bisect_right(self.positions, index)

    def of_page(self, start: int) -> int:
        """The place of the page that begins with a character, before the pictures that stand at it."""
        return start + bisect_left(self.positions, start)


def _pieces(document: Document, places: _Places, limits: Limits, start: int, end: int) -> Iterator[_Piece]:
    """The pieces of a stretch of a document, each with how good it is to cut before it."""
    text = document.text
    page_starts = set(document.layout.page_starts if document.layout is not None else ())
    titles = {heading.start for heading in headings(text)}
    pictures: dict[int, list[int]] = {}
    for number, position in enumerate(places.positions):
        pictures.setdefault(position, []).append(number)

    def shown_at(position: int, columns: str) -> Iterator[_Piece]:
        for number in pictures.get(position, ()):
            if start <= places.pictures[number] < end:
                fill = max(len(document.images[number]) / limits.size, picture_tokens(limits.tokens) / limits.tokens)
                yield _Piece(places.pictures[number], _PAGE, fill, columns)

    begin, behind = places.in_text(start), places.in_text(end)
    columns = document.part.columns if document.part is not None else ""
    table, lines = TableReader(columns), text_lines(text, columns, page_starts)
    inside_rows = lines_inside_rows(lines)
    before, is_blank, position = TextLine(""), False, 0
    for index, line in enumerate(lines):
        if position > behind:
            break
        written = line.text
        quality = _quality(before, line, is_blank=is_blank, is_title=position in titles)
        if index in inside_rows:
            quality = _INSIDE_ROW
        inside = [place for place in pictures if position < place < position + len(written)]
        for a, b in pairwise([position, *sorted(inside), position + len(written)]):
            # What stands beside a picture belongs to it.
            fitting = _INSIDE_ROW if a in pictures else quality
            yield from shown_at(a, table.columns)
            if max(a, begin) < min(b, behind):
                a, b = max(a, begin), min(b, behind)
                for piece in _of_line(text[a:b], a, fitting, table.columns, limits):
                    yield piece._replace(start=places.of_character(piece.start))
        table.read(written, has_row=line.has_row, has_names=line.has_names)
        is_blank = not written.strip()
        before = before if is_blank else line
        position += len(written)
    if position == len(text):
        yield from shown_at(position, "")


def _quality(before: TextLine, line: TextLine, *, is_blank: bool, is_title: bool) -> int:
    """How good it is to cut between two lines, if they are not of one row.

    Args:
        before: The last line that is not blank.
        line: The next line.
        is_blank: Whether a blank line stands between them.
        is_title: Whether `line` is a heading.
    """
    # In a table a name may begin with a small letter; which lines there belong together is known (`row_lines`).
    is_known = line.is_in_table and (before.has_row or not (is_blank or line.is_page))
    goes_on = line.text[:1].islower() and not is_known
    if before.has_names or goes_on or _UNENDED.search(before.text) is not None:
        return _INSIDE_ROW
    if line.is_page:
        return _PAGE
    if is_title:
        return _HEADING
    return _PARAGRAPH if is_blank else _LINE


def _of_line(line: str, start: int, quality: int, columns: str, limits: Limits) -> Iterator[_Piece]:
    """The pieces of one line: the whole line, or sentences, words and at last characters of a line that is too long."""
    fill = _fill(line, limits)
    if fill <= 1 or len(line) == 1:
        yield _Piece(start, quality, fill, columns)
        return
    for pattern, worse in ((_SENTENCES, _SENTENCE), (_SPACES, _WORD)):
        if worse >= quality and quality <= _SENTENCE:
            continue
        ends = [match.end() for match in pattern.finditer(line)]
        if ends:
            for a, b in pairwise([0, *ends, len(line)]):
                if a < b:
                    yield from _of_line(line[a:b], start + a, worse if a else quality, columns, limits)
            return
    half = len(line) // 2
    yield from _of_line(line[:half], start, quality, columns, limits)
    yield from _of_line(line[half:], start + half, _CHARACTER, columns, limits)


def _fill(text: str, limits: Limits) -> float:
    return max(about_tokens(text) / limits.tokens, len(orjson.dumps(text)) / limits.size)


def _cuts(pieces: Sequence[_Piece]) -> Iterator[int]:
    """The places at which a part ends and the next one begins."""
    filled = [0.0, *accumulate(piece.fill for piece in pieces)]
    first = 0
    while filled[-1] - filled[first] > 1:
        beyond = bisect_right(filled, filled[first] + 1) - 1
        beyond = max(beyond, first + 1)
        if beyond >= len(pieces):
            return
        least = max(first + 1, bisect_left(filled, filled[first] + _LEAST_FILLED))
        last = first
        first = max(range(min(least, beyond), beyond + 1), key=lambda index: (pieces[index].quality, index))
        if pieces[first].quality < _LINE:
            # Rather a small part than one that ends inside a row, unless it is hardly filled.
            fewest = max(last + 1, bisect_left(filled, filled[last] + _HARDLY_FILLED))
            first = max(range(min(fewest, first), first + 1), key=lambda index: (pieces[index].quality >= _LINE, index))
        yield pieces[first].start


def _part(document: Document, places: _Places, start: int, end: int, path: tuple[str, ...], columns: str) -> Document:
    """One part of a document, or of a part."""
    whole, text = document.part, document.text
    offset = whole.start if whole is not None else 0
    first, last = places.in_text(start), places.in_text(end)
    beginning = whole.beginning if whole is not None and whole.start else text[:BEGINNING]
    part = Part(
        whole.document_id if whole is not None else document.id,
        whole.text_hash if whole is not None else text_hash(document),
        offset + start,
        offset + end,
        whole.length if whole is not None else places.length,
        _until_line_end(beginning, BEGINNING) if offset + start else "",
        ((*whole.headings, *path) if whole is not None else path)[-5:],
        columns,
        _last_lines((whole.before if whole is not None else "") + text[:first]),
    )
    images, layout = _pictures_and_layout(document, places, start, end)
    round_ = document.earlier.round
    return Document(
        f"{part.document_id}[{part.start}:{part.end}]",
        text[first:last],
        images,
        document.metadata,
        document.source,
        arrival=document.arrival,
        earlier=Earlier(round_, 0 if offset + start else document.earlier.attempts),
        layout=layout,
        part=part,
        redacted=document.redacted,
    )


def text_hash(document: Document) -> str:
    """`Part.text_hash` of a document."""
    hasher = hashlib.blake2b(document.text.encode(), digest_size=8)
    for uri in document.images:
        hasher.update(uri.encode())
    return hasher.hexdigest()


def _pictures_and_layout(
    document: Document, places: _Places, start: int, end: int
) -> tuple[tuple[str, ...], Layout | None]:
    """The pictures that stand in a stretch of a document, and the layout of the stretch."""
    numbers = range(bisect_left(places.pictures, start), bisect_left(places.pictures, end))
    images = tuple(document.images[number] for number in numbers)
    layout, first = document.layout, places.in_text(start)
    if layout is None:
        return images, None
    is_last = end == places.length
    pages = tuple(
        max(page - first, 0)
        for page in layout.page_starts
        if start <= (place := places.of_page(page)) < end or (is_last and place >= end)
    )
    positions = [places.positions[number] - first for number in numbers]
    return images, Layout(pages, _unless_all_first(positions), layout.boxes if not start else None)


def _unless_all_first(positions: Sequence[int]) -> tuple[int, ...]:
    """`Layout.image_positions`: empty if all pictures stand before the text."""
    return tuple(positions) if any(positions) else ()


def _until_line_end(text: str, most: int) -> str:
    """The beginning of a text: whole lines, unless its first line is too long."""
    cut = text[:most]
    end = cut.rfind("\n")
    return (cut[:end] if end > 0 else cut).strip()


def _last_lines(text: str) -> str:
    """The end of a text: whole lines, unless its last line is too long."""
    cut = text[-BEFORE:]
    begin = cut.find("\n") if len(text) > BEFORE else -1
    return (cut[begin + 1 :] if 0 <= begin < len(cut) - 1 else cut).strip()
