"""`WriteStream`: both outputs of an `Extract` that does not end, by event time, with a summary of each window."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import orjson
from apache_beam.coders import BooleanCoder
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

from kimi_beam.beam_extensions.element_types import TypedTransform, check_type
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
        self._asked = model, self._schema.hash, price
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
        written = [
            extractions | "Extractions" >> _Rows(targets[EXTRACTIONS], self._schema, self._rolling),
            failed | "DeadLetters" >> _Letters(targets[DEAD_LETTERS], self._rolling),
        ]
        if self._documents is not None:
            written.append(self._documents | "Documents" >> _CameIn(targets[DOCUMENTS], self._rolling))
        return (
            written
            | "Flatten" >> beam.Flatten().with_output_types(Part)
            | "ByPartition" >> beam.Map(_keyed).with_output_types(tuple[str, str])
            | "Summarise" >> beam.ParDo(_Summarise(self._directory, self._forms(), self._asked)).with_output_types(str)
        )

    def _forms(self) -> dict[str, Format]:
        forms = {EXTRACTIONS: parquet.parts_format(self._schema), DEAD_LETTERS: dead_letters.PARTS}
        return forms if self._documents is None else {**forms, DOCUMENTS: came_in.PARTS}


@beam.typehints.with_output_types(Part)
class _Rows(beam.PTransform):
    def __init__(self, target: Target, schema: OutputSchema, rolling: Rolling) -> None:
        super().__init__()
        self._arguments = target, schema, rolling

    def expand(self, extractions: beam.PCollection) -> beam.PCollection:
        return parquet.write_parts(extractions, *self._arguments)


@beam.typehints.with_output_types(Part)
class _Letters(beam.PTransform):
    def __init__(self, target: Target, rolling: Rolling) -> None:
        super().__init__()
        self._arguments = target, rolling

    def expand(self, failed: beam.PCollection) -> beam.PCollection:
        return dead_letters.write_parts(failed, *self._arguments)


@beam.typehints.with_output_types(Part)
class _CameIn(beam.PTransform):
    def __init__(self, target: Target, rolling: Rolling) -> None:
        super().__init__()
        self._arguments = target, rolling

    def expand(self, documents: beam.PCollection) -> beam.PCollection:
        return came_in.write_came_in(documents, *self._arguments)


def _keyed(part: Part) -> tuple[str, str]:
    return part.partition, part.path


class _Summarise(beam.DoFn):
    """``(partition, path) -> path of the summary``."""

    TURN = ReadModifyWriteStateSpec("turn", BooleanCoder())
    """Never read: a step with state works on one partition one part after another, and two would undo each other."""

    def __init__(self, directory: str, forms: dict[str, Format], asked: tuple[str, str, Price | None]) -> None:
        self._directory, self._forms, self._asked = directory, forms, asked

    def process(self, element: tuple[str, str], turn: Any = beam.DoFn.StateParam(TURN)) -> Iterator[str]:
        yield summarise(self._directory, element[0], self._forms, self._asked)


def summarise(directory: str, partition: str, forms: dict[str, Format], asked: tuple[str, str, Price | None]) -> str:
    """Sums up the files that are in a partition now: those that are gone or new since the last time included.

    Args:
        directory: The output.
        partition: Which.
        forms: Each kind of file by its directory.
        asked: The model, the schema's hash, and a price.

    Returns:
        The path of the summary.
    """
    path: str = FileSystems.join(directory, _SUMMARIES, partition, FILE_NAME)
    before = _files(path)
    files: dict[str, Summary] = {}
    for kind, form in forms.items():
        for found in parts(FileSystems.join(directory, kind, partition), form.suffix):
            name = f"{kind}/{FileSystems.split(found)[1]}"
            if name in before:
                files[name] = before[name]
            else:
                with FileSystems.open(found) as f:
                    _, files[name] = form.read(f)
    model, schema_hash, price = asked
    total = sum(files.values(), Summary())
    content = orjson.loads(to_json(total, model=model, schema_hash=schema_hash, price=price))
    content = {key: value for key, value in content.items() if value is not None}
    if DOCUMENTS in forms:
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
