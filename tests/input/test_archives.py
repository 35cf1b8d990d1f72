"""Archives: each member is read by its own kind or is a dead letter, and none costs more than its limits allow."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import stat
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pictures
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kimi_beam.input import archives
from kimi_beam.input.fields import Reading
from kimi_beam.input.file_parts import Part, find_parts
from kimi_beam.input.read_parts import read_part
from kimi_beam.types.document import Document


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return written.getvalue()


def tarred(members: Mapping[str, bytes], mode: str = "w", kind: int = tarfile.PAX_FORMAT) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode=mode, format=kind) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return written.getvalue()


def parquet() -> bytes:
    written = io.BytesIO()
    pq.write_table(pa.table({"id": ["p"], "text": ["row"]}), written)
    return written.getvalue()


EACH: Mapping[str, bytes] = {
    "a.txt": b"a text",
    "d/b c#%.md": "größer".encode(),
    "lines.jsonl": b'{"id": "l1", "text": "one"}\n{"id": "l2", "text": "two"}\nnot json\n',
    "rows.csv": b"id,text\nc1,x\nc2,y\n",
    "table.parquet": parquet(),
    "scan.PNG": pictures.EACH["image/png"],
    "packed.txt.gz": gzip.compress(b"packed"),
    "README": b"no suffix",
    "../../etc/passwd": b"only a name",
    "more.zip": zipped({"inner.txt": b"inner", "deeper.tar": tarred({"deepest.txt": b"deepest"})}),
    "notes.log": b"unknown",
    ".hidden.txt": b"hidden",
    "__MACOSX/._a.txt": b"hidden",
    "empty/": b"",
}


def outcome_of(path: Path, **settings: Any) -> dict[str, str]:
    """Of each document its id behind the archive's path, and its text, its picture's type, or its failure's code."""
    found: dict[str, str] = {}
    for part in find_parts((str(path),)):
        for one in read_part(part, Reading(**settings)):
            shown = one.text or "".join(uri[:14] for uri in one.images)
            name = one.id.removeprefix(str(path))
            assert name not in found
            found[name] = one.failure.code if one.failure else shown
            assert one.source.startswith(str(path))
    return found


EXPECTED = {
    "!/a.txt": "a text",
    "!/d/b c#%.md": "größer",
    "l1": "one",
    "l2": "two",
    "!/lines.jsonl#3": "not_json",
    "c1": "x",
    "c2": "y",
    "p": "row",
    "!/scan.PNG": "data:image/png",
    "!/packed.txt.gz": "packed",
    "!/README": "no suffix",
    "!/../../etc/passwd": "only a name",
    "!/more.zip!/inner.txt": "inner",
    "!/more.zip!/deeper.tar!/deepest.txt": "deepest",
    "!/notes.log": "unknown_kind",
}


def files(members: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in members.items() if not name.endswith("/")}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.zip", zipped(EACH)),
        ("stored.ZIP", zipped(EACH, zipfile.ZIP_STORED)),
        ("a.zip", zipped(EACH, zipfile.ZIP_BZIP2)),
        ("named wrongly.txt", zipped(EACH)),
        ("no suffix", zipped(EACH)),
        ("a.tar", tarred(files(EACH))),
        ("gnu.tar", tarred(files(EACH), kind=tarfile.GNU_FORMAT)),
        ("a.tar.gz", tarred(files(EACH), "w:gz")),
        ("a.tgz", tarred(files(EACH), "w:gz")),
        ("a.tar.bz2", tarred(files(EACH), "w:bz2")),
        ("a.tar.xz", tarred(files(EACH), "w:xz")),
        ("a.tar.zst", pa.Codec("zstd").compress(tarred(files(EACH)), asbytes=True)),
        ("no suffix", tarred(files(EACH))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_member_is_read_by_its_own_kind(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert outcome_of(tmp_path / name) == EXPECTED
    passed_over = {member: text for member, text in EXPECTED.items() if text != "unknown_kind"}
    assert outcome_of(tmp_path / name, skip_unknown=True) == passed_over
    assert [path.name for path in tmp_path.iterdir()] == [name], "something was written to the disk"


def test_a_large_zip_is_cut_into_parts_that_have_each_member_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({f"{number}.txt": os.urandom(1_000).hex().encode() for number in range(300)}))
    monkeypatch.setattr("kimi_beam.input.file_parts._PART_BYTES", 50_000)
    monkeypatch.setattr("kimi_beam.input.file_parts._ZIP_BYTES", 100)
    monkeypatch.setattr("kimi_beam.input.file_parts._PART_MEMBERS", 20)
    parts = list(find_parts((str(path),)))
    assert len(parts) == 15
    assert sorted(outcome_of(path)) == sorted(f"!/{number}.txt" for number in range(300))


def test_a_zip_that_is_an_office_file_is_one_document(tmp_path: Path) -> None:
    path = tmp_path / "letter.zip"
    path.write_bytes(zipped({"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<w:document/>"}))
    assert list(outcome_of(path)) == [""], "its parts were read as documents"


# ------------------------------------------------------------------------------------------------ bombs


def nested(depth: int) -> bytes:
    content = zipped({"0.txt": b"x"})
    for number in range(1, depth):
        content = zipped({f"{number}.zip": content})
    return content


def stored_zip(data: bytes, count: int, *, crc: int, size: int, flags: int = 0, method: int = 0) -> bytes:
    """A zip of so many members, all of which are the same bytes of the file (APPNOTE 6.3.10, 4.3)."""
    sizes = (crc, len(data), size)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, flags, method, 0, 0, *sizes, 5, 0) + b"a.txt" + data
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, flags, method, 0, 0, *sizes, 5, 0, 0, 0, 0, 0, 0)
    directory = b"".join(entry + (b"%05d" % number if count > 1 else b"a.txt") for number in range(count))
    most = min(count, 65_535)
    return local + directory + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, most, most, len(directory), len(local), 0)


