"""Texts of rows, read again: by the run's own readers, never another text, and none where it is not to be had."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pictures
import pytest
from made_pdfs import lines_page, made_pdf
from page_data import page_data, texts_by_id, write_page
from reported_runs import INVOICE, invoices, write_reported_run

from kimi_beam.errors import InputError
from kimi_beam.input.file_parts import find_parts
from kimi_beam.input.read_parts import read_part
from kimi_beam.output.page.field_figures import flat
from kimi_beam.output.page.texts_again import CHANGED, UNCHECKED
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure

EMPTY: dict[str, Any] = dict.fromkeys(INVOICE["required"]) | {"items": []}


def _read(path: Path) -> list[Document]:
    return [document for part in find_parts((str(path),)) for document in read_part(part)]


def test_the_text_of_each_row_and_each_dead_letter_is_the_one_that_was_asked_about(tmp_path: Path) -> None:
    made = list(invoices(300))
    out = write_reported_run(tmp_path / "out", made, failing=0.2)
    found = texts_by_id(write_page(out, tmp_path / "page.html"))
    assert {name: text for name, (text, _, _) in found.items()} == {one.id: one.text for one, _ in made}
    unsure = sum(note != "" for _, note, _ in found.values())
    assert unsure < 20, "nearly every row has a value that can be compared with its text"


def test_places_stand_in_the_text_of_the_page_where_the_values_do(tmp_path: Path) -> None:
    out = write_reported_run(tmp_path / "out", invoices(50), failing=0.0)
    data = page_data(write_page(out, tmp_path / "page.html"))
    exact = 0
    for position, one in data["documents"].items():
        text = data["texts"][position][0]
        for value in one["values"]:
            if len(value) > 5 and value[3] == "exact":
                exact += 1
                assert text[value[4] : value[5]] == value[2]
    assert exact > 100


def test_files_pages_members_and_attachments_are_read_as_the_run_read_them(tmp_path: Path) -> None:
    pdf = tmp_path / "in" / "invoice [1].pdf"
    pdf.parent.mkdir()
    pdf.write_bytes(made_pdf(lines_page([(50, 700, "ACME Ltd"), (50, 650, "TOTAL 12.50")])))
    with zipfile.ZipFile(tmp_path / "mails.zip", "w") as archive:
        archive.writestr("a/b.txt", "Bolt & Nut Ltd\nTOTAL 7.25")
        archive.writestr("c.jsonl", '{"id": "line", "text": "Third Ltd TOTAL 1.00"}\n')
    documents = [*_read(tmp_path / "in"), *_read(tmp_path / "mails.zip")]
    assert len(documents) == 3
    out = write_reported_run(
        tmp_path / "out", [(one, EMPTY | {"shop": one.text.split(" Ltd")[0]}) for one in documents]
    )
    found = texts_by_id(write_page(out, tmp_path / "page.html", documents=100))
    assert {name: text for name, (text, _, _) in found.items()} == {one.id: one.text for one in documents}


def test_a_file_that_has_changed_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("ACME Ltd\nTOTAL 12.50")
    out = write_reported_run(tmp_path / "out", [(_read(path)[0], EMPTY | {"shop": "ACME Ltd", "total": 12.5})])
    path.write_text("Another\nshop, TOTAL 12.50")
    assert texts_by_id(write_page(out, tmp_path / "page.html")) == {str(path): [None, CHANGED, []]}
    path.write_text("AC")
    assert texts_by_id(write_page(out, tmp_path / "page.html")) == {str(path): [None, CHANGED, []]}


def test_a_row_that_does_not_say_where_its_values_stand_has_its_text_with_a_note(tmp_path: Path) -> None:
    out = write_reported_run(tmp_path / "out", invoices(2), grounded=False, failing=0.0)
    assert {note for _, note, _ in texts_by_id(write_page(out, tmp_path / "page.html")).values()} == {UNCHECKED}


@pytest.mark.parametrize("lost", ["the file", "the line", "the source"])
def test_a_text_that_is_not_to_be_had_is_missing_with_the_reason(tmp_path: Path, lost: str) -> None:
    document, answer = next(iter(invoices(1)))
    texts = tmp_path / "texts.jsonl"
    texts.write_text(json.dumps({"id": document.id, "text": document.text}) + "\n")
    source = "" if lost == "the source" else str(texts)
    out = write_reported_run(tmp_path / "out", [(replace(document, source=str(texts)), answer)], failing=0.0)
    if lost == "the source":
        out = write_reported_run(
            tmp_path / "made", [(replace(document, source="nowhere/at/all.txt"), answer)], failing=0.0
        )
    elif lost == "the file":
        texts.unlink()
    else:
        texts.write_text('{"id": "another", "text": "x"}\n')
    ((text, note, _),) = texts_by_id(write_page(out, tmp_path / "page.html")).values()
    assert text is None
    assert note.startswith("Its text is not here: ")
    assert (source or "nowhere/at/all.txt") in note
    data = page_data(tmp_path / "page.html")
    assert len(data["documents"][0]["values"]) >= 4, "the record is shown alone"


def test_pictures_are_shown_and_what_only_says_that_it_is_one_is_not(tmp_path: Path) -> None:
    good = pictures.uri(pictures.png())
    strange = "data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9ImFsZXJ0KDEpIi8+"
    failure = Failure("infer", "refusal", "no")
    letters = [
        (Document("a", "", (good, strange)), None),
        (Document("b", "", ('data:image/png;base64,"onerror=x',)), None),
    ]
    out = write_reported_run(tmp_path / "out", letters, failures={"a": failure, "b": failure})
    found = texts_by_id(write_page(out, tmp_path / "page.html"))
    assert found == {"a": ["", "1 more picture is not shown.", [good]], "b": ["", "1 more picture is not shown.", []]}


def test_texts_are_left_out_where_the_user_says_so(tmp_path: Path) -> None:
    out = write_reported_run(tmp_path / "out", invoices(30), failing=0.2)
    data = page_data(write_page(out, tmp_path / "page.html", reading=None))
    assert len(data["documents"]) == 30
    assert set(data["texts"]) == {at for at, one in data["documents"].items() if one["outcome"]}


def test_a_long_text_is_cut_and_says_so(tmp_path: Path) -> None:
    document = Document("a", "x" * 300_000)
    out = write_reported_run(tmp_path / "out", [(document, EMPTY)], failing=0.0)
    ((text, note, _),) = texts_by_id(write_page(out, tmp_path / "page.html")).values()
    assert (len(text), note) == (200_000, "The first 200,000 of 300,000 characters.")


def test_a_page_is_never_larger_than_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kimi_beam.output.page.write_report._PAGE_BYTES", 400_000)
    monkeypatch.setattr("kimi_beam.output.page.write_report._RECORD_BYTES", 150_000)
    monkeypatch.setattr("kimi_beam.output.page.page_file._BLOCK_BYTES", 20_000)
    out = write_reported_run(tmp_path / "out", invoices(1_500))
    page = write_page(out, tmp_path / "page.html")
    data = page_data(page)
    assert page.stat().st_size <= 400_000
    shown, texts = data["figures"]["shown"], len(data["texts"])
    assert shown == {**shown, "documents": len(data["documents"]), "of": 1_500, "texts": texts}
    assert 100 < texts < shown["documents"] < 1_500
    assert data["figures"]["documents"] == 1_500


def test_a_large_run_shows_some_documents_of_each_kind_and_counts_all(tmp_path: Path) -> None:
    out = write_reported_run(tmp_path / "out", invoices(2_000), failing=0.01)
    data = page_data(write_page(out, tmp_path / "page.html", documents=100))
    figures, shown = data["figures"], list(data["documents"].values())
    assert (figures["documents"], len(shown)) == (2_000, 100)
    assert {one["outcome"] for one in shown} >= set(figures["dead_letters"])
    kinds = figures["shown"]["kinds"]
    assert kinds["/shop is empty"] == next(one["empty"] for one in figures["fields"] if one["field"] == "/shop")
    assert sum(value[:2] == ["/shop", "o"] for one in shown for value in one["values"]) >= 5


def test_numbers_keep_their_digits_and_wrong_values_name_what_is_right(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "m": {"type": ["string", "null"]}}}
    document = Document("a", "12345678901234567 and x")
    out = write_reported_run(tmp_path / "out", [(document, {"n": 12345678901234567, "m": None})], schema, failing=0.0)
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"id": "a", "gold": {"n": 12345678901234567, "m": "x"}}\n')
    (one,) = page_data(write_page(out, tmp_path / "page.html", gold=str(gold)))["documents"].values()
    first, second, whole = one["values"]
    assert first == ["/n", "n", "12345678901234567", "exact", 0, 17, None, 1]
    assert second[:3] == ["/m", "m", ""]
    assert (whole[0], whole[-1]) == ("", ["incomplete"])
    assert second[-2:] == ["unfound", '"x"']
    assert one["errors"] == 1


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"type": "array", "items": {"type": "integer"}}, [1, 2, 3]),
        ({"type": "string"}, "alone"),
        (
            {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
            {"a/b": "x", "__proto__": None, "": "y"},
        ),
        (
            {"type": "object", "properties": {"tags": {"type": ["array", "null"], "items": {"type": "string"}}}},
            {"tags": []},
        ),
        ({}, {"any": [{"thing": 1}, [], {}, None]}),
        ({"type": "object", "properties": {"t": {"type": "string", "x-compare": "ignore"}}}, {"t": "not compared"}),
    ],
    ids=["a list", "a text", "a map", "an empty list", "anything", "what is not compared"],
)
def test_answers_of_any_form_are_counted_and_shown_value_by_value(tmp_path: Path, schema: Any, answer: Any) -> None:
    out = write_reported_run(tmp_path / "out", [(Document("a", "alone, 1 2 3, x and y"), answer)], schema, failing=0.0)
    data = page_data(write_page(out, tmp_path / "page.html"))
    shown = [value[2] for value in data["documents"][0]["values"] if value[1] in "snb"]
    assert sorted(shown) == sorted(str(value) for _, value in flat(answer) if value not in (None, [], {}))
    assert sum(one["filled"] for one in data["figures"]["fields"]) == len(shown)


def test_an_answer_of_thousands_of_values_is_cut(tmp_path: Path) -> None:
    schema = {"type": "array", "items": {"type": "integer"}}
    out = write_reported_run(tmp_path / "out", [(Document("a", "1"), list(range(7_000)))], schema, failing=0.0)
    data = page_data(write_page(out, tmp_path / "page.html"))
    assert len(data["documents"][0]["values"]) == 5_000
    assert data["documents"][0]["notes"][0] == "The first 5,000 of its 7,000 values."
    assert data["figures"]["fields"][0]["filled"] == 7_000


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("dead-letters-00000-of-00001.jsonl", "{}\n", "cannot read the dead letters"),
        ("dead-letters-00000-of-00001.jsonl", "no JSON\n", "cannot read the dead letters"),
        ("summary.json", "[]", "is no summary of a run"),
        ("summary.json", "{", "cannot read"),
    ],
)
def test_files_that_no_run_has_written_are_refused(tmp_path: Path, name: str, content: str, told: str) -> None:
    out = write_reported_run(tmp_path / "out", invoices(3))
    (out / name).write_text(content)
    with pytest.raises(InputError, match=told):
        write_page(out, tmp_path / "page.html")
