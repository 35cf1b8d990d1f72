"""Oversize documents: reading stops at a bound, memory stays small, and the dead letter is short."""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pictures
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness import run_extract, run_redrive, service

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.input.fields import Reading
from kimi_beam.input.file_parts import find_parts
from kimi_beam.input.read_parts import read_part
from kimi_beam.input.row_sizes import _dictionary_bytes, row_bytes
from kimi_beam.results.dead_letter_lines import decode, encode
from kimi_beam.types.answer import Usage
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure

SMALL = Reading(max_document_bytes=1_000)


def read(path: Path, reading: Reading = SMALL) -> list[Document]:
    return [document for part in find_parts((str(path),)) for document in read_part(part, reading)]


def line(key: str, text: str = "x") -> bytes:
    return json.dumps({"id": key, "text": text}).encode()


def codes(found: list[Document]) -> dict[str, str | None]:
    return {one.id: one.failure and one.failure.code for one in found}  # type: ignore[misc]


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda plain: pa.Codec("zstd").compress(plain, asbytes=True),
}


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("block", [7, 300, 1 << 20])
@pytest.mark.parametrize("part", [100, 1 << 20])
def test_a_line_beyond_the_bound_is_one_dead_letter_and_its_neighbours_are_read(
    tmp_path: Path, suffix: str, block: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kimi_beam.input.lines._BLOCK_BYTES", block)
    monkeypatch.setattr("kimi_beam.input.file_parts._PART_BYTES", part)
    exact = line("exact", "y" * (1_000 - len(line("exact", ""))))
    lines = [line("a"), line("b", "z" * 5_000), exact, exact + b" ", line("c"), b"{" * 3_000, line("d"), b" " * 1_001]
    path = tmp_path / f"a.jsonl{suffix}"
    for end in (b"\n", b""):
        path.write_bytes(PACKED[suffix](b"\n".join(lines) + end))
        found = read(path)
        assert list(codes(found).items()) == [
            ("a", None),
            (f"{path}#2", "too_large"),
            ("exact", None),
            (f"{path}#4", "too_large"),
            ("c", None),
            (f"{path}#6", "too_large"),
            ("d", None),
            (f"{path}#8", "too_large"),
        ]
        sizes = [one.failure.message.split()[3] for one in found if one.failure]
        assert sizes == [str(len(one)) for one in lines if len(one) > 1_000]


@pytest.mark.parametrize("name", ["a.txt", "a.md.gz", "a.png"])
def test_a_file_beyond_the_bound_is_a_dead_letter_with_its_beginning(tmp_path: Path, name: str) -> None:
    content = pictures.png(bytes(2_000)) if name == "a.png" else b"z" * 2_000
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    (document,) = read(tmp_path / name)
    assert document.failure is not None
    assert (document.failure.stage, document.failure.code) == ("read", "too_large")
    assert "--max-document-bytes" in document.failure.message
    assert (document.text, document.images) == ("", ())
    (whole,) = read(tmp_path / name, Reading(max_document_bytes=len(content)))
    assert whole.failure is None


@pytest.mark.parametrize("more", [{}, {"compression": "zstd", "use_dictionary": False}, {"row_group_size": 1}])
def test_a_cell_beyond_the_bound_costs_its_row(tmp_path: Path, more: dict[str, object]) -> None:
    texts = ["a", "z" * 5_000, "c", "d"]
    nested = [[{"k": "v"}], [], [{"k": "z" * 5_000}], []]
    pq.write_table(pa.table({"id": list("abcd"), "text": texts, "n": nested}), tmp_path / "a.parquet", **more)  # type: ignore[arg-type]
    path = tmp_path / "a.parquet"
    assert codes(read(path)) == {"a": None, f"{path}#2": "too_large", f"{path}#3": "too_large", "d": None}


def test_a_dictionary_is_not_written_out_for_all_rows_at_once(tmp_path: Path) -> None:
    text = pa.array(["z" * 800] * 50).dictionary_encode()
    pq.write_table(pa.table({"id": [str(n) for n in range(50)], "text": text}), tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    assert codes(found) == {str(n): None for n in range(50)}
    assert {one.text for one in found} == {"z" * 800}


def test_a_column_that_can_only_be_a_bomb_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kimi_beam.input.row_sizes._LARGEST_CHUNK", 100_000)
    path = tmp_path / "a.parquet"
    texts = ["a", " " * 5_000_000, *["b"] * 6_000]
    table = pa.table({"id": [str(n) for n in range(len(texts))], "text": texts})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    found = read(path)
    assert len(found) == len(texts), "each row leaves once"
    assert set(codes(found).values()) == {"too_large"}


SHARED = 3_000_000
"""Bytes of the value that all rows of these files share, which is stored once."""
ROWS = 120


def shared_text() -> pa.Array:  # type: ignore[type-arg]
    return pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), pa.array(["z" * SHARED]))


def in_lists() -> pa.Array:  # type: ignore[type-arg]
    return pa.ListArray.from_arrays(pa.array(range(ROWS + 1), pa.int32()), shared_text())


