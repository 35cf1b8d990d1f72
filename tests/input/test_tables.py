"""CSV and TSV: each row is a document or a failure of its own, and no value moves to another column."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kimi_beam.errors import InputError
from kimi_beam.input.check_input import check_input
from kimi_beam.input.fields import Reading
from kimi_beam.input.file_parts import Part
from kimi_beam.input.quoted_rows import quoted_rows
from kimi_beam.input.tables import read_table_blocks
from kimi_beam.types.document import Document


def read(content: bytes | str, name: str = "a.csv", **settings: Any) -> list[Document]:
    content = content.encode() if isinstance(content, str) else content
    f = io.BufferedReader(io.BytesIO(content))
    found: list[Document] = []
    for block in read_table_blocks(f, Part(name), Reading(**settings)):
        found += [block] if isinstance(block, Document) else block
    return found


def outcome(found: list[Document]) -> list[tuple[str, str]]:
    """Of each document its id, and its text or the code of its failure."""
    return [(one.id, one.text if one.failure is None else one.failure.code) for one in found]


def test_a_row_is_a_document_and_the_other_columns_are_its_metadata() -> None:
    found = read("id,text,shop\na,Total: 3,7\nb,Total: 4,\n")
    assert found == [
        Document("a", "Total: 3", metadata={"shop": "7"}, source="a.csv"),
        Document("b", "Total: 4", metadata={"shop": ""}, source="a.csv"),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_delimiters_line_ends_and_a_mark_do_not_change_the_documents(delimiter: str, end: str, mark: str) -> None:
    rows = [
        ["id", "text", "k, ;\t|"],
        ["1", 'say "x"', "a,;\t|b"],
        ["2", "two\nlines", ""],
        ["", "", ""],
        ["4", "4", "4"],
    ]
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    found = read(mark + written.getvalue())
    assert outcome(found) == [("1", 'say "x"'), ("2", "two\nlines"), ("a.csv#3", "missing_id"), ("4", "4")]
    assert found[0].metadata == {"k, ;\t|": "a,;\t|b"}


def test_tsv_is_separated_by_tabs_whatever_else_is_frequent() -> None:
    assert outcome(read("id\ttext,a,b,c\na\tx,1\n", "a.tsv", text_field="text,a,b,c")) == [("a", "x,1")]


def test_the_first_line_of_excel_names_the_delimiter() -> None:
    assert outcome(read("sep=|\nid|text,more,commas\na|x\n", text_field="text,more,commas")) == [("a", "x")]


def test_a_quote_within_a_value_means_itself() -> None:
    assert outcome(read('id,text\na,5" pipe\nb,"6"" pipe"\nc,x"y"\n')) == [
        ("a", '5" pipe'),
        ("b", '6" pipe'),
        ("c", 'x"y"'),
    ]


def test_a_ragged_row_is_a_failure_and_its_neighbours_are_read() -> None:
    found = read("id,text,n\na,x,1\nb,y\nc,z,1,2\nd,w,3\n")
    assert outcome(found) == [("a", "x"), ("a.csv#2", "ragged_row"), ("a.csv#3", "ragged_row"), ("d", "w")]
    assert found[1].failure is not None
    assert found[1].failure.message == "row 2 has 2 values, and the table has 3 columns"


def test_a_quote_without_an_end_is_a_failure() -> None:
    assert outcome(read('id,text\na,x\nb,"y\nc,z\n')) == [("a", "x"), ("a.csv#2", "damaged")]


def test_without_a_column_of_ids_the_place_is_the_id() -> None:
    assert outcome(read("text,n\nx,1\n\ny,2\n")) == [("a.csv#1", "x"), ("a.csv#2", "y")]
    assert outcome(read("id,text\na,x\n", id_field="#")) == [("a.csv#1", "x")]
    (found,) = read("id,text\na,x\n", id_field="key")
    assert found.failure is not None
    assert (found.failure.code, found.failure.message) == (
        "missing_id",
        "a.csv has no column 'key'; it has 'id', 'text' (--id-field)",
    )


def test_the_text_may_be_made_of_all_columns() -> None:
    (found,) = read('id,name,"total, EUR",note\na,Shop,3.10,\n', text_field="*")
    assert found.text == "name: Shop\ntotal, EUR: 3.10\nnote:"
    assert found.metadata == {"name": "Shop", "total, EUR": "3.10", "note": ""}


def test_a_table_without_a_text_is_refused_before_it_is_read(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("number,letter\n1,x\n")
    for named in (table, tmp_path / "a.csv.gz"):
        (tmp_path / "a.csv.gz").write_bytes(gzip.compress(table.read_bytes()))
        with pytest.raises(InputError, match=r"has no column 'text'; it has 'number', 'letter' \(--text-field, .*'\*'"):
            check_input([str(named)])
        check_input([str(named)], Reading(text_field="letter"))
        check_input([str(named)], Reading(text_field="*"))
    check_input([str(tmp_path)])  # in a directory it is a dead letter, and no reason to read nothing
    assert outcome(read(table.read_bytes())) == [("a.csv", "missing_text")]


def test_columns_of_one_name_or_none() -> None:
    assert outcome(read("id,text,n,n\na,x,1,2\n")) == [("a.csv", "repeated_key")]
    (found,) = read(",text,\na,x,1\n")
    assert found.metadata == {"column_1": "a", "column_3": "1"}


@pytest.mark.parametrize("content", [b"", b"\n\n", b"id,text\n", b"\xef\xbb\xbf", b"id,text"])
def test_a_table_without_rows_has_no_documents(content: bytes) -> None:
    assert read(content) == []


def test_other_encodings() -> None:
    table = "id,text\nä,Größe\nb,x\n"
    assert outcome(read(table.encode("utf-16"))) == [("ä", "Größe"), ("b", "x")]
    assert outcome(read(table.encode("utf-16-le"))) == [("ä", "Größe"), ("b", "x")]
    assert outcome(read(table.encode("cp1252"))) == [("a.csv#1", "not_utf8"), ("b", "x")]
    assert outcome(read(table.encode("cp1252"), encoding="cp1252")) == [("ä", "Größe"), ("b", "x")]
    assert outcome(read(table.encode(), encoding="cp1252")) == [("ä", "Größe"), ("b", "x")], "UTF-8 needs no name"
    assert outcome(read(table.encode("cp273"), encoding="cp273")) == [("ä", "Größe"), ("b", "x")]
    japanese = 'id,text\n1,表、"引"用,\n'.replace(",\n", "\n")
    for encoding in ("shift_jis", "iso2022_jp", "euc_jp"):
        assert outcome(read(japanese.encode(encoding), encoding=encoding)) == [("1", '表、"引"用')]


def test_a_row_beyond_the_bound_is_a_failure_and_the_next_one_begins_where_it_begins() -> None:
    long = '"' + 'a""b\n' * 100 + '"'
    found = read(f"id,text\na,x\nb,{long}\nc,{'y' * 400}\nd,z\n", max_document_bytes=100)
    assert outcome(found) == [("a", "x"), ("a.csv#2", "too_large"), ("a.csv#3", "too_large"), ("d", "z")]
    assert found[1].failure is not None
    assert "row 2, of 504 bytes, is larger than 100 bytes" in found[1].failure.message


class _Endless(io.RawIOBase):
    """A value that is quoted and never ends: it gives so many bytes, and counts what is asked for at once."""

    def __init__(self, size: int) -> None:
        self._left, self.most = size, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._left)
        buffer[:count] = b'""' * (count // 2) + b'"' * (count % 2)
        self._left -= count
        return count


def test_a_value_that_never_ends_takes_no_memory() -> None:
    head = io.BytesIO(b'id,text\na,"')

    class _Both(_Endless):
        def readinto(self, buffer: Any) -> int:
            return head.readinto(buffer) or super().readinto(buffer)

    f = io.BufferedReader(_Both(5 << 20), 1 << 16)
    rows = list(quoted_rows(f, ",", 1_000))
    assert [len(row.content) <= 1_002 for row in rows] == [True, True]
    assert rows[1].size > 5 << 20


VALUES = st.text(st.sampled_from('ab",;\n\r \t|é'), max_size=6)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=8), st.sampled_from(",;\t|"), st.booleans())
def test_every_table_that_python_writes_is_read_as_it_was(
    rows: list[tuple[str, str]], delimiter: str, all_quoted: bool
) -> None:
    if not all_quoted:  # Python does not quote a carriage return by itself
        rows = [(text.replace("\r", ""), more.replace("\r", "")) for text, more in rows]
    written = io.StringIO(newline="")
    quoting: Literal[0, 1] = csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL
    writer = csv.writer(written, delimiter=delimiter, quoting=quoting, lineterminator="\n")
    writer.writerow([f"id{delimiter}.", f"text{delimiter}.", f"k{delimiter}."])
    writer.writerows([f"i{index}", *row] for index, row in enumerate(rows))
    found = read(written.getvalue(), id_field=f"id{delimiter}.", text_field=f"text{delimiter}.")
    assert [(one.id, one.text, one.metadata[f"k{delimiter}."]) for one in found] == [
        (f"i{index}", *row) for index, row in enumerate(rows)
    ]


def test_lines_that_end_in_carriage_returns_are_rows() -> None:
    assert outcome(read("id,text\ra,x\rb,y")) == [("a", "x"), ("b", "y")]
    assert outcome(read("id,text\na,x\rb,y\nc,z\n")) == [("a.csv#1", "ragged_row"), ("c", "z")]
    assert outcome(read("id,text\ra,x\nb,y\n")) == [("a.csv", "ragged_row")]


@example('"aa""\nb"\n', 2)  # a piece ends between two quotes that mean one
@example('a,"b"\nc\n', 1)  # a piece begins with the quote of a value
@given(st.text(st.sampled_from('ab",\n'), max_size=60), st.integers(1, 40))
def test_rows_are_cut_alike_whatever_the_bound_is(text: str, bound: int) -> None:
    """What a bound does not let through is counted all the same, so that rows begin where they begin without it."""
    content = text.encode()
    wide = [row.size for row in quoted_rows(io.BytesIO(content), ",", 1_000)]
    narrow = list(quoted_rows(io.BytesIO(content), ",", bound))
    assert [row.size for row in narrow] == wide
    assert all(len(row.content) <= bound + 2 for row in narrow)
