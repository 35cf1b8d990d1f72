"""With `redact`, no secret leaves: not in a request, the journal, a dead letter, a log; and the rows have them all."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from harness import QUICK, read_dataset, run_extract, run_redrive, service
from overheard import Overheard
from running_cli import mistake, run
from streams_through_beam import _arrived, stream_through

import kimi_beam as kb
from kimi_beam.emulator import Emulator

IBAN, CARD, MAIL, PHONE = "DE89370400440532013000", "4111 1111 1111 1111", "kim.canary@secret-shop.de", "+49 30 9018271"
CANARIES = (
    IBAN[4:14],
    IBAN[-8:],
    "3704 0044",
    "0532 0130",
    "1111 1111",
    "11111111",
    "canary",
    "secret-shop",
    "9018271",
)
"""Pieces that stand in no stand-in, in each spelling that the documents have."""
SCHEMA = {
    "type": "object",
    "properties": {
        "email": {"type": "string", "format": "email"},
        "phone": {"type": ["string", "null"]},
        "iban": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{2}[0-9 ]+$"},
    },
    "required": ["email", "iban"],
}


def documents() -> list[kb.Document]:
    spaced = " ".join(IBAN[start : start + 4] for start in range(0, len(IBAN), 4))
    whole = f"E-Mail: {MAIL}\nPhone: {PHONE}\nIBAN: {IBAN}\nCard: {CARD}\n"
    return [
        kb.Document(
            "whole", whole, metadata={"who": f"paid by {MAIL} from {spaced}", "card": int(CARD.replace(" ", ""))}
        ),
        kb.Document("other", f"IBAN: DE75512108001245126199\nE-Mail: other@else.org\nuntil {MAIL}"),
        kb.Document("long", "".join(f"{whole}\nParagraph {number} of many.\n\n" for number in range(30))),
        kb.Document("nothing", "Total 12.50, no account"),
        kb.Document("violating", f"IBAN: {IBAN}, and no address"),
        kb.Document("empty", "  ", metadata={"who": MAIL}),
        kb.Document("scan", f"IBAN {IBAN}", ("data:image/png;base64,Y2FuYXJ5",)),
        kb.Document(
            "unread", "", failure=kb.Failure("read", "not_json", f"line 3: {MAIL} is not JSON", raw="a2ltLmNhbmFyeQ==")
        ),
    ]


@pytest.fixture
def overheard() -> Iterator[Overheard]:
    with Emulator() as emulator, Overheard(emulator.base_url) as door:
        yield door


def secrets_in(content: bytes) -> list[str]:
    text = content.decode("utf-8", "replace")
    return [canary for canary in CANARIES if canary in text]


@pytest.mark.parametrize("api", ["batch", "run", "chat"])
def test_no_secret_is_in_a_request_the_journal_a_dead_letter_or_a_log(
    api: Any, overheard: Overheard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = tmp_path / "journal"
    with caplog.at_level(logging.INFO):  # at DEBUG Beam itself writes the elements of each step
        outcome = run_extract(
            documents(),
            "",
            tmp_path / "out",
            where=service(overheard.base_url, api=api),
            schema=SCHEMA,
            redact="iban,card,email,phone",
            prompt_metadata=["who", "card"],
            chunk_tokens=300,
            journal=str(journal),
        )
    assert outcome.ids == dict.fromkeys((document.id for document in documents()), 1)
    rows = {row["_document_id"]: row for row in outcome.rows}
    assert rows.keys() == {"whole", "other", "long"}
    assert (rows["whole"]["iban"].replace(" ", ""), rows["whole"]["email"]) == (IBAN, MAIL)
    assert (rows["long"]["iban"].replace(" ", ""), rows["long"]["email"]) == (IBAN, MAIL)
    assert (rows["long"]["_provenance"]["parts"] or 0) > 1, "parts of documents take another way"
    assert rows["other"]["iban"] == "DE75512108001245126199"
    assert json.loads(rows["whole"]["_metadata"]) == documents()[0].metadata
    codes = {letter["document_id"]: letter["code"] for letter in outcome.letters}
    assert codes == {
        "nothing": "schema_violation",
        "violating": "schema_violation",
        "empty": "empty_document",
        "scan": "unredactable",
        "unread": "not_json",
    }
    asked = b"\n".join([*overheard.bodies, *(head.encode() for head in overheard.heads)])
    assert b"paid by person" in asked, "the metadata that the user lets the model see"
    assert asked.count(b"redacted.invalid") > 3
    letters = b"\n".join(path.read_bytes() for path in (tmp_path / "out").glob("dead-letters-*"))
    records = [path.read_bytes() for path in journal.rglob("*") if path.is_file()]
    assert records
    for place, content in (
        ("a request", asked),
        ("a dead letter", letters),
        ("the journal", b"\n".join(records)),
        ("a log", caplog.text.encode()),
        ("the summary", json.dumps(outcome.summary).encode()),
    ):
        assert secrets_in(content) == [], f"in {place}"
    assert b"Y2FuYXJ5" not in letters
    assert b"a2ltLmNhbmFyeQ" not in letters
    truncated = {letter["document_id"]: letter["document"]["truncated"] for letter in outcome.letters}
    assert truncated == {"nothing": False, "violating": True, "empty": True, "scan": True, "unread": True}


def test_a_repeated_run_finds_its_answers_and_their_values(overheard: Overheard, tmp_path: Path) -> None:
    rows = []
    for name in ("first", "second"):
        overheard.bodies.clear()
        outcome = run_extract(
            documents()[:3], overheard.base_url, tmp_path / name, schema=SCHEMA,
            redact=["email", "iban", "card", "phone"], journal=str(tmp_path / "journal"),
        )  # fmt: skip
        rows.append(sorted((row["_document_id"], row["iban"], row["email"]) for row in outcome.rows))
        assert bool(overheard.bodies) == (name == "first"), "what was paid for would be paid for again"
    assert rows[0] == rows[1]
    assert {row[0] for row in rows[0]} == {"whole", "other", "long"}


def test_a_redacted_dead_letter_is_not_run_again_and_others_are(overheard: Overheard, tmp_path: Path) -> None:
    run_extract(
        [documents()[3], documents()[4]], overheard.base_url, tmp_path / "out", schema=SCHEMA, redact="iban,email"
    )
    overheard.bodies.clear()
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        letters = pipeline | kb.ReadDeadLetters(str(tmp_path / "out"))
        results = letters.documents | kb.Extract(SCHEMA, service=service(overheard.base_url), redact="iban,email")
        (results.extractions, results.dead_letters) | kb.WriteDataset(
            str(tmp_path / "again"), SCHEMA, model="m", documents=letters.documents, left=letters.left
        )
    outcome = read_dataset(tmp_path / "again")
    assert [letter["document_id"] for letter in outcome.letters] == ["nothing"]
    assert outcome.summary["left"] == {"schema_violation": 1}


def test_values_are_grounded_where_they_stand_in_the_document_as_it_came(overheard: Overheard, tmp_path: Path) -> None:
    text = "from someone.with-a-long-name@else.example.org\n" + documents()[0].text
    outcome = run_extract(
        [kb.Document("a", text)],
        overheard.base_url,
        tmp_path,
        schema=SCHEMA,
        redact="iban,email,phone,card",
        ground=True,
    )
    (row,) = outcome.rows
    places = {one["path"]: (one["match"], text[one["start"] : one["end"]]) for one in row["_grounding"]}
    assert places["/iban"] == ("exact", IBAN)
    assert places["/phone"] == ("exact", PHONE)
    assert places["/email"][0] == "exact"
    assert places["/email"][1] == row["email"]
    assert secrets_in(b"".join(overheard.bodies)) == []


def test_a_dead_letter_that_keeps_its_original_is_run_again_and_pays_for_nothing_twice(tmp_path: Path) -> None:
    rules, journal = "iban,email,phone,card", str(tmp_path / "journal")
    given = [documents()[0], documents()[4], documents()[6], documents()[7]]
    with Emulator(faults="invalid=1") as emulator, Overheard(emulator.base_url) as door:
        first = run_extract(
            given, door.base_url, tmp_path / "out", schema=SCHEMA, redact=rules, keep_originals=True, journal=journal,
            repairs=0,
        )  # fmt: skip
        assert secrets_in(b"".join(door.bodies)) == []
    letters = {letter["document_id"]: letter for letter in first.letters}
    assert letters.keys() == {"whole", "violating", "scan", "unread"}
    assert letters["whole"]["document"]["text"] == given[0].text
    assert letters["whole"]["document"]["metadata"] == given[0].metadata
    assert letters["scan"]["document"]["images"] == list(given[2].images)
    assert {letter["document"]["truncated"] for letter in first.letters} == {False}
    assert secrets_in(json.dumps([letters[name]["raw"] for name in ("whole", "violating")]).encode()) == []
    assert secrets_in(json.dumps([letters[name]["message"] for name in ("whole", "violating")]).encode()) == []
    with Emulator() as emulator, Overheard(emulator.base_url) as door:
        again = run_redrive(
            tmp_path / "out", service(door.base_url), tmp_path / "again", schema=SCHEMA, redact=rules, journal=journal
        )
        assert secrets_in(b"".join(door.bodies)) == []
    (row,) = again.rows
    assert (row["_document_id"], row["iban"], row["email"]) == ("whole", IBAN, MAIL)
    assert json.loads(row["_metadata"]) == given[0].metadata


@pytest.mark.parametrize("chunk_tokens", [None, 20_000])
def test_a_file_that_would_be_read_again_is_not_read_past_its_redaction(
    chunk_tokens: int | None, overheard: Overheard, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    filler = "The goods were delivered in time.\n" * 6_000  # large files travel as references to themselves
    text = f"{documents()[0].text}{filler}again {MAIL}\n"
    (tmp_path / "in" / "large.txt").write_text(text)
    (tmp_path / "in" / "plain.txt").write_text(f"E-Mail\n{filler}")
    (tmp_path / "in" / "lines.jsonl").write_text(json.dumps({"id": "line", "text": text, "who": MAIL}) + "\n")
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        read = pipeline | kb.ReadDocuments(str(tmp_path / "in"))
        results = read | kb.Extract(
            SCHEMA, service=service(overheard.base_url), polling=QUICK, redact="iban,email,phone,card",
            chunk_tokens=chunk_tokens, journal=str(tmp_path / "journal"), ground=True,
        )  # fmt: skip
        write = kb.WriteDataset(str(tmp_path / "out"), SCHEMA, model="m", documents=read, ground=True)
        (results.extractions, results.dead_letters) | write
    outcome = read_dataset(tmp_path / "out")
    assert {(row["iban"], row["email"]) for row in outcome.rows} == {(IBAN, MAIL)}
    assert len(outcome.rows) == 2
    assert [letter["code"] for letter in outcome.letters] == ["schema_violation"]
    for row in outcome.rows:
        places = {one["path"]: text[one["start"] : one["end"]] for one in row["_grounding"]}
        assert (places["/iban"], places["/phone"]) == (IBAN, PHONE)
    asked = b"".join(overheard.bodies)
    assert asked.count(b"redacted.invalid") >= 4
    assert secrets_in(asked) == []


@pytest.mark.parametrize("windowed", [False, True])
def test_a_stream_is_redacted_too(windowed: bool, overheard: Overheard) -> None:
    given = [kb.Document(f"d{n}", f"COMPANY: Shop {n} Ltd\nMail {MAIL}\nTOTAL: {n}.50") for n in range(3)]
    stream = test_stream.TestStream().add_elements(given).advance_watermark_to_infinity()
    stream_through(stream, service(overheard.base_url), windowed=windowed, redact="email")
    assert sorted((kind, row.document_id, row.fields["total"]) for kind, row in _arrived) == [
        ("row", f"d{n}", n + 0.5) for n in range(3)
    ]
    asked = b"".join(overheard.bodies)
    assert b"redacted.invalid" in asked
    assert secrets_in(asked) == []


MODULE = """
import re