def in_structs() -> pa.Array:  # type: ignore[type-arg]
    return pa.StructArray.from_arrays([shared_text()], ["a"])


def in_maps() -> pa.Array:  # type: ignore[type-arg]
    return pa.MapArray.from_arrays(pa.array(range(ROWS + 1), pa.int32()), pa.array(["k"] * ROWS), shared_text())  # type: ignore[call-overload, no-any-return]


def of_one_width() -> pa.Array:  # type: ignore[type-arg]
    return shared_text().cast(pa.string()).cast(pa.binary()).cast(pa.binary(SHARED)).dictionary_encode()


DELTA = {"use_dictionary": False, "column_encoding": {"meta": "DELTA_BYTE_ARRAY"}, "data_page_size": 1 << 30}


def test_a_value_that_all_rows_share_is_not_in_memory_once_for_each(tmp_path: Path) -> None:
    ids = [str(n) for n in range(ROWS)]
    untyped = {"store_schema": False}
    for name, meta, more in [
        ("typed", shared_text(), {}),
        ("texts", shared_text(), untyped),
        ("lists", in_lists(), untyped),
        ("structs", in_structs(), untyped),
        ("maps", in_maps(), untyped),
        ("of one width", of_one_width(), untyped),
        ("delta", shared_text().cast(pa.string()), DELTA),
    ]:
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({"id": ids, "text": ids, "meta": meta}), path, compression="zstd", **more)  # type: ignore[arg-type]
        assert path.stat().st_size < 20_000
    found, megabytes = read_apart(*tmp_path.iterdir())
    assert sorted(found) == sorted([key, None] for key in ids * 7)
    assert megabytes < 300, "360 MB are all values of one file"


def test_a_row_that_uses_a_value_very_often_is_a_dead_letter_and_its_neighbour_is_read(tmp_path: Path) -> None:
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["z" * 1_900_000]))
    lists = pa.ListArray.from_arrays(pa.array([0, 100_000, 100_000], pa.int32()), values)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["x", "y"], "meta": lists}), path, store_schema=False)
    found, megabytes = read_apart(path)
    assert found == [[f"{path}#1", "too_large"], ["b", None]]
    assert megabytes < 200


def test_a_list_of_very_many_small_items_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kimi_beam.input.row_sizes._LARGEST_CHUNK", 100_000_000)
    lists = pa.ListArray.from_arrays(pa.array([0, 20_000_000], pa.int32()), pa.nulls(20_000_000, pa.int8()))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": ["a"], "text": ["x"], "meta": lists}), path)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    assert codes(read(path, Reading())) == {f"{path}#1": "too_large"}


@pytest.mark.parametrize("more", [{}, {"use_dictionary": False}])
def test_a_giant_cell_costs_its_row_and_about_three_times_its_size(tmp_path: Path, more: dict[str, object]) -> None:
    path = tmp_path / "a.parquet"
    cells = ["q", "z" * 100_000_000, "r"]
    pq.write_table(pa.table({"id": list("abc"), "text": list("xyz"), "meta": cells}), path, compression="zstd", **more)  # type: ignore[arg-type]
    found, megabytes = read_apart(path)
    assert found == [["a", None], [f"{path}#2", "too_large"], ["c", None]]
    assert megabytes < 380
    (failure,) = [one.failure for one in read(path, Reading()) if one.failure]
    assert "100000016 bytes, most of them in 'meta'" in failure.message
    assert base64.b64decode(failure.raw or "") == b"z" * (64 << 10)


def test_the_largest_value_of_a_dictionary_is_told_by_its_page(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for size in (1, 100, 5_000, 300_000, 70_000_000):
        pq.write_table(pa.table({"a": ["z" * size]}), path)
        with path.open("rb") as f:
            chunk = pq.ParquetFile(f).metadata.row_group(0).column(0)
            assert _dictionary_bytes(f, chunk) == size + 4
    pq.write_table(pa.table({"a": ["z"]}), path, use_dictionary=False)
    with path.open("rb") as f:
        assert _dictionary_bytes(f, pq.ParquetFile(f).metadata.row_group(0).column(0)) == 0


def test_the_bytes_of_each_row_are_counted_in_whatever_part_of_a_batch() -> None:
    shared = pa.array(["a" * 100, None, "b" * 50]).dictionary_encode()
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 3, 3]), shared)  # type: ignore[call-overload]
    maps = pa.array([[("a", "x" * 20)], [], None], pa.map_(pa.string(), pa.string()))
    for column, wanted in [
        (shared, [100, 8, 50]),
        (lists, [116, 58, 8]),
        (pa.StructArray.from_arrays([shared, lists], ["a", "b"]), [224, 74, 66]),
        (maps, [44, 8, 8]),
        (pa.array([[1, 2], None, [3] * 100]), [24, 8, 808]),
        (pa.nulls(3, pa.dictionary(pa.int32(), pa.string())), [8, 8, 8]),
        (pa.array([b"x" * 20] * 3, pa.binary(20)), [20, 20, 20]),
    ]:
        batch = pa.RecordBatch.from_arrays([column], names=["a"])
        assert row_bytes(batch).tolist() == wanted
        assert row_bytes(batch.slice(1)).tolist() == wanted[1:]


