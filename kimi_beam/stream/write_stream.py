"""`WriteStream`: both outputs of an `Extract` that does not end, by event time, with a summary of each window."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import orjson
from apache_beam.coders import BooleanCoder
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

from kimi_beam.beam_extensions.element_types import TypedTransform, check_type
from kimi_beam.beam_extensions.steps import Steps
from kimi_beam.errors import ConfigError
from kimi_beam.files import whole_files
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.output import dead_letters, parquet
from kimi_beam.output.dataset import check_output
from kimi_beam.output.partitions import DEFAULT_ROLLING, FileFormat, Rolling, WrittenFile, files_in
from kimi_beam.output.staging import Target
from kimi_beam.report.summary import FILE_NAME, Summary, to_json
from kimi_beam.schema import OutputSchema, SchemaSource
from kimi_beam.service.prices import Price
from kimi_beam.stream import deliveries
from kimi_beam.types.answer import Usage
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document
from kimi_beam.types.extraction import Extraction

EXTRACTIONS, DEAD_LETTERS, DOCUMENTS = "extractions", "dead-letters", "documents"
"""The directories in a stream's output: of rows, of dead letters, and of the deliveries that came in."""
_SUMMARIES = "summaries"
_VERSION = 1


@beam.typehints.with_input_types(Extraction, DeadLetter)
@beam.typehints.with_output_types(str)
class WriteStream(TypedTransform):
    """Writes both outputs of `Extract` into one directory, by the documents' event time, as answers come.

    ``extractions: PCollection[Extraction], dead_letters: PCollection[DeadLetter] -> PCollection[str]`` (the summaries)

    For unbounded input. The directory receives, for each hour or day of event time, ::

        extractions/event_date=2026-03-01/event_hour=07/part-….parquet
        dead-letters/event_date=2026-03-01/event_hour=07/part-….jsonl
        summaries/event_date=2026-03-01/event_hour=07/summary.json
        documents/event_date=2026-03-01/event_hour=07/part-….parquet

    Each file appears complete. A summary counts what the files of its hour or day hold. It is written anew with each
    file, because an answer can come long after its document. ``documents/`` is written if `documents` is given: a row
    for each delivery that came in, so that ``kimi-beam audit`` can tell which documents have no row or dead letter.

    Example:
        >>> pipeline = beam.Pipeline("FlinkRunner", argv=[])  # one of the runners that write streams
        >>> documents = pipeline | kb.ReadContinuously("in/*.txt")
        >>> results = documents | kb.Extract("receipt.json", service=service)
        >>> paths = results | kb.WriteStream("out", "receipt.json", model=service.model, documents=documents)

    Args:
        directory: A directory on any filesystem that Beam knows. It is created if it is missing, and continued if an
            earlier job has written to it.
        schema: The schema that the extractions were made with.
        model: The model that was asked, by which the cost is computed.
        price: The model's price, if not the known one.
        rolling: When files are closed, and whether a directory holds an hour or a day.
        documents: The input of `Extract`, ``PCollection[Document]``. None: ``documents/`` is not written.

    Raises:
        OutputError: When the pipeline is built: the directory holds the result of a run over bounded input, or cannot
            be written.
    """

    def __init__(
        self,
        directory: str,
        schema: SchemaSource,
        *,
        model: str,
        price: Price | None = None,
        rolling: Rolling = DEFAULT_ROLLING,
        documents: beam.PCollection | None = None,
    ) -> None:
        super().__init__()
        self._directory = check_output(directory, overwrite=False)
        self._schema = OutputSchema(schema)
        self._model, self._price = model, price
        self._rolling = rolling
        self._documents = documents

    def expand(self, results: Any) -> beam.PCollection:
        extractions, failed = results
        check_type(f"{self.label}(documents=…)", self._documents, Document)
        if extractions.is_bounded or failed.is_bounded:
            raise ConfigError("WriteStream is for unbounded input: use WriteDataset")
        staged = whole_files.new_staging(self._directory)
        targets = {
            kind: Target(FileSystems.join(self._directory, kind), file_format.suffix, staged)
            for kind, file_format in self._file_formats().items()
        }
        rolling = self._rolling
        write_rows = Steps(lambda rows: parquet.write_partitions(rows, targets[EXTRACTIONS], self._schema, rolling))
        write_letters = Steps(lambda letters: dead_letters.write_partitions(letters, targets[DEAD_LETTERS], rolling))
        written = [
            extractions | "Extractions" >> write_rows.with_output_types(WrittenFile),
            failed | "DeadLetters" >> write_letters.with_output_types(WrittenFile),
        ]
        if self._documents is not None:
            write_deliveries = Steps(lambda docs: deliveries.write_deliveries(docs, targets[DOCUMENTS], rolling))
            written.append(self._documents | "Documents" >> write_deliveries.with_output_types(WrittenFile))
        summaries = PartitionSummaries(
            self._directory, self._file_formats(), self._model, self._schema.hash, self._price
        )
        return (
            written
            | "Flatten" >> beam.Flatten().with_output_types(WrittenFile)
            | "ByPartition" >> beam.Map(_keyed).with_output_types(tuple[str, str])
            | "Summarise" >> beam.ParDo(_Summarise(summaries)).with_output_types(str)
        )

    def _file_formats(self) -> dict[str, FileFormat]:
        file_formats = {EXTRACTIONS: parquet.stream_format(self._schema), DEAD_LETTERS: dead_letters.STREAM_FORMAT}
        return file_formats if self._documents is None else {**file_formats, DOCUMENTS: deliveries.STREAM_FORMAT}


