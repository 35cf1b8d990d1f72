"""Reads presentations (.pptx): a slide is a page, its shapes in reading order, its notes below them.

Text of layouts and masters that stands on every slide is read once. Hidden slides and shapes, and what stands off the
slide, are in `Content.hidden`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kimi_beam.input.readers.content import Content, ReadOptions, UnreadableError
from kimi_beam.input.readers.hidden.colours import Colour
from kimi_beam.input.readers.hidden.hidden_texts import HiddenTexts
from kimi_beam.input.readers.office.drawing_text import graphic_lines, paragraphs, solid_fill, table_lines
from kimi_beam.input.readers.office.office_xml import Element, OfficeFile, int_of
from kimi_beam.input.readers.office.openxml_names import ALTERNATE, BLIP, CHOICE, FALLBACK, GRAPHICS, A, R
from kimi_beam.input.readers.office.slides.backgrounds import Drawn, background, box_of, covers, theme_colours
from kimi_beam.input.readers.office.slides.reading_order import Box, reading_order
from kimi_beam.input.readers.pictures.embedded_pictures import pages_with_pictures
from kimi_beam.input.readers.text.table_rows import joined_lines

_KIND = "a presentation"
P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"


def read(content: bytes, options: ReadOptions) -> Content:
    """Reads a presentation.

    Args:
        content: The file.
        options: `max_pages` bounds its slides.

    Returns:
        A page for each slide that is shown.

    Raises:
        UnreadableError: It is damaged, encrypted, no presentation, or larger than the limits.
    """
    file = OfficeFile(content, _KIND)
    main = file.main_part("ppt/presentation.xml")
    root = file.part(main)
    relations = file.relationships(main)
    names = [relations.get(slide.get(f"{R}id", ""), ("", ""))[1] for slide in root.iterfind(f"{P}sldIdLst/{P}sldId")]
    if len(names) > options.max_pages:
        message = f"has {len(names):,} slides, and {options.max_pages:,} are read at most: split it, or allow more"
        raise UnreadableError("too_many_pages", message)
    size = root.find(f"{P}sldSz")
    width = int_of(size.get("cx")) if size is not None else 0
    height = int_of(size.get("cy")) if size is not None else 0
    presentation = _Presentation(file, width, height, options)
    for name in names:
        presentation.add_slide(name)
    return presentation.content()


@dataclass(frozen=True, slots=True)
class _Shape:
    """What stands at one place of a slide."""

    box: Box
    lines: list[str]


class _Presentation:
    def __init__(self, file: OfficeFile, width: int, height: int, options: ReadOptions) -> None:
        self._file = file
        self._options = options
        self._slide = Box(0, 0, width, height)
        self._hidden = HiddenTexts()
        self._pages: list[str] = []
        self._pictures: dict[int, list[bytes]] = {}
        """The pictures of each slide that is shown, by its index."""
        self._read_pictures: set[str] = set()
        self._layouts: dict[str, Element | None] = {}
        self._read_layouts: set[str] = set()
        self._relations: dict[str, tuple[str, str]] = {}
        self._theme: dict[str, Colour] = {}
        """The colours of the theme of the slide that is read."""
        self._themes: dict[str, dict[str, Colour]] = {}
        self._drawn = Drawn()
        """What is behind the text of the slide that is read."""
        self._reason = ""
        """Why nothing of the slide that is read is shown; empty if it is."""

    def content(self) -> Content:
        pages = pages_with_pictures(self._pages, self._pictures, self._options)
        return Content(pages, self._file.properties(), self._hidden.all())

    def add_slide(self, name: str) -> None:
        root = self._file.part(name)
        self._relations = self._file.relationships(name)
        parts = dict(self._relations.values())
        self._reason = "hidden slide" if root.get("show") in ("0", "false") else ""
        layout_name = parts.get("slideLayout", "")
        layout = self._layout(layout_name)
        lines = self._lines(root, layout, self._ground(root, layout_name, layout))
        notes = self._file.optional_part(parts["notesSlide"]) if "notesSlide" in parts else None
        spoken = [] if notes is None else self._notes(notes)
        if spoken:
            lines += ["", "Notes:", *spoken]
        if self._reason:
            self._hidden.add("\n".join(lines), self._reason, len(self._pages) + 1)
            return
        if root.get("showMasterSp") not in ("0", "false"):
            lines += self._fixed(layout_name, layout)
        self._pages.append(joined_lines(lines))
        self._hidden.separate()

    def _layout(self, name: str) -> Element | None:
        if name not in self._layouts:
            self._layouts[name] = self._file.optional_part(name) if name else None
        return self._layouts[name]

    def _ground(self, root: Element, layout_name: str, layout: Element | None) -> Colour | None:
        """The colour of a slide's background; what its layout and master draw on it is noted."""
        self._drawn = Drawn()
        if layout is None:
            return None
        master_name = dict(self._file.relationships(layout_name).values()).get("slideMaster", "")
        master = self._layout(master_name)
        if master_name not in self._themes:
            theme_name = dict(self._file.relationships(master_name).values()).get("theme", "") if master_name else ""
            self._themes[master_name] = theme_colours(self._layout(theme_name), master)
        is_own = root.find(f"{P}clrMapOvr/{A}overrideClrMapping") is not None
        self._theme = {} if is_own else self._themes[master_name]
        if root.get("showMasterSp") not in ("0", "false"):
            self._drawn.add_all(layout)
            if layout.get("showMasterSp") not in ("0", "false"):
                self._drawn.add_all(master)
        return background([part for part in (root, layout, master) if part is not None], self._theme)

    def _fixed(self, name: str, layout: Element | None) -> list[str]:
        """What a layout and its master show on all their slides, the first time."""
        if layout is None or name in self._read_layouts:
            return []
        self._read_layouts.add(name)
        own, self._relations = self._relations, self._file.relationships(name)
        lines = self._lines(layout, None, None, is_fixed=True)
        master_name = dict(self._relations.values()).get("slideMaster", "")
        if layout.get("showMasterSp") not in ("0", "false"):
            self._relations = self._file.relationships(master_name) if master_name else {}
            if master_name not in self._read_layouts:
                self._read_layouts.add(master_name)
                master = self._layout(master_name)
                lines += [] if master is None else self._lines(master, None, None, is_fixed=True)
        self._relations = own
        return lines

    def _lines(
        self, root: Element, layout: Element | None, ground: Colour | None, *, is_fixed: bool = False
    ) -> list[str]:
        """The lines of a slide, or of what a layout shows on all slides."""
        tree = root.find(f"{P}cSld/{P}spTree")
        if tree is None:
            return []
        shapes = list(self._shapes(tree, _places(layout), ground, is_fixed))
        order = reading_order([shape.box for shape in shapes])
        lines: list[str] = []
        for index in order:
            lines += shapes[index].lines
        return lines

    def _shapes(
        self, tree: Element, places: dict[tuple[str, str], Box], ground: Colour | None, is_fixed: bool
    ) -> Iterable[_Shape]:
        for element in tree:
            if element.tag == ALTERNATE:
                choice = element.find(CHOICE)
                chosen = element.find(FALLBACK) if choice is None else choice
                if chosen is not None:
                    yield from self._shapes(chosen, places, ground, is_fixed)
                continue
            if element.tag == f"{P}pic" and not is_fixed:
                self._drawn.add(box_of(element))
                if not self._reason:
                    self._add_picture(element)
            if element.tag not in (f"{P}sp", f"{P}graphicFrame", f"{P}grpSp", f"{P}cxnSp"):
                continue
            placeholder = element.find(f"*/{P}nvPr/{P}ph")
            if is_fixed and placeholder is not None:
                continue
            box = box_of(element) or places.get(_key(placeholder)) or (self._slide if placeholder is not None else None)
            reason = self._why_not_drawn(element, box, tree.tag == f"{P}grpSp")
            on_hidden = (
                self._add_hidden if not reason else (lambda text, _, reason=reason: self._add_hidden(text, reason))
            )
            if element.tag == f"{P}grpSp":
                inner = list(self._shapes(element, places, ground, is_fixed))
                order = reading_order([shape.box for shape in inner])
                lines = [line for index in order for line in inner[index].lines]
            elif element.tag == f"{P}graphicFrame":
                lines = self._graphic(element)
            else:
                body = element.find(f"{P}txBody")
                fill = solid_fill(element.find(f"{P}spPr"), self._theme)
                is_covered = covers(element) or tree.tag == f"{P}grpSp" or self._drawn.is_behind(box)
                around = fill or (None if is_covered else ground)
                lines = [] if body is None else paragraphs(body, around, on_hidden, self._theme)
            if not is_fixed and covers(element):
                self._drawn.add(box)
            if reason:
                self._add_hidden("\n".join(lines), reason)
            elif lines:
                yield _Shape(box or Box(0, 0, 0, 0), lines)

    def _add_picture(self, element: Element) -> None:
        for blip in element.iter(BLIP):
            _, name = self._relations.get(blip.get(f"{R}embed", ""), ("", ""))
            if name in self._file.members and name not in self._read_pictures:
                self._read_pictures.add(name)
                self._pictures.setdefault(len(self._pages), []).append(self._file.members.read(name))

    def _add_hidden(self, text: str, reason: str) -> None:
        self._hidden.add(text, self._reason or reason, len(self._pages) + 1)

    def _why_not_drawn(self, element: Element, box: Box | None, in_group: bool) -> str:
        properties = element.find(f"*/{P}cNvPr")
        if properties is not None and properties.get("hidden") in ("1", "true"):
            return "hidden shape"
        slide = self._slide
        if in_group or box is None or box.right <= box.left or not (slide.right and slide.bottom):
            return ""
        is_outside = box.right <= 0 or box.bottom <= 0 or box.left >= slide.right or box.top >= slide.bottom
        return "off the page" if is_outside else ""

    def _graphic(self, frame: Element) -> list[str]:
        """The lines of a table, a chart or a diagram."""
        lines: list[str] = []
        for data in frame.iter(f"{A}graphicData"):
            for child in data:
                if child.tag == f"{A}tbl":
                    lines += table_lines(child, self._add_hidden)
                elif child.tag in GRAPHICS:
                    root = self._related(child.get(GRAPHICS[child.tag], ""))
                    lines += [] if root is None else graphic_lines(root)
        return lines

    def _related(self, relation: str) -> Element | None:
        _, name = self._relations.get(relation, ("", ""))
        return self._file.optional_part(name) if name else None

    def _notes(self, root: Element) -> list[str]:
        """What the speaker wrote for a slide."""
        lines: list[str] = []
        for shape in root.iter(f"{P}sp"):
            placeholder = shape.find(f"*/{P}nvPr/{P}ph")
            body = shape.find(f"{P}txBody")
            if placeholder is not None and placeholder.get("type", "body") == "body" and body is not None:
                lines += paragraphs(body, None, self._add_hidden)
        return lines


def _key(placeholder: Element | None) -> tuple[str, str]:
    if placeholder is None:
        return "", ""
    return placeholder.get("type", "obj").replace("ctrTitle", "title"), placeholder.get("idx", "0")


def _places(layout: Element | None) -> dict[tuple[str, str], Box]:
    """Where a layout puts what has no place of its own."""
    places: dict[tuple[str, str], Box] = {}
    for shape in () if layout is None else layout.iter(f"{P}sp"):
        placeholder, box = shape.find(f"*/{P}nvPr/{P}ph"), box_of(shape)
        if placeholder is not None and box is not None:
            places[_key(placeholder)] = box
    return places