def overlapping(count: int) -> bytes:
    zeros = b"\0" * 1_000_000
    return stored_zip(zlib.compress(zeros, 9)[2:-4], count, crc=zlib.crc32(zeros), size=len(zeros), method=8)


ZEROS = b"\0" * (90 << 20)
BOMBS: Mapping[str, tuple[Callable[[], bytes], dict[str, str]]] = {
    "flat.zip": (
        lambda: zipped({"zeros.txt": ZEROS, "a.txt": b"x"}),
        {"!/zeros.txt": "compression_bomb", "!/a.txt": "x"},
    ),
    "deep.zip": (lambda: nested(4), {"!/3.zip!/2.zip!/1.zip": "nested_too_deep"}),
    "overlap.zip": (lambda: overlapping(5_000), {"": "compression_bomb"}),
    "many.zip": (lambda: overlapping(100_001), {"": "too_many_members"}),
    "many.tar": (
        lambda: tarred({f"{number}.txt": b"x" for number in range(12)}),
        {**{f"!/{number}.txt": "x" for number in range(10)}, "": "too_many_members"},
    ),
    "flat.tar.gz": (
        lambda: tarred({"a.txt": b"x", "zeros.txt": ZEROS, "b.txt": b"y"}, "w:gz"),
        {"!/a.txt": "x", "!/zeros.txt": "too_large", "": "compression_bomb"},
    ),
    "lines.zip": (
        lambda: zipped({"a.jsonl.gz": gzip.compress(ZEROS), "b.txt": b"x"}, zipfile.ZIP_STORED),
        {"!/a.jsonl.gz": "compression_bomb", "!/b.txt": "x"},
    ),
    "header.tar.gz": (lambda: gzip.compress(_long_header()), {"": "damaged"}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_a_dead_letter_and_costs_next_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name == "many.tar":
        monkeypatch.setattr(archives, "MOST_MEMBERS", 10)
    content, expected = BOMBS[name]
    (tmp_path / name).write_bytes(content())
    before = time.process_time()
    assert outcome_of(tmp_path / name) == expected
    assert time.process_time() - before < 5


@pytest.mark.parametrize("before", [b"", tarred({"a.txt": b"x"})[:1024]])
def test_a_header_that_is_said_to_be_very_large_is_not_asked_for(tmp_path: Path, before: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(before + _long_header())
    *_, last = read_part(Part(f"{tmp_path}/a.tar"))
    assert last.failure is not None
    assert "one of its headers is said to be very large" in last.failure.message


def _long_header() -> bytes:
    """A tar whose first member has a name of a gigabyte."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    return info.tobuf(tarfile.GNU_FORMAT) + b"\0" * (4 << 20)


# ------------------------------------------------------------------------------------------------ what cannot be read


def with_zip_crypto(content: bytes, password: bytes) -> bytes:
    """A member as ZipCrypto encrypts it (APPNOTE 6.3.10, 6.1)."""
    keys = [0x12345678, 0x23456789, 0x34567890]
    table = list[int]()
    for n in range(256):
        value = n
        for _ in range(8):
            value = (value >> 1) ^ 0xEDB88320 if value & 1 else value >> 1
        table.append(value)

    def update(byte: int) -> None:
        keys[0] = (keys[0] >> 8) ^ table[(keys[0] ^ byte) & 0xFF]
        keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = (keys[2] >> 8) ^ table[(keys[2] ^ (keys[1] >> 24)) & 0xFF]

    for byte in password:
        update(byte)
    written = bytearray()
    for byte in bytes(11) + bytes([zlib.crc32(content) >> 24]) + content:
        temp = keys[2] | 2
        written.append(byte ^ ((temp * (temp ^ 1)) >> 8 & 0xFF))
        update(byte)
    return bytes(written)


def encrypted(content: bytes, password: bytes) -> bytes:
    return stored_zip(with_zip_crypto(content, password), 1, crc=zlib.crc32(content), size=len(content), flags=1)


def test_an_encrypted_member_is_read_with_its_password_and_a_dead_letter_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(encrypted(b"a secret letter", b"pass word"))
    assert outcome_of(path) == {"!/a.txt": "encrypted"}
    monkeypatch.setenv("FILES_PASSWORD", "pass word")
    assert outcome_of(path, password_from="env:FILES_PASSWORD") == {"!/a.txt": "a secret letter"}
    monkeypatch.setenv("FILES_PASSWORD", "another")
    assert outcome_of(path, password_from="env:FILES_PASSWORD") == {"!/a.txt": "encrypted"}


def test_a_damaged_member_costs_no_neighbour(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    content = zipped(
        {"a.txt": b"first", "b.txt": b"second", "c.jsonl": b'{"id": "c", "text": "x"}\n'}, zipfile.ZIP_STORED
    )
    path.write_bytes(content.replace(b"second", b"SECOND"))
    assert outcome_of(path) == {"!/a.txt": "first", "!/b.txt": "damaged", "c": "x"}


def test_a_damaged_archive_or_table_in_an_archive_costs_no_neighbour(tmp_path: Path) -> None:
    members = {
        "a.tar": b"",
        "b.zip": b"",
        "c.parquet": b"PAR1 is not all",
        "d.tar.gz": b"no gzip",
        "e.zip": zipped({"x.txt": b"x"})[:50],
        "f.parquet": parquet()[:-9] + b"\xff" * 9,
        "g.txt": b"whole",
    }
    codes = {**{f"!/{name}": "damaged" for name in members}, "!/g.txt": "whole"}
    for name, content in (("o.zip", zipped(members)), ("o.tar", tarred(members))):
        (tmp_path / name).write_bytes(content)
        assert outcome_of(tmp_path / name) == codes


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_an_archive_that_is_cut_off_says_so(tmp_path: Path, name: str) -> None:
    members = {f"{number}.txt": os.urandom(2_000).hex().encode() for number in range(20)}
    content = zipped(members) if name == "a.zip" else tarred(members, "w:gz" if name.endswith("gz") else "w")
    for share in (0.0, 0.01, 0.4, 0.9):
        (tmp_path / name).write_bytes(content[: int(len(content) * share)])
        found = outcome_of(tmp_path / name)
        assert found[""] in ("damaged", "unreadable"), f"{share}: documents are missing without a word"
        texts = {text for text in found.values() if text not in ("damaged", "unreadable")}
        assert texts <= {text.decode() for text in members.values()}, "a member that is cut off is read as a whole one"


def test_a_tar_that_is_damaged_in_the_middle_says_so(tmp_path: Path) -> None:
    content = bytearray(tarred({f"{number}.txt": b"x" * 512 for number in range(9)}))
    begin = content.index(b"5.txt")
    content[begin : begin + 512] = b"\xff" * 512
    (tmp_path / "a.tar").write_bytes(content)
    found = outcome_of(tmp_path / "a.tar")
    assert found[""] == "damaged", "the members behind the damage are missing without a word"
    assert len(found) == 6


def test_links_and_devices_in_a_tar_are_dead_letters(tmp_path: Path) -> None:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)):
            info = tarfile.TarInfo(f"{number}.txt")
            info.type, info.linkname = kind, "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            archive.addfile(info)
    (tmp_path / "a.tar").write_bytes(written.getvalue())
    assert outcome_of(tmp_path / "a.tar") == {f"!/{number}.txt": "unreadable" for number in range(4)}


def test_a_member_beyond_the_bound_is_a_dead_letter(tmp_path: Path) -> None:
    members = {"a.txt": b"x" * 2_000, "b.zip": zipped({"c.txt": os.urandom(2_000)}), "d.csv": b"id,text\na,b\n"}
    (tmp_path / "a.zip").write_bytes(zipped(members))
    found = outcome_of(tmp_path / "a.zip", max_document_bytes=1_000)
    assert found == {"!/a.txt": "too_large", "!/b.zip": "too_large", "a": "b"}


def test_a_link_in_a_zip_is_a_dead_letter_and_no_text_that_says_where_it_leads(tmp_path: Path) -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, kind, system in (
            ("link.txt", stat.S_IFLNK, 3),
            ("fifo.txt", stat.S_IFIFO, 3),
            ("dos.txt", stat.S_IFLNK, 0),
        ):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = system, (kind | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    (tmp_path / "a.zip").write_bytes(written.getvalue())
    found = outcome_of(tmp_path / "a.zip")
    assert found == {"!/link.txt": "unreadable", "!/fifo.txt": "/etc/passwd", "!/dos.txt": "/etc/passwd"}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_whatever_is_changed_in_an_archive_is_a_document_or_a_dead_letter(tmp_path: Path, name: str, seed: int) -> None:
    members = files(EACH)
    content = zipped(members) if name == "a.zip" else tarred(members, "w:gz" if name.endswith("gz") else "w")
    dice = random.Random(f"{name} {seed}")
    for _ in range(20):
        changed = bytearray(content)
        for _ in range(dice.choice((1, 1, 4, 40))):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        (tmp_path / name).write_bytes(changed[: dice.choice((len(changed), dice.randrange(len(changed))))])
        found: list[Document] = list(read_part(Part(str(tmp_path / name))))
        assert json.dumps([[one.id, one.failure and one.failure.code] for one in found]), (name, seed)
