"""The text of one story of a Word document (its body, a header, a note): paragraphs and rows of tables as lines.

Fields show their result, tracked insertions are text and deletions are none, of alternative contents the first counts,
and text boxes follow the paragraph that they are anchored in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kimi_beam.input.readers.hidden.hidden_texts import HiddenTexts
from kimi_beam.input.readers.office import openxml_names as n
from kimi_beam.input.readers.office.office_xml import Element, child_of, int_of
from kimi_beam.input.readers.office.word.drawings import chosen_content, ground_of_shape, why_not_drawn
from kimi_beam.input.readers.office.word.numbering import BULLET, WordNumbering
from kimi_beam.input.readers.office.word.word_styles import (
    UNKNOWN,
    Ground,
    Letters,
    WordStyles,
    heading_level,
    is_on,
    letters_of,
    number_of,
    shading,
)
from kimi_beam.input.readers.text.table_rows import joined_lines
from kimi_beam.input.readers.text.text_flow import TableFlow

PAGE_BREAK = "\f"
"""Stands in a text for the end of a page. No XML text holds it."""
RENDERED_BREAK = f"{n.W}lastRenderedPageBreak"
_WRAPPERS = frozenset(
    f"{n.W}{name}"
    for name in ("hyperlink", "ins", "moveTo", "smartTag", "customXml", "bdo", "dir", "fldSimple", "sdtContent")
)
"""Elements of which only what they hold is shown."""
_GONE = frozenset(f"{n.W}{name}" for name in ("del", "moveFrom"))
_CHARACTERS = {
    f"{n.W}tab": "\t",
    f"{n.W}ptab": "\t",
    f"{n.W}cr": "\n",
    f"{n.W}noBreakHyphen": "-",
    RENDERED_BREAK: PAGE_BREAK,
}
_BR, _SYM, _FIELD, _RUBY = f"{n.W}br", f"{n.W}sym", f"{n.W}fldChar", f"{n.W}ruby"
_FOOTNOTE, _ENDNOTE = f"{n.W}footnoteReference", f"{n.W}endnoteReference"
_DRAWINGS = frozenset((f"{n.W}drawing", f"{n.W}pict", f"{n.W}object"))
_SYMBOLS = {
    "f0fe": "☒",
    "f0fd": "☒",
    "f078": "☒",
    "f0a8": "☐",
    "f06f": "☐",
    "f071": "☐",
    "f0fc": "✓",
    "f052": "☑",
    "f0a3": "☐",
}
"""The boxes and ticks of Wingdings and Wingdings 2."""
_MATH = frozenset((f"{n.M}oMath", f"{n.M}oMathPara"))


@dataclass(slots=True)
class Story:
    """What the stories of a document share, and what is found in them.

    Attributes:
        styles: The document's styles.
        numbering: Counts the items of its lists.
        hidden: The texts that a person does not see.
        ground: The colour of the pages.
        page: Gives the number of the page that is being read, from 1.
        note_mark: Gives what stands in the text for a note, by its kind (``footnote``, ``endnote``) and identifier.
        on_picture: Told of each picture, by the identifier of its relationship.
        on_graphic: Gives the lines of a chart or a diagram, by the identifier of its relationship.
        on_chunk: Gives the lines of a part that is embedded in the document, by the identifier of its relationship.
        has_rendered_breaks: Whether Word wrote down in the document where its pages ended.
    """

    styles: WordStyles
    numbering: WordNumbering
    hidden: HiddenTexts
    ground: Ground
    page: Callable[[], int]
    note_mark: Callable[[str, str], str]
    on_picture: Callable[[str], None]
    on_graphic: Callable[[str], list[str]]
    on_chunk: Callable[[str], list[str]]
    has_rendered_breaks: bool
    _fields: list[bool] = field(default_factory=list)
    """For each field around, whether its instructions are over, so that its result follows."""
    _depth: int = 0
    """How many cells and text boxes are around."""

    def lines(self, container: Element, ground: Ground) -> Iterable[str]:
        """The lines of a container, one by one, so that pages can be counted while they are read.

        Args:
            container: The element that holds paragraphs and tables.
            ground: The colour behind them.
        """
        for child in container:
            tag = child.tag
            if tag == n.P:
                yield from self._paragraph(child, ground)
            elif tag == n.TBL:
                yield from self._table(child, ground)
                if not self._depth:
                    yield ""
            elif tag == n.SDT or tag in _WRAPPERS:
                yield from self.lines(child, ground)
            elif tag == n.ALTERNATE:
                chosen = chosen_content(child)
                if chosen is not None:
                    yield from self.lines(chosen, ground)
            elif tag == f"{n.W}altChunk":
                yield from self.on_chunk(child.get(f"{n.R}id", ""))

    def inner_lines(self, container: Element, ground: Ground) -> str:
        """The text of a cell, a text box or a note, which is on the page of what it stands in."""
        self._depth += 1
        fields, self._fields = self._fields, []
        try:
            lines: list[str] = []
            for child in container:
                lines += self._paragraph(child, ground) if child.tag == n.P else self.lines((child,), ground)
            return lines[0].strip() if len(lines) == 1 else joined_lines(lines)
        finally:
            self._depth -= 1
            self._fields = fields

    def _paragraph(self, paragraph: Element, ground: Ground) -> list[str]:
        properties = child_of(paragraph, n.P_PR)
        style_name = self.styles.default
        heading, number, level, own_ground, breaks_before, level_is_said = None, None, None, None, False, False
        for child in () if properties is None else properties:
            tag = child.tag
            if tag == n.P_STYLE:
                style_name = child.get(n.VAL, "")
            elif tag == n.OUTLINE:
                heading = heading_level(child)
            elif tag == n.NUM_PR:
                number, level = number_of(child)
                level_is_said = level is not None
            elif tag == n.SHD:
                own_ground = shading(child)
            elif tag == f"{n.W}pageBreakBefore":
                breaks_before = is_on(child)
        style = self.styles.style(style_name)
        ground = own_ground if own_ground is not None else style.ground if style.ground is not None else ground
        pieces: list[str] = []
        boxes: list[str] = []
        self._inline(paragraph, style.letters.over(self.styles.defaults), ground, pieces, boxes)
        text = "".join(pieces)
        number = style.number if number is None else number
        if number not in (None, "0") and (text.strip() or boxes):
            if not level_is_said:
                level = (
                    style.level if style.level is not None else self.numbering.level_of_style(number or "", style_name)
                )
            text = self._with_mark(number or "", level or 0, text)
        if heading is None:
            heading = style.heading
        if heading and not self._depth and text.strip():
            text = f"{'#' * min(heading, 6)} {text.strip()}"
        if self._depth:
            return [text.replace(PAGE_BREAK, ""), *boxes]
        return [PAGE_BREAK + text if breaks_before else text, *boxes]

    def _with_mark(self, number: str, level: int, text: str) -> str:
        """The text of an item of a list with its number or mark, after the ends of pages that come before it."""
        mark = self.numbering.next_mark(number, level)
        if not mark:
            return text
        begun = text.lstrip(PAGE_BREAK)
        indent = "" if self._depth or mark != BULLET else "  " * min(level, 8)
        return f"{text[: len(text) - len(begun)]}{indent}{mark} {begun}"

    def _inline(
        self, container: Element, letters: Letters, ground: Ground, pieces: list[str], boxes: list[str]
    ) -> None:
        for child in container:
            tag = child.tag
            if tag == n.R_:
                self._run(child, letters, ground, pieces, boxes)
            elif tag == n.P_PR or tag in _GONE:
                continue
            elif tag in _WRAPPERS or tag == n.SDT:
                self._inline(child, letters, ground, pieces, boxes)
            elif tag in _MATH:
                pieces.append(_formula(child))
            elif tag == n.ALTERNATE:
                chosen = chosen_content(child)
                if chosen is not None:
                    self._inline(chosen, letters, ground, pieces, boxes)

    def _run(self, run: Element, letters: Letters, ground: Ground, pieces: list[str], boxes: list[str]) -> None:
        shown: list[str] = []
        for child in run:
            tag = child.tag
            if tag == n.T:
                if not self._fields or self._fields[-1]:
                    shown.append(child.text or "")
            elif tag == n.R_PR:
                if len(child):
                    letters = letters_of(child, self.styles).over(letters)
            elif tag in _CHARACTERS:
                shown.append(_CHARACTERS[tag])
            elif tag == _BR:
                shown.append(PAGE_BREAK if child.get(f"{n.W}type") == "page" else "\n")
            elif tag == _FIELD:
                self._field(child, shown)
            elif tag in (_FOOTNOTE, _ENDNOTE):
                shown.append(self.note_mark(tag[len(n.W) : -len("Reference")], child.get(f"{n.W}id", "")))
            elif tag == _SYM:
                shown.append(_SYMBOLS.get(child.get(f"{n.W}char", "").lower(), ""))
            elif tag in _DRAWINGS:
                self._drawing(child, self.ground, boxes)
            elif tag == n.ALTERNATE:
                chosen = chosen_content(child)
                if chosen is not None:
                    self._run(chosen, letters, ground, shown, boxes)
            elif tag == _RUBY:
                base = child.find(f"{n.W}rubyBase")
                if base is not None:
                    self._inline(base, letters, ground, shown, boxes)
        if not shown:
            return
        text = "".join(shown)
        reason = letters.why_hidden(ground)
        if reason:
            self.hidden.add(text, reason, self.page(), between="")
            pieces.extend(PAGE_BREAK for piece in shown if piece == PAGE_BREAK)
        else:
            self.hidden.separate()
            pieces.append(text)

    def _field(self, mark: Element, shown: list[str]) -> None:
        kind = mark.get(f"{n.W}fldCharType")
        if kind == "begin":
            box = mark.find(f"{n.W}ffData/{n.W}checkBox")
            if box is not None:
                state = box.find(f"{n.W}checked")
                state = box.find(f"{n.W}default") if state is None else state
                shown.append("☒" if state is not None and is_on(state) else "☐")
            choice = mark.find(f"{n.W}ffData/{n.W}ddList")
            if choice is not None:
                shown.append(_chosen(choice))
            self._fields.append(box is not None or choice is not None)
        elif kind == "separate" and self._fields:
            self._fields[-1] = all(self._fields[:-1])
        elif kind == "end" and self._fields:
            self._fields.pop()

    def _table(self, table: Element, ground: Ground) -> Iterable[str]:
        properties = table.find(n.T_PR)
        for child in () if properties is None else properties:
            if child.tag == f"{n.W}tblStyle" and self.styles.style(child.get(n.VAL, "")).shades:
                ground = UNKNOWN
        flow = TableFlow()
        for row in _children(table, n.TR):
            row_properties = child_of(row, n.TR_PR)
            said = {} if row_properties is None else {child.tag: child for child in row_properties}
            if f"{n.W}del" in said:
                continue
            flow.begin_row()
            begins_page = False
            for cell in _children(row, n.TC):
                text, columns, holds_table, breaks = self._cell(cell, ground)
                begins_page = begins_page or breaks
                if holds_table:
                    flow.mark_holds_table()
                if columns:
                    flow.add_cell(text, columns)
            lines = flow.end_row()
            if f"{n.W}hidden" in said and is_on(said[f"{n.W}hidden"]):
                self.hidden.add("\n".join(lines), "hidden row", self.page())
                continue
            if begins_page and not self._depth:
                yield PAGE_BREAK
            yield from lines

    def _cell(self, cell: Element, ground: Ground) -> tuple[str, int, bool, bool]:
        """Its text, its columns (0 if it is deleted), whether it holds a table, and whether a page begins in it."""
        properties = child_of(cell, n.TC_PR)
        columns = 1
        for child in () if properties is None else properties:
            tag = child.tag
            if tag == f"{n.W}gridSpan":
                columns = max(1, int_of(child.get(n.VAL), 1))
            elif tag == n.SHD:
                own = shading(child)
                ground = ground if own is None else own
            elif tag in (f"{n.W}vMerge", f"{n.W}hMerge") and child.get(n.VAL, "continue") == "continue":
                return "", columns, False, False
            elif tag == f"{n.W}cellDel":
                return "", 0, False, False
        breaks = self.has_rendered_breaks and next(cell.iter(RENDERED_BREAK), None) is not None
        return self.inner_lines(cell, ground), columns, child_of(cell, n.TBL) is not None, breaks

    def _drawing(self, element: Element, ground: Ground, boxes: list[str]) -> None:
        """The pictures and text boxes of a drawing."""
        for child in element:
            tag = child.tag
            if tag == n.TEXT_BOX:
                text = self.inner_lines(child, ground)
                if text:
                    boxes.extend(text.split("\n"))
            elif tag in n.GRAPHICS:
                boxes.extend(self.on_graphic(child.get(n.GRAPHICS[tag], "")))
            elif tag == n.BLIP:
                self.on_picture(child.get(f"{n.R}embed", ""))
            elif tag == n.IMAGE_DATA:
                self.on_picture(child.get(f"{n.R}id", ""))
            elif tag == n.ALTERNATE:
                chosen = chosen_content(child)
                if chosen is not None:
                    self._drawing(chosen, ground, boxes)
            elif tag == f"{n.WP}anchor" and (reason := why_not_drawn(child)):
                for box in child.iter(n.TEXT_BOX):
                    self.hidden.add("\n".join(text for text in box.itertext(n.T)), reason, self.page())
            elif tag == f"{n.WPS}wsp":
                self._drawing(child, ground_of_shape(child, ground), boxes)
            elif len(child):
                self._drawing(child, UNKNOWN if tag.startswith(n.V) else ground, boxes)


def _children(parent: Element, tag: str) -> Iterable[Element]:
    """The rows or cells of a parent, also those in content controls and tracked insertions."""
    for child in parent:
        if child.tag == tag:
            yield child
        elif child.tag == n.SDT or child.tag in _WRAPPERS:
            yield from _children(child, tag)


def _formula(element: Element) -> str:
    """A formula on one line: ``a/b`` for fractions, ``a^b`` and ``a_b`` for raised and lowered parts."""
    marks = {f"{n.M}den": "/", f"{n.M}sup": "^", f"{n.M}sub": "_"}
    pieces = []
    for child in element:
        if child.tag in (f"{n.M}t", n.T):
            pieces.append(child.text or "")
        elif len(child):
            pieces.append(marks.get(child.tag, "") + _formula(child))
    return "".join(pieces)


def _chosen(choice: Element) -> str:
    """What a list of an older form shows: the entry that was chosen, else the one that is so at first."""
    entries = [entry.get(n.VAL, "") for entry in choice.iterfind(f"{n.W}listEntry")]
    chosen = choice.find(f"{n.W}result")
    chosen = choice.find(f"{n.W}default") if chosen is None else chosen
    index = 0 if chosen is None else int_of(chosen.get(n.VAL))
    return entries[index] if 0 <= index < len(entries) else ""
