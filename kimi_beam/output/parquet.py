"""`WriteParquet`: writes extractions to typed Parquet files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any, BinaryIO

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import DirectOptions, FlinkRunnerOptions, WorkerOptions
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from kimi_beam.beam_extensions.arrival import Partition, partition_directory
from kimi_beam.beam_extensions.element_types import TypedTransform, wrong_element
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.whole_files import check_writable
from kimi_beam.output.bundle_pieces import BundlePieces
from kimi_beam.output.partitions import DEFAULT_ROLLING, FileFormat, Piece, Rolling, WritePartitions, written_paths
from kimi_beam.output.staging import Commit, Stage, Target, Window, WriteFile
from kimi_beam.report.summary import Summary
from kimi_beam.results import rows
from kimi_beam.schema import OutputSchema, SchemaSource
from kimi_beam.types.answer import Usage
from kimi_beam.types.document import Arrival
from kimi_beam.types.extraction import Extraction

SUFFIX = ".parquet"
_PIECE_ROWS = 5_000
_PIECE_BYTES = 32 << 20
_GROUP_ROWS = 50_000
_GROUP_BYTES = 128 << 20


@beam.typehints.with_input_types(Extraction | pa.RecordBatch)
@beam.typehints.with_output_types(str)
class WriteParquet(TypedTransform):
    """Writes extractions to zstd-compressed Parquet files, their columns typed by the schema.

    ``PCollection[Extraction] -> PCollection[str]`` (the paths). Bounded input may also be the record batches of
    ``Extract(record_batches=True)``.

    Bounded input gives ``PREFIX-00000-of-00001.parquet`` and so on, all of them at the end, and one file of 0 rows
    if there is no extraction. Unbounded input gives directories by the documents' event time,
    ``PREFIX/event_date=2026-03-01/event_hour=07/part-….parquet``, whose files appear as answers come. A row whose
    delivery is already in the directory is not written again. The columns are ``_document_id``, one for each property
    of the schema, ``_additional`` (JSON: values that no typed column can hold, by JSON Pointer), ``_metadata`` (JSON)
    and ``_provenance``. The footer carries the JSON Schema and its hash.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     documents = pipeline | kb.ReadDocuments("in/*.txt")
        ...     results = documents | kb.Extract("receipt.json", service=service)
        ...     _ = results.extractions | kb.WriteParquet("out5/rows", "receipt.json") | beam.Map(print)
        out5/rows-00000-of-00001.parquet
        >>> pq.read_table("out5/rows-00000-of-00001.parquet", columns=["_document_id", "total"]).to_pylist()
        [{'_document_id': 'in/receipt-1.txt', 'total': 24.8}]

    Args:
        prefix: The path and the beginning of the files' names.
        schema: The schema that the extractions were made with.
        files: For bounded input: the most files that are written. None: one for each of the runner's workers.
        rolling: For unbounded input: when files are closed, and whether a directory holds an hour or a day.
        ground: Whether a file has the column ``_grounding`` even if it has no row. Rows of ``Extract(ground=True)``
            bring it with them.

    Raises:
        OutputError: When the pipeline is built: the prefix cannot be written to.
        ElementTypeError: When it is applied to other elements.
    """

    def __init__(
        self,
        prefix: str,
        schema: SchemaSource,
        *,
        files: int | None = None,
        rolling: Rolling = DEFAULT_ROLLING,
        ground: bool = False,
    ) -> None:
        super().__init__()
        self._target = Target.of(prefix, SUFFIX)
        check_writable(FileSystems.split(self._target.prefix)[0] or ".")
        self._schema = OutputSchema(schema)
        self._files, self._rolling, self._ground = files, rolling, ground

    def expand(self, extractions: beam.PCollection) -> beam.PCollection:
        if not extractions.is_bounded:
            written = write_partitions(extractions, self._target, self._schema, self._rolling)
            return written | "Paths" >> beam.FlatMap(written_paths).with_output_types(str)
        staged = stage_parquet(extractions, self._target, self._schema, self._files, ground=self._ground)
        return staged | "Commit" >> Commit(self._target, writer(self._schema, ground=self._ground))


def stage_parquet(
    extractions: beam.PCollection, target: Target, schema: OutputSchema, files: int | None, *, ground: bool
) -> beam.PCollection:
    """``PCollection[Extraction | RecordBatch] -> PCollection[Staged]``: complete files without their names yet."""
    encode_all = _EncodeBatches(schema) if extractions.element_type is pa.RecordBatch else _Encode(schema)
    return (
        extractions
        | "Window" >> Window()
        | "Encode" >> beam.ParDo(encode_all).with_output_types(bytes)
        | "Files" >> Stage(target, writer(schema, ground=ground), _files(extractions) if files is None else files)
    )


def write_partitions(
    extractions: beam.PCollection, target: Target, schema: OutputSchema, rolling: Rolling
) -> beam.PCollection:
    """``PCollection[Extraction] -> PCollection[WrittenFile]``, for unbounded input."""
    encode_partitions = EncodePartitions(_arrival, partial(encode, schema=schema), rolling.partition)
    return (
        extractions
        | "Window" >> Window()
        | "Encode" >> beam.ParDo(encode_partitions).with_output_types(Piece)
        | "Parts" >> WritePartitions(target, stream_format(schema), rolling)
    )


def _files(extractions: beam.PCollection) -> int:
    options = extractions.pipeline.options
    workers = (
        options.view_as(DirectOptions).direct_num_workers,
        options.view_as(FlinkRunnerOptions).parallelism,
        options.view_as(WorkerOptions).max_num_workers,
    )
    return max(1, *(int(number or 1) for number in workers))


class _Encode(BundlePieces[Extraction]):
    """``Extraction -> bytes``: several rows as an Arrow IPC stream. Columns that `Settle` made are not made anew."""

    def __init__(self, schema: OutputSchema) -> None:
        super().__init__(partial(encode, schema=schema), _PIECE_ROWS)

    def process(self, extraction: Extraction) -> Iterable[bytes]:
        if not isinstance(extraction, Extraction):
            raise wrong_element("WriteParquet", extraction, Extraction)
        return self.put(extraction, 1)


class _EncodeBatches(BundlePieces[pa.RecordBatch]):
    """``RecordBatch -> bytes``: several rows as an Arrow IPC stream."""

    def __init__(self, schema: OutputSchema) -> None:
        super().__init__(partial(_encode_batches, schema=schema), _PIECE_ROWS)

    def process(self, batch: pa.RecordBatch) -> Iterable[bytes]:
        # Large rows count as several: as many of them as are no more than 32 MB are written together.
        return self.put(batch, max(batch.num_rows, batch.nbytes * _PIECE_ROWS // _PIECE_BYTES))


def _encode_batches(batches: list[pa.RecordBatch], schema: OutputSchema) -> bytes:
    ground = any(rows.GROUNDING in batch.schema.names for batch in batches)
    if ground:
        batches = list(map(rows.with_grounding, batches))
    return as_stream(pa.Table.from_batches(batches, rows.file_schema(schema, ground=ground)).combine_chunks())


class EncodePartitions(beam.DoFn):
    """``T -> Piece``: the elements of a bundle, grouped by the partition that they belong to.

    Args:
        arrival: Gives the arrival of an element, whose event time decides the partition.
        encode: Encodes elements as an Arrow IPC stream.
        by: Whether a partition is an hour or a day.
    """

    def __init__(
        self, arrival: Callable[[Any], Arrival | None], encode: Callable[[list[Any]], bytes], by: Partition
    ) -> None:
        self._arrival, self._encode, self._by = arrival, encode, by

    def start_bundle(self) -> None:
        self._pending: dict[str, list[Any]] = {}

    def process(self, element: Any) -> Iterator[Piece]:
        key = partition_directory(self._arrival(element), self._by)
        pending = self._pending.setdefault(key, [])
        pending.append(element)
        if len(pending) >= _PIECE_ROWS:
            yield self._flush(key)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for key in list(self._pending):
            yield WindowedValue(self._flush(key), Timestamp.of(time.time()), [GlobalWindow()])

    def _flush(self, key: str) -> Piece:
        pending = self._pending.pop(key)
        return key, (len(pending), self._encode(pending))


def _arrival(extraction: Extraction) -> Arrival | None:
    return extraction.provenance.arrival


def encode(extractions: list[Extraction], schema: OutputSchema) -> bytes:
    """Extractions as an Arrow IPC stream of `rows.file_schema`.

    Raises:
        ValueError: A row that a user's own transform changed does not fit the schema's columns.
    """
    ground = any(extraction.grounding is not None for extraction in extractions)
    batches = list(_batches(extractions, schema, ground=ground))
    return as_stream(pa.Table.from_batches(batches, rows.file_schema(schema, ground=ground)).combine_chunks())


# Threads are off because handing columns of a few hundred rows over to them took half of the time (measured).
_PACKED = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_UNPACKED = pa.ipc.IpcReadOptions(use_threads=False)


def as_stream(table: pa.Table) -> bytes:
    """A table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_PACKED) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def _batches(extractions: list[Extraction], schema: OutputSchema, *, ground: bool) -> Iterator[pa.RecordBatch]:
    run: list[Extraction] = []
    for extraction in extractions:
        if run and not _same_batch(run[0], extraction):
            yield _batch(run, schema, ground=ground)
            run = []
        run.append(extraction)
    if run:
        yield _batch(run, schema, ground=ground)


