"""What each transform takes is declared: what does not fit is refused while the pipeline is built, in one sentence."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.typehints.decorators import TypeCheckError
from harness import QUICK, RECEIPT, read_dataset, receipts, run_redrive, service

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.errors import ConfigError

NOWHERE = "http://127.0.0.1:1"
STRICT = ["--type_check_strictness=ALL_REQUIRED"]
CHECKS = [STRICT, ["--runtime_type_check"], ["--performance_runtime_type_check"], [*STRICT, "--runtime_type_check"]]


def pipeline(*options: str, runner: str = "FnApiRunner") -> beam.Pipeline:
    return beam.Pipeline(runner, options=PipelineOptions(list(options)))


def extract(where: str = NOWHERE, **changes: Any) -> kb.Extract:
    return kb.Extract(RECEIPT, service=service(where), polling=QUICK, **changes)


def refused(build: Any) -> str:
    """What is said of a pipeline that is built wrongly: one line, by an error of both families."""
    with pytest.raises(TypeCheckError) as caught:
        build()
    assert isinstance(caught.value, ConfigError)
    told = str(caught.value)
    assert "\n" not in told
    assert "class '" not in told
    return told


@pytest.mark.parametrize(
    ("elements", "name"),
    [
        (["text"], "str"),
        ([{"id": "a", "text": "b"}], "str"),
        ([("a", "b")], "str"),
        ([b"text"], "bytes"),
        ([1, 2], "int"),
        ([None], "NoneType"),
        ([kb.Failure("read", "not_json", "no")], "Failure"),
    ],
)
@pytest.mark.parametrize("api", ["batch", "run"])
def test_what_is_no_document_is_refused_while_the_pipeline_is_built(elements: list[Any], name: str, api: Any) -> None:
    p = pipeline()
    given = p | "Texts" >> beam.Create(elements)
    told = refused(lambda: given | "Ask" >> kb.Extract(RECEIPT, service=service(NOWHERE, api=api)))
    assert told.startswith("Ask takes kimi_beam.Document, but Texts gives ")
    assert name in told
    assert "kimi_beam.Document(" in told, "what to do is not told"


def test_documents_among_others_are_refused_too() -> None:
    p = pipeline()
    mixed = p | beam.Create([kb.Document("a", "t"), "text"])
    assert "Document or str" in refused(lambda: mixed | extract())


@pytest.mark.parametrize("given", [[kb.Document("a", "t")], []])
def test_documents_are_taken_and_so_is_what_beam_does_not_know(given: list[kb.Document]) -> None:
    p = pipeline()
    p | "Known" >> beam.Create(given) | "A" >> extract()
    p | "Unknown" >> beam.Create(given) | beam.Map(lambda one: one).with_output_types(Any) | "B" >> extract()

    class Special(kb.Document):
        pass

    (
        p
        | "Special" >> beam.Create([1])
        | beam.Map(lambda _: Special("a", "")).with_output_types(Special)
        | "C" >> extract()
    )


@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("api", ["batch", "run"])
@pytest.mark.parametrize("element", ["a secret text", {"id": 1}, None, 5])
def test_where_beam_does_not_know_the_type_the_running_pipeline_says_so(element: Any, api: Any, windowed: bool) -> None:
    p = pipeline()
    given = p | beam.Create([element]) | beam.Map(lambda one: one).with_output_types(Any)
    if windowed:
        given = given | beam.WindowInto(FixedWindows(5))
    given | kb.Extract(RECEIPT, service=service(NOWHERE, api=api))
    with pytest.raises(Exception, match=r"Extract takes kimi_beam\.Document, but was given a value of type ") as caught:
        p.run()
    assert type(element).__name__ in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_outputs_are_typed_and_each_writer_takes_its_own(tmp_path: Path) -> None:
    p = pipeline()
    documents = p | beam.Create(receipts(1))
    results = documents | "Each" >> extract()
    many = documents | "Many" >> extract(record_batches=True)
    assert results.extractions.element_type is kb.Extraction
    assert many.extractions.element_type is pa.RecordBatch
    assert results.dead_letters.element_type is many.dead_letters.element_type is kb.DeadLetter
    out = str(tmp_path / "out")
    for number, rows in enumerate((results.extractions, many.extractions)):
        rows | f"Rows{number}" >> kb.WriteParquet(out, RECEIPT)
    results.dead_letters | kb.WriteDeadLetters(out)

    def wrong(name: str, transform: beam.PTransform, given: Any) -> str:
        return refused(lambda: given | name >> transform)

    told = wrong("W1", kb.WriteParquet(out, RECEIPT), results.dead_letters)
    assert told.startswith("W1 takes kimi_beam.Extraction or pyarrow.RecordBatch, but Each/Settle gives kimi_beam.Dead")
    told = wrong("W2", kb.WriteDeadLetters(out), results.extractions)
    assert told.startswith(
        "W2 takes kimi_beam.DeadLetter, but Each/Settle gives kimi_beam.Extraction: give it the dead"
    )
    assert "W3 takes kimi_beam.DeadLetter" in wrong("W3", kb.WriteDeadLetters(out), documents)
    both = results.dead_letters, results.extractions
    dataset = kb.WriteDataset(str(tmp_path / "set"), RECEIPT, model="m")
    assert "kimi_beam.Extraction or" in wrong("W4", dataset, both)
    for name, writer in (("W5", kb.WriteParquet(out, RECEIPT)), ("W6", kb.WriteDeadLetters(out)), ("W7", extract())):
        assert "result.extractions or result.dead_letters" in wrong(name, writer, results)
    counted = kb.WriteDataset(str(tmp_path / "other"), RECEIPT, model="m", left=documents)
    told = wrong("W8", counted, (results.extractions, results.dead_letters))
    assert told.startswith("W8(left=…) takes kimi_beam.DeadLetter, but Create")


@pytest.mark.parametrize("which", ["WriteParquet", "WriteDeadLetters"])
def test_a_writer_says_at_run_time_what_it_takes(which: str, tmp_path: Path) -> None:
    writers = {"WriteParquet": kb.WriteParquet(str(tmp_path / "a"), RECEIPT)}
    writers["WriteDeadLetters"] = kb.WriteDeadLetters(str(tmp_path / "b"))
    p = pipeline()
    p | beam.Create(["x"]) | beam.Map(lambda one: one).with_output_types(Any) | writers[which]
    with pytest.raises(Exception, match=f"{which} takes kimi_beam.*, but was given a value of type str"):
        p.run()


# ------------------------------------------------------------------------------------------------ Beam's own checks


@pytest.fixture
def files(tmp_path: Path) -> str:
    (tmp_path / "in").mkdir()
    for one in receipts(12):
        (tmp_path / "in" / f"{one.id}.txt").write_text(one.text)
    (tmp_path / "in" / "empty.txt").write_text("")
    lines = "".join(f'{{"id": "l{n}", "text": "COMPANY: Shop\\nTOTAL: {n}.50", "n": {n}}}\n' for n in range(9))
    (tmp_path / "in" / "lines.jsonl").write_text(lines + "broken\n")
    return str(tmp_path / "in" / "*")


def outcome_of(directory: Path) -> tuple[int, int]:
    outcome = read_dataset(directory)
    return len(outcome.rows), len(outcome.letters)


@pytest.mark.parametrize("options", CHECKS, ids=" ".join)
@pytest.mark.parametrize("changes", [{}, {"record_batches": True}, {"limit": 5}], ids=["each", "batches", "limit"])
def test_files_to_a_dataset_and_its_dead_letters_again(
    options: list[str], changes: dict[str, Any], files: str, tmp_path: Path
) -> None:
    limit = changes.pop("limit", None) if "limit" in (changes := dict(changes)) else None
    with Emulator() as emulator:
        with pipeline(*options) as p:
            documents = p | kb.ReadDocuments(files, limit=limit)
            results = documents | extract(emulator.base_url, **changes)
            write = kb.WriteDataset(str(tmp_path / "one"), RECEIPT, model="m", documents=documents)
            (results.extractions, results.dead_letters) | write
        assert outcome_of(tmp_path / "one") == ((21, 2) if limit is None else (5, 0))
        again = run_redrive(
            tmp_path / "one", service(emulator.base_url), tmp_path / "two", options=options, codes=["empty_document"]
        )
    assert again.codes == ({"empty_document": 1} if limit is None else {})
    assert again.summary["left"] == ({"not_json": 1} if limit is None else {})


@pytest.mark.parametrize("options", CHECKS, ids=" ".join)
@pytest.mark.parametrize(
    ("runner", "more", "api", "windowed"),
    [
        ("FnApiRunner", [], "batch", False),
        ("FnApiRunner", [], "run", True),
        ("FnApiRunner", ["--direct_num_workers=2"], "batch", False),
        ("BundleBasedDirectRunner", [], "batch", False),
    ],
)
def test_files_to_rows_and_letters_of_their_own(
    options: list[str], runner: str, more: list[str], api: Any, windowed: bool, files: str, tmp_path: Path
) -> None:
    with Emulator() as emulator, pipeline(*options, *more, runner=runner) as p:
        documents = p | kb.ReadDocuments(files)
        if windowed:
            window = beam.WindowInto(FixedWindows(5)).with_output_types(kb.Document)
            documents = documents | window
        results = documents | kb.Extract(RECEIPT, service=service(emulator.base_url, api=api), polling=QUICK)
        results.extractions | kb.WriteParquet(str(tmp_path / "rows"), RECEIPT)
        results.dead_letters | kb.WriteDeadLetters(str(tmp_path / "letters"))
    letters = itertools.chain.from_iterable(path.read_text().splitlines() for path in tmp_path.glob("letters-*"))
    rows = sum(pa.parquet.read_metadata(path).num_rows for path in tmp_path.glob("rows-*"))
    assert (rows, len(list(letters))) == (21, 2)


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_stream_of_files_is_typed_throughout(api: Any, files: str, tmp_path: Path) -> None:
    """It is built only, as no runner in this process writes files of a stream, and by the source of Flink, as the steps

    of Beam's own `PeriodicImpulse` have no declared types.
    """
    p = pipeline(*STRICT, "--streaming", runner="PortableRunner")
    documents = p | kb.ReadContinuously(files)
    results = documents | kb.Extract(RECEIPT, service=service(NOWHERE, api=api))
    write = kb.WriteStream(str(tmp_path / "out"), RECEIPT, model="m", documents=documents)
    (results.extractions, results.dead_letters) | write
    results.extractions | kb.WriteParquet(str(tmp_path / "rows"), RECEIPT)
    results.dead_letters | kb.WriteDeadLetters(str(tmp_path / "letters"))
    p.to_runner_api()


_arrived: list[object] = []


class _Collect(beam.DoFn):
    def process(self, element: object) -> None:
        _arrived.append(element)


# Not the queue with `--runtime_type_check`: BundleBasedDirectRunner then finds no state of any step (Beam 2.77).
@pytest.mark.parametrize(
    ("option", "api"),
    [
        ("--performance_runtime_type_check", "batch"),
        ("--performance_runtime_type_check", "run"),
        ("--runtime_type_check", "run"),
    ],
)
def test_what_a_stream_gives_out_is_of_the_type_that_is_declared(option: str, api: Any) -> None:
    _arrived.clear()
    stream = test_stream.TestStream().advance_watermark_to(0)
    given = [*receipts(5), kb.Document("empty", "")]
    stream = stream.add_elements([TimestampedValue(one, 1) for one in given]).advance_processing_time(1e10)
    stream = stream.advance_watermark_to_infinity()
    with Emulator() as emulator, pipeline(option, "--streaming", runner="BundleBasedDirectRunner") as p:
        where = service(emulator.base_url, api=api)
        results = p | stream | kb.Extract(RECEIPT, service=where, polling=QUICK, batching=kb.Batching(max_wait=0.0))
        results.extractions | "Rows" >> beam.ParDo(_Collect())
        results.dead_letters | "Letters" >> beam.ParDo(_Collect())
    assert [type(one) for one in _arrived].count(kb.Extraction) == 5
    assert [type(one) for one in _arrived].count(kb.DeadLetter) == 1
