"""What is read of spreadsheets, made by openpyxl, and by hand where they are hostile."""

from __future__ import annotations

import datetime
import io
import re
import struct
import zipfile
from typing import Any

import openpyxl
import openpyxl.drawing.image
import pytest
from compound_files import compound_file
from openpyxl.formatting.rule import FormulaRule
from openpyxl.styles import Color, Font, PatternFill
from PIL import Image

from kimi_beam.input.readers.content import DEFAULT_OPTIONS, Content, ReadOptions, UnreadableError
from kimi_beam.input.readers.office.spreadsheets import spreadsheets


def bytes_of(workbook: Any) -> bytes:
    file = io.BytesIO()
    workbook.save(file)
    return file.getvalue()


def with_sheet(content: bytes, change: tuple[bytes, bytes]) -> bytes:
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            part = old.read(info)
            is_sheet = info.filename == "xl/worksheets/sheet1.xml"
            assert not is_sheet or re.search(change[0], part)
            new.writestr(info.filename, re.sub(change[0], change[1], part) if is_sheet else part)
    return changed.getvalue()


def read(content: bytes | Any, options: ReadOptions = DEFAULT_OPTIONS) -> Content:
    return spreadsheets.read(content if isinstance(content, bytes) else bytes_of(content), options)


def workbook_of(*rows: list[object]) -> Any:
    workbook = openpyxl.Workbook()
    workbook.active.title = "Items"
    for row in rows:
        workbook.active.append(row)
    return workbook


def test_a_sheet_is_a_page_below_its_name_and_values_look_as_printed() -> None:
    workbook = workbook_of(
        ["Item", "Qty", "Price", "Date"],
        ["Desk\nlamp", 2, 9.9, datetime.date(2026, 1, 31)],
        ["Sum", 3.0, 0.1 + 0.2, datetime.datetime(2026, 1, 31, 8, 30)],
        [True, 12345678901234, 1e-7, datetime.time(8, 30)],
    )
    workbook.create_sheet("Notes")["B3"] = "a note"
    workbook.create_sheet("Empty")
    workbook["Notes"]["C3"] = datetime.timedelta(hours=30, minutes=5)
    assert [page.text for page in read(workbook).pages] == [
        "# Items\n\nItem | Qty | Price | Date\nDesk lamp | 2 | 9.9 | 2026-01-31\nSum | 3 | 0.3 | 2026-01-31 08:30:00\n"
        "TRUE | 12345678901234 | 1e-07 | 08:30:00",
        "# Notes\n\na note | 30:05:00",
    ]


def test_rows_and_columns_without_values_are_left_out_and_empty_cells_keep_their_place() -> None:
    workbook = workbook_of([], ["", "a", "", "", "c"], [], [], ["", "", "", "", "d"])
    assert read(workbook).pages[0].text == "# Items\n\na | c\n\n | d"


def test_hidden_sheets_rows_and_columns_are_told_apart() -> None:
    workbook = workbook_of(["a", "SECRET 1", "c"], ["SECRET 2", "SECRET 3", ""], ["e", "", "g"])
    workbook.active.column_dimensions["B"].hidden = True
    workbook.active.row_dimensions[2].hidden = True
    for name, state in (("Lists", "hidden"), ("More", "veryHidden")):
        sheet = workbook.create_sheet(name)
        sheet["A1"] = f"SECRET {name}"
        sheet.sheet_state = state
    found = read(workbook)
    assert [page.text for page in found.pages] == ["# Items\n\na | c\ne | g"]
    assert [(hidden.text, hidden.reason) for hidden in found.hidden] == [
        ("SECRET 1 SECRET 2 | SECRET 3", "hidden rows or columns"),
        ("SECRET Lists", "hidden sheet 'Lists'"),
        ("SECRET More", "hidden sheet 'More'"),
    ]


def test_a_hidden_row_and_a_column_of_no_width_are_told_by_their_sizes() -> None:
    content = with_sheet(
        bytes_of(workbook_of(["a", "SECRET 1"], ["SECRET 2", ""])), (rb'<row r="2"', b'<row r="2" ht="0"')
    )
    narrow = b'<cols><col min="2" max="2" width="0" customWidth="1"/></cols><sheetData>'
    found = read(with_sheet(content, (rb"<sheetData>", narrow)))
    assert found.pages[0].text == "# Items\n\na"
    assert [hidden.text for hidden in found.hidden] == ["SECRET 1 SECRET 2"]


def test_percentages_are_written_as_they_are_printed() -> None:
    workbook = workbook_of([0.19, 0.075, 1, 0.5, 0.123456789, "0.19", 2.5])
    for cell, code in zip(
        workbook.active[1], ["0%", "0.00%", "0%", '"%"0.0', "0.0%;[Red]-0.0%", "0%", '0.0" %"'], strict=True
    ):
        cell.number_format = code
    assert read(workbook).pages[0].text == "# Items\n\n19% | 7.50% | 100% | %0.5 | 12.3456789% | 0.19 | 2.5 %"