def _same_batch(one: Extraction, other: Extraction) -> bool:
    if one.row is None or other.row is None:
        return one.row is other.row
    return one.row.batch is other.row.batch


def _batch(run: list[Extraction], schema: OutputSchema, *, ground: bool) -> pa.RecordBatch:
    """One record batch of extractions whose rows are all of the same batch, or that all have none yet."""
    indices = [extraction.row.index for extraction in run if extraction.row is not None]
    if run[0].row is not None and run[0].row.batch.schema.equals(rows.file_schema(schema, ground=ground)):
        whole = run[0].row.batch
        return whole if indices == list(range(whole.num_rows)) else whole.take(pa.array(indices))
    batch, bad = rows.convert(
        schema,
        [extraction.document_id for extraction in run],
        [extraction.fields for extraction in run],
        [extraction.metadata for extraction in run],
        rows.provenance_columns([extraction.provenance for extraction in run]),
        [extraction.grounding for extraction in run] if ground else None,
    )
    if bad:
        index, violation = bad[0]
        raise ValueError(f"the extraction of {run[index].document_id!r} does not fit its schema's columns: {violation}")
    return batch


class _Writer:
    """A `WriteFile` for Parquet, from pieces that are Arrow IPC streams."""

    def __init__(self, schema: OutputSchema, *, ground: bool) -> None:
        self._schema, self._ground = schema, ground

    def __call__(self, f: BinaryIO, pieces: Iterable[bytes]) -> Summary:
        group: list[pa.RecordBatch] = []
        summary = Summary()
        streams = (pa.ipc.open_stream(piece, options=_UNPACKED) for piece in pieces)
        first = next(streams, None)
        ground = self._ground or (first is not None and rows.GROUNDING in first.schema.names)
        columns = rows.file_schema(self._schema, ground=ground)
        with pq.ParquetWriter(f, columns, compression="zstd") as parquet:
            for stream in chain(() if first is None else (first,), streams):
                group += map(rows.with_grounding, stream) if ground else stream
                if sum(b.num_rows for b in group) >= _GROUP_ROWS or sum(b.nbytes for b in group) >= _GROUP_BYTES:
                    summary += self._write(parquet, group, columns)
                    group = []
            return summary + self._write(parquet, group, columns)

    def _write(self, parquet: pq.ParquetWriter, group: list[pa.RecordBatch], columns: pa.Schema) -> Summary:
        table = pa.Table.from_batches(group, columns)
        if table.num_rows:
            parquet.write_table(table, row_group_size=max(1, table.num_rows))
        return _summary(table)


