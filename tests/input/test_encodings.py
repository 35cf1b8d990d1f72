"""Encodings: a text in UTF-8, UTF-16 or UTF-32 is read if its encoding is certain, and becomes a dead letter if not."""

from __future__ import annotations

import base64
import codecs
import contextlib
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.input.encodings import NotTextError, text_of
from kimi_beam.input.fields import Reading
from kimi_beam.input.file_parts import find_parts
from kimi_beam.input.read_parts import read_part
from kimi_beam.request.checks import prepare
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.types.document import Document

MARKED = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
CYRILLIC = "\u0418\u0442\u043e\u0433\u043e"
RECEIPT = "COMPANY: Größe & Söhne\r\nDate: 2026-03-01\r\nTOTAL: 10.50 €\r\n"


def read(path: Path) -> list[Document]:
    return [document for part in find_parts((str(path),)) for document in read_part(part)]


@pytest.mark.parametrize("encoding", MARKED)
@pytest.mark.parametrize("text", [RECEIPT, "東京 🧾\n", "", "a"])
@pytest.mark.parametrize("suffix", [".txt", ".md", ".txt.gz"])
def test_a_text_with_a_mark_is_read(tmp_path: Path, encoding: str, text: str, suffix: str) -> None:
    content = MARKED[encoding] + text.encode(encoding)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    (document,) = read(path)
    assert (document.failure, document.text) == (None, text)


@pytest.mark.parametrize("encoding", [name for name in MARKED if name != "utf-8"])
def test_a_text_without_a_mark_is_read_where_its_nuls_leave_no_doubt(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes(RECEIPT.encode(encoding))
    (document,) = read(tmp_path / "a.txt")
    assert (document.failure, document.text) == (None, RECEIPT)


@pytest.mark.parametrize(
    "content",
    [
        f"{CYRILLIC}\n{CYRILLIC}: 5\n".encode("utf-16-le"),  # few NULs
        f"{CYRILLIC} {CYRILLIC}".encode("utf-16-be"),
        CYRILLIC.encode("utf-16-le"),  # none, but control characters between ASCII
        RECEIPT.encode("utf-16-le")[:-1],
        b"plain\0",
        b"one\0two\0three\0",
        b"\0" * 100,
        b"\0",
        codecs.BOM_UTF16_LE + b"a",
        codecs.BOM_UTF16_LE + "a\0b".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + b"\xd8\x00\x00\x41",
        RECEIPT.encode("latin-1", "replace"),
        b"\xff",
    ],
)
def test_anything_else_is_a_dead_letter_with_its_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    (document,) = read(tmp_path / "a.txt")
    assert document.failure is not None
    assert (document.failure.stage, document.failure.code) == ("read", "not_utf8")
    assert document.failure.raw == base64.b64encode(content).decode()
    assert document.text == ""


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "older Microsoft Office"),
        (gzip.compress(b"text", mtime=0), "gzip"),
        (b"SQLite format 3\0\x10", "SQLite"),
        (b"\x7fELF\2\1\1\0", "a program"),
    ],
)
def test_a_file_of_a_kind_that_is_not_read_is_named_under_the_name_of_a_text(
    tmp_path: Path, content: bytes, kind: str
) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    (document,) = read(tmp_path / "a.txt")
    assert document.failure is not None
    assert document.failure.code == "not_text"
    assert kind in document.failure.message


@pytest.mark.parametrize(
    "text", ["GIF89a is a format.", "PAR1 and PK are marks", "BZh is one too", "PDF", "\x1b[1mbold\x0c"]
)
def test_texts_about_other_kinds_are_texts(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    (document,) = read(tmp_path / "a.txt")
    assert (document.failure, document.text) == (None, text)


@settings(derandomize=True, max_examples=1_000)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30))
def test_utf8_is_never_read_as_another_encoding(text: str) -> None:
    if not text.startswith("\ufeff"):
        assert text_of(text.encode()) == text


@settings(derandomize=True, max_examples=1_000)
@given(st.binary(max_size=40) | st.lists(st.sampled_from([b"\0", b"a", b"\4", b"\xd8"]), max_size=12).map(b"".join))
def test_no_bytes_become_a_text_with_nuls(content: bytes) -> None:
    with contextlib.suppress(NotTextError):
        assert "\0" not in text_of(content)


# ------------------------------------------------------------------------------------------------ JSON lines