def test_currencies_and_other_marks_of_numbers_are_written_as_they_are_printed() -> None:
    workbook = workbook_of([1234.5, -99, 7, 12.25, 1500, 20260131, 0.5], ["Sum", 44500])
    formats = (
        '#,##0.00 "€"',
        "[$CHF-807] #,##0.00",
        '"No. "0',
        "$#,##0.00_);($#,##0.00)",
        '0.0,"k"',
        "0000-00-00",
        "# ?/?",
    )
    for column, code in enumerate(formats, 1):
        workbook.active.cell(1, column).number_format = code
    workbook.active["A2"].number_format, workbook.active["B2"].number_format = '0 "€"', "dd/mm/yyyy"
    rows = read(workbook).pages[0].text.split("\n")[2:]
    assert rows == ["1234.5 € | -CHF 99 | No. 7 | $12.25 | 1500 | 20260131 | 0.5", "Sum | 2021-10-31"]


def test_errors_and_formulas_without_a_value_are_shown_and_not_left_out() -> None:
    """Programs that compute nothing write such workbooks: the total below a table would be missing without a word."""
    workbook = workbook_of(["Desk", 80.0], ["Lamp", 20.0], ["Total", "=SUM(B1:B2)"], ['=IF(A1="x","<",">")', "#DIV/0!"])
    assert read(workbook).pages[0].text.split("\n")[2:] == [
        "Desk | 80",
        "Lamp | 20",
        "Total | =SUM(B1:B2)",
        '=IF(A1="x","<",">") | #DIV/0!',
    ]
    empty = with_sheet(
        bytes_of(workbook), (rb'<c r="B3"><f>SUM\(B1:B2\)</f>.*?</c>', b'<c r="B3" t="str"><f>C9</f><v></v></c>')
    )
    assert "Total\n" in read(empty).pages[0].text  # a formula whose value is a text without letters


def test_the_text_of_a_box_on_a_sheet_stands_below_its_rows() -> None:
    workbook = workbook_of(["Desk", 80.0])
    workbook.active.add_image(openpyxl.drawing.image.Image(io.BytesIO(made_picture())))
    box = (
        b"<xdr:sp><xdr:txBody><a:p><a:r><a:t>Payable in 30 days</a:t></a:r></a:p>"
        b'<a:p><a:r><a:rPr sz="100"/><a:t>too small</a:t></a:r></a:p></xdr:txBody></xdr:sp>'
    )
    names = (
        b'xmlns:xdr="http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing" '
        b'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
    )
    drawing = b"<xdr:wsDr " + names + b"><xdr:twoCellAnchor>" + box + b"</xdr:twoCellAnchor></xdr:wsDr>"
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(bytes_of(workbook))) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, drawing if name == "xl/drawings/drawing1.xml" else old.read(name))
    found = read(changed.getvalue())
    assert found.pages[0].text == "# Items\n\nDesk | 80\n\nPayable in 30 days"
    assert [(hidden.text, hidden.reason) for hidden in found.hidden] == [("too small", "letters too small to see")]


def test_a_workbook_of_millions_of_texts_is_refused_before_they_are_made() -> None:
    texts = b"<sst>" + b"<si><t>7</t></si>" * 2_000_001 + b"</sst>"
    file = io.BytesIO(bytes_of(workbook_of(["a"])))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as changed:
        changed.writestr("xl/sharedStrings.xml", texts)
    with pytest.raises(UnreadableError, match="2,000,001 texts") as refused:
        read(file.getvalue())
    assert refused.value.code == "too_large"


def made_picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "PNG")
    return file.getvalue()


def test_values_that_nobody_sees_are_told_apart_and_white_ones_on_a_dark_ground_are_seen() -> None:
    workbook = workbook_of(["white", "on dark", "format", "same", "theme", "plain"])
    white, dark, format_, same, theme, _ = workbook.active[1]
    for cell in (white, dark):
        cell.font = Font(color="FFFFFFFF")
    dark.fill = PatternFill("solid", fgColor="FF003366")
    format_.number_format = ";;;"
    same.font, same.fill = Font(color="FF003366"), PatternFill("solid", fgColor="FF003366")
    theme.font = Font(color=Color(theme=0))
    found = read(workbook)
    assert found.pages[0].text == "# Items\n\non dark | plain"
    assert [(hidden.text, hidden.reason) for hidden in found.hidden] == [
        ("white", "white on white"),
        ("format", "format that shows nothing"),
        ("same", "the colour of its background"),
        ("theme", "white on white"),
    ]
    workbook.active.conditional_formatting.add(
        "A1:F1", FormulaRule(["TRUE"], fill=PatternFill("solid", fgColor="FF000000"))
    )
    assert [hidden.text for hidden in read(workbook).hidden] == ["format"]


