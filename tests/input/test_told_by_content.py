"""Kinds told by content: binary kinds win over any name, and a name without a suffix is told by its text."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pictures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_beam.input import kinds
from kimi_beam.input.kinds import KINDS, Kind
from kimi_beam.input.told_by_content import HEAD_BYTES, binary_kind, is_told_by_all, kind_of


def zipped(*names: str, mimetype: str | None = None) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        if mimetype:
            archive.writestr("mimetype", mimetype)
        for name in names:
            archive.writestr(name, "x")
    return written.getvalue()


def ole(*streams: str) -> bytes:
    """An OLE file as far as its kind is told by it: a header, and the entries of its directory."""
    entries = []
    for name in ("Root Entry", *streams):
        encoded = name.encode("utf-16-le") + b"\0\0"
        entries.append(encoded.ljust(64, b"\0") + len(encoded).to_bytes(2, "little") + bytes(62))
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(512, b"\0") + b"".join(entries)


def tarred() -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    return written.getvalue()


CONTENTS: dict[str, bytes] = {
    ".pdf": b"%PDF-1.7\n1 0 obj",
    ".png": pictures.EACH["image/png"],
    ".jpg": pictures.EACH["image/jpeg"],
    ".webp": pictures.EACH["image/webp"],
    ".gif": pictures.EACH["image/gif"],
    ".tif": b"II*\0\x08\0\0\0" + bytes(40),
    ".bmp": b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0" + bytes(40),
    ".heic": b"\0\0\0\x18ftypheic" + bytes(40),
    ".avif": b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif" + bytes(40),
    ".parquet": b"PAR1\x15\x04" + bytes(40),
    ".tar": tarred(),
    ".zip": zipped("a.txt", "word/b.txt"),
    ".docx": zipped("[Content_Types].xml", "word/document.xml"),
    ".pptx": zipped("[Content_Types].xml", "ppt/presentation.xml"),
    ".xlsx": zipped("[Content_Types].xml", "xl/workbook.xml"),
    ".xlsb": zipped("[Content_Types].xml", "xl/workbook.bin"),
    ".odt": zipped("content.xml", mimetype="application/vnd.oasis.opendocument.text"),
    ".ods": zipped("content.xml", mimetype="application/vnd.oasis.opendocument.spreadsheet"),
    ".odp": zipped("content.xml", mimetype="application/vnd.oasis.opendocument.presentation"),
    ".xls": ole("Workbook"),
    ".msg": ole("__substg1.0_0037001F", "__properties_version1.0"),
}


def test_each_kind_that_is_no_text_is_told_by_its_content() -> None:
    texts = {".txt", ".html", ".jsonl", ".csv", ".tsv", ".eml"}
    assert set(CONTENTS) == {kind.suffix for kind in KINDS} - texts


@pytest.mark.parametrize("suffix", CONTENTS)
@pytest.mark.parametrize("name", ["a", "in.d/scan 1.5", "a.txt", "a.PDF", "a.log", "a.csv", "a.docx", "a.jpg", "a.zip"])
def test_a_binary_kind_counts_whatever_the_name_says(suffix: str, name: str) -> None:
    found = kind_of(name, CONTENTS[suffix])
    if name == "a.log" and suffix in (".zip", ".tar"):
        assert found is None, "a .jar would be read as an archive of documents"
        return
    assert found is not None
    assert found.suffix == suffix


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"Read me", kinds.TEXT),
        (b"", kinds.TEXT),
        ("Größe".encode("utf-16"), kinds.TEXT),
        (b'{"id": "a", "text": "x"}\n{"id": "b"}\n', kinds.JSON_LINES),
        (b'\xef\xbb\xbf  {"id": "a"}', kinds.JSON_LINES),
        (b'{\n "id": "a"\n}', kinds.TEXT),  # an object over several lines is no line
        (b"{braces} are no JSON", kinds.TEXT),
        (b"\n<!DOCTYPE html>\n<html>", kinds.HTML),
        (b"<?xml version='1.0'?><!-- a --><!-- b -->\n<HTML lang=de>", kinds.HTML),
        (b"<htmlish>", kinds.TEXT),
        (b"Received: by a\n\twith b\nFrom: a@b\nTo: c@d\n\nHello", kinds.EML),
        (b"From: me\n\nDear reader", kinds.TEXT),
        (b"Note: From: and To: are headers", kinds.TEXT),
        (b"\x7fELF\2\1\1\0", None),
        (b"\xff\xfe\x00", None),
        ("é".encode("cp1252"), None),
    ],
)
def test_a_name_without_a_suffix_is_told_by_what_stands_in_it(content: bytes, kind: Kind | None) -> None:
    assert kind_of("README", content) is kind
    assert kind_of("1694.M5P7.host:2,S", content) is kind


def test_an_encoding_that_the_user_names_makes_a_text_of_what_was_none() -> None:
    assert kind_of("brief", "é".encode("cp1252"), "cp1252") is kinds.TEXT


@pytest.mark.parametrize("name", ["a.log", "a.json", "a.exe", "a.txt.part", "a.txt~"])
def test_a_text_whose_suffix_says_something_else_is_of_no_kind(name: str) -> None:
    assert kind_of(name, b"x") is None


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.suffix in CONTENTS], ids=lambda kind: kind.suffix)
def test_a_file_that_holds_nothing_of_its_kind_keeps_the_kind_of_its_name(kind: Kind) -> None:
    for content in (b"", b"<html>404 Not Found</html>", b"\0" * 600):
        assert kind_of(f"a{kind.suffix}", content) is kind, "its reader could not say what is wrong"


def test_a_film_is_of_no_kind() -> None:
    assert kind_of("a", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(40)) is None


def test_a_damaged_zip_keeps_the_kind_of_its_name_if_that_is_a_zip() -> None:
    cut = CONTENTS[".docx"][:60]
    assert kind_of("a.docx", cut) is kinds.DOCX
    assert kind_of("a.txt", cut) is kinds.ZIP


def test_an_opendocument_file_without_a_media_type_keeps_the_kind_of_its_name() -> None:
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w") as made:
        made.writestr("content.xml", "<a/>")
    assert kind_of("a.odt", f.getvalue()) is kinds.ODT
    assert kind_of("a.zip", f.getvalue()) is kinds.ZIP


def test_only_the_name_says_what_an_encrypted_office_file_is() -> None:
    encrypted = ole("EncryptedPackage", "EncryptionInfo")
    assert kind_of("a.xlsx", encrypted) is kinds.XLSX
    assert kind_of("a", encrypted) is kinds.DOCX


def test_a_letter_of_older_word_is_of_no_kind_although_a_table_is_in_it() -> None:
    letter = ole("WordDocument", "Workbook")
    assert kind_of("a.doc", letter) is None
    assert kind_of("a.xls", letter) is kinds.XLS
    assert kind_of("a.msg", ole("__properties_version1.0", "Workbook")) is kinds.MSG


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=300))
def test_no_text_is_of_a_binary_kind(text: str) -> None:
    assert binary_kind(text.encode()) is None or text.startswith("%PDF-")


@pytest.mark.parametrize("suffix", CONTENTS)
def test_a_kind_is_told_by_the_beginning_of_a_file_unless_it_says_that_all_is_needed(suffix: str) -> None:
    head = CONTENTS[suffix].ljust(2 * HEAD_BYTES, b"\0")[:HEAD_BYTES]
    found = kind_of("a", head)
    assert is_told_by_all(head) or (found is not None and found.suffix == suffix)
    assert not is_told_by_all(b"a text")


def test_a_long_text_may_be_cut_within_a_character() -> None:
    for length in range(HEAD_BYTES, HEAD_BYTES + 5):
        assert kind_of("brief", ("x" + "€" * HEAD_BYTES).encode()[:length]) is kinds.TEXT
    assert kind_of("brief", "€".encode()[:2]) is None


def test_many_comments_do_not_make_it_slow() -> None:
    assert kind_of("a", b"<!-- -->" * 8_000 + b"x") is kinds.TEXT
    assert kind_of("a", b"A: b\n c\n" * 8_000) is kinds.TEXT