@pytest.mark.parametrize("encoding", MARKED)
@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".jsonl.gz"])
def test_json_lines_in_any_encoding_are_read(
    tmp_path: Path, encoding: str, marked: bool, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [{"id": f"d{n}", "text": f"Größe 東京 🧾 \u0a0a {n}", "n": n} for n in range(20)]
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n{bad\n"
    content = (MARKED[encoding] if marked else b"") + text.encode(encoding)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    for size in (16 << 20, 64):
        monkeypatch.setattr("kimi_beam.input.file_parts._PART_BYTES", size)
        *good, bad = read(path)
        assert [(one.id, one.text, one.metadata) for one in good] == [
            (line["id"], line["text"], {"n": line["n"]}) for line in lines
        ]
        assert bad.id == f"{path}#21"
        assert bad.failure is not None
        assert bad.failure.code == "not_json"


def test_a_line_with_half_a_pair_costs_that_line_alone(tmp_path: Path) -> None:
    lines = ['{"id": "a", "text": "x"}\n', '{"id": "b", "text": "', '"}\n', '{"id": "c", "text": "x"}\n']
    a, b, rest, c = (line.encode("utf-16-le") for line in lines)
    (tmp_path / "a.jsonl").write_bytes(codecs.BOM_UTF16_LE + a + b + b"\x3d\xd8" + rest + c)
    found = read(tmp_path / "a.jsonl")
    assert [one.failure and one.failure.code for one in found] == [None, "not_utf8", None]


# ------------------------------------------------------------------------------------------------ documents of code


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_a_text_that_somebody_has_read_as_utf8_is_not_sent(encoding: str) -> None:
    text = "TOTAL: 10.50".encode(encoding).decode()
    prepared = prepare(Document("a", text), Prompt(OutputSchema({"type": "object"}))).document
    assert prepared.failure is not None
    assert (prepared.failure.stage, prepared.failure.code) == ("prompt", "not_utf8")
    assert "UTF-16" in prepared.failure.message
    some = prepare(Document("a", "one NUL\0 in a text"), Prompt(OutputSchema({"type": "object"}))).document
    assert some.failure is None


# ------------------------------------------------------------------------------------------------ named encodings


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Größe: 3 €"),
        ("iso8859-2", "Łódź"),
        ("koi8-r", "Счёт"),
        ("shift_jis", "請求書ソ表"),
        ("gb18030", "联通"),
        ("big5", "發票"),
        ("euc-kr", "영수증"),
        ("iso2022_jp", '請求"書'),
        ("cp500", "Total: 3"),
        ("utf-16-be", "請求書"),
        ("utf-7", "Größe"),
    ],
)
def test_a_text_in_an_encoding_that_is_named_is_read(tmp_path: Path, encoding: str, text: str) -> None:
    lines = f'{{"id": "a", "text": {json.dumps(text, ensure_ascii=False)}}}\n{{"id": "b", "text": "x"}}\n'
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    (tmp_path / "b.jsonl").write_bytes(lines.encode(encoding))
    reading = Reading(encoding=encoding)
    found = [one for part in find_parts((f"{tmp_path}/*",), encoding) for one in read_part(part, reading)]
    assert [(one.failure, one.text) for one in found] == [(None, text), (None, text), (None, "x")]


@pytest.mark.parametrize("encoding", ["cp1252", "shift_jis", "cp500"])
def test_a_text_in_utf8_or_utf16_is_read_whatever_encoding_is_named(encoding: str) -> None:
    for text in ("Größe", "請求書"):
        assert text_of(text.encode(), encoding) == text
        assert text_of(b"\xef\xbb\xbf" + text.encode(), encoding) == text
        assert text_of(text.encode("utf-16"), encoding) == text


def test_what_is_in_no_encoding_at_all_says_so() -> None:
    with pytest.raises(NotTextError, match="is neither UTF-8 nor ascii: ordinal not in range"):
        text_of(b"\xff", "ascii")
    with pytest.raises(NotTextError, match="holds NUL characters"):
        text_of(b"\xff\0a", "cp437")


def test_a_line_in_another_encoding_is_a_failure_and_its_neighbours_are_read(tmp_path: Path) -> None:
    line = '{"id": "%s", "text": "Größe"}\n'
    (tmp_path / "a.jsonl").write_bytes(
        (line % "a").encode("cp1252") + (line % "b").encode() + b'{"id": "c", "text": "\x81"}'
    )
    plain = [one for part in find_parts((f"{tmp_path}/*",)) for one in read_part(part)]
    assert [one.failure and one.failure.code for one in plain] == ["not_utf8", None, "not_utf8"]
    named = [one for part in find_parts((f"{tmp_path}/*",)) for one in read_part(part, Reading(encoding="cp1252"))]
    assert [one.text or (one.failure and one.failure.code) for one in named] == ["Größe", "Größe", "not_utf8"]


def test_lines_in_an_encoding_that_is_named_are_cut_only_where_a_line_feed_is_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kimi_beam.input.file_parts._PART_BYTES", 100)
    for encoding, count in (("cp1252", 5), ("cp500", 1), ("utf-16-le", 1)):
        lines = "".join(f'{{"id": "{number}", "text": "Größe"}}\n' for number in range(14))
        (tmp_path / "a.jsonl").write_bytes(lines.encode(encoding))
        parts = list(find_parts((f"{tmp_path}/a.jsonl",), encoding))
        assert len(parts) == count
        found = [one for part in parts for one in read_part(part, Reading(encoding=encoding))]
        assert [(one.id, one.text) for one in found] == [(str(number), "Größe") for number in range(14)]
