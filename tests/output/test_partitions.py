"""Partitions: a stream's files are closed by rows or time, and no row is written twice, even if work is repeated."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kimi_beam as kb
from kimi_beam.errors import ConfigError
from kimi_beam.output import dead_letters, parquet
from kimi_beam.output.partitions import PartitionWriter
from kimi_beam.output.staging import Target
from kimi_beam.results import dead_letter_lines, rows
from kimi_beam.schema import OutputSchema
from kimi_beam.types.answer import Usage
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Arrival, Document
from kimi_beam.types.extraction import Extraction, Provenance
from kimi_beam.types.failure import Failure

SCHEMA = OutputSchema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
NOON = int(datetime(2026, 3, 1, 12, tzinfo=timezone.utc).timestamp())
AT_NOON = "event_date=2026-03-01/event_hour=12"


def extraction(n: int, *, at: int = NOON, delivery: str | None = None) -> Extraction:
    arrival = Arrival(at * 1_000_000, delivery=f"{n:032x}" if delivery is None else delivery)
    provenance = Provenance("", "m", "m", "job", 1, Usage(1, 0, 1), SCHEMA.hash, None, arrival)
    return Extraction(f"doc-{n}", {"n": n}, {}, provenance)


def letter(n: int) -> DeadLetter:
    document = Document(f"doc-{n}", "text", arrival=Arrival(NOON * 1_000_000, delivery=f"{n:032x}"))
    failure = Failure("validate", "schema_violation", "told")
    return DeadLetter(document, failure, 1, "job", Usage(1, 0, 1), "m", SCHEMA.hash, 0.0)


def piece(numbers: Iterable[int]) -> bytes:
    return parquet.encode([extraction(n) for n in numbers], SCHEMA)


def writer(root: Path) -> PartitionWriter:
    return PartitionWriter(Target.of(str(root / "rows"), ".parquet"), parquet.stream_format(SCHEMA))


def numbers(root: Path) -> Counter[int]:
    found = [pq.ParquetFile(path).read(columns=["n"]) for path in root.glob("rows/**/*.parquet")]
    return Counter(n for table in found for n in table["n"].to_pylist())  # type: ignore[misc]


# ------------------------------------------------------------------------------------------------ done again


def test_a_repeated_write_adds_no_row(tmp_path: Path) -> None:
    first = writer(tmp_path)
    assert first.write(AT_NOON, [piece([1, 2]), piece([3])])
    # A retried bundle packs its rows otherwise, and has new ones among them.
    assert first.write(AT_NOON, [piece([3, 4]), piece([2])])
    # A restored job and a new one know nothing but what the files say.
    assert writer(tmp_path).write(AT_NOON, [piece([1, 2, 3, 4])]) == ""
    assert writer(tmp_path).write(AT_NOON, [piece([4, 5, 5])])
    assert numbers(tmp_path) == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}


def test_rows_that_another_writer_has_written_meanwhile_are_not_written_again(tmp_path: Path) -> None:
    one, other = writer(tmp_path), writer(tmp_path)
    one.write(AT_NOON, [piece([1])])
    other.write(AT_NOON, [piece([2])])
    assert one.write(AT_NOON, [piece([2])]) == ""
    assert numbers(tmp_path) == {1: 1, 2: 1}


def test_a_late_attempt_replaces_its_own_file(tmp_path: Path) -> None:
    one, other = writer(tmp_path), writer(tmp_path)
    path = Path(one.write(AT_NOON, [piece([1]), piece([2])]))
    path.rename(tmp_path / "aside")  # the second attempt looks before the first is done
    assert other.write(AT_NOON, [piece([2, 1])]) == str(path)
    (tmp_path / "aside").rename(path)
    assert numbers(tmp_path) == {1: 1, 2: 1}


def test_a_delivery_is_looked_for_in_its_own_partition_only(tmp_path: Path) -> None:
    one = writer(tmp_path)
    one.write(AT_NOON, [piece([1])])
    assert one.write("event_date=2026-03-01/event_hour=13", [piece([1])])


def test_a_row_without_a_delivery_is_written_each_time(tmp_path: Path) -> None:
    nameless = parquet.encode([extraction(n, delivery="") for n in (1, 1)], SCHEMA)
    for _ in range(2):
        assert writer(tmp_path).write(AT_NOON, [nameless])
    assert numbers(tmp_path) == {1: 4}


def test_a_file_of_somebody_elses_making_is_no_obstacle(tmp_path: Path) -> None:
    directory = tmp_path / "rows" / AT_NOON
    directory.mkdir(parents=True)
    pq.write_table(pa.table({"n": [1]}), directory / "compacted.parquet")
    assert writer(tmp_path).write(AT_NOON, [piece([1])])


def test_a_writer_forgets_partitions_beyond_its_bound_and_reads_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kimi_beam.output.partitions._MAX_NAMES", 3)
    one = writer(tmp_path)
    for hour in (*range(10), *range(10)):
        one.write(f"event_date=2026-03-01/event_hour={hour:02d}", [piece([hour, 100 + hour])])
    assert sum(len(content.deliveries) for content in one._contents.values()) <= 5
    assert set(numbers(tmp_path).values()) == {1}


def test_a_pickled_writer_has_no_cache(tmp_path: Path) -> None:
    one = writer(tmp_path)
    one.write(AT_NOON, [piece([1])])
    copy = pickle.loads(pickle.dumps(one))
    assert copy._contents == {}
    assert copy.write(AT_NOON, [piece([1])]) == ""


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.booleans()), max_size=8))
def test_each_row_is_there_once_however_often_it_comes(
    tmp_path_factory: pytest.TempPathFactory, writes: Sequence[tuple[list[int], bool]]
) -> None:
    root = tmp_path_factory.mktemp("root")
    one = writer(root)
    for some, restarted in writes:
        one = writer(root) if restarted else one
        one.write(AT_NOON, [piece([n]) for n in some])
    assert numbers(root) == Counter({n for some, _ in writes for n in some})


def test_dead_letters_are_not_doubled_either(tmp_path: Path) -> None:
    def new_writer() -> PartitionWriter:
        return PartitionWriter(Target.of(str(tmp_path / "dead"), ".jsonl"), dead_letters.STREAM_FORMAT)

    assert new_writer().write(AT_NOON, [dead_letter_lines.encode(letter(1)) + dead_letter_lines.encode(letter(2))])
    assert new_writer().write(AT_NOON, [dead_letter_lines.encode(letter(2)) + dead_letter_lines.encode(letter(3))])
    lines = [json.loads(line) for path in tmp_path.rglob("*.jsonl") for line in path.read_bytes().splitlines()]
    assert sorted(line["document_id"] for line in lines) == ["doc-1", "doc-2", "doc-3"]


# ------------------------------------------------------------------------------------------------ a pipeline


def run(
    root: Path, ticks: Sequence[Sequence[Extraction] | None], rolling: kb.Rolling, *, ends: bool = True
) -> list[str]:
    """Lets extractions come; None lets all timers of processing time fire."""
    everything = [one for tick in ticks if tick for one in tick]
    stream = test_stream.TestStream(coder=VarIntCoder()).advance_watermark_to(0)
    at = 0
    for tick in ticks:
        if tick is None:
            # The timers are set by the real clock; the stream's begins at 0, so that this step passes them all.
            stream = stream.advance_processing_time(1e10)
        else:
            stream = stream.add_elements(list(range(at, at + len(tick))))
            at += len(tick)
    with beam.Pipeline(runner="BundleBasedDirectRunner", options=PipelineOptions(["--streaming"])) as pipeline:
        (
            pipeline
            | stream.advance_watermark_to_infinity()
            | beam.Map(everything.__getitem__).with_output_types(Extraction)
            | kb.WriteParquet(str(root / "rows"), SCHEMA, rolling=rolling)
        )
    return sorted(str(path.relative_to(root / "rows").parent) for path in root.glob("rows/**/*.parquet"))


def test_a_file_is_closed_when_its_first_row_has_waited_long_enough(tmp_path: Path) -> None:
    ticks = [[extraction(1)], [extraction(2)], None, [extraction(3)], None, [extraction(4)]]
    assert run(tmp_path, ticks, kb.Rolling(max_seconds=60)) == [AT_NOON] * 3
    assert numbers(tmp_path) == {1: 1, 2: 1, 3: 1, 4: 1}
    assert not any(path.name.startswith(".staging") for path in (tmp_path / "rows").rglob("*"))


def test_a_file_is_closed_when_it_has_rows_enough(tmp_path: Path) -> None:
    ticks = [[extraction(n)] for n in range(7)]
    assert run(tmp_path, ticks, kb.Rolling(max_rows=3)) == [AT_NOON] * 3
    assert set(numbers(tmp_path)) == set(range(7))


@pytest.mark.parametrize(
    ("by", "directories"),
    [
        ("hour", [AT_NOON, "event_date=2026-03-01/event_hour=13", "event_date=2026-03-02/event_hour=12"]),
        ("day", ["event_date=2026-03-01", "event_date=2026-03-02"]),
    ],
)
def test_a_directory_holds_an_hour_or_a_day_of_event_time(tmp_path: Path, by: str, directories: list[str]) -> None:
    hours = [extraction(n, at=NOON + 3_600 * hours) for n, hours in enumerate((0, 24, 1))]
    assert run(tmp_path, [hours], kb.Rolling(partition=by)) == directories  # type: ignore[arg-type]
    table = ds.dataset(tmp_path / "rows", partitioning="hive").to_table(columns=["n", "event_date"])
    assert {row["n"]: row["event_date"] for row in table.to_pylist()} == {
        0: "2026-03-01",
        1: "2026-03-02",
        2: "2026-03-01",
    }


def test_an_extraction_without_a_time_is_kept_under_no_time(tmp_path: Path) -> None:
    made = extraction(1)
    made = replace(made, provenance=replace(made.provenance, arrival=None))
    null = "__HIVE_DEFAULT_PARTITION__"
    assert run(tmp_path, [[made, made]], kb.Rolling()) == [f"event_date={null}/event_hour={null}"]
    assert numbers(tmp_path) == {1: 2}


@pytest.mark.parametrize("wrong", [{"max_rows": 0}, {"max_seconds": 0.5}, {"partition": "week"}])
def test_a_rolling_that_says_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="Rolling"):
        kb.Rolling(**wrong)  # type: ignore[arg-type]


def test_a_runner_without_timers_of_processing_time_is_refused(tmp_path: Path) -> None:
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(["--streaming"]))
    never = pipeline | test_stream.TestStream() | beam.Map(lambda _: extraction(1)).with_output_types(Extraction)
    with pytest.raises(ConfigError, match="FnApiRunner cannot write files of unbounded input"):
        never | kb.WriteParquet(str(tmp_path / "rows"), SCHEMA)


def test_the_time_window_and_delivery_stand_in_the_row(tmp_path: Path) -> None:
    arrival = Arrival(NOON * 1_000_000 + 5, (NOON * 1_000_000, (NOON + 60) * 1_000_000), "ab" * 16)
    made = extraction(1)
    table = pa.ipc.open_stream(
        parquet.encode([replace(made, provenance=replace(made.provenance, arrival=arrival))], SCHEMA)
    ).read_all()
    assert table.schema.equals(rows.file_schema(SCHEMA))
    (row,) = table["_provenance"].to_pylist()
    noon = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    assert row["event_time"] == noon.replace(microsecond=5)  # type: ignore[index]
    assert (row["window_start"], row["window_end"]) == (noon, noon.replace(minute=1))  # type: ignore[index]
    assert row["delivery"] == "ab" * 16  # type: ignore[index]
