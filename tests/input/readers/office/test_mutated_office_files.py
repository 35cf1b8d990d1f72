"""Damaged office files, web pages and mails: whatever they hold, each is read or refused with one line, in little time.

They are read in this process, so that a reader that ends its process would end the tests.
"""

from __future__ import annotations

import datetime
import io
import random
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import docx
import openpyxl
import pptx
import pytest
from mutated_files import mutated, mutated_inside
from outlook_mails import OutlookAttachment, OutlookMail
from pptx.util import Inches

from kimi_beam.input.readers.content import DEFAULT_OPTIONS, Content, UnreadableError
from kimi_beam.input.readers.mail import mail
from kimi_beam.input.readers.office.opendocument import opendocument
from kimi_beam.input.readers.office.slides import slides
from kimi_beam.input.readers.office.spreadsheets import spreadsheets
from kimi_beam.input.readers.office.word import word
from kimi_beam.input.readers.web import web_pages

EACH = 200
"""How many damaged files of each kind are read."""
_MOST_SECONDS = 5.0
"""The CPU seconds that one of these small files may take: a good one takes some milliseconds."""

OPEN_DOCUMENT = (
    '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0">{}</office:document-content>'
)
HTML = """<!DOCTYPE html><html><head><meta charset="utf-8"><title>Invoice 7</title><style>
th {background: #003366; color: white} .a > .b, td:first-child {display: none} @media print {p {color: red}}</style>
</head><body bgcolor="white"><h1>Invoice</h1><p style="font-size: 1px; left: -9999px">small</p>
<ol start="3"><li>one<li>two</ol>
<table><tr><th colspan="2">Item<th rowspan="2">Total<tr><td>Lamp<td>2<tr><td><table><tr><td>inner</table></table>
<pre> a  b </pre><select><option>x<option selected>y</select><img alt="logo" src="data:,x"></body></html>"""


def _docx() -> bytes:
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "ACME"
    document.add_heading("Invoice", 1)
    for words in ("one", "two"):
        document.add_paragraph(words, style="List Number").add_run("hidden").font.hidden = True
    table = document.add_table(rows=2, cols=3)
    table.rows[0].cells[0].merge(table.rows[0].cells[1]).text = "Item"
    return _saved(document.save)


def _xlsx() -> bytes:
    workbook = openpyxl.Workbook()
    for row in (["Item", "Date"], ["Lamp", datetime.datetime(2026, 1, 2, 3)], [2.5, True]):
        workbook.active.append(row)
    workbook.active.column_dimensions["B"].hidden = True
    workbook.create_sheet("Hidden").sheet_state = "hidden"
    return _saved(workbook.save)


def _pptx() -> bytes:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = "Offer"
    slide.shapes.add_table(2, 2, Inches(1), Inches(1), Inches(4), Inches(1)).table.cell(0, 0).text = "Item"
    slide.notes_slide.notes_text_frame.text = "say hello"
    return _saved(presentation.save)


def _odt() -> bytes:
    body = '<text:h text:outline-level="1">Terms</text:h><text:p>a<text:s text:c="2"/><text:span>b</text:span></text:p>'
    return _zip(OPEN_DOCUMENT.format(f"<office:body><office:text>{body}</office:text></office:body>"))


def _ods() -> bytes:
    cell = '<table:table-cell table:number-columns-repeated="3"><text:p>5</text:p></table:table-cell>'
    row = f'<table:table-row table:number-rows-repeated="4">{cell}</table:table-row>'
    table = f'<table:table table:name="A"><table:table-column table:visibility="collapse"/>{row}</table:table>'
    return _zip(OPEN_DOCUMENT.format(f"<office:body><office:spreadsheet>{table}</office:spreadsheet></office:body>"))


