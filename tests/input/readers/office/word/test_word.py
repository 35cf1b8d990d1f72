"""What is read of a Word document: documents made by python-docx, and parts written by hand where it has no way."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from typing import Any

import docx
import pytest
from docx.enum.section import WD_SECTION
from docx.enum.text import WD_BREAK
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Pt, RGBColor

from kimi_beam.input.readers.content import DEFAULT_OPTIONS, Content, ReadOptions, UnreadableError
from kimi_beam.input.readers.office.word import word

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
NAMESPACES = (
    f'{W} xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" '
    'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" '
    'xmlns:v="urn:schemas-microsoft-com:vml" '
    'xmlns:w14="http://schemas.microsoft.com/office/word/2010/wordml"'
)


def bytes_of(document: Any) -> bytes:
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def with_part(content: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            part = old.read(info)
            new.writestr(info.filename, change(part) if info.filename == name else part)
    return changed.getvalue()


def of_body(body: str) -> bytes:
    """A document whose body is written by hand."""
    xml = f"<w:document {NAMESPACES}><w:body>{body}</w:body></w:document>".encode()
    return with_part(bytes_of(docx.Document()), "word/document.xml", lambda part: xml)


def read(content: bytes | Any, options: ReadOptions = DEFAULT_OPTIONS) -> Content:
    return word.read(content if isinstance(content, bytes) else bytes_of(content), options)


def text(content: bytes | Any) -> str:
    found = read(content)
    assert found.hidden == ()
    return "\f".join(page.text for page in found.pages)


def run(words: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{words}</w:t></w:r>'


def test_paragraphs_headings_lists_and_tables_are_lines_in_their_order() -> None:
    document = docx.Document()
    document.add_heading("Invoice 7", 1)
    document.add_paragraph("Dear Ann,\nthank you.\tBye")
    for words in ("one", "two"):
        document.add_paragraph(words, style="List Number")
    document.add_paragraph("dot", style="List Bullet")
    table = document.add_table(rows=3, cols=3)
    for at, cell in enumerate(cell for row in table.rows[:2] for cell in row.cells):
        cell.text = f"cell\n{at}"
    table.rows[2].cells[0].merge(table.rows[2].cells[1]).text = "Sum"
    table.rows[2].cells[2].text = "9.00"
    assert text(document) == (
        "# Invoice 7\nDear Ann,\nthank you.\tBye\n1. one\n2. two\n- dot\n"
        "cell 0 | cell 1 | cell 2\ncell 3 | cell 4 | cell 5\nSum |  | 9.00"
    )


def test_the_numbers_of_clauses_are_read_although_no_text_holds_them() -> None:
    levels = "".join(
        f'<w:lvl w:ilvl="{at}"><w:start w:val="{start}"/><w:numFmt w:val="{form}"/><w:lvlText w:val="{mark}"/></w:lvl>'
        for at, (start, form, mark) in enumerate(
            [(4, "decimal", "%1."), (1, "decimal", "%1.%2"), (1, "lowerLetter", "(%3)"), (9, "upperRoman", "§ %4")]
        )
    )
    numbering = (
        f'<w:numbering {W}><w:abstractNum w:abstractNumId="1">{levels}</w:abstractNum>'
        '<w:num w:numId="5"><w:abstractNumId w:val="1"/></w:num><w:num w:numId="6"><w:abstractNumId w:val="1"/>'
        '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="20"/></w:lvlOverride></w:num></w:numbering>'
    )

    def item(level: int, number: int = 5) -> str:
        properties = f'<w:pPr><w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr></w:pPr>'
        return f"<w:p>{properties}{run('x')}</w:p>"

    body = "".join(item(level) for level in (0, 1, 1, 2, 2, 3, 0, 1)) + item(0, 6) + item(0, 0)
    content = with_part(of_body(body), "word/numbering.xml", lambda part: numbering.encode())
    marks = [line.removesuffix("x").strip() for line in text(content).split("\n")]
    assert marks == ["4.", "4.1", "4.2", "(a)", "(b)", "§ IX", "5.", "5.1", "20.", ""]


def test_headings_that_their_styles_number_have_their_numbers() -> None:
    levels = "".join(
        f'<w:lvl w:ilvl="{at}"><w:numFmt w:val="decimal"/><w:pStyle w:val="Heading{at + 1}"/>'
        f'<w:lvlText w:val="{mark}"/></w:lvl>'
        for at, mark in enumerate(["%1", "%1.%2"])
    )
    numbering = (
        f'<w:numbering {W}><w:abstractNum w:abstractNumId="1">{levels}</w:abstractNum>'
        '<w:num w:numId="5"><w:abstractNumId w:val="1"/></w:num></w:numbering>'
    )
    document = docx.Document()
    for level in (1, 2):
        properties = document.styles[f"Heading {level}"].element.get_or_add_pPr()
        number = properties._add_numPr()
        number._add_numId().val = 5
    for level, words in ((1, "Scope"), (2, "Parties"), (2, "Term"), (1, "Price")):
        document.add_heading(words, level)
    content = with_part(bytes_of(document), "word/numbering.xml", lambda part: numbering.encode())
    assert text(content) == "# 1 Scope\n## 1.1 Parties\n## 1.2 Term\n# 2 Price"


def test_the_level_of_an_item_does_not_make_a_line_of_gigabytes() -> None:
    level = '<w:lvl w:ilvl="999999999"><w:numFmt w:val="bullet"/></w:lvl>'
    numbering = (
        f'<w:numbering {W}><w:abstractNum w:abstractNumId="1">{level}</w:abstractNum>'
        '<w:num w:numId="5"><w:abstractNumId w:val="1"/></w:num></w:numbering>'
    )
    properties = '<w:pPr><w:numPr><w:ilvl w:val="999999999"/><w:numId w:val="5"/></w:numPr></w:pPr>'
    content = of_body(f"<w:p>{properties}{run('x')}</w:p>")
    content = with_part(content, "word/numbering.xml", lambda part: numbering.encode())
    assert text(content) == " " * 16 + "- x"


def test_headers_and_footers_are_read_once_and_those_of_a_later_section_too() -> None:
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "ACME Ltd, IBAN DE02"
    document.sections[0].footer.paragraphs[0].text = "VAT 7"
    document.add_paragraph("first")
    section = document.add_section(WD_SECTION.NEW_PAGE)
    document.add_paragraph("second")
    section.header.is_linked_to_previous = False
    section.header.paragraphs[0].text = "Annex"
    assert text(document) == "ACME Ltd, IBAN DE02\n\nfirst\n\nVAT 7\fAnnex\n\nsecond"


def test_a_section_that_ends_in_a_content_control_or_was_changed_keeps_its_header() -> None:
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "Cover"
    document.add_paragraph("first")
    section = document.add_section(WD_SECTION.NEW_PAGE)
    document.add_paragraph("second")
    section.header.is_linked_to_previous = False
    section.header.paragraphs[0].text = "Body"
    body = document.element.body
    control, content = OxmlElement("w:sdt"), OxmlElement("w:sdtContent")
    control.append(content)
    ends = next(paragraph for paragraph in body if paragraph.find(f".//{qn('w:sectPr')}") is not None)
    body.replace(ends, control)
    content.append(ends)
    change, old = OxmlElement("w:sectPrChange"), OxmlElement("w:sectPr")
    change.append(old)
    body.sectPr.append(change)
    assert text(document) == "Cover\n\nfirst\fBody\n\nsecond"


def test_a_page_ends_where_word_or_the_writer_says_so_and_never_in_a_row() -> None:
    document = docx.Document()
    document.add_paragraph("one").add_run().add_break(WD_BREAK.PAGE)
    document.paragraphs[-1].add_run("two")
    table = document.add_table(rows=2, cols=2)
    for at, cell in enumerate(cell for row in table.rows for cell in row.cells):
        cell.text = str(at)
    late = table.rows[1].cells[1].paragraphs[0].runs[0]._r
    late.insert(0, OxmlElement("w:lastRenderedPageBreak"))
    document.add_paragraph("four").paragraph_format.page_break_before = True
    assert text(document) == "one\ftwo\n0 | 1\f2 | 3\ffour"


def test_more_pages_than_allowed_are_refused() -> None:
    document = docx.Document()
    for _ in range(3):
        document.add_paragraph("x").add_run().add_break(WD_BREAK.PAGE)
    document.add_paragraph("x")
    assert len(read(document, ReadOptions(max_pages=4)).pages) == 4
    with pytest.raises(UnreadableError) as failed:
        read(document, ReadOptions(max_pages=3))
    assert failed.value.code == "too_many_pages"


def test_tracked_insertions_are_text_and_deletions_are_not() -> None:
    body = (
        f"<w:p>{run('Total ')}<w:del><w:r><w:delText>10</w:delText></w:r></w:del><w:ins>{run('24')}</w:ins>"
        f"<w:moveFrom>{run('gone')}</w:moveFrom><w:moveTo>{run('.80')}</w:moveTo></w:p>"
        f"<w:tbl><w:tr><w:trPr><w:del/></w:trPr><w:tc><w:p>{run('no')}</w:p></w:tc></w:tr>"
        f"<w:ins><w:tr><w:tc><w:tcPr><w:cellDel/></w:tcPr><w:p>{run('no')}</w:p></w:tc><w:tc><w:p>{run('yes')}</w:p></w:tc>"
        "</w:tr></w:ins></w:tbl>"
    )
    assert text(of_body(body)) == "Total 24.80\nyes"


def test_a_field_shows_its_result_and_not_its_code() -> None:
    def mark(kind: str) -> str:
        return f'<w:r><w:fldChar w:fldCharType="{kind}"/></w:r>'

    nested = f"{mark('begin')}{run('inner code')}{mark('separate')}{run('inner result')}{mark('end')}"
    body = (
        f"<w:p>{mark('begin')}<w:r><w:instrText>PAGE</w:instrText></w:r>{run('code ')}{nested}"
        f"{mark('separate')}{run('7')}{mark('end')}{run(' of ')}"
        f"<w:fldSimple w:instr='NUMPAGES'>{run('9')}</w:fldSimple></w:p>"
        '<w:p><w:r><w:fldChar w:fldCharType="begin"><w:ffData><w:checkBox><w:checked/></w:checkBox></w:ffData>'
        f"</w:fldChar></w:r>{mark('end')}{run(' yes')}</w:p>"
        '<w:p><w:r><w:fldChar w:fldCharType="begin"><w:ffData><w:ddList><w:result w:val="1"/><w:listEntry w:val="Red"/>'
        f"<w:listEntry w:val='Blue'/></w:ddList></w:ffData></w:fldChar></w:r>{mark('end')}{run(' car')}</w:p>"
    )
    assert text(of_body(body)) == "7 of 9\n☒ yes\nBlue car"


def test_a_text_box_with_a_fallback_is_read_once() -> None:
    box = f"<w:txbxContent><w:p>{run('in the box')}</w:p></w:txbxContent>"
    body = (
        f"<w:p>{run('before')}<w:r><mc:AlternateContent><mc:Choice Requires='wps'><w:drawing><wp:anchor><a:graphic>"
        f"<wps:wsp><wps:txbx>{box}</wps:txbx></wps:wsp></a:graphic></wp:anchor></w:drawing></mc:Choice><mc:Fallback>"
        f"<w:pict><v:textbox>{box}</v:textbox></w:pict></mc:Fallback></mc:AlternateContent></w:r>{run(' after')}</w:p>"
    )
    assert text(of_body(body)) == "before after\nin the box"


def test_a_chart_and_a_diagram_are_read_as_lines() -> None:
    chart = (
        "<c:chartSpace xmlns:c='http://schemas.openxmlformats.org/drawingml/2006/chart'><c:chart><c:ser>"
        "<c:tx><c:pt idx='0'><c:v>Sales</c:v></c:pt></c:tx><c:cat><c:pt idx='0'><c:v>Q1</c:v></c:pt></c:cat>"
        "<c:val><c:pt idx='0'><c:v>1.5</c:v></c:pt></c:val></c:ser></c:chart></c:chartSpace>"
    )
    diagram = f"<d:dataModel xmlns:d='d' {NAMESPACES}><a:p><a:r><a:t>Ann</a:t></a:r></a:p></d:dataModel>"
    space = "http://schemas.openxmlformats.org/drawingml/2006"
    ids = "xmlns:r='http://schemas.openxmlformats.org/officeDocument/2006/relationships'"
    body = (
        f"<w:p>{run('before')}<w:r><w:drawing><c:chart xmlns:c='{space}/chart' {ids} r:id='g1'/></w:drawing></w:r>"
        f"<w:r><w:drawing><d:relIds xmlns:d='{space}/diagram' {ids} r:dm='g2'/></w:drawing></w:r></w:p>"
    )
    relations = b"".join(
        b'<Relationship Id="%s" Type="http://x/y" Target="%s.xml"/>' % (name, name) for name in (b"g1", b"g2")
    )
    content = with_part(
        of_body(body),
        "word/_rels/document.xml.rels",
        lambda part: part.replace(b"</Relationships>", relations + b"</Relationships>"),
    )
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("word/g1.xml", chart)
        archive.writestr("word/g2.xml", diagram)
    assert text(file.getvalue()) == "before\n | Sales\nQ1 | 1.5\nAnn"


def test_what_is_rare_in_a_paragraph_is_read() -> None:
    ruby = f"<w:r><w:ruby><w:rt>{run('kan')}</w:rt><w:rubyBase>{run('漢')}</w:rubyBase></w:ruby></w:r>"
    box = f"<v:textbox><w:txbxContent><w:p>{run('boxed')}</w:p></w:txbxContent></v:textbox>"
    body = (
        f"<mc:AlternateContent><mc:Choice><w:p>{run('chosen')}</w:p></mc:Choice><mc:Fallback><w:p>{run('no')}</w:p>"
        "</mc:Fallback></mc:AlternateContent>"
        f"<w:p><mc:AlternateContent><mc:Fallback>{run('fallback ')}</mc:Fallback></mc:AlternateContent>{ruby}"
        "<w:r><w:sym w:font='Wingdings' w:char='F0FE'/><w:noBreakHyphen/><w:softHyphen/><w:cr/></w:r></w:p>"
        f"<w:p><w:r><w:pict><v:shape>{box}</v:shape></w:pict></w:r></w:p>"
    )
    assert text(of_body(body)) == "chosen\nfallback 漢☒-\n\nboxed"


def test_a_table_within_a_cell_keeps_its_rows() -> None:
    document = docx.Document()
    outer = document.add_table(rows=1, cols=2)
    outer.rows[0].cells[0].text = "Menu"
    inner = outer.rows[0].cells[1].add_table(rows=2, cols=2)
    for at, cell in enumerate(cell for row in inner.rows for cell in row.cells):
        cell.text = str(at)
    assert text(document) == "Menu\n0 | 1\n2 | 3"


def test_content_controls_links_and_formulas_are_read() -> None:
    body = (
        f"<w:sdt><w:sdtContent><w:p>{run('a')}<w:sdt><w:sdtContent>{run('b')}</w:sdtContent></w:sdt>"
        f"<w:hyperlink>{run('c')}</w:hyperlink></w:p></w:sdtContent></w:sdt>"
        "<w:p><m:oMath><m:f><m:num><m:r><m:t>x</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f>"
        "<m:sSup><m:e><m:r><m:t>y</m:t></m:r></m:e><m:sup><m:r><m:t>3</m:t></m:r></m:sup></m:sSup></m:oMath></w:p>"
    )
    assert text(of_body(body)) == "abc\nx/2y^3"


def test_notes_stand_below_their_page_and_comments_nowhere() -> None:
    document = docx.Document()
    document.add_paragraph("Price").runs[0]._r.append(_reference("footnote", "2"))
    document.add_page_break()
    last = document.add_paragraph("Term")
    last.runs[0]._r.append(_reference("endnote", "2"))
    document.add_comment(last.runs, text="a comment")
    notes = {
        kind: f'<w:{kind}s {W}><w:{kind} w:id="0"><w:p>{run("---")}</w:p></w:{kind}><w:{kind} w:id="2"><w:p>'
        f"{run(f' the {kind}')}</w:p></w:{kind}></w:{kind}s>"
        for kind in ("footnote", "endnote")
    }
    assert text(_with_notes(bytes_of(document), notes)) == "Price[1]\n\n[1] the footnote\fTerm[i]\n\n[i] the endnote"


def _reference(kind: str, identifier: str) -> Any:
    reference = OxmlElement(f"w:{kind}Reference")
    reference.set(qn("w:id"), identifier)
    return reference


def _with_notes(content: bytes, notes: dict[str, str]) -> bytes:
    relations = "".join(
        f'<Relationship Id="n{kind}" Type="http://x/{kind}s" Target="{kind}s.xml"/>' for kind in notes
    ).encode()
    name = "word/_rels/document.xml.rels"
    content = with_part(content, name, lambda part: part.replace(b"</Relationships>", relations + b"</Relationships>"))
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        for kind, xml in notes.items():
            archive.writestr(f"word/{kind}s.xml", xml)
    return file.getvalue()


HIDING = {
    "hidden letters (vanish)": run("SECRET", "<w:vanish/>"),
    "white on white": run("SECRET", '<w:color w:val="FFFFFF"/>'),
    "white on white ": run("SECRET", '<w:color w:val="FEFEFE" w:themeColor="background1"/>'),
    "the colour of its background": run("SECRET", '<w:color w:val="FF0000"/><w:highlight w:val="red"/>'),
    "the colour of its background ": run("SECRET", '<w:color w:val="003366"/><w:shd w:val="clear" w:fill="003366"/>'),
    "letters too small to see": run("SECRET", '<w:sz w:val="2"/>'),
    "transparent letters": run("SECRET", "<w14:textFill><w14:noFill/></w14:textFill>"),
    "off the page": (
        "<w:r><w:drawing><wp:anchor><wp:positionH><wp:posOffset>-9144000</wp:posOffset></wp:positionH>"
        f"<wp:extent cx='914400' cy='914400'/><wps:wsp><w:txbxContent><w:p>{run('SECRET')}</w:p></w:txbxContent>"
        "</wps:wsp></wp:anchor></w:drawing></w:r>"
    ),
    "hidden shape": (
        "<w:r><w:drawing><wp:anchor><wp:docPr hidden='1'/>"
        f"<wps:wsp><w:txbxContent><w:p>{run('SECRET')}</w:p></w:txbxContent></wps:wsp></wp:anchor></w:drawing></w:r>"
    ),
}


@pytest.mark.parametrize("reason", HIDING)
def test_a_text_that_nobody_sees_is_kept_out_of_the_text_with_the_reason(reason: str) -> None:
    found = read(of_body(f"<w:p>{run('Before ')}{HIDING[reason]}{run('after')}</w:p>"))
    assert found.pages[0].text == "Before after"
    assert [(hidden.text, hidden.reason, hidden.page) for hidden in found.hidden] == [("SECRET", reason.strip(), 1)]


def test_a_hidden_row_is_told_apart() -> None:
    row = f"<w:tr>{{}}<w:tc><w:p>{run('{}')}</w:p></w:tc><w:tc><w:p>{run('b')}</w:p></w:tc></w:tr>"
    hidden = row.format("<w:trPr><w:hidden/></w:trPr>", "SECRET")
    found = read(of_body(f"<w:tbl>{row.format('', 'a')}{hidden}</w:tbl>"))
    assert found.pages[0].text == "a | b"
    assert [(text.text, text.reason) for text in found.hidden] == [("SECRET | b", "hidden row")]


def test_letters_that_a_style_hides_are_hidden() -> None:
    document = docx.Document()
    style = document.styles.add_style("Secret", 1)
    style.font.hidden = True
    child = document.styles.add_style("Child", 2)
    child.font.color.rgb = RGBColor(255, 255, 255)
    document.add_paragraph("by its paragraph", style="Secret")
    document.add_paragraph("seen").add_run("by its run", style="Child")
    document.paragraphs[0].add_run(" shown again").font.hidden = False
    found = read(document)
    assert found.pages[0].text == " shown again\nseen"
    assert [(hidden.text, hidden.reason) for hidden in found.hidden] == [
        ("by its paragraph", "hidden letters (vanish)"),
        ("by its run", "white on white"),
    ]


def test_white_letters_on_a_dark_ground_are_seen() -> None:
    white = '<w:color w:val="FFFFFF"/>'

    def cell(properties: str, paragraph: str = "") -> str:
        inner = f"<w:pPr>{paragraph}</w:pPr>{run('SEEN', white)}"
        return f"<w:tbl><w:tr><w:tc><w:tcPr>{properties}</w:tcPr><w:p>{inner}</w:p></w:tc></w:tr></w:tbl>"

    dark = '<w:shd w:val="clear" w:color="auto" w:fill="003366"/>'
    bodies = [
        cell(dark),
        cell("", dark),
        cell('<w:shd w:val="pct50" w:fill="auto"/>'),
        cell('<w:shd w:val="clear" w:fill="auto" w:themeFill="accent1"/>'),
        f"<w:p>{run('SEEN', white + dark)}</w:p>",
        f"<w:p>{run('SEEN', white + '<w:highlight w:val=#darkBlue#/>')}</w:p>".replace("#", '"'),
        f"<w:p>{run('SEEN', '<w:color w:val=#auto#/>')}</w:p>".replace("#", '"'),
        "<w:p><w:r><w:drawing><wp:anchor><wps:wsp><wps:spPr><a:solidFill><a:srgbClr val='002060'/></a:solidFill>"
        f"</wps:spPr><w:txbxContent><w:p>{run('SEEN', white)}</w:p></w:txbxContent></wps:wsp></wp:anchor>"
        "</w:drawing></w:r></w:p>",
        "<w:p><w:r><w:drawing><wp:anchor behindDoc='1'><wp:extent cx='9144000' cy='9144000'/></wp:anchor></w:drawing>"
        f"</w:r>{run('SEEN', white)}</w:p>",
    ]
    for body in bodies:
        assert text(of_body(body)) == "SEEN", body


def test_a_table_whose_style_colours_its_heading_row_has_no_hidden_text() -> None:
    document = docx.Document()
    for name in ("Dark List Accent 1", "Medium Shading 1 Accent 1", "Table Grid"):
        table = document.add_table(rows=2, cols=2, style=name)
        table.rows[0].cells[0].text = "Item"
        if name != "Table Grid":
            table.rows[0].cells[0].paragraphs[0].runs[0].font.color.rgb = RGBColor(255, 255, 255)
    assert text(document).count("Item") == 3


def test_a_file_in_the_strict_form_is_read_like_any_other() -> None:
    document = docx.Document()
    document.add_paragraph("strict").runs[0].font.size = Pt(9)
    strict = with_part(
        bytes_of(document),
        "word/document.xml",
        lambda part: re.sub(
            rb"http://schemas.openxmlformats.org/(\w+)/2006/", rb"http://purl.oclc.org/ooxml/\1/", part
        ),
    )
    assert text(strict) == "strict"


@pytest.mark.parametrize("name", ["chunk.html", "chunk.rtf"])
def test_a_page_of_html_that_is_embedded_is_read_and_another_file_is_not_lost_without_a_word(name: str) -> None:
    document = docx.Document()
    document.add_paragraph("before")
    chunk = OxmlElement("w:altChunk")
    chunk.set(qn("r:id"), "c1")
    document.element.body.insert(1, chunk)
    relation = f'<Relationship Id="c1" Type="http://x/aFChunk" Target="{name}"/></Relationships>'.encode()
    content = with_part(
        bytes_of(document),
        "word/_rels/document.xml.rels",
        lambda part: part.replace(b"</Relationships>", relation),
    )
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(f"word/{name}", "<p>in <b>HTML</b></p><p hidden>SECRET</p>")
    if name == "chunk.html":
        found = read(file.getvalue())
        assert found.pages[0].text == "before\nin HTML"
        assert [hidden.text for hidden in found.hidden] == ["SECRET"]
        return
    with pytest.raises(UnreadableError, match=r"chunk\.rtf") as failed:
        read(file.getvalue())
    assert failed.value.code == "reader_failed"


def test_what_the_file_says_of_itself_is_metadata() -> None:
    document = docx.Document()
    document.core_properties.title = "Contract"
    document.core_properties.author = "Ann"
    metadata = read(document).metadata
    assert (metadata["title"], metadata["author"]) == ("Contract", "Ann")


def test_files_that_are_no_word_documents_are_refused() -> None:
    whole = bytes_of(docx.Document())
    for content in (b"", b"text", whole[:500], with_part(whole, "word/document.xml", lambda part: part[:-20])):
        with pytest.raises(UnreadableError) as failed:
            read(content)
        assert failed.value.code == "damaged"
