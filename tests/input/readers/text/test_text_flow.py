"""How words, blocks and rows of tables become lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_beam.input.readers.text.text_flow import TableFlow, TextFlow


def row(*cells: str) -> list[str]:
    flow = TableFlow()
    flow.begin_row()
    for cell in cells:
        flow.add_cell(cell)
    return flow.end_row()


@pytest.mark.parametrize(
    ("cells", "lines"),
    [
        (("Desk lamp\nblack\nwith bulb\nnew\n", "2", "19.80"), ["Desk lamp black with bulb new | 2 | 19.80"]),
        (("Unit\nprice", "Line\ntotal"), ["Unit price | Line total"]),
        (("Lamp\nDesk\nChair", "1\n2\n3", "", "5\n6\n7"), ["Lamp | 1 |  | 5", "Desk | 2 |  | 6", "Chair | 3 |  | 7"]),
        (("ACME\nStreet 1\nBerlin\nGermany", "Invoice\n7\nDate\nMay\nDue"), [
            "ACME", "Street 1", "Berlin", "Germany", "Invoice", "7", "Date", "May", "Due",
        ]),
        (("one\ntwo",), ["one", "two"]),
        (("", ""), []),
        ((), []),
    ],
)  # fmt: skip
def test_a_row_of_data_is_a_line_and_a_row_that_lays_out_a_page_is_read_cell_by_cell(
    cells: tuple[str, ...], lines: list[str]
) -> None:
    assert row(*cells) == lines


@given(
    st.lists(st.lists(st.sampled_from(["", "a", "b c", "d\ne", "f\n\ng\nh", "1\n2\n3\n4\n5"]), max_size=5), max_size=4)
)
def test_no_word_of_a_table_is_lost_and_none_is_doubled(rows: list[list[str]]) -> None:
    for cells in rows:
        words = " ".join(row(*cells)).replace("|", " ").split()
        assert sorted(words) == sorted(" ".join(cells).split())


def test_words_are_parted_as_a_browser_parts_them() -> None:
    flow = TextFlow()
    for piece in ("a", "b ", " c", "\n", "d", "e\u200bf", "\u00a0g"):
        flow.add(piece)
    flow.break_line()
    flow.break_line()
    flow.add_verbatim("  x\n  y")
    assert flow.text() == "ab c def g\n\n  x\n  y"
