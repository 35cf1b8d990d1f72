"""What is read of presentations, made by python-pptx."""

from __future__ import annotations

import io
from typing import Any

import pptx
import pytest
from PIL import Image
from pptx.chart.data import CategoryChartData
from pptx.dml.color import RGBColor
from pptx.enum.chart import XL_CHART_TYPE
from pptx.enum.dml import MSO_THEME_COLOR
from pptx.enum.shapes import MSO_SHAPE
from pptx.util import Inches, Pt

from kimi_beam.input.readers.content import DEFAULT_OPTIONS, Content, ReadOptions, UnreadableError
from kimi_beam.input.readers.office.slides import slides


def _picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), "navy").save(file, "PNG")
    return file.getvalue()


PICTURE = _picture()


def read(presentation: Any, options: ReadOptions = DEFAULT_OPTIONS) -> Content:
    file = io.BytesIO()
    presentation.save(file)
    return slides.read(file.getvalue(), options)


def blank(presentation: Any) -> Any:
    return presentation.slides.add_slide(presentation.slide_layouts[6])


def box(slide: Any, text: str, left: float = 1, top: float = 1, width: float = 3) -> Any:
    shape = slide.shapes.add_textbox(Inches(left), Inches(top), Inches(width), Inches(0.5))
    shape.text_frame.text = text
    return shape


def test_a_slide_is_a_page_and_its_shapes_are_read_by_their_places() -> None:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    box(slide, "at the foot", 1, 6.9)
    slide.placeholders[1].text = "first\nsecond"
    slide.shapes.title.text = "Offer"
    box(blank(presentation), "next")
    assert [page.text for page in read(presentation).pages] == ["Offer\nfirst\nsecond\nat the foot", "next"]


def test_tables_charts_groups_and_notes_are_read() -> None:
    presentation = pptx.Presentation()
    slide = blank(presentation)
    table = slide.shapes.add_table(3, 2, Inches(1), Inches(1), Inches(4), Inches(1)).table
    for at, cell in enumerate(table.iter_cells()):
        cell.text = f"c{at}"
    table.cell(2, 0).merge(table.cell(2, 1))
    data = CategoryChartData()
    data.categories = ["Q1", "Q2"]
    data.add_series("Sales", (1.5, 2))
    data.add_series("Costs", (1, 3))
    slide.shapes.add_chart(XL_CHART_TYPE.BAR_CLUSTERED, Inches(1), Inches(3), Inches(4), Inches(2), data)
    group = slide.shapes.add_group_shape()
    box_in_group = group.shapes.add_textbox(Inches(1), Inches(6), Inches(2), Inches(0.4))
    box_in_group.text_frame.text = "grouped"
    box_in_group.left = Inches(-90)  # in the coordinates of its group, which say nothing of the slide's edge
    slide.notes_slide.notes_text_frame.text = "say hello"
    assert read(presentation).pages[0].text.split("\n") == [
        "c0 | c1", "c2 | c3", "c4 c5", " | Sales | Costs", "Q1 | 1.5 | 1", "Q2 | 2 | 3", "grouped", "", "Notes:",
        "say hello",
    ]  # fmt: skip


def test_items_are_indented_by_their_level_and_broken_lines_stay_lines() -> None:
    presentation = pptx.Presentation()
    frame = box(blank(presentation), "one\vtwo").text_frame
    inner = frame.add_paragraph()
    inner.text, inner.level = "inner", 1
    mark = inner._p.get_or_add_pPr()
    mark.append(mark.makeelement(f"{{{mark.nsmap['a']}}}buChar", {"char": "•"}))
    assert read(presentation).pages[0].text == "one\ntwo\n  - inner"


def test_what_is_hidden_on_slides_is_told_apart() -> None:
    presentation = pptx.Presentation()
    hidden = blank(presentation)
    box(hidden, "SECRET slide")
    hidden._element.set("show", "0")
    slide = blank(presentation)
    box(slide, "seen")
    box(slide, "SECRET outside", left=-5)
    box(slide, "SECRET shape", top=2)._element.nvSpPr.cNvPr.set("hidden", "1")
    tiny = box(slide, "SECRET tiny", top=3)
    tiny.text_frame.paragraphs[0].runs[0].font.size = Pt(1)
    filled = box(slide, "SECRET white", top=4)
    filled.fill.solid()
    filled.fill.fore_color.rgb = RGBColor(255, 255, 255)
    filled.text_frame.paragraphs[0].runs[0].font.color.rgb = RGBColor(255, 255, 255)
    found = read(presentation)
    assert [page.text for page in found.pages] == ["seen"]
    assert [(text.text, text.reason) for text in found.hidden] == [
        ("SECRET slide", "hidden slide"),
        ("SECRET outside", "off the page"),
        ("SECRET shape", "hidden shape"),
        ("SECRET tiny", "letters too small to see"),
        ("SECRET white", "white on white"),
    ]


