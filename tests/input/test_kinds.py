"""The table of kinds: each name says one kind, and each reader and extra that the table names is there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from kimi_beam.input.kinds import IN_WORDS, KINDS, PARQUET, instead_of, kind_by_name, suffix_of

ROOT = Path(__file__).parents[2]
SETUP = (ROOT / "setup.py").read_text()
PAGE = ROOT / "docs" / "howto" / "inputs.md"


def test_no_suffix_says_two_kinds_and_no_two_kinds_have_one_name() -> None:
    suffixes = Counter(suffix for kind in KINDS for suffix in kind.suffixes)
    assert max(suffixes.values()) == 1
    assert len({kind.name for kind in KINDS}) == len({kind.media_type for kind in KINDS}) == len(KINDS) > 20
    assert all(suffix in IN_WORDS for suffix in suffixes)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.suffix)
def test_a_kind_is_told_by_each_of_its_names_in_any_case_and_compressed(kind: object) -> None:
    for known in KINDS:
        for suffix in known.suffixes:
            assert kind_by_name(f"in/a b{suffix}") is known
            assert kind_by_name(f"in/A{suffix.upper()}") is known
            compressed = [kind_by_name(f"in/a{suffix}{packed}") for packed in (".gz", ".BZ2", ".xz", ".zst")]
            assert compressed == [None if suffix in (".parquet", ".zip") else known] * 4


@pytest.mark.parametrize("name", ["a.tgz", "a.TBZ2", "a.txz", "a.tzst"])
def test_a_compressed_tar_may_have_a_short_suffix(name: str) -> None:
    assert kind_by_name(name) is kind_by_name("a.tar")


@pytest.mark.parametrize(
    "name", ["README", "letter 1.5", "a.", ".profile", "scan.001", "in.pdf/page", "a.pdf\n", "a b", "", "ä.größe"]
)
def test_a_name_without_a_suffix_says_no_kind(name: str) -> None:
    assert (suffix_of(name), kind_by_name(name)) == (None, None)


@pytest.mark.parametrize("name", ["a.exe", "a.pdf.part", "b.jsonl.tmp", "a.txt~", "a.doc", "a.json"])
def test_another_suffix_says_that_the_name_tells_of_something_else(name: str) -> None:
    assert suffix_of(name) is not None
    assert kind_by_name(name) is None


@pytest.mark.parametrize("name", ["a.doc", "A.RTF", "b.ppt", "c.7z", "d.doc.gz", "e.svg"])
def test_a_kind_that_is_not_read_but_known_has_advice(name: str) -> None:
    assert kind_by_name(name) is None
    assert instead_of(name)


def test_no_kind_that_is_read_has_advice_to_make_another_of_it() -> None:
    assert [suffix for kind in KINDS for suffix in kind.suffixes if instead_of(f"a{suffix}")] == []


def test_each_extra_is_one_of_this_packages() -> None:
    extras = {kind.extra for kind in KINDS if kind.extra}
    assert extras == {"documents", "heic"}
    assert all(f'"{extra}": ' in SETUP for extra in extras)


def test_only_a_file_that_is_one_document_has_a_reader() -> None:
    assert all(kind.form == "document" for kind in KINDS if kind.reader)
    assert PARQUET.form == "parquet"


def test_the_page_about_inputs_has_the_table_of_kinds() -> None:
    """If it fails: put the lines that it wants into docs/howto/inputs.md."""
    lines = ["| Kind | Files | Documents, pages | Pictures | Metadata | Extra |", "|---|---|---|---|---|---|"]
    for kind in KINDS:
        name = kind.name.removeprefix("a ").removeprefix("an ")
        files = ", ".join(f"`{suffix}`" for suffix in kind.suffixes)
        extra = f"`{kind.extra}`" if kind.extra else ""
        cells = (name[0].upper() + name[1:], files, kind.pages, kind.pictures, kind.metadata, extra)
        lines.append(f"| {' | '.join(cells)} |")
    assert "\n".join(lines) in PAGE.read_text()