def _keyed(file: WrittenFile) -> tuple[str, str]:
    return file.partition, file.path


class _Summarise(beam.DoFn):
    """``(partition, path) -> path of the summary``."""

    TURN = ReadModifyWriteStateSpec("turn", BooleanCoder())
    """Never read. A step with state handles the elements of one key one after the other; two at once would overwrite
    each other's summary of the partition."""

    def __init__(self, summaries: PartitionSummaries) -> None:
        self._summaries = summaries

    def process(self, element: tuple[str, str], turn: Any = beam.DoFn.StateParam(TURN)) -> Iterator[str]:
        yield self._summaries.write(element[0])


@dataclass(frozen=True)
class PartitionSummaries:
    """The summaries of a stream's partitions.

    Attributes:
        directory: The output of the stream.
        file_formats: The format of each kind of file, by the name of its directory.
        model: The model that was asked, for the cost.
        schema_hash: The hash of the schema that the extractions were made with.
        price: The model's price. None: the known one, if there is one.
    """

    directory: str
    file_formats: dict[str, FileFormat]
    model: str
    schema_hash: str
    price: Price | None = None

    def write(self, partition: str) -> str:
        """Sums up the files that a partition holds now, so that files added or deleted since the last summary count.

        Returns:
            The path of the summary.
        """
        path: str = FileSystems.join(self.directory, _SUMMARIES, partition, FILE_NAME)
        before = _files(path)
        files: dict[str, Summary] = {}
        for kind, file_format in self.file_formats.items():
            for found in files_in(FileSystems.join(self.directory, kind, partition), file_format.suffix):
                name = f"{kind}/{FileSystems.split(found)[1]}"
                if name in before:
                    files[name] = before[name]
                else:
                    with FileSystems.open(found) as f:
                        _, files[name] = file_format.read(f)
        total = sum(files.values(), Summary())
        content = orjson.loads(to_json(total, model=self.model, schema_hash=self.schema_hash, price=self.price))
        content = {key: value for key, value in content.items() if value is not None}
        if DOCUMENTS in self.file_formats:
            content = {"came_in": total.came_in, **content}
        content |= dict(key.split("=", 1) for key in partition.split("/"))
        content |= {"files": files, "version": _VERSION}
        whole_files.make_directory(FileSystems.split(path)[0])
        whole_files.write_whole(path, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        return path


def _files(path: str) -> dict[str, Summary]:
    """The counts of each file in an earlier summary; empty if there is no summary, or none that can be read."""
    if FileSystems.exists(path):
        with FileSystems.open(path) as f, contextlib.suppress(ValueError, KeyError, TypeError):
            content = orjson.loads(f.read())
            if content["version"] == _VERSION:
                return {
                    name: Summary(
                        counts["extractions"],
                        counts["dead_letters"],
                        Usage(**counts["usage"]),
                        counts.get("came_in", 0),
                        counts.get("answered_by", {}),
                    )
                    for name, counts in content["files"].items()
                }
    return {}
