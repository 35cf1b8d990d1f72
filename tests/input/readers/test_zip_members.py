"""The limits within which zips are unpacked, and the parsing of their XML parts."""

from __future__ import annotations

import io
import zipfile

import pytest

from kimi_beam.input.readers.content import UnreadableError
from kimi_beam.input.readers.office.office_xml import OfficeFile, parse_xml
from kimi_beam.input.readers.zip_members import ZipLimits, ZipMembers


def zip_of(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def code_of(content: bytes, limits: ZipLimits, *, check: bool = False) -> str:
    with pytest.raises(UnreadableError) as failed:
        _unpacked(content, limits, check=check)
    assert "\n" not in failed.value.message
    return failed.value.code


def _unpacked(content: bytes, limits: ZipLimits, *, check: bool) -> None:
    members = ZipMembers(content, limits)
    if check:
        members.check_all()
    else:
        for name in members.names:
            members.read(name)


def test_members_are_read_as_they_were_written() -> None:
    members = {"a.txt": b"one", "dir/b.txt": b"two" * 100_000, "../c.txt": b""}
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        zipped = ZipMembers(zip_of(members, compression))
        assert {name: zipped.read(name) for name in zipped.names} == members
        ZipMembers(zip_of(members, compression)).check_all()


@pytest.mark.parametrize("check", [False, True])
def test_a_bomb_is_refused_by_its_ratio_its_size_and_the_size_of_all(check: bool) -> None:
    zeros = zip_of({"zeros": bytes(3 << 20)})
    assert code_of(zeros, ZipLimits(ratio=100, ratio_from=1 << 20), check=check) == "compression_bomb"
    assert code_of(zeros, ZipLimits(member_bytes=2 << 20), check=check) == "compression_bomb"
    many = zip_of({str(n): bytes(1 << 20) for n in range(5)})
    assert code_of(many, ZipLimits(total_bytes=4 << 20), check=check) == "compression_bomb"
    _unpacked(many, ZipLimits(total_bytes=5 << 20), check=check)


def test_a_zip_with_too_many_members_is_refused_before_any_is_read() -> None:
    assert code_of(zip_of({str(n): b"" for n in range(11)}), ZipLimits(members=10)) == "too_many_members"


@pytest.mark.parametrize("check", [False, True])
def test_an_encrypted_member_is_refused_as_encrypted(check: bool) -> None:
    plain = bytearray(zip_of({"a": b"text"}))
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        plain[plain.index(mark) + flags] |= 1
    assert code_of(bytes(plain), ZipLimits(), check=check) == "encrypted"


def test_a_directory_that_says_less_than_a_member_gives_does_not_get_a_bomb_past_the_check() -> None:
    lying = bytearray(zip_of({"a": bytes(1 << 20)}))
    at = lying.index(b"PK\x01\x02") + 24
    lying[at : at + 4] = (10).to_bytes(4, "little")
    assert code_of(bytes(lying), ZipLimits(), check=True) == "damaged"


@pytest.mark.parametrize("check", [False, True])
def test_a_zip_that_is_cut_or_altered_is_damaged(check: bool) -> None:
    whole = zip_of({"a": bytes(range(256)) * 50})
    for content in (b"", b"PK", whole[: len(whole) // 2], whole.replace(b"PK\x03\x04", b"PK\x03\x05")):
        if content != whole[: len(whole)] and not (check and b"PK\x03\x05" in content):
            assert code_of(content, ZipLimits(), check=check) == "damaged"


def test_an_xml_part_with_entities_is_refused_in_every_encoding() -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "boom">]><a>&b;</a>'
    marked = '<?xml version="1.0" encoding="UTF-16"?>' + bomb[21:]
    outside = b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>'
    for content in (bomb.encode(), marked.encode("utf-16"), marked.encode("utf-16-be"), outside):
        with pytest.raises(UnreadableError) as failed:
            parse_xml(content, "word/document.xml")
        assert failed.value.code == "damaged"
    assert parse_xml(b"<a>text</a>", "a").text == "text"


def test_xml_that_would_take_all_memory_is_refused_before_it_is_parsed() -> None:
    content = b"<a>" + b"<b/>" * (9 << 20) + b"</a>"
    with pytest.raises(UnreadableError, match="split it") as failed:
        parse_xml(content, "word/document.xml")
    assert failed.value.code == "too_large"


def test_xml_that_is_nested_too_deep_has_a_code_of_its_own() -> None:
    with pytest.raises(UnreadableError) as failed:
        parse_xml(b"<a>" * 300 + b"</a>" * 300, "a")
    assert failed.value.code == "nested_too_deep"


def test_an_office_file_with_a_password_and_an_older_one_say_what_to_do() -> None:
    compound = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
    for content, code, word in (
        (compound + "EncryptedPackage".encode("utf-16-le"), "encrypted", "save it without one"),
        (compound, "damaged", "older Microsoft Office"),
        (b"", "damaged", "0 bytes"),
        (zip_of({"a": b""}), "damaged", "word/document.xml"),
    ):
        with pytest.raises(UnreadableError, match=word) as failed:
            OfficeFile(content, "a Word document").part("word/document.xml")
        assert failed.value.code == code


def test_relationships_are_resolved_inside_the_file_and_outside_targets_are_left_out() -> None:
    relations = (
        b'<Relationships xmlns="r"><Relationship Id="r1" Type="http://x/header" Target="header1.xml"/>'
        b'<Relationship Id="r2" Type="http://x/image" Target="../../../media/a.png"/>'
        b'<Relationship Id="r3" Type="http://x/image" Target="http://example.com/a.png" TargetMode="External"/>'
        b'<Relationship Id="r4" Type="http://x/image" Target="/media/b.png"/></Relationships>'
    )
    file = OfficeFile(zip_of({"word/_rels/document.xml.rels": relations}), "a Word document")
    assert file.relationships("word/document.xml") == {
        "r1": ("header", "word/header1.xml"),
        "r2": ("image", "media/a.png"),
        "r4": ("image", "media/b.png"),
    }