def writer(schema: OutputSchema, *, ground: bool = False) -> WriteFile:
    """Makes the function that writes one Parquet file from pieces that `encode` made.

    Args:
        schema: The schema of the answers.
        ground: Whether the file has the column ``_grounding`` even if none of its rows has.
    """
    return _Writer(schema, ground=ground)


def stream_format(schema: OutputSchema) -> FileFormat:
    """Parquet with the schema's columns, as files of a stream."""
    return FileFormat(SUFFIX, writer(schema), _names, select, read)


def _names(piece: bytes) -> list[str | None]:
    with pa.ipc.open_stream(piece) as stream:
        return _deliveries(stream.read_all())


def select(piece: bytes, mask: list[bool]) -> bytes:
    """The rows of an Arrow IPC stream for which the mask is true."""
    with pa.ipc.open_stream(piece) as stream:
        table = stream.read_all().filter(pa.array(mask))
    return as_stream(table)


def read(f: BinaryIO) -> tuple[list[str | None], Summary]:
    """The delivery of each row of a file, and the file's counts. The file may have any schema."""
    file = pq.ParquetFile(f)
    if "_provenance" not in file.schema_arrow.names:
        return [], Summary(file.metadata.num_rows)  # another program wrote this file
    table = file.read(columns=["_provenance"])
    return _deliveries(table), _summary(table)