def test_an_ordinary_workbook_has_no_hidden_text() -> None:
    workbook = workbook_of(["a", 1])
    workbook.active.column_dimensions["A"].width = 40
    workbook.active.row_dimensions[1].height = 30
    workbook.active.freeze_panes = "A2"
    assert read(workbook).hidden == ()


def test_a_sheet_with_values_at_its_far_ends_is_refused_before_a_rectangle_is_made_of_it() -> None:
    near = bytes_of(workbook_of(["a", "b"]))
    wide = b"<row>" + b"<c><v>1</v></c>" * 3_000
    for content in (
        with_sheet(near, (rb'r="B1"', b'r="XFD1048576"')),
        with_sheet(near, (rb'r="B1"', b"r = 'XFD1048576'")),
        with_sheet(near, (rb"</sheetData>", b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>')),
        with_sheet(near, (rb"</sheetData>", wide + b"</row><row></row>" * 3_000 + b"</sheetData>")),
        with_sheet(near, (rb"</sheetData>", wide + b'</row><row r="1048576"><c><v>1</v></c></row></sheetData>')),
    ):
        with pytest.raises(UnreadableError, match="'Items'") as failed:
            read(content)
        assert failed.value.code == "too_large"
    with pytest.raises(UnreadableError) as failed:
        read(with_sheet(near, (rb'r="B1"', b'r="&#88;FD1048576"')))
    assert failed.value.code == "damaged"


def test_cells_without_a_value_do_not_make_a_sheet_too_large() -> None:
    styled = (rb"</sheetData>", b'<row r="1048576"><c r="XFD1048576" s="0"/></row></sheetData>')
    assert read(with_sheet(bytes_of(workbook_of(["a", "b"])), styled)).pages[0].text == "# Items\n\na | b"


def test_more_sheets_than_pages_are_allowed_are_refused() -> None:
    workbook = workbook_of(["a"])
    workbook.create_sheet("B")["A1"] = "b"
    assert len(read(workbook, ReadOptions(max_pages=2)).pages) == 2
    with pytest.raises(UnreadableError) as failed:
        read(workbook, ReadOptions(max_pages=1))
    assert failed.value.code == "too_many_pages"


def test_a_workbook_without_values_is_one_empty_page() -> None:
    assert [page.text for page in read(openpyxl.Workbook()).pages] == [""]


def test_an_older_workbook_is_read_with_its_hidden_sheets() -> None:
    found = read(xls({"Items": (0, [["Item", 2.5], ["Lamp", 3.0]]), "Lists": (1, [["SECRET"]])}))
    assert [page.text for page in found.pages] == ["# Items\n\nItem | 2.5\nLamp | 3"]
    assert [(hidden.text, hidden.reason) for hidden in found.hidden] == [("SECRET", "hidden sheet 'Lists'")]


def xls(sheets: dict[str, tuple[int, list[list[str | float]]]]) -> bytes:
    """A workbook in the form of Excel 97, each sheet with its visibility (0: shown, 1: hidden) and its rows."""

    def record(kind: int, content: bytes) -> bytes:
        return struct.pack("<HH", kind, len(content)) + content

    begin = struct.pack("<HHHHII", 0x0600, 0, 0, 0, 0, 0)
    bodies = []
    for _, rows in sheets.values():
        cells = b""
        for at, row in enumerate(rows):
            for column, value in enumerate(row):
                place = struct.pack("<HHH", at, column, 0)
                if isinstance(value, str):
                    text = struct.pack("<HB", len(value), 0) + value.encode("latin-1")
                    cells += record(0x0204, place + text)
                else:
                    cells += record(0x0203, place + struct.pack("<d", value))
        bodies.append(record(0x0809, begin[:2] + b"\x10\x00" + begin[4:]) + cells + record(0x000A, b""))
    names = [struct.pack("<BBBB", visible, 0, len(name), 0) + name.encode() for name, (visible, _) in sheets.items()]
    head = record(0x0809, begin[:2] + b"\x05\x00" + begin[4:])
    at = len(head) + sum(8 + len(name) for name in names) + 4
    for name, body in zip(names, bodies, strict=True):
        head += record(0x0085, struct.pack("<I", at) + name)
        at += len(body)
    return compound_file({"Workbook": (head + record(0x000A, b"") + b"".join(bodies)).ljust(4096, b"\0")})


def test_files_that_are_no_spreadsheets_are_refused() -> None:
    whole = bytes_of(workbook_of(["a"]))
    compound = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    for content, code in (
        (b"", "damaged"),
        (b"a,b\n1,2\n", "damaged"),
        (whole[:700], "damaged"),
        (compound, "damaged"),
        (compound + "EncryptedPackage".encode("utf-16-le"), "encrypted"),
    ):
        with pytest.raises(UnreadableError) as failed:
            read(content)
        assert failed.value.code == code
        assert "\n" not in failed.value.message
