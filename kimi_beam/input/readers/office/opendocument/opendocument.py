"""Reads OpenDocument files: texts (.odt), spreadsheets (.ods) and presentations (.odp).

A page of a text is what the program last laid out, headers and footers are read once, and notes stand below their page.
A sheet or a slide is a page. Cells show what is printed in them. Deleted text and comments are no text. Hidden text,
sections, shapes, rows, columns, sheets and slides are in `Content.hidden`.
"""

from __future__ import annotations

from kimi_beam.input.readers.content import Content, Page, ReadOptions, UnreadableError
from kimi_beam.input.readers.hidden.hidden_texts import HiddenTexts
from kimi_beam.input.readers.office.office_xml import Element, OfficeFile, local_name
from kimi_beam.input.readers.office.opendocument.opendocument_lists import ListMarks
from kimi_beam.input.readers.office.opendocument.opendocument_sheets import sheet_lines
from kimi_beam.input.readers.office.opendocument.opendocument_styles import DRAW, OFFICE, STYLE, OpenStyles
from kimi_beam.input.readers.office.opendocument.opendocument_text import PAGE_BREAK, OpenText
from kimi_beam.input.readers.pictures.embedded_pictures import pages_with_pictures
from kimi_beam.input.readers.text.table_rows import joined_lines

_KIND = "an OpenDocument file"
_META = {"title": "title", "creator": "author", "initial-creator": "author", "subject": "subject"}
_TIMES = {"creation-date": "created", "date": "modified"}


def read(content: bytes, options: ReadOptions) -> Content:
    """Reads an OpenDocument file.

    Args:
        content: The file.
        options: `max_pages` bounds its pages, sheets or slides.

    Returns:
        Its pages. `metadata` has title, author, subject and times if the file says them.

    Raises:
        UnreadableError: It is damaged, encrypted, no OpenDocument file, or larger than the limits.
    """
    file = OfficeFile(content, _KIND)
    manifest = file.optional_part("META-INF/manifest.xml")
    if manifest is not None and any(local_name(e) == "encryption-data" for e in manifest.iter()):
        raise UnreadableError("encrypted", "is encrypted with a password: save it without one")
    root = file.part("content.xml")
    look = file.optional_part("styles.xml")
    parts = [part for part in (look, root) if part is not None]
    styles = OpenStyles(parts)
    hidden = HiddenTexts()
    body = root.find(f"{OFFICE}body")
    kinds = [] if body is None else [child for child in body if len(child)]
    if not kinds:
        return Content((Page(),), _metadata(file))
    kind = local_name(kinds[0])
    shown: dict[int, list[str]] = {}
    if kind == "spreadsheet":
        pages = _sheets(kinds[0], styles, hidden)
    else:
        pages = _pages(kinds[0], look, styles, ListMarks(parts), hidden, options.max_pages, shown)
    if len(pages) > options.max_pages:
        message = f"has more than {options.max_pages:,} pages: split it, or allow more"
        raise UnreadableError("too_many_pages", message)
    pictures = {at: [file.members.read(name) for name in names if name in file.members] for at, names in shown.items()}
    return Content(pages_with_pictures(pages, pictures, options), _metadata(file), hidden.all())


def _sheets(body: Element, styles: OpenStyles, hidden: HiddenTexts) -> list[str]:
    pages: list[str] = []
    for name, lines, is_shown in sheet_lines(body, styles, hidden, lambda: len(pages) + 1):
        if not is_shown:
            hidden.add("\n".join(lines), f"hidden sheet {name!r}", len(pages) + 1)
        elif lines:
            pages.append(f"# {name}\n\n{joined_lines(lines)}")
    return pages


def _pages(
    body: Element,
    look: Element | None,
    styles: OpenStyles,
    marks: ListMarks,
    hidden: HiddenTexts,
    most: int,
    shown: dict[int, list[str]],
) -> list[str]:
    """The pages of a text, or the slides of a presentation. The names of their pictures are put into `shown`."""
    pages: list[list[str]] = [[]]
    notes: list[list[str]] = [[]]

    def on_picture(name: str) -> None:
        if not any(name in names for names in shown.values()):
            shown.setdefault(len(pages) - 1, []).append(name)

    text = OpenText(styles, hidden, lambda: len(pages), lambda note: notes[-1].append(note), on_picture, marks)
    heads, feet = _heads_and_feet(look, text)
    shown.clear()  # the pictures of headers are logos

    def begin_page() -> None:
        if any(line.strip() for line in pages[-1]) and len(pages) <= most:
            pages.append([])
            notes.append([])

    for child in body:
        if child.tag == f"{DRAW}page":
            begin_page()
        if child.tag == f"{DRAW}page" and not styles.style("drawing-page", child.get(f"{DRAW}style-name")).is_shown:
            hidden.add("\n".join(text.inner_lines(child)), "hidden slide", len(pages))
            continue
        for line in text.lines((child,)):
            first, *others = line.split(PAGE_BREAK)
            pages[-1].append(first)
            for other in others:
                begin_page()
                pages[-1].append(other)
    texts = ["\n\n".join(part for part in map(joined_lines, pair) if part) for pair in zip(pages, notes, strict=True)]
    while len(texts) > 1 and not texts[-1] and len(texts) - 1 not in shown:
        texts.pop()
    texts[0] = "\n\n".join(part for part in (heads, texts[0]) if part)
    texts[-1] = "\n\n".join(part for part in (texts[-1], feet) if part)
    return texts


def _heads_and_feet(look: Element | None, text: OpenText) -> tuple[str, str]:
    """The headers and the footers of all kinds of pages, each once."""
    found: dict[str, list[str]] = {"header": [], "footer": []}
    for element in () if look is None else look.iter(*(f"{STYLE}{kind}" for kind in found)):
        lines = joined_lines(text.inner_lines(element))
        kind = local_name(element)
        if lines and lines not in found[kind] and element.get(f"{STYLE}display") != "false":
            found[kind].append(lines)
    return "\n\n".join(found["header"]), "\n\n".join(found["footer"])


def _metadata(file: OfficeFile) -> dict[str, str]:
    root = file.optional_part("meta.xml")
    found: dict[str, str] = {}
    for element in () if root is None else root.iter():
        word = (_META | _TIMES).get(local_name(element))
        if word and (element.text or "").strip():
            found[word] = (element.text or "").strip()
    return found
