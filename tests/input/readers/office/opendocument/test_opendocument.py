"""What is read of OpenDocument files, whose parts are written by hand, and of one that a library writes."""

from __future__ import annotations

import io
import zipfile

import pytest
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table, TableCell, TableRow
from odf.text import P

from kimi_beam.input.readers.content import DEFAULT_OPTIONS, Content, ReadOptions, UnreadableError
from kimi_beam.input.readers.office.opendocument import opendocument

NAMESPACES = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in {
        "office": "office",
        "text": "text",
        "table": "table",
        "draw": "drawing",
        "style": "style",
        "fo": "xsl-fo-compatible",
        "svg": "svg-compatible",
        "presentation": "presentation",
        "manifest": "manifest",
        "meta": "meta",
    }.items()
)


def file_of(body: str, styles: str = "", others: dict[str, str] | None = None) -> bytes:
    automatic = f"<office:automatic-styles>{styles}</office:automatic-styles>"
    content = (
        f"<office:document-content {NAMESPACES}>{automatic}<office:body>{body}</office:body></office:document-content>"
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        archive.writestr("content.xml", content)
        for name, xml in (others or {}).items():
            archive.writestr(name, xml.replace("<root>", f"<root {NAMESPACES}>"))
    return file.getvalue()


def read(content: bytes, options: ReadOptions = DEFAULT_OPTIONS) -> Content:
    return opendocument.read(content, options)


def text_of(paragraphs: str, styles: str = "") -> Content:
    return read(file_of(f"<office:text>{paragraphs}</office:text>", styles))


def test_paragraphs_headings_lists_and_tables_are_lines_in_their_order() -> None:
    found = text_of(
        '<text:h text:outline-level="2">Terms</text:h><text:p>a<text:s text:c="2"/>b<text:tab/>c<text:line-break/>d\n e'
        "<text:span>f</text:span>g</text:p><text:list><text:list-item><text:p>one</text:p><text:list><text:list-item>"
        "<text:p>inner</text:p></text:list-item></text:list></text:list-item></text:list>"
        "<table:table><table:table-header-rows><table:table-row><table:table-cell><text:p>Item</text:p>"
        "</table:table-cell><table:table-cell><text:p>Total</text:p></table:table-cell></table:table-row>"
        '</table:table-header-rows><table:table-row><table:table-cell table:number-columns-spanned="2">'
        "<text:p>Sum</text:p><text:p>net</text:p></table:table-cell><table:covered-table-cell/></table:table-row>"
        "</table:table><text:p>end</text:p>"
    )
    assert found.hidden == ()
    assert found.pages[0].text == "## Terms\na  b\tc\nd  efg\n- one\n  - inner\nItem | Total\nSum net\n\nend"


def test_pages_notes_boxes_headers_and_footers_are_read_and_deleted_text_is_not() -> None:
    body = (
        "<office:text><text:tracked-changes><text:changed-region><text:deletion><text:p>gone</text:p></text:deletion>"
        "</text:changed-region></text:tracked-changes><text:p>Price<text:note><text:note-citation>1</text:note-citation>"
        "<text:note-body><text:p>net</text:p></text:note-body></text:note><office:annotation><text:p>gone</text:p>"
        "</office:annotation><draw:frame><draw:text-box><text:p>boxed</text:p></draw:text-box></draw:frame></text:p>"
        "<text:soft-page-break/><text:p>two</text:p><text:p text:style-name='b'>three</text:p></office:text>"
    )
    styles = style("b", "paragraph", '<style:paragraph-properties fo:break-before="page"/>')
    look = (
        "<root><style:master-page><style:header><text:p>ACME</text:p></style:header><style:footer><text:p>IBAN</text:p>"
        "</style:footer></style:master-page><style:master-page><style:header><text:p>ACME</text:p></style:header>"
        "</style:master-page></root>"
    )
    meta = "<root><meta:initial-creator>Ann</meta:initial-creator></root>"
    found = read(file_of(body, styles, {"styles.xml": look, "meta.xml": meta}))
    assert [page.text for page in found.pages] == ["ACME\n\nPrice[1]\nboxed\n\n[1] net", "two", "three\n\nIBAN"]
    assert found.metadata == {"author": "Ann"}
    with pytest.raises(UnreadableError) as failed:
        read(file_of(body, styles), ReadOptions(max_pages=2))
    assert failed.value.code == "too_many_pages"


def style(name: str, family: str, properties: str) -> str:
    return f'<style:style style:name="{name}" style:family="{family}">{properties}</style:style>'


LETTERS = '<style:style style:name="s" style:family="text"><style:text-properties {}/></style:style>'
HIDING = {
    "hidden letters": LETTERS.format('text:display="none"'),
    "white on white": LETTERS.format('fo:color="#ffffff"'),
    "the colour of its background": LETTERS.format('fo:color="#ff0000" fo:background-color="#ff0000"'),
    "letters too small to see": LETTERS.format('fo:font-size="1pt"'),
}


@pytest.mark.parametrize("reason", HIDING)
def test_letters_that_nobody_sees_are_kept_out_of_the_text_with_the_reason(reason: str) -> None:
    found = text_of('<text:p>be<text:span text:style-name="s">SECRET</text:span>fore</text:p>', HIDING[reason])
    assert found.pages[0].text == "before"
    assert [(hidden.text, hidden.reason) for hidden in found.hidden] == [("SECRET", reason)]


def test_what_is_rare_in_a_text_is_read() -> None:
    table = "<table:table><table:table-row><table:table-cell><text:p>1</text:p></table:table-cell><table:table-cell>"
    table += "<text:p>2</text:p></table:table-cell></table:table-row></table:table>"
    found = text_of(
        "<text:section><text:p>in a section</text:p></text:section><text:p><text:ruby>"
        "<text:ruby-base>漢</text:ruby-base><text:ruby-text>kan</text:ruby-text></text:ruby><text:soft-page-break/> on"
        "<text:hidden-text text:is-hidden='false'>shown</text:hidden-text></text:p>"
        f"<text:p><draw:frame>{table}</draw:frame><draw:custom-shape><text:p>shape</text:p></draw:custom-shape></text:p>"
        "<text:list><text:list-header><text:p>head</text:p></text:list-header></text:list>"
    )
    assert [page.text for page in found.pages] == ["in a section\n漢", " onshown\n\n1 | 2\nshape\nhead"]


def test_numbered_items_have_the_numbers_that_their_list_gives_them() -> None:
    levels = (
        '<text:list-level-style-number text:level="1" style:num-format="1" style:num-suffix="."/>'
        '<text:list-level-style-number text:level="2" style:num-format="1" text:display-levels="2"/>'
        '<text:list-level-style-number text:level="3" style:num-format="a" style:num-prefix="(" style:num-suffix=")"/>'
        '<text:list-level-style-bullet text:level="4" text:bullet-char="*"/>'
    )
    styles = f'<text:list-style style:name="L">{levels}</text:list-style>'

    def items(*contents: str, more: str = "") -> str:
        inner = "".join(f"<text:list-item>{content}</text:list-item>" for content in contents)
        return f"<text:list {more}>{inner}</text:list>"

    def p(text: str) -> str:
        return f"<text:p>{text}</text:p>"

    deepest = p("third") + items(p("letter"), p("letter") + items(p("bullet")))
    first = items(p("one"), p("two") + items(p("sub"), deepest), p("three"), more='text:style-name="L"')
    second = items(p("four"), more='text:style-name="L" text:continue-numbering="true"')
    third = items(p("anew"), "<text:p/>", more='text:style-name="L"')
    jump = third.replace("<text:list-item><text:p/>", '<text:list-item text:start-value="9"><text:p>jump</text:p>')
    found = text_of(first + second + jump + items(p("bullet")), styles).pages[0].text.split("\n")
    assert found == [
        "1. one", "2. two", "  2.1 sub", "  2.2 third", "    (a) letter", "    (b) letter", "      - bullet",
        "3. three", "4. four", "1. anew", "9. jump", "- bullet",
    ]  # fmt: skip


def test_hidden_sections_and_fields_are_told_apart() -> None:
    found = text_of(
        '<text:section text:display="none"><text:p>SECRET 1</text:p></text:section><text:p>seen'
        '<text:hidden-text text:is-hidden="true" text:string-value="SECRET 2"/></text:p>'
    )
    assert found.pages[0].text == "seen"
    assert [hidden.text for hidden in found.hidden] == ["SECRET 1", "SECRET 2"]


def test_white_letters_in_a_dark_cell_or_box_are_seen() -> None:
    white = LETTERS.format('fo:color="#ffffff"')
    dark = style("c", "table-cell", '<style:table-cell-properties fo:background-color="#003366"/>')
    picture = style("g", "graphic", '<style:graphic-properties draw:fill="bitmap"/>')
    seen = '<text:p><text:span text:style-name="s">SEEN</text:span></text:p>'
    found = text_of(
        f'<table:table><table:table-row><table:table-cell table:style-name="c">{seen}</table:table-cell>'
        '</table:table-row></table:table><text:p><draw:frame draw:style-name="g">'
        f"<draw:text-box>{seen}</draw:text-box></draw:frame></text:p>",
        white + dark + picture,
    )
    assert (found.pages[0].text.split(), found.hidden) == (["SEEN", "SEEN"], ())


def sheet(rows: str, columns: str = "", name: str = "Items", style: str = "") -> str:
    return f'<table:table table:name="{name}" table:style-name="{style}">{columns}{rows}</table:table>'


def cell(text: str, attributes: str = "") -> str:
    return f"<table:table-cell {attributes}><text:p>{text}</text:p></table:table-cell>"


def test_a_sheet_is_a_page_of_what_is_printed_and_its_million_empty_rows_cost_nothing() -> None:
    empty = '<table:table-cell table:number-columns-repeated="16380"/>'
    price = cell("19,80 €", "office:value='19.8'")
    rows = (
        f"<table:table-row>{cell('Item')}<table:table-cell/>{cell('Total')}{empty}</table:table-row>"
        f"<table:table-row>{cell('Lamp')}<table:table-cell/>{price}</table:table-row>"
        f'<table:table-row table:number-rows-repeated="2">{cell("x")}</table:table-row>'
        f'<table:table-row table:number-rows-repeated="1048000">{empty}</table:table-row>'
    )
    content = file_of(f"<office:spreadsheet>{sheet(rows)}{sheet('', name='Empty')}</office:spreadsheet>")
    assert [page.text for page in read(content).pages] == ["# Items\n\nItem | Total\nLamp | 19,80 €\nx\nx"]


def test_hidden_rows_columns_and_sheets_are_told_apart() -> None:
    columns = '<table:table-column/><table:table-column table:visibility="collapse"/>'
    rows = (
        f"<table:table-row>{cell('a')}{cell('SECRET 1')}</table:table-row>"
        f'<table:table-row table:visibility="collapse">{cell("SECRET 2")}</table:table-row>'
    )
    look = style("h", "table", '<style:table-properties table:display="false"/>')
    other = sheet(f"<table:table-row>{cell('SECRET 3')}</table:table-row>", name="Lists", style="h")
    found = read(file_of(f"<office:spreadsheet>{sheet(rows, columns)}{other}</office:spreadsheet>", look))
    assert [page.text for page in found.pages] == ["# Items\n\na"]
    assert [(hidden.text, hidden.reason) for hidden in found.hidden] == [
        ("SECRET 1 SECRET 2", "hidden rows or columns"),
        ("SECRET 3", "hidden sheet 'Lists'"),
    ]


def test_values_in_the_colour_of_their_cell_are_told_apart() -> None:
    white = '<style:text-properties fo:color="#ffffff"/>'
    looks = (
        style("w", "table-cell", white)
        + style("d", "table-cell", f'<style:table-cell-properties fo:background-color="#000000"/>{white}')
        + style("c", "table-cell", f'{white}<style:map style:condition="value()&gt;1" style:apply-style-name="d"/>')
    )
    cells = "".join(
        f'<table:table-cell table:style-name="{name}"><text:p>{text}</text:p></table:table-cell>'
        for name, text in (("w", "SECRET"), ("d", "on black"), ("c", "perhaps on black"))
    )
    found = read(
        file_of(
            f"<office:spreadsheet>{sheet(f'<table:table-row>{cells}</table:table-row>')}</office:spreadsheet>", looks
        )
    )
    assert [page.text for page in found.pages] == ["# Items\n\non black | perhaps on black"]
    assert [(hidden.text, hidden.reason) for hidden in found.hidden] == [("SECRET", "white on white")]


def test_hidden_slides_and_shapes_are_told_apart() -> None:
    look = style("h", "drawing-page", '<style:drawing-page-properties presentation:visibility="hidden"/>')
    shape = "<draw:custom-shape {}><text:p>{}</text:p></draw:custom-shape>"
    hidden = shape.format('draw:display="none"', "SECRET shape")
    body = (
        f"<draw:page>{shape.format('', 'one')}{hidden}</draw:page>"
        f'<draw:page draw:style-name="h">{shape.format("", "SECRET slide")}</draw:page>'
        f"<draw:page>{shape.format('', 'two')}</draw:page>"
    )
    found = read(file_of(f"<office:presentation>{body}</office:presentation>", look))
    assert [page.text for page in found.pages] == ["one", "two"]
    assert [(hidden.text, hidden.reason) for hidden in found.hidden] == [
        ("SECRET shape", "hidden shape"),
        ("SECRET slide", "hidden slide"),
    ]


def test_repeats_that_would_make_millions_of_values_are_refused() -> None:
    wide = cell("x", 'table:number-columns-repeated="5000000"')
    long = cell("x" * 100_000, 'table:number-columns-repeated="1000"')
    for rows in (
        f"<table:table-row>{long}</table:table-row>",
        f'<table:table-row table:number-rows-repeated="5000000">{cell("x")}</table:table-row>',
        f"<table:table-row>{wide}</table:table-row>",
    ):
        with pytest.raises(UnreadableError) as failed:
            read(file_of(f"<office:spreadsheet>{sheet(rows)}</office:spreadsheet>"))
        assert failed.value.code == "too_large"


def test_a_slide_is_a_page() -> None:
    frame = "<draw:frame><draw:text-box><text:p>{}</text:p></draw:text-box></draw:frame>"
    body = (
        f"<office:presentation><draw:page>{frame.format('one')}</draw:page><draw:page>{frame.format('two')}</draw:page>"
    )
    assert [page.text for page in read(file_of(body + "</office:presentation>")).pages] == ["one", "two"]


def test_what_a_library_writes_is_read() -> None:
    document = OpenDocumentSpreadsheet()
    table = Table(name="Sheet1")
    row = TableRow()
    written = TableCell(valuetype="float", value="2.5")
    written.addElement(P(text="2.50"))
    row.addElement(written)
    table.addElement(row)
    document.spreadsheet.addElement(table)
    file = io.BytesIO()
    document.write(file)
    assert read(file.getvalue()).pages[0].text == "# Sheet1\n\n2.50"


def test_encrypted_and_damaged_files_are_refused() -> None:
    body = "<office:text><text:p>a</text:p></office:text>"
    manifest = "<root><manifest:file-entry><manifest:encryption-data/></manifest:file-entry></root>"
    for content, code in (
        (file_of(body, others={"META-INF/manifest.xml": manifest}), "encrypted"),
        (file_of(body)[:300], "damaged"),
        (file_of(body + "<"), "damaged"),
        (b"", "damaged"),
    ):
        with pytest.raises(UnreadableError) as failed:
            read(content)
        assert failed.value.code == code
