"""The text of OpenDocument files: paragraphs, lists and rows of tables as lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from kimi_beam.input.readers.hidden.colours import WHITE
from kimi_beam.input.readers.hidden.hidden_texts import HiddenTexts
from kimi_beam.input.readers.office.office_xml import Element, int_of
from kimi_beam.input.readers.office.opendocument.opendocument_lists import ListMarks
from kimi_beam.input.readers.office.opendocument.opendocument_styles import (
    DRAW,
    NO_STYLE,
    OFFICE,
    TABLE,
    TEXT,
    XLINK,
    OpenStyle,
    OpenStyles,
)
from kimi_beam.input.readers.text.table_rows import joined_lines
from kimi_beam.input.readers.text.text_flow import TableFlow

PAGE_BREAK = "\f"
"""Stands in a text for the end of a page. No XML text holds it."""
_GONE = frozenset((f"{TEXT}tracked-changes", f"{OFFICE}annotation", f"{OFFICE}annotation-end", f"{OFFICE}forms"))
_FRAME_TEXTS = frozenset((f"{DRAW}text-box", f"{DRAW}custom-shape", f"{DRAW}rect", f"{DRAW}ellipse"))
_DRAW_OF_LIBREOFFICE = "{http://openoffice.org/2010/draw}"
_MOST_REPEATS = 1_000


class OpenText:
    """Reads the text of one file.

    Args:
        styles: Its styles.
        hidden: Takes what a person does not see.
        page: Gives the number of the page that is being read, from 1.
        on_note: Takes the lines of a note.
        on_picture: Takes the name of the part of each picture outside of headers and footers.
        marks: Gives the marks of the items of lists.
    """

    def __init__(
        self,
        styles: OpenStyles,
        hidden: HiddenTexts,
        page: Callable[[], int],
        on_note: Callable[[str], None],
        on_picture: Callable[[str], None],
        marks: ListMarks,
    ) -> None:
        self._styles = styles
        self._marks = marks
        self._list_styles = [""]
        """The names of the styles of the lists around, the outermost first."""
        self._hidden = hidden
        self._page = page
        self._on_note = on_note
        self._on_picture = on_picture
        self._depth = 0
        """How many cells, boxes and notes are around."""
        self._notes = 0

    def inner_lines(self, container: Element, look: OpenStyle | None = None) -> list[str]:
        """The lines of a cell, a box or a note, which are on the page of what they stand in."""
        self._depth += 1
        try:
            return list(self.lines(container, look))
        finally:
            self._depth -= 1

    def lines(self, container: Iterable[Element], look: OpenStyle | None = None, level: int = 0) -> Iterator[str]:
        """The lines of what a container holds.

        Args:
            container: The elements.
            look: How what is around them looks; None for a white page.
            level: How many lists are around, less one.
        """
        look = look or replace(NO_STYLE, background=WHITE)
        for child in container:
            tag = child.tag
            if tag in (f"{TEXT}p", f"{TEXT}h"):
                yield from self._paragraph(child, look)
            elif tag == f"{TEXT}list":
                yield from self._list(child, look, level)
            elif tag == f"{TABLE}table":
                yield from self._table(child, look)
                if not self._depth:
                    yield ""
            elif tag == f"{TEXT}section" and (
                child.get(f"{TEXT}display", "true") == "none" or child.get(f"{TEXT}is-hidden") == "true"
            ):
                self._hidden.add("\n".join(self.inner_lines(child, look)), "hidden section", self._page())
            elif tag == f"{TEXT}soft-page-break":
                if not self._depth:
                    yield PAGE_BREAK
            elif tag in _FRAME_TEXTS or tag == f"{DRAW}frame":
                yield from self._frame(child, look)
            elif tag not in _GONE and len(child):
                yield from self.lines(child, look, level)

    def _paragraph(self, paragraph: Element, look: OpenStyle) -> list[str]:
        style = self._styles.style("paragraph", paragraph.get(f"{TEXT}style-name"))
        pieces: list[str] = []
        boxes: list[str] = []
        self._inline(paragraph, style.within(look), pieces, boxes)
        text = "".join(pieces)
        if paragraph.tag == f"{TEXT}h" and text.strip() and not self._depth:
            level = max(1, min(6, int_of(paragraph.get(f"{TEXT}outline-level"), 1)))
            text = f"{'#' * level} {text.strip()}"
        if self._depth:
            return [text.replace(PAGE_BREAK, ""), *boxes]
        return [PAGE_BREAK + text if style.begins_page else text, *boxes]

    def _inline(self, element: Element, look: OpenStyle, pieces: list[str], boxes: list[str]) -> None:
        self._add(element.text, look, pieces)
        for child in element:
            tag = child.tag
            if tag == f"{TEXT}span":
                style = self._styles.style("text", child.get(f"{TEXT}style-name"))
                self._inline(child, style.within(look), pieces, boxes)
            elif tag == f"{TEXT}s":
                self._add(" " * min(max(int_of(child.get(f"{TEXT}c"), 1), 1), _MOST_REPEATS), look, pieces)
            elif tag == f"{TEXT}tab":
                self._add("\t", look, pieces)
            elif tag == f"{TEXT}line-break":
                self._add("\n", look, pieces, keeps_breaks=True)
            elif tag == f"{TEXT}soft-page-break":
                pieces.append(PAGE_BREAK)
            elif tag == f"{TEXT}note":
                pieces.append(self._note(child))
            elif tag in (f"{TEXT}hidden-text", f"{TEXT}hidden-paragraph"):
                secret = "".join(child.itertext()) or child.get(f"{TEXT}string-value", "")
                if child.get(f"{TEXT}is-hidden", "true") == "true":
                    self._hidden.add(secret, "hidden letters", self._page())
                else:
                    self._add(secret, look, pieces)
            elif tag in _FRAME_TEXTS or tag == f"{DRAW}frame":
                boxes += self._frame(child, look)
            elif tag == f"{TEXT}ruby":
                base = child.find(f"{TEXT}ruby-base")
                if base is not None:
                    self._inline(base, look, pieces, boxes)
            elif tag not in _GONE:
                self._inline(child, look, pieces, boxes)
            self._add(child.tail, look, pieces)

    def _add(self, text: str | None, look: OpenStyle, pieces: list[str], *, keeps_breaks: bool = False) -> None:
        """Adds letters. Line feeds of the XML are spaces, and several spaces one: more are written as elements."""
        if not text:
            return
        if "\n" in text and not keeps_breaks:
            text = text.replace("\n", " ")
        reason = look.why_hidden()
        if reason:
            self._hidden.add(text, reason, self._page(), between="")
        else:
            self._hidden.separate()
            pieces.append(text)

    def _note(self, note: Element) -> str:
        body = note.find(f"{TEXT}note-body")
        if body is None:
            return ""
        self._notes += 1
        citation = note.findtext(f"{TEXT}note-citation") or str(self._notes)
        self._on_note(f"[{citation}] {joined_lines(self.inner_lines(body))}")
        return f"[{citation}]"

    def _list(self, element: Element, look: OpenStyle, level: int) -> Iterator[str]:
        style = element.get(f"{TEXT}style-name") or self._list_styles[-1]
        self._list_styles.append(style)
        self._marks.begin(style, element, level)
        yield from self._items(element, style, look, level)
        self._list_styles.pop()

    def _items(self, element: Element, style: str, look: OpenStyle, level: int) -> Iterator[str]:
        for item in element:
            if item.tag not in (f"{TEXT}list-item", f"{TEXT}list-header"):
                continue
            mark = "  " * level + self._marks.mark(style, item, level) if item.tag == f"{TEXT}list-item" else ""
            for child in item:
                for line in self.lines((child,), look, level + 1):
                    is_first = child.tag != f"{TEXT}list" and bool(mark) and bool(line.strip(PAGE_BREAK))
                    begun = line.lstrip(PAGE_BREAK)
                    yield f"{line[: len(line) - len(begun)]}{mark}{begun}" if is_first else line
                    mark = "" if is_first else mark

    def _table(self, table: Element, look: OpenStyle) -> Iterator[str]:
        flow = TableFlow()
        for row in _rows(table):
            flow.begin_row()
            for cell in row:
                if cell.tag not in (f"{TABLE}table-cell", f"{TABLE}covered-table-cell"):
                    continue
                style = self._styles.style("table-cell", cell.get(f"{TABLE}style-name"))
                if cell.find(f".//{TABLE}table") is not None:
                    flow.mark_holds_table()
                text = joined_lines(self.inner_lines(cell, style.within(look)))
                for _ in range(min(max(int_of(cell.get(f"{TABLE}number-columns-repeated"), 1), 1), _MOST_REPEATS)):
                    flow.add_cell(text)
            yield from flow.end_row()

    def _frame(self, frame: Element, look: OpenStyle) -> list[str]:
        """The lines of a text box or a shape. Of several contents of a frame, the first is the one that is shown."""
        style = self._styles.style("graphic", frame.get(f"{DRAW}style-name"))
        inner = style.within(look)
        if any(frame.get(f"{names}display") == "none" for names in (DRAW, _DRAW_OF_LIBREOFFICE)):
            shown = [line for child in frame for line in self.inner_lines((child,), inner)]
            self._hidden.add("\n".join(shown), "hidden shape", self._page())
            return []
        if frame.tag != f"{DRAW}frame":
            return self.inner_lines(frame, inner)
        for child in frame:
            if child.tag == f"{DRAW}text-box":
                return self.inner_lines(child, inner)
            if child.tag == f"{TABLE}table":
                return list(self._table(child, inner))
            if child.tag == f"{DRAW}image":
                self._on_picture(child.get(f"{XLINK}href", "").removeprefix("./"))
                return []
        return []


def _rows(table: Element) -> Iterator[Element]:
    """The rows of a table, also those in groups."""
    for child in table:
        if child.tag == f"{TABLE}table-row":
            yield child
        elif child.tag in (f"{TABLE}table-header-rows", f"{TABLE}table-rows", f"{TABLE}table-row-group"):
            yield from _rows(child)
