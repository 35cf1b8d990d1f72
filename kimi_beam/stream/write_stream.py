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
from kimi_beam.output.partitions import DEFAULT_ROLLING, Format, Part, Rolling, parts
from kimi_beam.output.staging import Target
from kimi_beam.report.summary import FILE_NAME, Summary, to_json
from kimi_beam.schema import OutputSchema, SchemaSource
from kimi_beam.service.prices import Price
from kimi_beam.stream import came_in
from kimi_beam.types import DeadLetter, Document, Extraction, Usage

EXTRACTIONS, DEAD_LETTERS, DOCUMENTS = "extractions", "dead-letters", "documents"
"""The directories of what left, and of what came in."""
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

    A file appears whole. The summary tells what the files of its hour or day hold; it is written anew with each file,
    as an answer can come long after its document. The last is written where `documents` are given: what came in, a row
    for each delivery, so that ``kimi-beam audit`` can tell which have not left.

    Example:
        >>> pipeline = beam.Pipeline("FlinkRunner", argv=[])  # one of the runners that write streams
        >>> documents = pipeline | kb.ReadContinuously("in/*.txt")
        >>> results = documents | kb.Extract("receipt.json", service=service)
        >>> paths = results | kb.WriteStream("out", "receipt.json", model=service.model, documents=documents)

    Args:
        directory: On any filesystem that Beam knows; created where it is missing. One that an earlier job has written
            to is continued.
        schema: The schema that the extractions were made with.
        model: The model that was asked, for the cost.
        price: Takes the place of what is known of the model's.
        rolling: When files are closed, and what a directory holds.
        documents: What went into `Extract`, ``PCollection[Document]``. None: what came in is not written down.

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
            kind: Target(FileSystems.join(self._directory, kind), form.suffix, staged)
            for kind, form in self._forms().items()
        }
        rolling = self._rolling
        write_rows = Steps(lambda given: parquet.write_parts(given, targets[EXTRACTIONS], self._schema, rolling))
        write_letters = Steps(lambda given: dead_letters.write_parts(given, targets[DEAD_LETTERS], rolling))
        written = [
            extractions | "Extractions" >> write_rows.with_output_types(Part),
            failed | "DeadLetters" >> write_letters.with_output_types(Part),
        ]
        if self._documents is not None:
            write_came_in = Steps(lambda given: came_in.write_came_in(given, targets[DOCUMENTS], rolling))
            written.append(self._documents | "Documents" >> write_came_in.with_output_types(Part))
        summaries = PartitionSummaries(self._directory, self._forms(), self._model, self._schema.hash, self._price)
        return (
            written
            | "Flatten" >> beam.Flatten().with_output_types(Part)
            | "ByPartition" >> beam.Map(_keyed).with_output_types(tuple[str, str])
            | "Summarise" >> beam.ParDo(_Summarise(summaries)).with_output_types(str)
        )

    def _forms(self) -> dict[str, Format]:
        forms = {EXTRACTIONS: parquet.parts_format(self._schema), DEAD_LETTERS: dead_letters.PARTS}
        return forms if self._documents is None else {**forms, DOCUMENTS: came_in.PARTS}


def _keyed(part: Part) -> tuple[str, str]:
    return part.partition, part.path


class _Summarise(beam.DoFn):
    """``(partition, path) -> path of the summary``."""

    TURN = ReadModifyWriteStateSpec("turn", BooleanCoder())
    """Never read: a step with state works on one partition one part after another, and two would undo each other."""

    def __init__(self, summaries: PartitionSummaries) -> None:
        self._summaries = summaries

    def process(self, element: tuple[str, str], turn: Any = beam.DoFn.StateParam(TURN)) -> Iterator[str]:
        yield self._summaries.write(element[0])


@dataclass(frozen=True)
class PartitionSummaries:
    """The summaries of a stream's partitions.

    Attributes:
        directory: The output of the stream.
        forms: The format of each kind of file, by the name of its directory.
        model: The model that was asked, for the cost.
        schema_hash: Of the schema that the extractions were made with.
        price: Takes the place of the model's known price. None: the known one, if there is one.
    """

    directory: str
    forms: dict[str, Format]
    model: str
    schema_hash: str
    price: Price | None = None

    def write(self, partition: str) -> str:
        """Sums up the files that are in a partition now: those that are gone or new since the last time included.

        Returns:
            The path of the summary.
        """
        path: str = FileSystems.join(self.directory, _SUMMARIES, partition, FILE_NAME)
        before = _files(path)
        files: dict[str, Summary] = {}
        for kind, form in self.forms.items():
            for found in parts(FileSystems.join(self.directory, kind, partition), form.suffix):
                name = f"{kind}/{FileSystems.split(found)[1]}"
                if name in before:
                    files[name] = before[name]
                else:
                    with FileSystems.open(found) as f:
                        _, files[name] = form.read(f)
        total = sum(files.values(), Summary())
        content = orjson.loads(to_json(total, model=self.model, schema_hash=self.schema_hash, price=self.price))
        content = {key: value for key, value in content.items() if value is not None}
        if DOCUMENTS in self.forms:
            content = {"came_in": total.came_in, **content}
        content |= dict(key.split("=", 1) for key in partition.split("/"))
        content |= {"files": files, "version": _VERSION}
        whole_files.make_directory(FileSystems.split(path)[0])
        whole_files.write_whole(path, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        return path


def _files(path: str) -> dict[str, Summary]:
    """What an earlier summary says of each file; nothing where there is none that can be read."""
    if FileSystems.exists(path):
        with FileSystems.open(path) as f, contextlib.suppress(ValueError, KeyError, TypeError):
            content = orjson.loads(f.read())
            if content["version"] == _VERSION:
                return {
                    name: Summary(
                        one["extractions"],
                        one["dead_letters"],
                        Usage(**one["usage"]),
                        one.get("came_in", 0),
                        one.get("answered_by", {}),
                    )
                    for name, one in content["files"].items()
                }
    return {}
