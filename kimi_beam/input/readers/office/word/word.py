"""Reads Word documents (.docx): pages as Word last laid them out, headers and footers once, notes below their page.

Tracked insertions are text, deletions and comments are not. Hidden letters, letters in the colour of what is behind
them, letters too small to see, and what stands off the page are in `Content.hidden`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from kimi_beam.input.readers.content import Content, ReadOptions, UnreadableError
from kimi_beam.input.readers.hidden.hidden_texts import HiddenTexts
from kimi_beam.input.readers.office import openxml_names as n
from kimi_beam.input.readers.office.drawing_text import graphic_lines
from kimi_beam.input.readers.office.list_numbers import format_number
from kimi_beam.input.readers.office.office_xml import Element, OfficeFile, parse_part
from kimi_beam.input.readers.office.word.drawings import page_ground
from kimi_beam.input.readers.office.word.numbering import WordNumbering
from kimi_beam.input.readers.office.word.story import PAGE_BREAK, RENDERED_BREAK, Story
from kimi_beam.input.readers.office.word.word_styles import WordStyles, is_on
from kimi_beam.input.readers.pictures.embedded_pictures import pages_with_pictures
from kimi_beam.input.readers.text.declared_encodings import decode_declared
from kimi_beam.input.readers.text.table_rows import joined_lines
from kimi_beam.input.readers.web import web_pages

_KIND = "a Word document"
_MOST_CACHED = 1 << 19
"""The bytes of the largest styles that are kept for the next document, which take twelve times as much memory."""


def read(content: bytes, options: ReadOptions) -> Content:
    """Reads a Word document.

    Args:
        content: The file.
        options: `max_pages` bounds its pages, `pages` says whether its pictures are sent.

    Returns:
        Its pages, with their pictures where there is next to no text. `metadata` has title, author, subject and times
        if the file says them.

    Raises:
        UnreadableError: It is damaged, encrypted, no Word document, or larger than the limits.
    """
    file = OfficeFile(content, _KIND)
    return _Document(file, options).content()


@lru_cache(maxsize=4)
def _cached_styles(part: bytes) -> WordStyles:
    """Styles, kept because those of a template are the same in all its documents, and dear to parse."""
    try:
        return WordStyles(parse_part(part, "styles"))
    except UnreadableError as e:
        if e.code != "damaged":
            raise
        return WordStyles(None)


@dataclass(slots=True)
class _PageLines:
    """The lines of a page."""

    head: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    foot: list[str] = field(default_factory=list)

    def text(self) -> str:
        parts = (joined_lines(part) for part in (self.head, self.body, self.notes, self.foot))
        return "\n\n".join(part for part in parts if part)


class _Document:
    def __init__(self, file: OfficeFile, options: ReadOptions) -> None:
        self._file = file
        self._options = options
        self._main = file.main_part("word/document.xml")
        self._root = file.part(self._main)
        self._relations = file.relationships(self._main)
        self._parts = dict(self._relations.values())
        self._pages = [_PageLines()]
        self._hidden = HiddenTexts()
        self._heads: dict[str, str] = {}
        """The texts of headers and footers, by the names of their parts."""
        self._seen: set[str] = set()
        """The texts of headers and footers that stand somewhere already."""
        self._notes: dict[str, dict[str, Element]] = {}
        self._note_counts = {"footnote": 0, "endnote": 0}
        self._endnotes: list[str] = []
        self._pictures: dict[int, list[bytes]] = {}
        """The pictures of each page, by its index."""
        self._read_pictures: set[str] = set()
        self._is_in_body = False
        styles = self._styles()
        self._story = Story(
            styles=styles,
            numbering=WordNumbering(self._part("numbering"), lambda style: styles.style(style).number),
            hidden=self._hidden,
            ground=page_ground(self._root),
            page=lambda: len(self._pages),
            note_mark=self._note_mark,
            on_picture=self._add_picture,
            on_graphic=self._graphic_lines,
            on_chunk=self._chunk_lines,
            has_rendered_breaks=next(self._root.iter(RENDERED_BREAK), None) is not None,
        )

    def content(self) -> Content:
        body = self._root.find(f"{n.W}body")
        if body is None:
            raise UnreadableError("damaged", f"is not {_KIND}, or damaged: it has no body")
        # Those of `sectPrChange` are what sections were before a tracked change.
        sections = [section for section in body.iter(n.SECT_PR) if section.getparent().tag in (n.P_PR, body.tag)]
        following = self._following_sections(body, sections)
        self._begin_section(sections[0] if sections else None)
        for child in body:
            self._is_in_body = True
            for line in self._story.lines((child,), self._story.ground):
                self._add(line)
            self._is_in_body = False
            for section in following.get(child, ()):
                kind = section.find(f"{n.W}type")
                if kind is None or kind.get(n.VAL) != "continuous":
                    self._begin_page()
                self._begin_section(section)
        self._pages[-1].notes.extend(self._endnotes)
        texts = [page.text() for page in self._pages]
        while len(texts) > 1 and not texts[-1] and len(texts) - 1 not in self._pictures:
            texts.pop()
        pages = pages_with_pictures(texts, self._pictures, self._options)
        return Content(pages, self._file.properties(), self._hidden.all())

    @staticmethod
    def _following_sections(body: Element, sections: list[Element]) -> dict[Element, list[Element]]:
        """For each child of the body in which sections end, those that begin after it."""
        found: dict[Element, list[Element]] = {}
        for section, following in pairwise(sections):
            end = section
            while end.getparent() is not body:
                end = end.getparent()
            found.setdefault(end, []).append(following)
        return found

    def _styles(self) -> WordStyles:
        name = self._parts.get("styles")
        if name is None or name not in self._file.members:
            return WordStyles(None)
        part = self._file.members.read(name)
        return _cached_styles(part) if len(part) <= _MOST_CACHED else WordStyles(self._part("styles"))

    def _part(self, kind: str) -> Element | None:
        name = self._parts.get(kind)
        return None if name is None else self._file.optional_part(name)

    def _add(self, line: str) -> None:
        first, *others = line.split(PAGE_BREAK)
        self._pages[-1].body.append(first)
        for text in others:
            self._begin_page()
            self._pages[-1].body.append(text)

    def _begin_page(self) -> None:
        """Begins a page, unless the last one is empty: Word writes down the end of a page twice."""
        if not any(line.strip() for line in self._pages[-1].body):
            return
        if len(self._pages) >= self._options.max_pages:
            message = f"has more than {self._options.max_pages:,} pages: split it, or allow more"
            raise UnreadableError("too_many_pages", message)
        self._pages.append(_PageLines())

    def _add_picture(self, relation: str) -> None:
        """Keeps a picture of the body: those of headers are logos."""
        _, name = self._relations.get(relation, ("", ""))
        if self._is_in_body and name in self._file.members and name not in self._read_pictures:
            self._read_pictures.add(name)
            self._pictures.setdefault(len(self._pages) - 1, []).append(self._file.members.read(name))

    def _graphic_lines(self, relation: str) -> list[str]:
        _, name = self._relations.get(relation, ("", ""))
        root = self._file.optional_part(name) if name else None
        return [] if root is None else graphic_lines(root)

    def _chunk_lines(self, relation: str) -> list[str]:
        """The lines of a page of HTML, or of a text, that is embedded in the document."""
        _, name = self._relations.get(relation, ("", ""))
        if name not in self._file.members:
            return []
        content = self._file.members.read(name)
        if name.lower().endswith((".htm", ".html", ".xhtml")):
            chunk = web_pages.read(content, self._options)
            for hidden in chunk.hidden:
                self._hidden.add(hidden.text, hidden.reason, len(self._pages))
            return chunk.pages[0].text.split("\n")
        if name.lower().endswith(".txt"):
            return decode_declared(content, (), self._options.encoding).split("\n")
        message = f"embeds a file {name[:200]!r} as a part of its text, which is not read: save it once more in Word"
        raise UnreadableError("reader_failed", message)

    def _begin_section(self, section: Element | None) -> None:
        """Puts the headers and footers of a section on its first page, except those that an earlier one has."""
        if section is None:
            return
        shown = {"default"}
        title_page = section.find(f"{n.W}titlePg")
        if title_page is not None and is_on(title_page):
            shown.add("first")
        settings = self._part("settings")
        even = None if settings is None else settings.find(f"{n.W}evenAndOddHeaders")
        if even is not None and is_on(even):
            shown.add("even")
        for reference in section:
            is_header = reference.tag == f"{n.W}headerReference"
            if not (is_header or reference.tag == f"{n.W}footerReference"):
                continue
            _, name = self._relations.get(reference.get(f"{n.R}id", ""), ("", ""))
            if reference.get(f"{n.W}type", "default") not in shown:
                continue
            text = self._head_text(name)
            if text and text not in self._seen:
                self._seen.add(text)
                page = self._pages[-1]
                (page.head if is_header else page.foot).append(text)

    def _head_text(self, name: str) -> str:
        """The text of a header or footer, which many sections may have."""
        if name not in self._heads:
            root = self._file.optional_part(name) if name else None
            self._heads[name] = "" if root is None else self._story.inner_lines(root, page_ground(root))
        return self._heads[name]

    def _note_mark(self, kind: str, identifier: str) -> str:
        """Puts a note below its page, or at the end of the document, and gives what stands for it in the text."""
        if kind not in self._notes:
            root = self._part(f"{kind}s")
            self._notes[kind] = {note.get(f"{n.W}id", ""): note for note in (() if root is None else root)}
        note = self._notes[kind].pop(identifier, None)
        if note is None:
            return ""
        self._note_counts[kind] += 1
        number = format_number(self._note_counts[kind], "lowerRoman" if kind == "endnote" else "decimal")
        text = self._story.inner_lines(note, self._story.ground)
        (self._endnotes if kind == "endnote" else self._pages[-1].notes).append(f"[{number}] {text}")
        return f"[{number}]"
