"""`ReadDocuments`: each line, row and file becomes exactly one document, or a failed one that says where and why."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import uuid
import zipfile
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timezone
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import apache_beam as beam
import pictures
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from both_paths import both_paths
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import kimi_beam as kb
from kimi_beam.errors import InputError
from kimi_beam.input.check_input import check_input
from kimi_beam.input.encodings import as_utf8
from kimi_beam.input.fields import DEFAULT_READING, from_line
from kimi_beam.input.file_parts import Part, find_parts
from kimi_beam.input.json_lines import texts_alone
from kimi_beam.input.lines import groups
from kimi_beam.input.read_parts import read_part
from kimi_beam.schema import jsontext
from kimi_beam.stream.read_files import look
from kimi_beam.types.document import Document


def _save(document: Document, directory: str) -> None:
    (Path(directory) / uuid.uuid4().hex).write_bytes(pickle.dumps(document))


def read(directory: Path, *patterns: Path | str, limit: int | None = None) -> list[Document]:
    """What a pipeline reads, by id: elements leave it as files, since order and number are its own affair."""
    seen = directory / f"seen-{uuid.uuid4().hex}"
    seen.mkdir()
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        (pipeline | kb.ReadDocuments([str(pattern) for pattern in patterns], limit=limit) | beam.Map(_save, str(seen)))
    found: list[Document] = [pickle.loads(path.read_bytes()) for path in seen.iterdir()]
    return sorted(found, key=lambda document: document.id)


def read_parts(*patterns: Path | str) -> list[Document]:
    """The same without a pipeline, in the order of the files."""
    return [document for part in find_parts(tuple(map(str, patterns))) for document in read_part(part)]


def codes(found: Sequence[Document]) -> dict[str, str | None]:
    return {document.id: document.failure and document.failure.code for document in found}  # type: ignore[misc]


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def line(key: str, text: str = "x", **metadata: Any) -> bytes:
    return json.dumps({"id": key, "text": text, **metadata}, ensure_ascii=False).encode() + b"\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "in"
    directory.mkdir()
    return directory


# ------------------------------------------------------------------------------------------------ kinds of files


def test_each_kind_of_file_becomes_its_documents(tmp_path: Path, source: Path) -> None:
    (source / "a.txt").write_bytes("Größe: 3 € 🧾\r\nend".encode())
    (source / "b.md").write_bytes(b"# Title\n")
    (source / "c.jsonl").write_bytes(line("c1", "first", lang="de", n=[1, {"k": None}]) + line("c2", "zwei\nZeilen"))
    (source / "d.jsonl.gz").write_bytes(gzip.compress(line("d1", "packed")) + gzip.compress(line("d2", "2nd member")))
    (source / "e.txt.bz2").write_bytes(bz2.compress(b"squeezed"))
    pq.write_table(pa.table({"id": ["f1"], "text": ["row"], "page": [7]}), source / "f.parquet")
    found = {document.id: document for document in read(tmp_path, source / "*")}
    where = {path.name: str(path) for path in source.iterdir()}
    assert found == {
        document.id: document
        for document in [
            # A whole file's text is the file's, its line ends included.
            Document(where["a.txt"], "Größe: 3 € 🧾\r\nend", source=where["a.txt"]),
            Document(where["b.md"], "# Title\n", source=where["b.md"]),
            Document("c1", "first", metadata={"lang": "de", "n": [1, {"k": None}]}, source=where["c.jsonl"]),
            Document("c2", "zwei\nZeilen", source=where["c.jsonl"]),
            Document("d1", "packed", source=where["d.jsonl.gz"]),
            Document("d2", "2nd member", source=where["d.jsonl.gz"]),
            Document(where["e.txt.bz2"], "squeezed", source=where["e.txt.bz2"]),
            Document("f1", "row", metadata={"page": 7}, source=where["f.parquet"]),
        ]
    }


def test_suffixes_are_known_in_any_case(source: Path) -> None:
    (source / "A.TXT").write_bytes(b"shout")
    (source / "B.JSONL.GZ").write_bytes(gzip.compress(line("b")))
    assert [document.id for document in read_parts(source / "*")] == [str(source / "A.TXT"), "b"]


def test_a_file_that_several_patterns_match_is_read_once(tmp_path: Path, source: Path) -> None:
    for name in ("a.txt", "b.txt", "c.md"):
        (source / name).write_bytes(name.encode())
    found = read(tmp_path, source / "*.txt", source / "a.txt", source / "*", source / "a.txt")
    assert [document.text for document in found] == ["a.txt", "b.txt", "c.md"]


def test_globs_name_files_in_directories_and_below(source: Path) -> None:
    for name in ("a.txt", "x/b.txt", "x/y/c.txt", "x/y/c.log"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(b"x")
    ids = {
        pattern: [Path(document.id).name for document in read_parts(source / pattern)]
        for pattern in ("*.txt", "*/*.txt", "**.txt", "?.txt", "[ab].txt", "a.txt")
    }
    assert ids == {
        "*.txt": ["a.txt"],
        "*/*.txt": ["b.txt"],
        "**.txt": ["a.txt", "b.txt", "c.txt"],
        "?.txt": ["a.txt"],
        "[ab].txt": ["a.txt"],
        "a.txt": ["a.txt"],
    }


def test_paths_with_spaces_and_unicode_are_paths(tmp_path: Path) -> None:
    source = tmp_path / "my in é"
    source.mkdir()
    (source / "Rechnung Nr. 1, ä#b.txt").write_bytes(b"x")
    (document,) = read(tmp_path, source / "*.txt")
    assert document == Document(
        str(source / "Rechnung Nr. 1, ä#b.txt"), "x", source=str(source / "Rechnung Nr. 1, ä#b.txt")
    )


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".jsonl.gz", ".parquet", ".png"])
@pytest.mark.parametrize("pattern", ["*", "**", "", "b*", "?.*"])
def test_a_link_to_a_file_is_read_and_one_to_nothing_is_a_dead_letter(
    source: Path, tmp_path: Path, suffix: str, pattern: str
) -> None:
    (tmp_path / "real.txt").write_bytes(b"x")
    (source / "a.txt").symlink_to(tmp_path / "real.txt")
    link, missing = source / f"b{suffix}", tmp_path / "nowhere"
    link.symlink_to(missing)
    *good, bad = read_parts(source / pattern)
    assert [document.id for document in good] == ([] if pattern == "b*" else [str(source / "a.txt")])
    assert bad.failure is not None
    assert (bad.id, bad.failure.code) == (str(link), "unreadable")
    assert f"{link} is a link to {missing}, which is not there" in bad.failure.message
    with pytest.raises(InputError, match=r"is a link to .*nowhere, which is not there"):
        check_input([str(link)])


# ------------------------------------------------------------------------------------------------ what a path means


def names(found: Sequence[Document]) -> list[str]:
    return sorted(Path(document.id).name for document in found)


@pytest.fixture
def tree(source: Path) -> Path:
    for name in (
        *("a.txt", "x/b.txt", "x/y/c.md", ".hidden.txt", "._a.txt", "_SUCCESS.txt", "_journal/d.txt"),
        *(".git/e.txt", "x/.f/g.txt", "x/._b.txt"),
    ):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(name)
    return source


@pytest.mark.parametrize("spelt", ["", "/", "/.", "/**", "//"])
def test_a_directory_is_all_below_it(tmp_path: Path, tree: Path, spelt: str) -> None:
    pattern = f"{tree}{spelt}"
    check_input([pattern])
    assert names(read_parts(pattern)) == ["a.txt", "b.txt", "c.md"]
    if not spelt:
        assert names(read(tmp_path, pattern, tree / "x")) == ["a.txt", "b.txt", "c.md"]


def test_the_directory_where_one_stands_is_a_directory_too(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    for spelt in (".", "./", "**"):
        assert [document.id for document in read_parts(spelt)] == ["a.txt", "x/b.txt", "x/y/c.md"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.txt", ["a.txt"]),
        ("x/*.txt", ["b.txt"]),
        (".hidden.txt", [".hidden.txt"]),
        (".*.txt", ["._a.txt", ".hidden.txt"]),
        ("_*.txt", ["_SUCCESS.txt"]),
        ("_journal/*", ["d.txt"]),
        ("_journal", ["d.txt"]),
        (".git", ["e.txt"]),
        ("x/._b.txt", ["._b.txt"]),
        ("[a_]*.txt", ["a.txt"]),
    ],
)
def test_hidden_files_are_read_where_they_are_named(tree: Path, pattern: str, expected: list[str]) -> None:
    assert names(read_parts(tree / pattern)) == expected
    seen = [Path(file.path).name for _, some in look((str(tree / pattern),), float("inf")) for file in some]
    assert sorted(seen) == expected, "a stream would read others"


def test_the_error_about_a_pattern_without_files_counts_hidden_ones(source: Path) -> None:
    (source / "._a.txt").write_text("x")
    with pytest.raises(InputError, match=r"holds no files but 1 hidden ones, .* named: .*_a"):
        check_input([str(source)])


def test_a_tilde_is_the_home_directory(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(source))
    (source / "a.txt").write_text("x")
    for pattern in ("~/a.txt", "~/*.txt", "~"):
        assert [document.id for document in read_parts(pattern)] == [str(source / "a.txt")]


def test_ndjson_is_jsonl_compressed_too(source: Path) -> None:
    (source / "a.ndjson").write_bytes(line("a"))
    (source / "b.NDJSON.gz").write_bytes(gzip.compress(line("b")))
    assert codes(read_parts(source)) == {"a": None, "b": None}


def test_empty_files_hold_an_empty_text_or_no_document(tmp_path: Path, source: Path) -> None:
    (source / "a.txt").write_bytes(b"")
    (source / "b.jsonl").write_bytes(b"")
    (source / "c.jsonl").write_bytes(b"\n \t\n\r\n\n")
    (source / "d.jsonl").write_bytes(b"\xef\xbb\xbf")
    (source / "e.jsonl.gz").write_bytes(gzip.compress(b""))
    pq.write_table(pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())}), source / "f.parquet")
    assert read(tmp_path, source / "*") == [Document(str(source / "a.txt"), "", source=str(source / "a.txt"))]


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("limit", [None, 3])
def test_a_pattern_that_matches_nothing_is_refused_when_the_pipeline_is_built(source: Path, limit: int | None) -> None:
    (source / "a.txt").write_bytes(b"x")
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
    with pytest.raises(InputError, match=r"no file matches .*nothing\*\.txt"):
        pipeline | kb.ReadDocuments([str(source / "a.txt"), str(source / "nothing*.txt")], limit=limit)


def test_a_file_of_another_kind_is_refused_by_name(source: Path) -> None:
    for name in ("a.txt", "b.exe", "c.doc", "d.json"):
        (source / name).write_bytes(b"x")
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
    with pytest.raises(
        InputError,
        match=r"in/b\.exe, .*/c\.doc, .*/d\.json of 4 files match .*in/\* and are of kinds that cannot be read",
    ):
        pipeline | kb.ReadDocuments(str(source / "*"))
    for number in range(9):
        (source / f"e{number}.log").write_bytes(b"x")
    for pattern in (source, source / "**"):
        with pytest.raises(InputError, match=r"e1\.log and 7 more of 13 files match .*narrower, such as .*/\*\*\.txt"):
            check_input([str(pattern)])
    with pytest.raises(InputError, match=r"in/d\.json is of a kind that cannot be read, .*: \.txt, .*\.tar, .* can$"):
        check_input([str(source / "d.json")])
    with pytest.raises(InputError, match=r"in/c\.doc is of a kind .* content: save it as \.docx or \.pdf$"):
        check_input([str(source / "c.doc")])


def test_a_kind_within_a_name_is_no_kind(source: Path) -> None:
    for name in ("a.txt.part", "b.jsonl.tmp", "c.txt~", "d.gz"):
        (source / name).write_bytes(gzip.compress(b"\0\1\2") if name == "d.gz" else b"x")
        with pytest.raises(InputError, match=r"is of a kind that cannot be read"):
            check_input([str(source / name)])


def test_no_pattern_a_negative_limit_and_an_unknown_filesystem_are_refused() -> None:
    with pytest.raises(InputError, match="no input"):
        check_input([])
    with pytest.raises(InputError, match="limit"):
        kb.ReadDocuments("a.txt", limit=-1)
    with pytest.raises(InputError, match=r"cannot look for nowhere://a/b\.txt"):
        check_input(["nowhere://a/b.txt"])


# ------------------------------------------------------------------------------------------------ lines


def test_line_ends_blank_lines_and_a_bom_do_not_change_the_documents(tmp_path: Path, source: Path) -> None:
    path = source / "a.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf"
        + line("bom").replace(b"\n", b"\r\n")
        + b"\n  \t \r\n"
        + line("unicode", "naïve 東京 \u2028 🧾 \x85", größe="ü")
        + b'  {"text": "spaces around", "id": "padded"}  \n'
        + line("escaped", "\n\r\t\x00").rstrip(b"\n")  # the last line has no line feed
    )
    found = {document.id: document for document in read(tmp_path, path)}
    assert {key: document.text for key, document in found.items()} == {
        "bom": "x",
        "unicode": "naïve 東京 \u2028 🧾 \x85",
        "padded": "spaces around",
        "escaped": "\n\r\t\x00",
    }
    assert found["unicode"].metadata == {"größe": "ü"}
    assert all(document.failure is None and document.source == str(path) for document in found.values())


def test_a_bad_line_becomes_a_failed_document_with_its_line_number_and_bytes(tmp_path: Path, source: Path) -> None:
    path = source / "a.jsonl"
    bad: dict[int, tuple[str, bytes]] = {
        2: ("not_utf8", b'{"id": "latin", "text": "Gr\xf6\xdfe"}'),
        4: ("not_json", b'{"id": "cut", "text": \r'),
        5: ("not_json", b'["an", "array"]'),
        6: ("not_json", b"null"),
        7: ("missing_id", b'{"text": "nobody"}'),
        8: ("missing_id", b'{"id": "", "text": "nobody"}'),
        9: ("missing_id", b'{"id": null, "text": "nobody"}'),
        10: ("missing_id", b'{"id": 1.5, "text": "nobody"}'),
        11: ("missing_id", b'{"id": true, "text": "nobody"}'),
        12: ("missing_id", b'{"id": ["a"], "text": "nobody"}'),
        13: ("not_json", b'{"id": "n", "text": "x", "n": NaN}'),
        14: ("not_json", b'{"id": "a", "text": "x"}{"id": "b", "text": "x"}'),
        15: ("not_json", b"\xef\xbb\xbf" + line("bom in the middle").rstrip(b"\n")),
    }
    content = [bad[number][1] if number in bad else line(f"good-{number}").rstrip(b"\n") for number in range(1, 17)]
    content[2] = b""  # line 3 is blank, and counts
    path.write_bytes(b"\n".join(content))
    found = {document.id: document for document in read(tmp_path, path)}
    assert codes(list(found.values())) == {
        "good-1": None,
        "good-16": None,
        **{f"{path}#{number}": code for number, (code, _) in bad.items()},
    }
    for number, (_, raw) in bad.items():
        document = found[f"{path}#{number}"]
        assert document.failure is not None
        assert document.failure.raw == b64(raw)
        assert document.failure.stage == "read"
        assert not document.failure.retryable
        assert "\n" not in document.failure.message
        assert (document.text, document.source) == ("", str(path))


def test_ids_may_be_integers_of_any_size(source: Path) -> None:
    path = source / "a.jsonl"
    path.write_bytes(
        b'{"id": 7, "text": "x"}\n{"id": 123456789012345678901234567890, "text": "x"}\n{"id":-0,"text":""}'
    )
    assert codes(read_parts(path)) == {"7": None, "123456789012345678901234567890": None, "0": None}


def test_a_document_without_a_text_keeps_its_id_its_metadata_and_its_line(tmp_path: Path, source: Path) -> None:
    path = source / "a.jsonl"
    texts = {"none": None, "number": 5, "list": ["a"], "object": {"a": "b"}, "bool": False}
    raw = [json.dumps({"id": key, "text": text, "page": 3}).encode() for key, text in texts.items()]
    raw.append(b'{"id": "absent", "page": 3}')
    path.write_bytes(b"\n".join(raw))
    found = read(tmp_path, path)
    assert codes(found) == dict.fromkeys(sorted([*texts, "absent"]), "missing_text")
    by_raw = {document.failure.raw: document for document in found if document.failure}
    assert by_raw.keys() == {b64(one) for one in raw}
    assert all((document.text, document.metadata) == ("", {"page": 3}) for document in found)


def test_numbers_in_metadata_survive_exactly(tmp_path: Path, source: Path) -> None:
    numbers = (
        "12345678901234567890123456789012345678901234567890",
        "-9223372036854775809",
        "18446744073709551616",
        "0.123456789012345678901234567891",
        "-123456789012345678901234567890.5",
        "1.7976931348623157e308",
    )
    path = source / "a.jsonl"
    path.write_text(
        "".join(f'{{"id": "{i}", "text": "x", "number": {n}, "deep": {{"a": [{n}]}}}}\n' for i, n in enumerate(numbers))
    )
    for document, digits in zip(read(tmp_path, path), numbers, strict=True):
        number = document.metadata["number"]
        assert Decimal(repr(number) if isinstance(number, float) else number) == Decimal(digits)
        assert document.metadata["deep"] == {"a": [number]}
        written = json.loads(jsontext.dumps_any(document.metadata), parse_float=Decimal)
        assert Decimal(written["number"]) == Decimal(digits)


def test_a_text_file_that_is_not_utf8_is_a_document_with_its_very_bytes(tmp_path: Path, source: Path) -> None:
    contents = {
        "latin.txt": "Größe".encode("latin-1"),
        "cut.txt": "10 €".encode()[:-1],
        "packed.txt.gz": b"\x80",
    }
    for name, content in contents.items():
        (source / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    (source / "bom.txt").write_bytes(b"\xef\xbb\xbffine")
    found = {Path(document.id).name: document for document in read(tmp_path, source / "*")}
    assert found.pop("bom.txt").text == "fine"
    assert {name: (d.failure.code, d.failure.raw, d.text) for name, d in found.items() if d.failure} == {
        name: ("not_utf8", b64(content), "") for name, content in contents.items()
    }


# ------------------------------------------------------------------------------------------------ pictures

PIXEL = pictures.png()


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.png", "image/png"),
        ("b.jpg", "image/jpeg"),
        ("c.JPEG", "image/jpeg"),
        ("d.webp", "image/webp"),
        ("e.GIF", "image/gif"),
    ],
)
def test_a_picture_is_one_document_without_a_text(tmp_path: Path, source: Path, name: str, media_type: str) -> None:
    content = pictures.EACH[media_type]
    (source / name).write_bytes(content)
    (document,) = read(tmp_path, source / name)
    uri = f"data:{media_type};base64,{b64(content)}"
    assert document == Document(str(source / name), "", (uri,), source=str(source / name))


def test_a_picture_may_be_compressed_once_more_and_an_empty_one_is_read(source: Path) -> None:
    (source / "a.png.gz").write_bytes(gzip.compress(PIXEL))
    (document,) = read_parts(source / "a.png.gz")
    assert (document.images, document.failure) == ((f"data:image/png;base64,{b64(PIXEL)}",), None)
    (source / "b.png").write_bytes(b"")  # admission says what is wrong with it, as for a text that is empty
    (document,) = read_parts(source / "b.png")
    assert (document.images, document.failure) == (("data:image/png;base64,",), None)


URI = f"data:image/png;base64,{b64(PIXEL)}"


def test_images_of_a_line_are_the_documents_and_a_text_may_then_be_missing(tmp_path: Path, source: Path) -> None:
    path = source / "a.jsonl"
    path.write_bytes(
        line("both", "look", images=[URI, URI], lang="de")
        + json.dumps({"id": "alone", "images": [URI.replace("data:", "DATA:")], "page": 1}).encode()
        + b"\n"
        + json.dumps({"id": "null", "text": None, "images": [URI]}).encode()
    )
    alone, both, null = read(tmp_path, path)
    assert (both.text, both.images, both.metadata) == ("look", (URI, URI), {"lang": "de"})
    assert (alone.text, alone.images, alone.metadata) == ("", (URI.replace("data:", "DATA:"),), {"page": 1})
    assert (null.text, null.images, null.failure) == ("", (URI,), None)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([], "missing_text"),
        (None, "missing_text"),
        ({"a": URI}, "missing_text"),
        ([1], "missing_text"),
        (["https://example.com/a.png"], "bad_image"),
        ("https://example.com/a.png", "bad_image"),
        ("a.png", "bad_image"),
        (7, "missing_text"),
    ],
)
def test_a_key_named_images_that_holds_no_picture_is_metadata(source: Path, value: Any, code: str) -> None:
    path = source / "a.jsonl"
    path.write_bytes(
        line("a", "text", images=value) + json.dumps({"id": "b", "images": value, "n": 1}).encode() + b"\n"
    )
    with_text, without = read_parts(path)
    assert (with_text.images, with_text.metadata, with_text.failure) == ((), {"images": value}, None)
    assert without.failure is not None
    assert (without.failure.code, without.images) == (code, ())
    assert without.metadata == {"images": value, "n": 1}, "what the line holds must not be lost with its failure"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (URI, "images are a string: a list of data URIs is wanted"),
        ([URI, None], "image 2 is null"),
        ([URI, "https://example.com/a.png"], "image 2 is a URL, and nothing is fetched"),
        ([{"url": URI}, URI], "image 1 is an object"),
    ],
)
def test_a_picture_that_the_model_would_never_see_is_a_failure_also_beside_a_text(
    source: Path, value: Any, told: str
) -> None:
    path = source / "a.jsonl"
    path.write_bytes(line("a", "text", images=value) + json.dumps({"id": "b", "images": value}).encode())
    for document in read_parts(path):
        assert document.failure is not None
        assert document.failure.code == "bad_image"
        assert told in document.failure.message


@pytest.mark.parametrize("value", ["https://example.com/a.png", ["https://example.com/a.png"], "scan.png", 7])
def test_the_failure_of_bad_images_without_a_text_says_what_is_wrong_with_them(source: Path, value: Any) -> None:
    path = source / "a.jsonl"
    path.write_bytes(json.dumps({"id": "b", "images": value}).encode())
    (document,) = read_parts(path)
    assert document.failure is not None
    assert "image" in document.failure.message
    assert "a list of data URIs is wanted" in document.failure.message


def test_images_do_not_excuse_a_text_of_another_type_or_a_missing_id(source: Path) -> None:
    path = source / "a.jsonl"
    rows = [{"id": "a", "text": 5, "images": [URI]}, {"text": "t", "images": [URI]}]
    path.write_bytes(b"\n".join(json.dumps(row).encode() for row in rows))
    assert codes(read_parts(path)) == {"a": "missing_text", f"{path}#2": "missing_id"}


def test_images_of_a_parquet_file_and_no_column_of_texts(tmp_path: Path, source: Path) -> None:
    images = pa.array([[URI], [URI, URI], [], None], pa.list_(pa.string()))
    pq.write_table(pa.table({"id": list("abcd"), "images": images, "n": [1, 2, 3, 4]}), source / "a.parquet")
    found = read(tmp_path, source / "a.parquet")
    assert [(d.images, d.text, d.metadata.get("n")) for d in found[:2]] == [((URI,), "", 1), ((URI, URI), "", 2)]
    assert codes(found) == {"a": None, "b": None, "c": "missing_text", "d": "missing_text"}
    pq.write_table(pa.table({"id": ["e"], "text": ["t"], "images": [["no uri"]]}), source / "b.parquet")
    (document,) = read_parts(source / "b.parquet")
    assert (document.images, document.metadata) == ((), {"images": ["no uri"]})


# ------------------------------------------------------------------------------------------------ cut into parts


@pytest.mark.parametrize("size", [1, 7, 64, 1_000])
def test_the_number_of_a_line_is_the_files_in_every_part(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    path = source / "a.jsonl"
    rows = [b"{bad" if n % 7 == 0 else b"" if n % 5 == 0 else line(f"d{n}", "y" * (n % 11)).strip() for n in range(60)]
    path.write_bytes(b"\n".join(rows))
    expected = codes(read_parts(path))
    assert len(expected) == 60 - 10  # 51 is no multiple of 7, and of 5 ten are none of 7
    assert {key for key, code in expected.items() if code} == {f"{path}#{n + 1}" for n in range(0, 60, 7)}
    monkeypatch.setattr("kimi_beam.input.file_parts._PART_BYTES", size)
    parts = list(find_parts((str(path),)))
    assert len(parts) == -(-path.stat().st_size // size)
    found = [document for part in parts for document in read_part(part)]
    assert list(codes(found).items()) == list(expected.items())
    assert len(found) == len(expected)
    if size == 64:
        in_pipeline = read(tmp_path, path)
        assert len(in_pipeline) == len(expected)
        assert codes(in_pipeline) == expected


def test_a_file_of_more_than_one_part_is_read_once_as_it_really_is_cut(tmp_path: Path, source: Path) -> None:
    path = source / "big.jsonl"
    text = "0123456789abcdef" * 4_096  # 64 KiB
    with path.open("wb") as f:
        for number in range(1, 600):
            f.write(b"not JSON\n" if number % 250 == 0 else line(f"d{number}", text))
    parts = list(find_parts((str(path),)))
    assert [part.start for part in parts] == [0, 16 << 20, 32 << 20]
    assert (parts[-1].stop, parts[0].stop) == (path.stat().st_size, 16 << 20)
    sizes, failed, ids = [], [], []
    for part in parts:
        found = [(d.id, d.failure is None, d.text == text) for d in read_part(part)]
        sizes.append(len(found))
        ids += [key for key, good, whole in found if good and whole]
        failed += [key for key, good, _ in found if not good]
    assert ids == [f"d{number}" for number in range(1, 600) if number % 250]
    assert failed == [f"{path}#250", f"{path}#500"]
    assert min(sizes) > 80


def lines_of(content: bytes, start: int, stop: int | None) -> list[bytes]:
    found = list(groups(io.BytesIO(content), Part("a.jsonl", start, stop), 1 << 20))
    for group in found:
        if group.position is not None:
            together = b"\n".join(group.lines)
            assert content[group.position : group.position + len(together)] == together
    numbered = [(group.number + index, one) for group in found for index, one in enumerate(group.lines)]
    assert [number for number, _ in numbered] == list(range(1, len(numbered) + 1))
    return [one for _, one in numbered]


_pieces = st.sampled_from([b"\n", b"\r\n", b"\n\n", b"a", b"bc", b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b" ", b"x" * 9])
_contents = st.one_of(st.binary(max_size=40), st.lists(_pieces, max_size=30).map(b"".join))


@settings(max_examples=500)
@given(content=_contents, cuts=st.lists(st.integers(0, 300), max_size=8), block=st.sampled_from([1, 2, 5, 1 << 20]))
@example(content=b"a\nb", cuts=[2], block=1)
@example(content=b"\n", cuts=[0, 1], block=1)
@example(content=b"ab\n", cuts=[1, 2], block=1 << 20)
def test_the_lines_of_all_ranges_are_exactly_all_lines(content: bytes, cuts: list[int], block: int) -> None:
    assume(not as_utf8(io.BytesIO(content))[1])  # in UTF-16 other bytes end a line
    expected = content.split(b"\n")
    if not expected[-1]:
        expected.pop()
    starts = [0]
    for one in expected:
        starts.append(starts[-1] + len(one) + 1)
    edges = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kimi_beam.input.lines._BLOCK_BYTES", block)
        found = [lines_of(content, start, stop) for start, stop in pairwise(edges)]
        assert lines_of(content, 0, None) == expected
    for (start, stop), lines in zip(pairwise(edges), found, strict=True):
        assert lines == [one for one, at in zip(expected, starts, strict=False) if start <= at < stop]
    assert [one for lines in found for one in lines] == expected


def test_a_line_longer_than_a_block_and_a_part_stays_whole(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = source / "a.jsonl"
    long = "é" * (2 << 20)
    path.write_bytes(line("short") + line("long", long) + line("after"))
    monkeypatch.setattr("kimi_beam.input.file_parts._PART_BYTES", 1 << 20)
    found = read_parts(path)
    assert [document.id for document in found] == ["short", "long", "after"]
    assert found[1].text == long


_plain = st.builds(
    lambda i, text: json.dumps({"id": i, "text": text}).encode(), st.text(min_size=1, max_size=3), st.text(max_size=5)
)
_unusual = st.sampled_from(
    [
        b'{"id":"a","text":"t"},{"id":"b","text":"t"}',
        b'{"id":"a"',
        b'"text":"t"}',
        b'{"id":"a","text":"t","more":"x"}',
        b'{"id":"a","text":{"id":"b"}}',
        b'{"id":"a","text":"t","more":[{"id":"b","text":"t"}',
        b'{"id":"c","text":"t"}]}',
        b'{"id":"a}',
        b'{","text":"z"}',
        b'{"id":"","text":"t"}',
        b'{"id":5,"text":"t"}',
        b'{"id":null,"text":"t"}',
        b'{"id":"a","text":null}',
        b'{"text":"t","id":"swapped"}',
        b'{"id":"a","id":"twice","text":"t"}',
        b'{"id":"a","text":"t","te\\u0078t":"u"}',
        b'{"id":"a","text":"\\\\","text":"\\\\","text":"\\\\","text":"\\\\"}',
        b'{"id":"a", "text":"spaced" } ',
        b'{"id":"a","text":"\\ud800"}',
        b'{"id":"a","text":"\xff"}',
        b'\xef\xbb\xbf{"id":"a","text":"t"}',
        b"[1]",
        b"5",
        b"",
        b" ",
        b"}",
        b"{",
    ]
)


def test_lines_decoded_at_once_give_the_same_documents_as_line_by_line() -> None:
    with both_paths("at once", "by themselves", at_least=100) as taken:
        _lines_that_are_read_at_once(taken)


@settings(derandomize=True, max_examples=2_000)
@given(st.lists(_plain | _unusual, min_size=1, max_size=5))
@example([b'{"id":"a","text":"t"},{"id":"b","text":"t"}', b'{"id":"c"', b'"text":"t"}'])
@example([b'{"id":"a","text":"t"},{"id":"b","text":"t"}', b'{"id":"a}', b'{","text":"z"}'])
def _lines_that_are_read_at_once(taken: Counter[str], some: list[bytes]) -> None:
    block = texts_alone(some, "in/a.jsonl", DEFAULT_READING)
    taken["by themselves" if block is None else "at once"] += 1
    if block is not None:
        assert list(block) == [from_line(one, "in/a.jsonl") for one in some]


def test_lines_of_an_id_and_a_text_are_read_at_once_and_others_by_themselves(source: Path) -> None:
    usual = [line(f"d{n}", f"é {n}").strip() for n in range(3)]
    assert texts_alone(usual, "p", DEFAULT_READING) == [Document(f"d{n}", f"é {n}", source="p") for n in range(3)]
    assert texts_alone([*usual, line("m", "t", page=1).strip()], "p", DEFAULT_READING) is None
    quoted = [line("q", 'a "quoted" word').strip(), line("b", "a\nnew line").strip()]
    assert texts_alone(quoted, "p", DEFAULT_READING) is not None, "escaped quotes would cost each document its speed"


# ------------------------------------------------------------------------------------------------ Parquet


def test_all_other_columns_of_a_row_are_its_metadata(tmp_path: Path, source: Path) -> None:
    amount = Decimal("123456789012345678901234567890.12345678")
    table = pa.table(
        {
            "amount": pa.array([amount, None], pa.decimal128(38, 8)),
            "id": pa.array(["r1", "r2"]).dictionary_encode(),
            "day": pa.array([date(2026, 2, 28), date(1, 1, 1)]),
            "moment": pa.array([datetime(2026, 2, 28, 1, 2, 3, 4, timezone.utc), None]),
            "scan": pa.array([b"\x00\xff", b""]),
            "text": pa.array(["one", "zwei €"], pa.large_string()),
            "nested": [
                {"list": [{"blob": b"\x01", "day": date(2026, 1, 1)}, None], "none": None},
                {"list": [], "none": None},
            ],
            "flag": [True, None],
            "big": pa.array([18446744073709551615, 0], pa.uint64()),
        }
    )
    pq.write_table(table, source / "a.parquet")
    one, two = read(tmp_path, source / "a.parquet")
    assert (one.id, one.text, one.source, one.failure) == ("r1", "one", str(source / "a.parquet"), None)
    assert one.metadata == {
        "amount": amount,
        "day": date(2026, 2, 28),
        "moment": datetime(2026, 2, 28, 1, 2, 3, 4, timezone.utc),
        "scan": b64(b"\x00\xff"),
        "nested": {"list": [{"blob": b64(b"\x01"), "day": date(2026, 1, 1)}, None], "none": None},
        "flag": True,
        "big": 18446744073709551615,
    }
    assert (two.id, two.text, two.metadata["amount"], two.metadata["scan"]) == ("r2", "zwei €", None, "")
    # What leaves the run is JSON that gives each of them back.
    written = jsontext.dumps_any(one.metadata).decode()
    assert json.loads(written, parse_float=Decimal)["amount"] == amount
    assert '"day":"2026-02-28"' in written
    assert '"moment":"2026-02-28T01:02:03.000004+00:00"' in written


def test_row_groups_are_read_apart_and_rows_keep_their_number(tmp_path: Path, source: Path) -> None:
    ids = [None if n in (4, 9) else f"r{n}" for n in range(1, 11)]
    texts = [None if n == 6 else f"text {n}" for n in range(1, 11)]
    path = source / "a.parquet"
    pq.write_table(pa.table({"text": texts, "id": ids}), path, row_group_size=3)
    assert list(find_parts((str(path),))) == [Part(str(path), group, group + 1) for group in range(4)]
    found = read(tmp_path, path)
    assert codes(found) == {
        f"{path}#4": "missing_id",
        f"{path}#9": "missing_id",
        "r6": "missing_text",
        **{f"r{n}": None for n in (1, 2, 3, 5, 7, 8, 10)},
    }
    assert len(found) == 10


def test_integer_ids_of_a_parquet_file_are_ids_and_other_types_are_not(source: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2], "text": ["a", "b"]}), source / "a.parquet")
    pq.write_table(pa.table({"id": [1.0, 2.0], "text": ["a", "b"]}), source / "b.parquet")
    assert codes(read_parts(source / "a.parquet")) == {"1": None, "2": None}
    assert codes(read_parts(source / "b.parquet")) == {
        f"{source / 'b.parquet'}#1": "missing_id",
        f"{source / 'b.parquet'}#2": "missing_id",
    }


@pytest.mark.parametrize(
    ("columns", "code", "told"),
    [
        ({"id": ["a"]}, "missing_text", "no column text"),
        ({"text": ["a"]}, "missing_id", "no column id"),
        ({"ID": ["a"], "body": ["b"]}, "missing_id", "no column id and no column text"),
    ],
)
def test_a_parquet_file_without_the_columns_is_one_failure(
    tmp_path: Path, source: Path, columns: dict[str, list[str]], code: str, told: str
) -> None:
    pq.write_table(pa.table(columns), source / "a.parquet")
    (source / "b.txt").write_bytes(b"still here")
    lacking, other = read(tmp_path, source / "*")
    assert (lacking.id, lacking.failure and lacking.failure.code) == (str(source / "a.parquet"), code)
    assert lacking.failure is not None
    assert told in lacking.failure.message
    assert other.text == "still here"


# ------------------------------------------------------------------------------------------------ damage


def test_a_file_that_cannot_be_read_is_a_failure_and_the_others_still_come(tmp_path: Path, source: Path) -> None:
    member = gzip.compress(b"".join(line(f"before-{n:03d}", "y" * 100_000) for n in range(150)))
    (source / "a.jsonl.gz").write_bytes(member + b"this is no gzip")
    (source / "b.txt.gz").write_bytes(b"neither is this")
    (source / "c.txt.bz2").write_bytes(b"nor bzip2")
    (source / "d.parquet").write_bytes(b"PAR1, one may think")
    (source / "e.parquet").write_bytes(b"")
    (source / "f.txt").write_bytes(b"fine")
    (source / "g.jsonl").write_bytes(line("fine"))
    found = read(tmp_path, source / "*")
    failed = {document.source: document for document in found if document.failure}
    assert sorted(Path(path).name for path in failed) == [
        "a.jsonl.gz",
        "b.txt.gz",
        "c.txt.bz2",
        "d.parquet",
        "e.parquet",
    ]
    for path, document in failed.items():
        assert document.failure is not None
        assert (document.failure.stage, document.failure.code) == ("read", "unreadable")
        assert document.id.startswith(path)
        assert path in document.failure.message
        assert "\n" not in document.failure.message
    good = [document.id for document in found if not document.failure]
    before = [key for key in good if key.startswith("before-")]  # how many is the decompressor's affair
    assert set(before) == {f"before-{n:03d}" for n in range(len(before))}
    assert len(set(good)) == len(good)
    assert set(good) - set(before) == {str(source / "f.txt"), "fine"}


def test_a_row_group_that_is_damaged_leaves_the_others(tmp_path: Path, source: Path) -> None:
    path = source / "a.parquet"
    table = pa.table({"id": [f"r{n}" for n in range(30)], "text": [f"text of {n}" for n in range(30)]})
    pq.write_table(table, path, row_group_size=10, compression="NONE", use_dictionary=False)  # type: ignore[arg-type]
    group = pq.ParquetFile(path).metadata.row_group(1)
    start = group.column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + group.column(0).total_compressed_size] = b"\xff" * group.column(0).total_compressed_size
    path.write_bytes(content)
    found = read(tmp_path, path)
    assert codes(found) == {
        f"{path}#1-": "unreadable",
        **{f"r{n}": None for n in range(30) if not 10 <= n < 20},
    }


# ------------------------------------------------------------------------------------------------ limit


@pytest.mark.parametrize("limit", [0, 1, 3, 4, 6, 99])
def test_a_limit_takes_the_first_by_path_and_position(tmp_path: Path, source: Path, limit: int) -> None:
    (source / "c.txt").write_bytes(b"last")
    (source / "b.jsonl").write_bytes(line("b1") + b"{bad\n" + line("b3"))
    pq.write_table(pa.table({"id": ["a1", "a2"], "text": ["x", "y"]}), source / "a.parquet", row_group_size=1)
    in_order = ["a1", "a2", "b1", f"{source / 'b.jsonl'}#2", "b3", str(source / "c.txt")]
    # The order of the patterns is of no account.
    found = read(tmp_path, source / "c.txt", source / "*", limit=limit)
    assert [document.id for document in found] == sorted(in_order[:limit])
    assert sum(document.failure is not None for document in found) == (limit >= 4)


def test_the_same_documents_come_with_and_without_a_limit(tmp_path: Path, source: Path) -> None:
    for n in range(20):
        (source / f"{n:02d}.txt").write_bytes(b"x" * n)
    assert read(tmp_path, source / "*") == read(tmp_path, source / "*", limit=20)


# ------------------------------------------------------------------------------------------------ as users name files


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_a_truncated_compressed_file_is_not_read_as_a_complete_one(source: Path, suffix: str) -> None:
    lines = b"".join(b'{"id": "%d", "text": "%s"}\n' % (i, os.urandom(30).hex().encode()) for i in range(2_000))
    packed = {  # type: ignore[operator]
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
        ".zst": lambda plain: pa.Codec("zstd").compress(plain, asbytes=True),
    }[suffix](lines)
    (source / f"whole.jsonl{suffix}").write_bytes(packed)
    (source / f"cut.jsonl{suffix}").write_bytes(packed[: len(packed) * 2 // 3])
    whole = list(read_part(Part(str(source / f"whole.jsonl{suffix}"))))
    assert [d.id for d in whole] == [str(i) for i in range(2_000)]
    *good, last = read_part(Part(str(source / f"cut.jsonl{suffix}")))
    assert last.failure is not None
    assert last.failure.code == "unreadable"
    assert not good or f"after {len(good)} documents" in last.failure.message
    assert all(d.failure is None for d in good)


def test_a_large_compressed_text_is_read_to_its_end(source: Path) -> None:
    text = "x" * (20 << 20)
    (source / "long.txt.gz").write_bytes(gzip.compress(text.encode(), 1))
    (document,) = read_part(Part(str(source / "long.txt.gz")))
    assert len(document.text) == len(text)


def test_a_file_is_read_once_however_it_is_spelt(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "a.txt").write_text("x")
    monkeypatch.chdir(source)
    spelt = ("a.txt", "./a.txt", ".//a.txt", str(source / "a.txt"), "*.txt", "./*.txt", f"file://{source}/a.txt")
    for pattern in spelt:
        check_input([pattern])
    assert len(list(find_parts(spelt))) == 1
    assert [part.path for part in find_parts(("*.txt",))] == ["a.txt"]


def test_a_file_whose_name_looks_like_a_glob_can_be_named(source: Path) -> None:
    (source / "scan[1].txt").write_text("x")
    assert [part.path for part in find_parts((str(source / "scan[1].txt"),))] == [str(source / "scan[1].txt")]


def test_a_directory_with_the_name_of_a_text_is_no_document(source: Path) -> None:
    (source / "x.txt").mkdir()
    (source / "y.txt").write_text("y")
    assert [part.path for part in find_parts((str(source / "*.txt"),))] == [str(source / "y.txt")]


def rows_of(source: Path, table: pa.Table, **options: Any) -> list[kb.Document]:
    pq.write_table(table, source / "t.parquet", **options)
    parts = find_parts((str(source / "t.parquet"),))
    return [document for part in parts for document in read_part(part)]


def test_times_that_python_cannot_hold_become_text_and_cost_no_row(source: Path) -> None:
    table = pa.table(
        {
            "id": ["a", "b"],
            "text": ["x", "y"],
            "ns": pa.array([1, 1_700_000_000_123_456_789], pa.timestamp("ns")),
            "clock": pa.array([1, 2], pa.time64("ns")),
            "far": pa.array([3_000_000, 1], pa.date32()),
            "zone": pa.array([0, 1], pa.timestamp("us", "Nowhere/At_All")),
        }
    )
    found = rows_of(source, table, store_schema=True)
    assert [d.id for d in found] == ["a", "b"]
    assert [d.failure for d in found] == [None, None]
    assert str(found[1].metadata["ns"]).endswith("123456789")


def test_a_file_without_a_column_is_one_failure_however_many_row_groups_it_has(source: Path) -> None:
    table = pa.table({"id": [str(i) for i in range(30)], "body": ["x"] * 30})
    (found,) = rows_of(source, table, row_group_size=10)
    assert found.failure is not None
    assert (found.id, found.failure.code) == (str(source / "t.parquet"), "missing_text")


def test_a_row_that_is_no_document_keeps_what_it_holds(source: Path) -> None:
    (found,) = rows_of(source, pa.table({"id": pa.array([None], pa.string()), "text": ["kept"], "k": [7]}))
    assert found.failure is not None
    assert json.loads(base64.b64decode(found.failure.raw or "")) == {"id": None, "text": "kept", "k": 7}


def test_binary_text_is_text_or_a_failure_of_its_row(source: Path) -> None:
    table = pa.table({"id": [b"a", b"b"], "text": [b"plain \xc3\xa9", b"\xff"], "b": [b"\x00", b"\x01"]})
    good, bad = rows_of(source, table)
    assert (good.id, good.text, good.metadata) == ("a", "plain é", {"b": "AA=="})
    assert bad.failure is not None
    assert bad.failure.code == "not_utf8"


def test_files_whose_names_are_not_utf8_are_read_and_named_with_escapes(source: Path) -> None:
    directory = os.fsencode(source / "latin")
    Path(os.fsdecode(directory)).mkdir()
    for name, content in {
        b"a\xff.txt": b"x",
        b"large\xff.txt": b"Total: 3.10\n" * 20_000,
        b"lines\xff.jsonl": b'{"id": "line", "text": "y"}\nno JSON\n',
        b"members\xff.zip": _zip_of({"a.txt": b"z"}),
        b"cut\xff.pdf": b"%PDF-1.7",
    }.items():
        Path(os.fsdecode(directory + b"/" + name)).write_bytes(content)
    Path(os.fsdecode(directory + b"/gone\xff.txt")).symlink_to("nowhere")
    documents = [d for part in find_parts((str(source / "latin"),)) for d in read_part(part)]
    outcome = {d.id.rpartition("/latin/")[2]: d.failure.code if d.failure else d.text[:1] for d in documents}
    assert outcome == {
        "a\\udcff.txt": "x",
        "cut\\udcff.pdf": "damaged",
        "gone\\udcff.txt": "unreadable",
        "large\\udcff.txt": "T",
        "line": "y",
        "lines\\udcff.jsonl#2": "not_json",
        "members\\udcff.zip!/a.txt": "z",
    }
    assert all(d.source.encode() for d in documents), "a source that UTF-8 cannot hold"
    assert not any(d.file for d in documents), "a reference to a file that no worker would find"


def _zip_of(members: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return written.getvalue()


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file whose reading is an input/output error")
def test_a_file_that_the_disk_does_not_give_back_costs_itself_alone(source: Path) -> None:
    (source / "a.txt").symlink_to("/proc/self/mem")
    (source / "b.txt").write_text("kept")
    bad, good = (d for part in find_parts((str(source / "?.txt"),)) for d in read_part(part))
    assert bad.failure is not None
    assert (bad.id, bad.failure.code, bad.failure.retryable) == (str(source / "a.txt"), "unreadable", True)
    assert (good.text, good.failure) == ("kept", None)


class _Breaks(io.BytesIO):
    """A file on a filesystem that fails in the middle."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise OSError("503 backend hiccup")
        return super().read(size)


def test_a_filesystem_that_fails_is_the_runners_to_retry_and_costs_no_document(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "a.jsonl").write_bytes(b'{"id": "a", "text": "x"}\n' * 100_000)
    content = (source / "a.jsonl").read_bytes()
    monkeypatch.setattr("kimi_beam.input.read_parts.open_input", lambda _: _Breaks(content))
    with pytest.raises(OSError, match="hiccup"):
        list(read_part(Part(str(source / "a.jsonl"), 0, len(content))))


@pytest.mark.parametrize("spelling", ["{}", "{}/", "{}/../empty"])
def test_an_empty_directory_is_said_to_be_empty(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "empty" / "below").mkdir(parents=True)
    given = spelling.format(tmp_path / "empty")
    with pytest.raises(InputError) as refused:
        check_input([given])
    assert str(refused.value).startswith(f"the directory {given} holds no files: .txt, .text, .md, ")
