from __future__ import annotations

import random
import re
import string
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.request.context_window import PICTURE_TOKENS, about_tokens
from kimi_beam.request.heading_paths import headings, path_at
from kimi_beam.request.splitting import Limits, joined, split
from kimi_beam.results.shown_rows import tables
from kimi_beam.types.document import Arrival, Document, Layout
from kimi_beam.types.earlier_runs import Earlier

WIDE = 1_000_000
TEXTS = st.lists(
    st.one_of(
        st.text(alphabet=string.ascii_letters + string.digits + " .,é漢\n\f\t-`", max_size=80),
        st.sampled_from(
            ["# Terms", "ARTICLE II", "1.2 Payment", "Item  Qty  Total", "Bolt  2  4.00", "", "\f", "Total  4.00  9.00"]
        ),
    ),
    max_size=60,
).map("\n".join)
"""Texts with headings, tables, pages and long lines."""


@given(TEXTS.filter(bool), st.integers(4, 300), st.data())
@settings(max_examples=300)
def test_the_parts_of_a_document_are_the_document(text: str, tokens: int, data: st.DataObject) -> None:
    pages = tuple(sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=5))))
    places = tuple(sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4))))
    document = Document(
        "a",
        text,
        tuple(f"data:image/png;base64,{number}" for number in range(len(places))),
        {"k": 1},
        "in/a.txt",
        arrival=Arrival(5),
        earlier=Earlier(2, 3),
        layout=data.draw(st.sampled_from([None, Layout(pages, places if any(places) else (), b"boxes")])),
    )
    limits = Limits(tokens, WIDE)
    parts = split(document, limits)
    assert joined(parts) == document
    assert len({part.id for part in parts}) == len(parts)
    again = [piece for part in parts for piece in split(part, Limits(max(4, tokens // 3), WIDE))]
    assert joined(again) == document, "parts that are split again still tile the document"
    if document.layout is None:
        assert all(about_tokens(part.text) <= 1.5 * tokens + 4 for part in parts)


@given(TEXTS.filter(bool), st.integers(4, 300))
def test_no_word_is_cut_that_fits_into_a_part(text: str, tokens: int) -> None:
    parts = split(Document("a", text), Limits(tokens, WIDE))
    whole = re.findall(r"\S+\s*", text)  # a word and the space behind it stay together
    for one, after in pairwise(parts):
        word = one.text[-1:] + after.text[:1]
        if not word[0].isspace() and not word[1].isspace():
            cut = (one.text.split()[-1] + after.text.split()[0]) if one.text.split() and after.text.split() else ""
            assert max(about_tokens(w) for w in whole if cut in w) > tokens


@given(TEXTS.filter(bool), st.integers(20, 300), st.data())
def test_a_part_that_is_asked_again_alone_is_shown_what_it_was_shown_before(
    text: str, tokens: int, data: st.DataObject
) -> None:
    document = Document("a", text)
    part = data.draw(st.sampled_from(split(document, Limits(tokens, WIDE))))
    assert part.part is not None
    (again,) = split(document, Limits(WIDE, WIDE), part.part.start, part.part.end)
    assert again == replace(part, earlier=again.earlier)


def invoice(rows: int, *, wrapped: int = 0) -> str:
    made = random.Random(3)
    lines = ["ACME Ltd", "Invoice 17", "", "Item                Qty    Price    Total"]
    for number in range(rows):
        name = f"Widget {number:05d}"
        if wrapped and number % wrapped == 0:
            lines.append(f"Large {made.choice(['red', 'blue'])} wonderful")
        lines.append(f"{name}      2     4.50     {9 + number}.00")
    return "\n".join([*lines, "", "Total                             99.00", "Thank you."])


@pytest.mark.parametrize("tokens", [60, 200, 1_000])
def test_rows_of_a_table_are_not_halved_and_their_columns_are_known(tokens: int) -> None:
    text = invoice(200, wrapped=5)
    parts = split(Document("a", text), Limits(tokens, WIDE))
    assert len(parts) > 2
    for part in parts[1:]:
        first = part.text.lstrip().split("\n")[0]
        assert first.startswith(("Widget", "Large", "Total", "Thank")), first
        assert part.part is not None
        if first.startswith("Widget"):
            assert not part.part.before.endswith("wonderful"), "a row whose name stands on two lines is cut"
            assert part.part.columns.split() == ["Item", "Qty", "Price", "Total"]
        assert part.part.beginning == text[:1_000].rpartition("\n")[0]


def test_a_page_is_a_better_place_to_cut_than_a_line_but_not_inside_a_row() -> None:
    page = "\n".join(f"Widget {n}  2  3.00  6.00" for n in range(20))
    text = f"Item  Qty  Price  Total\n{page}\n{page[:200]}\n"
    start = len("Item  Qty  Price  Total\n") + len(page) + 1
    one, two = split(Document("a", text, layout=Layout((0, start))), Limits(about_tokens(text) - 20, WIDE))
    assert len(one.text) == start
    assert two.layout == Layout((0,))
    spans = f"Item  Qty  Price  Total\n{page}\nLarge blue widget\n\nin a box  2  3.00  6.00\n{page[:200]}\n"
    begin = spans.index("in a box")
    one, _ = split(Document("a", spans, layout=Layout((0, begin))), Limits(about_tokens(spans) - 20, WIDE))
    assert len(one.text) != begin


def test_a_scan_is_split_by_its_pages() -> None:
    pictures = tuple(f"data:image/png;base64,{'A' * 1_000}{n}" for n in range(4))
    text = "one\ntwo\nthree\nfour\n"
    starts = (0, 4, 8, 14)
    parts = split(Document("a", text, pictures, layout=Layout(starts, starts)), Limits(WIDE, 2_200))
    assert [part.images for part in parts] == [pictures[:2], pictures[2:]]
    assert [part.text for part in parts] == ["one\ntwo\n", "three\nfour\n"]


def test_the_pictures_of_a_scan_count_as_tokens() -> None:
    pictures = tuple(f"data:image/png;base64,AAAA{n}" for n in range(6))
    scan = Document("a", "", pictures, layout=Layout((0,) * 6))
    for tokens, a_part in ((4_000, 1), (10_000, 2), (PICTURE_TOKENS * 3, 3), (WIDE, 6)):
        parts = split(scan, Limits(tokens, WIDE))
        assert {len(part.images) for part in parts} == {a_part}, tokens


def test_a_picture_and_the_text_of_its_page_stay_together_however_small_parts_are() -> None:
    pictures = tuple(f"data:image/png;base64,AAAA{n}" for n in range(3))
    pages = [f"Page {n}\nA few words of the page, as it was read.\n" for n in range(3)]
    starts = tuple(len(pages[0]) * n for n in range(3))
    parts = split(Document("a", "".join(pages), pictures, layout=Layout(starts, starts)), Limits(200, WIDE))
    assert [(part.text, part.images) for part in parts] == [
        (page, (picture,)) for page, picture in zip(pages, pictures, strict=True)
    ]


def test_a_scan_without_a_text_is_split_by_its_pages_too() -> None:
    pictures = tuple(f"data:image/png;base64,{'A' * 1_000}{n}" for n in range(5))
    scan = Document("a", "", pictures, layout=Layout((0, 0, 0, 0, 0)))
    parts = split(scan, Limits(WIDE, 2_200))
    assert [part.images for part in parts] == [pictures[:2], pictures[2:4], pictures[4:]]
    assert joined(parts) == scan
    assert [split(scan, Limits(WIDE, WIDE), part.part.start, part.part.end) for part in parts if part.part] == [
        [part] for part in parts
    ], "each can be asked again alone"


def test_a_long_line_is_cut_at_sentences_then_at_words() -> None:
    text = "One two three four five. " * 40
    parts = split(Document("a", text.strip()), Limits(50, WIDE))
    assert all(part.text.endswith(". ") for part in parts[:-1])
    words = split(Document("a", "word " * 400), Limits(50, WIDE))
    assert all(part.text.endswith("word ") for part in words)


def test_headings_are_found_by_their_level() -> None:
    text = "# Lease\nintro\n## Rent\n1,000 a month\n## Term\nten years\n"
    text += "ARTICLE II\n2.1 Repairs\nthe tenant\n12 monkeys ate.\n"
    found = headings(text)
    assert [(one.level, one.title) for one in found] == [
        (1, "# Lease"), (2, "## Rent"), (2, "## Term"), (1, "ARTICLE II"), (2, "2.1 Repairs"),
    ]  # fmt: skip
    assert path_at(found, text.index("ten years")) == ("# Lease", "## Term")
    assert path_at(found, text.index("the tenant")) == ("ARTICLE II", "2.1 Repairs")
    assert path_at(found, 0) == ()


def test_tables_have_their_rows_and_no_sums() -> None:
    text = "Item   Qty  Total\nBolt   2    4.00\nLarge\nNut    3    6.00\nTotal  5  10.00\n\n"
    text += "Kind of tax  Rate\nReduced  7  0.65\n"
    goods, tax = tables(text)
    assert [row.split()[0] for row in goods.rows] == ["Bolt", "Nut"]
    assert tax.columns == "Kind of tax  Rate"
    assert tables("Bolt  2  4.00\n") == []
    assert len(tables("Bolt  2  4.00\n", "Item   Qty  Total")) == 1
