"""What lies on a page and a person sees, but its content has not: filled fields of forms, notes, stamps."""

from __future__ import annotations

import ctypes

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_raw

from kimi_beam.input.readers.pdf.layout.page_text import TextLine

_UNSEEN = (pdfium_raw.FPDF_ANNOT_LINK, pdfium_raw.FPDF_ANNOT_POPUP, pdfium_raw.FPDF_ANNOT_TEXT)
"""Kinds that paint nothing of their own, or only an icon."""


def with_annotations(pdf: pdfium.PdfDocument, index: int) -> tuple[pdfium.PdfPage, list[str]]:
    """A page whose annotations have become part of its content, so that their text is read and their shapes cover.

    Args:
        pdf: The document.
        index: The index of the page.

    Returns:
        The page, and the texts that were written on it. Programs draw them, though the file may not say how they look.
    """
    page = pdf[index]
    kinds, written = _annotations(page)
    if all(kind in _UNSEEN for kind in kinds):
        return page, written
    if pdfium_raw.FPDFPage_Flatten(page, pdfium_raw.FLAT_NORMALDISPLAY) != pdfium_raw.FLATTEN_SUCCESS:
        return page, written
    page.close()
    return pdf[index], written


def not_among(written: list[str], lines: list[TextLine]) -> list[TextLine]:
    """The written texts that a page's lines do not have, as lines.

    Args:
        written: The texts.
        lines: The lines of the page.
    """
    known = "".join("".join(line.text.split()) for line in lines) if written else ""
    return [TextLine(text) for text in written if "".join(text.split()) not in known]


def _annotations(page: pdfium.PdfPage) -> tuple[list[int], list[str]]:
    kinds, written = [], []
    for index in range(pdfium_raw.FPDFPage_GetAnnotCount(page)):
        note = pdfium_raw.FPDFPage_GetAnnot(page, index)
        if not note:
            continue
        kinds.append(pdfium_raw.FPDFAnnot_GetSubtype(note))
        if kinds[-1] == pdfium_raw.FPDF_ANNOT_FREETEXT and not _is_hidden(note):
            written.append(" ".join(_contents(note).split()))
        pdfium_raw.FPDFPage_CloseAnnot(note)
    return kinds, [text for text in written if text]


def _is_hidden(note: pdfium_raw.FPDF_ANNOTATION) -> bool:
    hiding = pdfium_raw.FPDF_ANNOT_FLAG_HIDDEN | pdfium_raw.FPDF_ANNOT_FLAG_NOVIEW
    return bool(pdfium_raw.FPDFAnnot_GetFlags(note) & hiding)


def _contents(note: pdfium_raw.FPDF_ANNOTATION) -> str:
    length = pdfium_raw.FPDFAnnot_GetStringValue(note, b"Contents", None, 0)
    buffer = ctypes.create_string_buffer(length)
    pdfium_raw.FPDFAnnot_GetStringValue(
        note, b"Contents", ctypes.cast(buffer, ctypes.POINTER(pdfium_raw.FPDF_WCHAR)), length
    )
    return buffer.raw[: max(length - 2, 0)].decode("utf-16-le", "replace")
