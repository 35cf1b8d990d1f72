"""Reads PDFs: the text of each page as the eye sees it, or a picture of it, and what a person cannot see.

Files that are embedded in a PDF, such as the XML of an electronic invoice, are not read, but named in its metadata:
nobody sees them on its pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_raw

from kimi_beam.grounding.character_boxes import encode_boxes
from kimi_beam.input.readers.content import Content, HiddenText, Page, Picture, ReadOptions, UnreadableError
from kimi_beam.input.readers.pdf.characters import Characters, characters, unmapped_share
from kimi_beam.input.readers.pdf.layout.page_text import TextLine, page_text
from kimi_beam.input.readers.pdf.layout.page_words import by_direction
from kimi_beam.input.readers.pdf.layout.running_lines import without_repeated_lines
from kimi_beam.input.readers.pdf.page_annotations import not_among, with_annotations
from kimi_beam.input.readers.pdf.page_rules import rules
from kimi_beam.input.readers.pdf.page_view import PageView, page_view
from kimi_beam.input.readers.pdf.page_visibility import UNDER_ALL, Visibility, hidden_texts, visibility
from kimi_beam.input.readers.pictures.page_pictures import page_picture

_MOST_ATTACHED = 100
"""The most embedded files that are named."""
_METADATA = ("Title", "Author")
_GARBLED = 0.1
"""The share of characters whose letters nobody knows from which a text layer is of no use."""
_WHOLE_PAGE = 0.6
"""The share of a page that pictures cover from which it may be a scan."""
_LITTLE_TEXT = 200
"""A page under a picture with fewer characters than this is a picture with a stamp, or a scan with a page number."""
_DRAWN_LETTERS = 500
"""A page with more objects than this and next to no text has its letters drawn as shapes."""
_NO_TEXT = 20


@dataclass(frozen=True, slots=True)
class _Reading:
    """One page before it is known which lines all pages repeat.

    Attributes:
        lines: The lines of its text; empty if only its picture is wanted.
        picture: Its picture; None if only its text is wanted.
        view: How it is shown.
        hidden: Its hidden texts.
    """

    lines: list[TextLine]
    picture: Picture | None
    view: PageView
    hidden: list[HiddenText]


def read(content: bytes, options: ReadOptions) -> Content:
    """Reads a PDF.

    Args:
        content: The bytes of the file.
        options: What the user chose.

    Raises:
        UnreadableError: It is encrypted, damaged or has too many pages, or a picture needs a library that is missing.
    """
    with _opened(content, options) as pdf:
        count = len(pdf)
        if count > options.max_pages:
            most = f"{options.max_pages:,}"
            raise UnreadableError(
                "too_many_pages", f"has {count:,} pages, more than the {most} that are read of a file"
            )
        if count < 1:
            raise UnreadableError("damaged", "has no pages: it is damaged or cut off")
        pages = [_page(pdf, index, options) for index in range(count)]
        metadata = _metadata(pdf)
    lines = without_repeated_lines([page.lines for page in pages])
    return Content(
        pages=tuple(_as_page(page, kept, options) for page, kept in zip(pages, lines, strict=True)),
        metadata=metadata,
        hidden=tuple(text for page in pages for text in page.hidden),
    )


@contextmanager
def _opened(content: bytes, options: ReadOptions) -> Iterator[pdfium.PdfDocument]:
    """The document, closed at the end of the block."""
    if not content.strip(b"\0\t\n\r "):
        raise UnreadableError("damaged", "is empty")
    try:
        pdf = pdfium.PdfDocument(content, options.password)
    except pdfium.PdfiumError as error:
        raise _not_opened(error, options) from None
    try:
        if _is_cut_off(content):
            raise UnreadableError("damaged", "is cut off: its end is missing, fetch it again")
        if pdf.get_formtype() == pdfium_raw.FORMTYPE_XFA_FULL:
            raise UnreadableError(
                "unreadable", "is an XFA form, whose pages Adobe's programs alone make: print it to a PDF there"
            )
        pdf.init_forms()
        yield pdf
    except pdfium.PdfiumError as error:
        raise UnreadableError("damaged", f"is damaged: {str(error).rstrip('.')}") from None
    finally:
        pdf.close()


def _not_opened(error: pdfium.PdfiumError, options: ReadOptions) -> UnreadableError:
    code = getattr(error, "err_code", None)
    if code == pdfium_raw.FPDF_ERR_PASSWORD:
        if options.password is None:
            return UnreadableError("encrypted", "is encrypted: give its password by --password-from")
        return UnreadableError("encrypted", "is encrypted, and the password of --password-from does not open it")
    if code == pdfium_raw.FPDF_ERR_SECURITY:
        return UnreadableError("encrypted", "is encrypted in a way that is not supported: save it without encryption")
    return UnreadableError("damaged", "is damaged, or no PDF")


def _is_cut_off(content: bytes) -> bool:
    """Whether the end is missing: PDFium opens such a file too, and shows what is left as if it were all."""
    head = content[:1024]
    at = head.find(b"/Linearized")
    if at >= 0:
        length = head[at:].partition(b"/L ")[2].split(b"/")[0].split()[:1]
        return bool(length) and length[0].isdigit() and int(length[0]) > len(content)
    return content.rfind(b"startxref") < 0  # which is near the end


def _metadata(pdf: pdfium.PdfDocument) -> dict[str, Any]:
    found: dict[str, Any] = {
        name.lower(): value for name in _METADATA if (value := pdf.get_metadata_value(name).strip())
    }
    if count := pdf.count_attachments():
        found["attached_files"] = [_attached_name(pdf, index) for index in range(min(count, _MOST_ATTACHED))]
    return found


def _attached_name(pdf: pdfium.PdfDocument, index: int) -> str:
    name = str(pdf.get_attachment(index).get_name())
    return "".join(letter for letter in name if letter.isprintable())[:200]


def _page(pdf: pdfium.PdfDocument, index: int, options: ReadOptions) -> _Reading:
    try:
        page, written = with_annotations(pdf, index)
    except pdfium.PdfiumError:
        raise UnreadableError("damaged", f"is damaged: page {index + 1} cannot be read") from None
    try:
        text_page = page.get_textpage()
        try:
            return _read_page(page, text_page, written, index, options)
        finally:
            text_page.close()
    finally:
        page.close()


def _read_page(
    page: pdfium.PdfPage, text_page: pdfium.PdfTextPage, written: list[str], index: int, options: ReadOptions
) -> _Reading:
    view, read = page_view(page), characters(text_page)
    found = visibility(page, view, read)
    covered = _covered_by_pictures(view, found)
    is_scan = covered >= _WHOLE_PAGE and _is_recognised(read, found)
    wants_picture = options.pages in ("image", "both")
    if options.pages == "auto":
        visible = int(np.count_nonzero(found.seen & ~read.spaces))
        wants_picture = (
            is_scan
            or (covered >= _WHOLE_PAGE and visible < _LITTLE_TEXT)
            or (visible < _NO_TEXT and (visible == 0 or found.around.count > _DRAWN_LETTERS))
            or unmapped_share(text_page, read) > _GARBLED
        ) and found.around.count > 0
    picture = None
    if wants_picture:  # of an empty page only where the user asks for pictures
        is_chosen = options.pages != "auto"
        picture = page_picture(page, options, is_scan=covered >= _WHOLE_PAGE, may_be_blank=is_chosen)
    lines: list[TextLine] = []
    if options.pages in ("text", "both") or picture is None:
        shown = np.ones(len(read), np.bool_) if is_scan else found.seen
        places = view.places(read.boxes) if options.keeps_boxes else None
        lines = page_text(by_direction(read, shown, rules(found.around)), places)
        lines += not_among(written, lines)
    return _Reading(lines, picture, view, [] if is_scan else hidden_texts(read, found, index + 1))


def _covered_by_pictures(view: PageView, found: Visibility) -> float:
    """The share of the page that is covered by pictures; pieces of one scan are added up."""
    around = found.around
    pictures = around.kinds == pdfium_raw.FPDF_PAGEOBJ_IMAGE
    if not pictures.any():
        return 0.0
    places = view.places(around.boxes[pictures])
    width = np.minimum(places[:, 2], view.width) - np.maximum(places[:, 0], 0)
    height = np.minimum(places[:, 3], view.height) - np.maximum(places[:, 1], 0)
    area = float(np.sum(np.maximum(width, 0) * np.maximum(height, 0)))
    return min(area / max(view.width * view.height, 1e-6), 1.0)


def _is_recognised(read: Characters, found: Visibility) -> bool:
    """Whether most of a page's text lies unseen under its picture, as programs that recognise scans put it there."""
    letters = ~read.spaces
    hidden = letters & ~found.seen
    under = np.array([reason in UNDER_ALL for reason in found.reasons], np.bool_)[read.objects] & hidden
    visible = int(np.count_nonzero(letters & found.seen))
    return bool(np.count_nonzero(under) > max(visible, 0)) and visible < _LITTLE_TEXT


def _as_page(reading: _Reading, lines: list[TextLine], options: ReadOptions) -> Page:
    text = "\n".join(line.text for line in lines)
    boxes = None
    if options.keeps_boxes and lines:
        known = [np.full((len(line.text), 4), np.nan) if line.places is None else line.places for line in lines]
        line_feed = np.full((1, 4), np.nan)
        places = np.vstack([part for one in known for part in (one, line_feed)])[:-1]
        boxes = encode_boxes(places, reading.view.width, reading.view.height)
    return Page(text, reading.picture, boxes)
