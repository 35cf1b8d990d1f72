"""What is larger than any document: reading stops at a bound, memory stays small, and the dead letter is short."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import subprocess
import sys
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
from kimi_beam.input.read_documents import read_part
from kimi_beam.results.dead_letter_lines import decode, encode
from kimi_beam.types import DeadLetter, Document, Failure, Usage

SMALL = Reading(max_document_bytes=1_000)


def read(path: Path, reading: Reading = SMALL) -> list[Document]:
    return [document for part in find_parts((str(path),)) for document in read_part(part, reading)]


def line(key: str, text: str = "x") -> bytes:
    return json.dumps({"id": key, "text": text}).encode()


def codes(found: list[Document]) -> dict[str, str | None]:
    return {one.id: one.failure and one.failure.code for one in found}


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
    pq.write_table(pa.table({"id": list("abcd"), "text": texts, "n": nested}), tmp_path / "a.parquet", **more)
    path = tmp_path / "a.parquet"
    assert codes(read(path)) == {"a": None, f"{path}#2": "too_large", f"{path}#3": "too_large", "d": None}


def test_a_dictionary_is_not_written_out_for_all_rows_at_once(tmp_path: Path) -> None:
    text = pa.array(["z" * 800] * 50).dictionary_encode()
    pq.write_table(pa.table({"id": [str(n) for n in range(50)], "text": text}), tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    assert codes(found) == {str(n): None for n in range(50)}
    assert {one.text for one in found} == {"z" * 800}


def test_a_column_that_can_only_be_a_bomb_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kimi_beam.input.parquet_rows._LARGEST_CHUNK", 100_000)
    path = tmp_path / "a.parquet"
    texts = ["a", " " * 5_000_000, *["b"] * 6_000]
    table = pa.table({"id": [str(n) for n in range(len(texts))], "text": texts})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    found = read(path)
    assert len(found) == len(texts), "each row leaves once"
    assert set(codes(found).values()) == {"too_large"}


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb", 1) as f:
        f.write(line("before") + b'\n{"id": "bomb", "text": "')
        for _ in range(400):
            f.write(b" " * 1_000_000)
        f.write(b'"}\n' + line("after"))
    program = (
        "import resource, sys\n"
        "from kimi_beam.input.read_documents import read_part\n"
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
def test_the_line_of_what_no_request_can_hold_is_short_and_says_so(document: Document, is_cut: bool) -> None:
    encoded = encode(letter(document))
    back = decode(encoded)
    assert json.loads(encoded)["document"]["truncated"] is back.truncated is is_cut
    if is_cut:
        assert len(encoded) < 100_000
        assert document.text.startswith(back.document.text)
    else:
        assert back.document == document
    assert encode(back) == encoded, "once cut, it stays so"


def test_what_is_not_all_there_is_never_asked_for_again(tmp_path: Path) -> None:
    documents = [kb.Document("large", "x y" * 3_000_000), kb.Document("blank", " ")]
    with Emulator() as emulator:
        first = run_extract(documents, emulator.base_url, tmp_path / "first")
        assert first.codes == {"too_large": 1, "empty_document": 1}
        where = service(emulator.base_url)
        again = run_redrive(tmp_path / "first", where, tmp_path / "again", codes=("too_large", "empty_document"))
        assert emulator.stats()["items"] == 0
    assert again.codes == {"empty_document": 1}
    assert again.summary["left"] == {"too_large": 1}