def _deliveries(table: pa.Table) -> list[str | None]:
    column = pc.struct_field(table.column("_provenance"), "delivery")
    names: list[str | None] = column.to_pylist()
    return names


def _summary(table: pa.Table) -> Summary:
    counted = pc.value_counts(pc.struct_field(table.column("_provenance"), "model_answered")).to_pylist()
    answered_by = {model["values"] or "": model["counts"] for model in counted}
    return Summary(table.num_rows, {}, _usage(table), answered_by=answered_by, grounding=_grounding(table))


def _grounding(table: pa.Table) -> dict[str, dict[str, int]]:
    """For each field, with ``*`` for any item of a list, how many of its values have each kind of match."""
    if rows.GROUNDING not in table.column_names:
        return {}
    entries = pc.list_flatten(table.column(rows.GROUNDING))
    paths = pc.struct_field(entries, "path")
    for _ in range(2):  # of two items one after the other, the first takes the slash between them
        paths = pc.replace_substring_regex(paths, r"/\d+(/|$)", r"/*\1")
    matches = pc.struct_field(entries, "match")
    counted = pa.table([paths, matches], ["path", "match"]).group_by(["path", "match"]).aggregate([([], "count_all")])
    found: dict[str, dict[str, int]] = {}
    for one in counted.to_pylist():
        found.setdefault(one["path"], {})[one["match"]] = one["count_all"]
    return found


def _usage(table: pa.Table) -> Usage:
    provenance = table.column("_provenance")
    return Usage(
        *(
            pc.sum(pc.struct_field(provenance, name)).as_py() or 0
            for name in ("prompt_tokens", "cached_tokens", "completion_tokens")
        )
    )


def first_rows(paths: Iterable[str], count: int) -> list[dict[str, Any]]:
    """The first rows of Parquet files, read in the order of the paths."""
    found: list[dict[str, Any]] = []
    for path in paths:
        with FileSystems.open(path) as f:
            parquet = pq.ParquetFile(f)
            if not parquet.num_row_groups:
                continue
            for batch in parquet.iter_batches(batch_size=max(1, count)):
                found += batch.to_pylist()
                if len(found) >= count:
                    return found[:count]
    return found