def read_apart(*paths: Path) -> tuple[list[list[str | None]], int]:
    """Reads files in a process of its own: ids and codes, and by how many megabytes its memory has grown."""
    program = (
        "import json, resource, sys\n"
        "from kimi_beam.input.read_parts import read_part\n"
        "from kimi_beam.input.file_parts import find_parts\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = (one for part in find_parts(tuple(sys.argv[1:])) for one in read_part(part))\n"
        "print(json.dumps([[one.id, one.failure and one.failure.code] for one in found]))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *map(str, paths)], capture_output=True, text=True, check=True)
    ids, megabytes = done.stdout.splitlines()
    return json.loads(ids), int(megabytes)


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb", 1) as f:
        f.write(line("before") + b'\n{"id": "bomb", "text": "')
        for _ in range(400):
            f.write(b" " * 1_000_000)
        f.write(b'"}\n' + line("after"))
    program = (
        "import resource, sys\n"
        "from kimi_beam.input.read_parts import read_part\n"
        "from kimi_beam.input.file_parts import Part\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print([one.id for one in read_part(Part(sys.argv[1]))])\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    ids, megabytes = done.stdout.splitlines()
    assert ids == str(["before", f"{path}#2", "after"])
    assert int(megabytes) < 150, "the line of 400 MB was held"


# ------------------------------------------------------------------------------------------------ dead letters


def letter(document: Document) -> DeadLetter:
    return DeadLetter(document, Failure("prompt", "too_large", "no"), 0, None, Usage(), "m", "h", 0.0)


@pytest.mark.parametrize(
    ("document", "is_cut"),
    [
        (Document("a", "x" * 8_000_000), False),
        (Document("a", "x" * 8_000_001), True),
        (Document("a", "\u20ac" * 3_000_000), True),
        (Document("a", "\u20ac" * 2_000_000), False),
        (Document("a", "", (pictures.uri(pictures.png(bytes(7_000_000))),)), True),
        (Document("a", "", (pictures.uri(pictures.png(bytes(5_000_000))),)), False),
        (Document("a", "t", metadata={"m": "x" * (40 << 20)}), True),
        (Document("a", "t"), False),
    ],
)
def test_the_dead_letter_of_a_document_too_large_for_any_request_is_cut_and_says_so(
    document: Document, is_cut: bool
) -> None:
    encoded = encode(letter(document))
    back = decode(encoded)
    assert json.loads(encoded)["document"]["truncated"] is back.truncated is is_cut
    if is_cut:
        assert len(encoded) < 100_000
        assert document.text.startswith(back.document.text)
    else:
        assert back.document == document
    assert encode(back) == encoded, "once cut, it stays so"


def test_a_dead_letter_with_only_the_beginning_of_its_document_is_never_run_again(tmp_path: Path) -> None:
    # A picture cannot be divided, as a text is.
    picture = f"data:image/png;base64,{base64.b64encode(pictures.png(b'x' * 6_500_000)).decode()}"
    documents = [kb.Document("large", "x y" * 100_000, (picture,)), kb.Document("blank", " ")]
    with Emulator() as emulator:
        first = run_extract(documents, emulator.base_url, tmp_path / "first")
        assert first.codes == {"too_large": 1, "empty_document": 1}
        where = service(emulator.base_url)
        again = run_redrive(tmp_path / "first", where, tmp_path / "again", codes=("too_large", "empty_document"))
        assert emulator.stats()["items"] == 0
    assert again.codes == {"empty_document": 1}
    assert again.summary["left"] == {"too_large": 1}


def test_a_large_file_of_no_kind_is_of_no_kind_and_not_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\0\1" * 1_000_000)
    (tmp_path / "b").write_bytes(b"\0\1" * 1_000_000)
    (tmp_path / "c.log").write_text("x" * 5_000)
    for name in ("a.bin", "b", "c.log"):
        assert codes(read(tmp_path / name)) == {str(tmp_path / name): "unknown_kind"}
        assert read(tmp_path / name, Reading(max_document_bytes=1_000, skip_unknown=True)) == []


def test_a_large_file_without_a_suffix_is_read_as_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"".join(line(str(number)) + b"\n" for number in range(500)))
    assert codes(read(tmp_path / "lines")) == {str(number): None for number in range(500)}
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        for number in range(100):
            archive.writestr(f"{number}.txt", os.urandom(100).hex())
    assert codes(read(tmp_path / "archive")) == {f"{tmp_path}/archive!/{number}.txt": None for number in range(100)}
    (tmp_path / "text").write_text("x" * 5_000)
    assert codes(read(tmp_path / "text")) == {str(tmp_path / "text"): "too_large"}