def test_white_letters_in_a_dark_shape_or_on_an_unknown_ground_are_seen() -> None:
    presentation = pptx.Presentation()
    slide = blank(presentation)
    dark = box(slide, "on dark")
    dark.fill.solid()
    dark.fill.fore_color.rgb = RGBColor(0, 0, 80)
    panel = slide.shapes.add_shape(MSO_SHAPE.RECTANGLE, Inches(1), Inches(3), Inches(3), Inches(1))
    panel.fill.solid()
    panel.fill.fore_color.rgb = RGBColor(0, 0, 80)
    slide.shapes.add_picture(io.BytesIO(PICTURE), Inches(1), Inches(2), Inches(3), Inches(0.5))
    on_picture, on_panel = box(slide, "on a picture", top=2), box(slide, "on a panel", top=3.2)
    for shape in (dark, on_picture, on_panel):
        shape.text_frame.paragraphs[0].runs[0].font.color.rgb = RGBColor(255, 255, 255)
    found = read(presentation)
    assert (found.pages[0].text, found.hidden) == ("on dark\non a picture\non a panel", ())


def test_letters_in_the_theme_s_colour_of_their_ground_are_hidden() -> None:
    """The background of a slide is that of its master, and colours are named by the theme."""
    presentation = pptx.Presentation()
    slide = blank(presentation)
    for top, (text, colour, fill) in enumerate(
        (
            ("SECRET ground", MSO_THEME_COLOR.BACKGROUND_1, None),
            ("SECRET fill", MSO_THEME_COLOR.ACCENT_1, MSO_THEME_COLOR.ACCENT_1),
            ("seen on a fill", MSO_THEME_COLOR.BACKGROUND_1, MSO_THEME_COLOR.ACCENT_1),
            ("seen", MSO_THEME_COLOR.TEXT_1, None),
        )
    ):
        shape = box(slide, text, top=1 + top)
        shape.text_frame.paragraphs[0].runs[0].font.color.theme_color = colour
        if fill is not None:
            shape.fill.solid()
            shape.fill.fore_color.theme_color = fill
    dark = blank(presentation)
    dark.background.fill.solid()
    dark.background.fill.fore_color.theme_color = MSO_THEME_COLOR.TEXT_1
    for top, (text, colour) in enumerate(
        (("SECRET on dark", MSO_THEME_COLOR.TEXT_1), ("seen on dark", MSO_THEME_COLOR.BACKGROUND_1))
    ):
        box(dark, text, top=1 + top).text_frame.paragraphs[0].runs[0].font.color.theme_color = colour
    found = read(presentation)
    assert [page.text for page in found.pages] == ["seen on a fill\nseen", "seen on dark"]
    assert [(text.text, text.reason) for text in found.hidden] == [
        ("SECRET ground", "white on white"),
        ("SECRET fill", "the colour of its background"),
        ("SECRET on dark", "the colour of its background"),
    ]


def test_white_letters_on_what_a_layout_draws_are_seen() -> None:
    presentation = pptx.Presentation()
    slide = blank(presentation)
    band = slide.shapes.add_shape(MSO_SHAPE.RECTANGLE, Inches(0), Inches(1), Inches(9), Inches(1))
    presentation.slide_layouts[6].shapes._spTree.append(band._element)
    box(slide, "on the band").text_frame.paragraphs[0].runs[0].font.color.rgb = RGBColor(255, 255, 255)
    found = read(presentation)
    assert (found.pages[0].text, found.hidden) == ("on the band", ())


def test_what_a_layout_shows_on_all_its_slides_is_read_once() -> None:
    presentation = pptx.Presentation()
    layout = presentation.slide_layouts[6]
    source = box(blank(presentation), "ACME Ltd", top=7)
    layout.shapes._spTree.append(source._element)
    box(blank(presentation), "second")
    assert [page.text for page in read(presentation).pages] == ["ACME Ltd", "second"]


def test_more_slides_than_pages_are_allowed_are_refused() -> None:
    presentation = pptx.Presentation()
    blank(presentation), blank(presentation)
    with pytest.raises(UnreadableError) as failed:
        read(presentation, ReadOptions(max_pages=1))
    assert failed.value.code == "too_many_pages"
