"""Long documents through `Extract`: in parts, merged, complete, and no part paid for twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from command_processes import Program
from harness import IN_PROCESS_RUNNERS, QUICK, Outcome, read_dataset, run_extract, run_redrive, service
from long_invoices import INVOICE, Invoice, answer, answer_of_context_too, invoice, read, shown_text

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.input.file_references import WORTH_READING_TWICE


def of_schema(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in INVOICE["properties"]}


def run(documents: list[kb.Document], directory: Path, emulator: Emulator, **more: Any) -> Outcome:
    where = service(emulator.base_url, api=more.pop("api", "batch"))
    return run_extract(documents, "", directory, schema=INVOICE, where=where, **more)


def assert_gold(outcome: Outcome, made: list[Invoice]) -> None:
    assert outcome.letters == []
    assert {row["_document_id"]: of_schema(row) for row in outcome.rows} == {one.document.id: one.gold for one in made}
    assert outcome.ids.total() == len(made)


@pytest.mark.parametrize("api", ["batch", "run"])
@pytest.mark.parametrize("chunk_tokens", [300, 1_000, 64_000])
def test_the_rows_are_those_of_the_document_however_it_is_split(api: str, chunk_tokens: int, tmp_path: Path) -> None:
    made = [invoice(rows) for rows in (3, 10, 100)]
    with Emulator(answer=answer) as emulator:
        outcome = run([one.document for one in made], tmp_path, emulator, api=api, chunk_tokens=chunk_tokens)
        stats = emulator.stats()
    assert_gold(outcome, made)
    for row in outcome.rows:
        assert (row["_provenance"]["incomplete"], row["_provenance"]["conflicts"]) == (None, None)
    parts = {row["_document_id"]: row["_provenance"]["parts"] for row in outcome.rows}
    assert parts["invoice-3"] is None
    assert (parts["invoice-100"] or 0) >= {300: 5, 1_000: 2, 64_000: 0}[chunk_tokens]
    assert stats["items"] + stats["runs"] == sum(count or 1 for count in parts.values()), "each part is asked once"


@pytest.mark.parametrize("chunk_tokens", [1_000, 4_000, 16_000])
def test_the_rules_of_the_emulator_find_in_parts_what_they_find_in_the_whole(chunk_tokens: int, tmp_path: Path) -> None:
    made = invoice(400)
    with Emulator() as emulator:
        outcome = run([made.document], tmp_path, emulator, chunk_tokens=chunk_tokens)
    assert_gold(outcome, [made])


@pytest.mark.parametrize("rows", [1_000, 5_000])
def test_an_answer_that_would_be_too_long_is_asked_for_in_parts_of_its_own_accord(rows: int, tmp_path: Path) -> None:
    made = invoice(rows)
    with Emulator(answer=answer_of_context_too) as emulator:
        outcome = run([made.document], tmp_path, emulator)
        stats = emulator.stats()
    assert_gold(outcome, [made])
    assert stats["items"] == outcome.rows[0]["_provenance"]["parts"] > rows / 500


@pytest.mark.parametrize("api", ["batch", "run"])
def test_an_answer_that_was_cut_off_is_asked_for_in_parts(api: str, tmp_path: Path) -> None:
    """The bound is too small for the whole, and the estimate does not know it: names are longer than their rows."""
    made = invoice(120)

    def wordy(messages: Any, schema: Any) -> str:
        return json.dumps(read(shown_text(messages)), indent=12)

    with Emulator(answer=wordy) as emulator:
        outcome = run([made.document], tmp_path, emulator, api=api, max_completion_tokens=7_000)
        stats = emulator.stats()
    assert_gold(outcome, [made])
    provenance = outcome.rows[0]["_provenance"]
    assert provenance["parts"] >= 2
    assert stats["items"] + stats["runs"] > provenance["parts"], "the first answer was cut off"
    assert provenance["completion_tokens"] == stats["completion_tokens"], "what was cut off is paid for as well"
    assert provenance["prompt_tokens"] == stats["prompt_tokens"]


@pytest.mark.parametrize("runner", ["one worker", "2 threads", "bundle based"])
def test_each_document_leaves_once_on_each_runner(runner: str, tmp_path: Path) -> None:
    name, options = IN_PROCESS_RUNNERS[runner]
    made = [invoice(20, seed=seed) for seed in range(3)]
    documents = [kb.Document(f"i{n}", one.document.text, metadata={"n": n}) for n, one in enumerate(made)]
    with Emulator(answer=answer, latency=0.05) as emulator:
        outcome = run(documents, tmp_path, emulator, runner=name, options=options, chunk_tokens=300)
        assert emulator.stats()["paid_twice"] == 0
    assert outcome.letters == []
    assert {row["_document_id"]: of_schema(row) for row in outcome.rows} == {
        f"i{n}": one.gold for n, one in enumerate(made)
    }
    assert [json.loads(row["_metadata"])["n"] for row in sorted(outcome.rows, key=lambda row: row["_document_id"])] == [
        0, 1, 2,
    ]  # fmt: skip


def test_a_part_that_fails_is_asked_for_again_alone(tmp_path: Path) -> None:
    made, other = invoice(100), invoice(5)
    first = made.gold["lines"][60]["name"]
    is_ill = True
    asked: list[str] = []

    def moody(messages: Any, schema: Any) -> str:
        text = shown_text(messages)
        asked.append(text)
        return "no idea" if is_ill and first in text else json.dumps(read(text))

    with Emulator(answer=moody) as emulator:
        outcome = run([made.document, other.document], tmp_path / "one", emulator, chunk_tokens=500)
        (letter,) = outcome.letters
        assert (letter["document_id"], letter["code"], letter["retryable"]) == (made.document.id, "not_json", True)
        assert letter["message"].startswith("part ")
        assert letter["document"]["text"] == made.document.text
        assert [row["_document_id"] for row in outcome.rows] == [other.document.id]
        answered = [part for part in letter["parts"] if part["answer"]]
        assert len(answered) == len(letter["parts"]) - 1 >= 3
        is_ill = False
        asked.clear()
        where = service(emulator.base_url)
        again = run_redrive(tmp_path / "one", where, tmp_path / "two", schema=INVOICE, chunk_tokens=500)
        assert len(asked) == 1, "only the part that failed"
        assert first in asked[0]
    assert_gold(again, [made])
    assert again.rows[0]["_provenance"]["parts"] == len(letter["parts"])


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_run_that_is_repeated_pays_for_no_part_twice(api: str, tmp_path: Path) -> None:
    made = invoice(100)
    with Emulator(answer=answer) as emulator:
        journal = str(tmp_path / "journal")
        for directory in ("one", "two"):
            outcome = run([made.document], tmp_path / directory, emulator, api=api, chunk_tokens=500, journal=journal)
            assert_gold(outcome, [made])
        stats = emulator.stats()
    assert stats["paid_twice"] == 0
    assert stats["items"] + stats["runs"] == outcome.rows[0]["_provenance"]["parts"]


def test_a_run_whose_answers_were_cut_off_is_repeated_for_nothing(tmp_path: Path) -> None:
    """Also the answer that was cut off is in the journal, and is not asked for again to be cut off again."""
    made, items = invoice(120), 0

    def wordy(messages: Any, schema: Any) -> str:
        return json.dumps(read(shown_text(messages)), indent=12)

    with Emulator(answer=wordy) as emulator:
        for directory in ("one", "two"):
            journal = str(tmp_path / "journal")
            outcome = run([made.document], tmp_path / directory, emulator, max_completion_tokens=7_000, journal=journal)
            assert_gold(outcome, [made])
            items = items or emulator.stats()["items"]
        assert (emulator.stats()["items"], emulator.stats()["paid_twice"]) == (items, 0)
        assert items > outcome.rows[0]["_provenance"]["parts"]


def test_a_run_that_was_killed_amid_parts_pays_for_none_twice(tmp_path: Path) -> None:
    made = [invoice(60, seed=seed) for seed in range(60)]
    lines = [json.dumps({"id": f"i{n}", "text": one.document.text}) for n, one in enumerate(made)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "schema.json").write_text(json.dumps(INVOICE))
    with Emulator(answer=answer, latency=0.5) as emulator:
        command = [
            "extract", str(tmp_path / "in.jsonl"), "--schema", str(tmp_path / "schema.json"), "--chunk-tokens", "250",
            "--output", str(tmp_path / "out"), "--base-url", emulator.base_url, "--poll-interval", "0.1:0.3",
            "--no-preflight", "--max-in-flight", "1",
        ]  # fmt: skip
        victim = Program(command, tmp_path)
        while emulator.stats()["submits"] < 2:  # the first job is answered, its parts wait for those of the second
            victim.process.join(0.02)
            assert victim.process.is_alive(), "the run ended before it could be killed"
        while len(list((tmp_path / "out" / "_journal").glob("*.submissions.json"))) < 4:
            victim.process.join(0.02)  # until the ticket of the second is written
        victim.kill()
        paid = emulator.stats()["items"]
        code, _, err = Program(command, tmp_path).end()
        assert code == 0, err
        stats = emulator.stats()
    outcome = read_dataset(tmp_path / "out")
    assert {row["_document_id"]: of_schema(row) for row in outcome.rows} == {
        f"i{n}": one.gold for n, one in enumerate(made)
    }
    assert 0 < paid <= stats["items"] == sum(row["_provenance"]["parts"] for row in outcome.rows)
    assert (stats["paid_twice"], outcome.letters) == (0, [])
    assert (outcome.summary["parts"], outcome.summary["repairs"]) == (stats["items"], 0)


def test_rows_that_are_missing_are_asked_for_once_more(tmp_path: Path) -> None:
    """The first answer for a part lacks its last row, the second one has it."""
    made = invoice(100)
    seen: set[str] = set()
    asked: list[str] = []

    def careless(messages: Any, schema: Any) -> str:
        text = shown_text(messages)
        asked.append(text)
        found = read(text)
        if made.gold["lines"][50]["name"] in text and text not in seen:
            seen.add(text)
            found["lines"].pop()
        return json.dumps(found)

    with Emulator(answer=careless) as emulator:
        outcome = run([made.document], tmp_path, emulator, chunk_tokens=500)
    assert_gold(outcome, [made])
    assert len(asked) == outcome.rows[0]["_provenance"]["parts"] + 1
    assert outcome.rows[0]["_provenance"]["incomplete"] is None


def test_rows_that_stay_missing_are_told_with_their_figures(tmp_path: Path) -> None:
    made = invoice(100)
    lost = made.gold["lines"][50]

    def blind(messages: Any, schema: Any) -> str:
        found = read(shown_text(messages))
        found["lines"] = [line for line in found["lines"] or () if line["name"] != lost["name"]] or None
        return json.dumps(found)

    with Emulator(answer=blind) as emulator:
        outcome = run([made.document], tmp_path, emulator, chunk_tokens=500)
        assert emulator.stats()["items"] == outcome.rows[0]["_provenance"]["parts"] + 1, "asked once more, not oftener"
    (row,) = outcome.rows
    rows, sums = row["_provenance"]["incomplete"].split("; ")
    assert "the text shows" in rows
    assert sums.startswith("sum(lines.total) == net: ")


def test_a_sum_that_does_not_add_up_is_told_of_a_whole_document_too(tmp_path: Path) -> None:
    made, right = invoice(5), invoice(6, seed=9)

    def careless(messages: Any, schema: Any) -> str:
        found = read(shown_text(messages))
        found["lines"] = [line for line in found["lines"] or () if line["name"] != made.gold["lines"][4]["name"]]
        return json.dumps(found)

    with Emulator(answer=careless) as emulator:
        outcome = run([made.document, right.document], tmp_path, emulator)
        assert emulator.stats()["items"] > 2, "it is asked for once more, in parts"
    first, second = sorted(outcome.rows, key=lambda row: str(row["_document_id"]))
    rows, sums = first["_provenance"]["incomplete"].split("; ")
    assert rows == "the text shows 5 rows, and 4 of them are in the answer"
    assert sums.startswith("sum(lines.total) == net: ")
    assert (first["_provenance"]["parts"], second["_provenance"]["incomplete"]) == (None, None)


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_document_whose_sums_do_not_add_up_is_asked_for_once_more_in_parts(api: str, tmp_path: Path) -> None:
    """The model drops rows of all that is long."""
    made = invoice(60)

    def lazy(messages: Any, schema: Any) -> str:
        found = read(shown_text(messages))
        return json.dumps({**found, "lines": (found["lines"] or [])[:40]})

    with Emulator(answer=lazy) as emulator:
        outcome = run([made.document], tmp_path, emulator, api=api)
        stats = emulator.stats()
    assert_gold(outcome, [made])
    provenance = outcome.rows[0]["_provenance"]
    assert provenance["parts"] >= 2
    assert provenance["incomplete"] is None
    assert provenance["completion_tokens"] == stats["completion_tokens"]


WITHOUT_CHECK = {name: value for name, value in INVOICE.items() if name != "x-check"}


@pytest.mark.parametrize("api", ["batch", "run"])
def test_rows_that_a_whole_document_lacks_are_asked_for_once_more(api: str, tmp_path: Path) -> None:
    """The model drops rows of all that is long. What was asked twice is paid for once, however often the run is."""
    made, right = invoice(60), invoice(7, seed=3)

    def lazy(messages: Any, schema: Any) -> str:
        found = read(shown_text(messages))
        return json.dumps({**found, "lines": (found["lines"] or [])[:40]})

    with Emulator(answer=lazy) as emulator:
        for directory in ("one", "two"):
            outcome = run_extract(
                [made.document, right.document], "", tmp_path / directory, schema=WITHOUT_CHECK,
                where=service(emulator.base_url, api=api), journal=str(tmp_path / "journal"),
            )  # fmt: skip
            assert_gold(outcome, [made, right])
        stats = emulator.stats()
    provenance = {row["_document_id"]: row["_provenance"] for row in outcome.rows}
    assert provenance[made.document.id]["parts"] == 2
    assert (provenance[right.document.id]["parts"], provenance[right.document.id]["incomplete"]) == (None, None)
    assert provenance[made.document.id]["incomplete"] is None
    assert (stats["items"] + stats["runs"], stats["paid_twice"]) == (4, 0)


@pytest.mark.parametrize("api", ["batch", "run"])
def test_rows_that_a_whole_document_still_lacks_are_told(api: str, tmp_path: Path) -> None:
    made = invoice(30)
    lost = made.gold["lines"][17]["name"]
    asked: list[str] = []

    def blind(messages: Any, schema: Any) -> str:
        asked.append(shown_text(messages))
        found = read(asked[-1])
        return json.dumps({**found, "lines": [line for line in found["lines"] or () if line["name"] != lost]})

    with Emulator(answer=blind) as emulator:
        where = service(emulator.base_url, api=api)
        outcome = run_extract([made.document], "", tmp_path, schema=WITHOUT_CHECK, where=where)
        stats = emulator.stats()
    (row,) = outcome.rows
    assert len(row["lines"]) == 29
    assert row["_provenance"]["incomplete"] == "the text shows 30 rows, and 29 of them are in the answer"
    assert row["_provenance"]["parts"] is None, "the first answer is kept, which is no worse"
    assert asked[0] == made.document.text
    assert sum(lost in text for text in asked) == 2, "asked once more, and not oftener"
    assert row["_provenance"]["completion_tokens"] == stats["completion_tokens"]


@pytest.mark.parametrize("loses", ["a single value", "its validity"])
def test_what_the_first_answer_has_is_not_lost_when_it_is_asked_for_once_more(loses: str, tmp_path: Path) -> None:
    """A part does not state the seller, or not the number, which is required."""
    made = invoice(60)

    def lazy(messages: Any, schema: Any) -> str:
        found = read(shown_text(messages))
        is_part = "```part" in str(messages[-1]["content"])
        if is_part:
            found["seller" if loses == "a single value" else "number"] = None
        return json.dumps({**found, "lines": (found["lines"] or [])[:40]})

    with Emulator(answer=lazy) as emulator:
        where = service(emulator.base_url)
        outcome = run_extract([made.document], "", tmp_path, schema=WITHOUT_CHECK, where=where)
        assert emulator.stats()["items"] == 3
    assert_gold(outcome, [made])


def test_a_large_file_of_which_rows_are_missing_is_read_again_and_asked_for_once_more(tmp_path: Path) -> None:
    made = invoice(300)
    text = made.document.text
    assert len(text) > WORTH_READING_TWICE
    (tmp_path / "in.txt").write_text(text)

    def lazy(messages: Any, schema: Any) -> str:
        found = read(shown_text(messages))
        return json.dumps({**found, "lines": (found["lines"] or [])[:200]})

    with Emulator(answer=lazy) as emulator, beam.Pipeline(runner="FnApiRunner") as pipeline:
        read_in = pipeline | kb.ReadDocuments(str(tmp_path / "in.txt"))
        where = service(emulator.base_url)
        results = read_in | kb.Extract(WITHOUT_CHECK, service=where, polling=QUICK, max_completion_tokens=60_000)
        (results.extractions, results.dead_letters) | kb.WriteDataset(
            str(tmp_path / "out"), WITHOUT_CHECK, model=where.model
        )
    (row,) = read_dataset(tmp_path / "out").rows
    assert of_schema(row) == made.gold
    assert (row["_provenance"]["parts"], row["_provenance"]["incomplete"]) == (2, None)


@pytest.mark.parametrize("said", ["null", "[]"])
def test_a_document_of_which_no_part_states_anything_is_an_empty_list(said: str, tmp_path: Path) -> None:
    schema = {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}}
    document = kb.Document("a", "Some words of a text without any row.\n\n" * 60)
    with Emulator(answer=lambda messages, schema: said) as emulator:
        where = service(emulator.base_url)
        outcome = run_extract([document], "", tmp_path, schema=schema, where=where, chunk_tokens=300)
        assert emulator.stats()["items"] == outcome.rows[0]["_provenance"]["parts"] > 1
    assert (outcome.letters, [row["_value"] for row in outcome.rows]) == ([], [[]])


def test_two_long_documents_with_one_id_are_both_refused_before_anything_is_paid_for(tmp_path: Path) -> None:
    one, other = invoice(50, seed=1).document, invoice(60, seed=2).document
    documents = [kb.Document("same", text) for text in (one.text, other.text, "A short one")]
    with Emulator(answer=answer) as emulator:
        outcome = run(documents, tmp_path, emulator, chunk_tokens=500)
        assert emulator.stats()["items"] == 0
    assert outcome.codes == {"duplicate_id": 3}


_arrived: list[Any] = []


class _Collect(beam.DoFn):
    def process(self, element: object) -> None:
        _arrived.append(element)


def test_a_long_document_of_a_stream_leaves_when_its_last_part_is_there() -> None:
    _arrived.clear()
    made = [invoice(40, seed=seed) for seed in range(2)]
    documents = [kb.Document(f"i{n}", one.document.text) for n, one in enumerate(made)]
    stream = test_stream.TestStream()
    for document in documents:
        stream.add_elements([document]).advance_processing_time(1e10)
    stream.advance_watermark_to_infinity()
    options = PipelineOptions(streaming=True)
    with Emulator(latency=0.1, answer=answer) as emulator:
        with beam.Pipeline(runner="BundleBasedDirectRunner", options=options) as pipeline:
            results = (
                pipeline
                | stream
                | kb.Extract(
                    INVOICE,
                    service=service(emulator.base_url),
                    polling=QUICK,
                    batching=kb.Batching(max_wait=0.0, max_items=2),
                    chunk_tokens=300,
                    shards=2,
                )
            )
            results.extractions | "Rows" >> beam.ParDo(_Collect())
            results.dead_letters | "Letters" >> beam.ParDo(_Collect())
        assert emulator.stats()["paid_twice"] == 0
    assert sorted(row.document_id for row in _arrived) == ["i0", "i1"]
    assert {row.document_id: row.fields for row in _arrived} == {f"i{n}": one.gold for n, one in enumerate(made)}
    assert all(row.provenance.report.parts > 2 for row in _arrived)