def _zip(content: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("content.xml", content)
    return file.getvalue()


def _eml() -> bytes:
    return (
        b"From: =?utf-8?q?J=C3=B6rg?= <j@x.example>\nTo: b@x.example\nSubject: =?utf-8?b?TcOkcno=?=\n"
        b'Date: Tue, 01 Dec 2026 10:00:00 +0100\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b1"\n\n'
        b"--b1\nContent-Type: multipart/alternative; boundary=b2\n\n--b2\nContent-Type: text/plain; charset=utf-8\n"
        b"Content-Transfer-Encoding: quoted-printable\n\nTotal: 5=E2=82=AC\n--b2\nContent-Type: text/html\n"
        b"Content-Transfer-Encoding: base64\n\nPHA+VG90YWw6IDU8L3A+\n--b2--\n--b1\nContent-Type: message/rfc822\n\n"
        b"Subject: inner\n\ntext\n--b1\nContent-Type: application/pdf\nContent-Disposition: attachment;\n"
        b" filename*0*=utf-8''M%C3%A4; filename*1=rz.pdf\nContent-Transfer-Encoding: base64\n\nJVBERi0=\n--b1--\n"
    )


def _msg() -> bytes:
    attachments = [OutlookAttachment("a.pdf", b"%PDF-"), OutlookAttachment("", OutlookMail("inner", "text"))]
    return OutlookMail("März", "plain", b"<p>html</p>", ("a", "b"), [("c", "d", 2)], attachments).write()


def _saved(save: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


class Sample(NamedTuple):
    """A good file, and what reads it."""

    reader: ModuleType
    make: Callable[[], bytes]


SAMPLES = {
    "docx": Sample(word, _docx),
    "xlsx": Sample(spreadsheets, _xlsx),
    "pptx": Sample(slides, _pptx),
    "odt": Sample(opendocument, _odt),
    "ods": Sample(spreadsheets, _ods),
    "html": Sample(web_pages, HTML.encode),
    "eml": Sample(mail, _eml),
    "msg": Sample(mail, _msg),
}


HOSTILE: dict[str, tuple[ModuleType, Callable[[int], bytes]]] = {
    "a style sheet without braces": (web_pages, lambda n: b"<style>" + b"a" * n + b"</style>x"),
    "a style sheet of opening braces": (web_pages, lambda n: b"<style>" + b"a{" * n + b"</style>x"),
    "rules without an end": (web_pages, lambda n: b"<style>" + b"@x{" * n + b"</style>x"),
    "many empty rules": (web_pages, lambda n: b"<style>" + b"@x{}" * n + b"</style>x"),
    "comments without an end": (web_pages, lambda n: b"<style>" + b"/*" * n + b"</style>x"),
    "a long number": (web_pages, lambda n: b'<p style="font-size:' + b"1" * n + b'x">x'),
    "pictures without an end": (web_pages, lambda n: b"<img " * n),
    "many nested tables": (web_pages, lambda n: b"<table><tr><td>" * (n // 100)),
    "cells without an end": (spreadsheets, lambda n: _with_sheet(b"<c " * n)),
    "rows without an end": (spreadsheets, lambda n: _with_sheet(b"<row " * n)),
    "a mark that every item repeats": (word, lambda n: _with_mark(b"%1" * n, n // 100)),
    "a header of encoded words": (mail, lambda n: b"Subject: " + b"=?utf-8?q?a?= " * (n // 10) + b"\n\nx"),
    "an address without an end": (mail, lambda n: b"From: " + b"(" * n + b"\n\nx"),
    "a type with many parameters": (mail, lambda n: b"Content-Type: text/plain" + b"; a*0=b" * (n // 10) + b"\n\nx"),
}


def _with_sheet(part: bytes) -> bytes:
    return _with_part(_xlsx(), "xl/worksheets/sheet1.xml", part)


def _with_mark(mark: bytes, items: int) -> bytes:
    space = b'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    level = b'<w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/><w:lvlText w:val="%s"/></w:lvl>' % mark
    numbering = b'<w:numbering %s><w:abstractNum w:abstractNumId="1">%s</w:abstractNum>' % (space, level)
    numbering += b'<w:num w:numId="1"><w:abstractNumId w:val="1"/></w:num></w:numbering>'
    item = b'<w:p><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr><w:r><w:t>x</w:t></w:r></w:p>'
    body = b"<w:document %s><w:body>%s</w:body></w:document>" % (space, item * items)
    return _with_part(_with_part(_docx(), "word/numbering.xml", numbering), "word/document.xml", body)


def _with_part(content: bytes, name: str, part: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            new.writestr(member, part if member == name else old.read(member))
    return file.getvalue()


@pytest.mark.parametrize("case", HOSTILE)
def test_what_a_hostile_file_repeats_takes_time_in_proportion(case: str) -> None:
    reader, make = HOSTILE[case]
    content = make(200_000)
    begun = time.process_time()
    _outcome(reader, content)
    assert time.process_time() - begun < _MOST_SECONDS


def _outcome(reader: ModuleType, content: bytes) -> tuple[str, str]:
    """``read``, or the code and the message with which the file is refused."""
    try:
        found = reader.read(content, DEFAULT_OPTIONS)
    except UnreadableError as e:
        return e.code, e.message
    assert found.pages
    return "read", ""


@pytest.mark.parametrize("kind", SAMPLES)
def test_each_damaged_file_is_read_or_refused_with_one_line(kind: str) -> None:
    reader, make = SAMPLES[kind]
    good = make()
    assert isinstance(reader.read(good, DEFAULT_OPTIONS), Content)
    outcomes: Counter[str] = Counter()
    for number in range(EACH):
        chance = random.Random(f"1/{kind}/{number}")
        damage = mutated_inside if good.startswith(b"PK") and number % 2 else mutated
        content = damage(good, chance)
        begun = time.process_time()
        outcome, message = _outcome(reader, content)
        outcomes[outcome] += 1
        assert message.isprintable(), f"file {number}: {message!r}"
        assert time.process_time() - begun < _MOST_SECONDS, f"file {number}"
    assert 0 < outcomes["read"] <= EACH
    assert sum(outcomes.values()) == EACH