def names(text):
    return [(m.start(1), m.end(1), "person") for m in re.finditer("Company: (.*)", text)]
"""


def test_the_command_line_redacts_by_rules_and_by_functions(
    overheard: Overheard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "0" * 32)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "token")
    (tmp_path / "names_of_this_test.py").write_text(MODULE)
    (tmp_path / "schema.json").write_text(
        json.dumps({"type": "object", "properties": {"company": {"type": "string"}, "total": {"type": "number"}}})
    )
    (tmp_path / "a.txt").write_text(f"Company: Canary & Sons\nMail {MAIL}\nTotal: 24.80\n")
    words = ("extract", "a.txt", "--schema", "schema.json", "--output", "out", "--base-url", overheard.base_url)
    rules = ("--redact", "names_of_this_test:names,email,phone:DE")
    code, _, err = run(*words, *rules, capsys=capsys)
    assert code == 0, err
    (row,) = read_dataset(tmp_path / "out").rows
    assert row["total"] == 24.8
    assert row["company"] in ("Canary & Sons", None), "the stand-in's rules may not take <PERSON_1> for a company"
    asked = b"".join(overheard.bodies)
    assert b"<PERSON_1>" in asked
    assert not any(secret in asked for secret in (b"Canary", b"canary", b"secret-shop"))
    for options, reason in (
        (("--redact", "names_of_this_test:nobody"), "--redact: cannot import names_of_this_test:nobody"),
        (("--redact", "ibans"), "ibans is none of iban, card, email, phone"),
        (("--redact-images", "allow"), "--redact-images: say what is redacted too"),
        (("--keep-originals",), "--keep-originals: say what is redacted too"),
        (("--redact", "iban", "--reader", "tomarkdown"), "sends whole files before anything is redacted"),
    ):
        assert reason in mistake(*words[:4], "--output", "other", *words[6:], *options, capsys=capsys)


@pytest.mark.parametrize(("name", "least"), [("sroie", 40), ("einvoice", 25)])
def test_the_rows_of_real_documents_are_the_same_as_without(
    name: str, least: int, shared_data: Path, tmp_path: Path
) -> None:
    source = shared_data / "documents" / name
    schema = json.loads((source / "gold.schema.json").read_text())
    lines = [json.loads(line) for line in (source / f"{name}.jsonl").read_bytes().splitlines()]
    given = [kb.Document(line["id"], line["text"]) for line in lines]
    with Emulator() as emulator, Overheard(emulator.base_url) as door:
        plain = run_extract(given, door.base_url, tmp_path / "plain", schema=schema)
        door.bodies.clear()
        rules = ["iban", "card", "email", "phone:MY" if name == "sroie" else "phone:DE"]
        redacted = run_extract(given, door.base_url, tmp_path / "redacted", schema=schema, redact=rules)

    def answers(outcome: Any) -> dict[str, Any]:
        rows = {row["_document_id"]: {k: v for k, v in row.items() if k != "_provenance"} for row in outcome.rows}
        return rows | {letter["document_id"]: letter["code"] for letter in outcome.letters}

    assert len(answers(plain)) == len(lines)
    differing = {key: (value, answers(redacted)[key]) for key, value in answers(plain).items()}
    # Where a document is cut into parts depends on its length, and what the stand-in's rules find on the parts.
    in_parts = {row["_document_id"] for row in (*plain.rows, *redacted.rows) if row["_provenance"]["parts"] is not None}
    assert len(in_parts) < len(lines) / 6
    differing = {key: pair for key, pair in differing.items() if key not in in_parts}
    # Of two invoices the stand-in's rules take the first four characters of an IBAN alone, which nobody can put back.
    others = [pair for pair in differing.values() if pair[0] != pair[1]]
    assert [after for _, after in others] == ["redacted_value"] * len(others), "a row must never hold another value"
    assert all(before["iban"] and len(before["iban"]) == 4 for before, _ in others)
    assert len(others) <= 2
    changed = sum(
        kb_text not in b"".join(door.bodies) for kb_text in (json.dumps(d.text)[1:-1].encode() for d in given)
    )
    assert changed >= least, "the rules must have found something in most of them"
