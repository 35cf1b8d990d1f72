"""Rows of tables as lines."""

from __future__ import annotations

from kimi_beam.input.readers.text.table_rows import joined_lines, table_row


def test_a_row_is_one_line_and_a_value_keeps_its_column() -> None:
    assert table_row(["2", "Desk\nlamp,\n black", "", " 19.80 ", "", ""]) == "2 | Desk lamp, black |  | 19.80"
    assert table_row(["", " "]) == ""


def test_no_more_than_one_empty_line_follows_another() -> None:
    assert joined_lines(["", "a ", "", "", "b\n\n\nc", ""]) == "a\n\nb\n\nc"
