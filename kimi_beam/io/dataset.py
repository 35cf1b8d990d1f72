"""`WriteDataset`: a directory with extractions, dead letters and, last, the summary that marks a finished run."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from kimi_beam.errors import ConservationError, OutputError
from kimi_beam.io import dead_letters, parquet, staging
from kimi_beam.io.staging import Staged, Target
from kimi_beam.schema import OutputSchema, SchemaSource
from kimi_beam.summary import FILE_NAME, Summary, to_json


class WriteDataset(beam.PTransform):
    """Writes both outputs of `Extract` into one directory, all or nothing.

    ``extractions: PCollection[Extraction], dead_letters: PCollection[DeadLetter] -> PCollection[Summary]``

    The directory receives ``extractions-*.parquet``, ``dead-letters-*.jsonl`` and, last, ``summary.json``, which marks
    a finished run. Nothing appears before everything is written. For bounded input.

    Args:
        directory: On any filesystem that Beam knows; created where it is missing.
        schema: The schema that the extractions were made with.
        model: The model that was asked, for the cost.
        overwrite: Replace a finished run; without it a directory that holds one is refused.
        documents: What went into `Extract`, ``PCollection[Document]``: if as many did not come out, nothing is written.
            None: not compared.

    Raises:
        OutputError: When the pipeline is built: the directory holds a finished run, or cannot be written.
        ConservationError: In the running pipeline: the runner lost or doubled documents.
    """

    def __init__(
        self,
        directory: str,
        schema: SchemaSource,
        *,
        model: str,
        overwrite: bool = False,
        documents: beam.PCollection | None = None,
    ) -> None:
        super().__init__()
        self._directory = directory
        self._schema = OutputSchema(schema)
        self._model = model
        self._documents = documents
        self.staging = FileSystems.join(directory, f".staging-{uuid.uuid4().hex}")
        check_output(directory, overwrite=overwrite)

    def expand(self, results: Any) -> beam.PCollection:
        extractions, failed = results
        rows = Target(FileSystems.join(self._directory, "extractions"), parquet.SUFFIX, self.staging)
        letters = Target(FileSystems.join(self._directory, "dead-letters"), dead_letters.SUFFIX, self.staging)
        staged_rows = extractions | "Extractions" >> _StageParquet(rows, self._schema)
        staged_letters = failed | "DeadLetters" >> _StageDeadLetters(letters)
        return (
            extractions.pipeline
            | "Once" >> beam.Create([None])
            | "Commit"
            >> beam.Map(
                _commit,
                beam.pvalue.AsList(staged_rows),
                beam.pvalue.AsList(staged_letters),
                (rows, letters),
                self._schema,
                self._model,
                self._directory,
                *self._came_in(),
            ).with_output_types(Summary)
        )

    def _came_in(self) -> list[beam.pvalue.AsSideInput]:
        if self._documents is None:
            return []
        total = (
            self._documents
            | "CountDocuments" >> beam.ParDo(_Count()).with_output_types(int)
            # Not the counts themselves: FnApiRunner hands the side inputs of a stage on again after each of its timers.
            | "SumDocuments" >> beam.CombineGlobally(sum).without_defaults()
        )
        return [beam.pvalue.AsList(total)]


class _Count(beam.DoFn):
    """``Any -> int``: how many elements a bundle has."""

    def start_bundle(self) -> None:
        self._count = 0

    def process(self, _: Any) -> None:
        self._count += 1

    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield WindowedValue(self._count, GlobalWindow().max_timestamp(), [GlobalWindow()])


class _StageParquet(beam.PTransform):
    def __init__(self, target: Target, schema: OutputSchema) -> None:
        super().__init__()
        self._target, self._schema = target, schema

    def expand(self, extractions: beam.PCollection) -> beam.PCollection:
        return parquet.stage_parquet(extractions, self._target, self._schema, None)


class _StageDeadLetters(beam.PTransform):
    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target

    def expand(self, failed: beam.PCollection) -> beam.PCollection:
        return dead_letters.stage_dead_letters(failed, self._target)


def _commit(
    _: None,
    rows: Sequence[Staged],
    letters: Sequence[Staged],
    targets: tuple[Target, Target],
    schema: OutputSchema,
    model: str,
    directory: str,
    came_in: Sequence[int] | None = None,
) -> Summary:
    """Names everything. Safe to repeat: what an earlier attempt named is there already."""
    summary = sum((file.summary for file in (*rows, *letters)), Summary())
    if came_in is not None and sum(came_in) != summary.documents:
        raise ConservationError(
            f"{sum(came_in)} documents came in and {summary.documents} left: the runner lost or doubled results, "
            "and nothing was written"
        )
    summary_path = FileSystems.join(directory, FILE_NAME)
    staging.remove(path for path in [summary_path] if FileSystems.exists(path))
    write_rows = parquet.writer(schema)
    rows = rows or [staging.stage((), targets[0], write_rows)]
    letters = letters or [staging.stage((), targets[1], dead_letters.write)]
    for files, target in zip((rows, letters), targets, strict=True):
        staging.name_all(files, target)
    content = to_json(summary, model=model, schema_hash=schema.hash)
    staging.write_whole(summary_path, content, targets[0].staging)
    staging.remove_directory(targets[0].staging)
    remove_left_over(directory)
    return summary


# ------------------------------------------------------------------------------------------------ the directory


def check_output(directory: str, *, overwrite: bool) -> None:
    """Refuses a directory that holds a finished run or cannot be written; creates one that is missing.

    Raises:
        OutputError: Saying which and what to do.
    """
    try:
        if FileSystems.exists(FileSystems.join(directory, FILE_NAME)) and not overwrite:
            raise OutputError(f"{directory} holds a finished run: name another directory, or replace it by --overwrite")
        staging.make_directory(directory)
        probe = FileSystems.join(directory, f".staging-{uuid.uuid4().hex}")
        staging.write_whole(FileSystems.join(probe, "probe"), b"", probe)
        staging.remove_directory(probe)
    except (OSError, BeamIOError, ValueError) as e:
        raise OutputError(f"cannot write to {directory}: {' '.join(str(e).split())[:300]}") from None


def remove_left_over(directory: str) -> None:
    """Removes what runs that were killed left half done."""
    for result in FileSystems.match([FileSystems.join(directory, ".staging-*", "*")]):
        parents: Iterable[str] = {FileSystems.split(m.path)[0] for m in result.metadata_list}
        for parent in parents:
            staging.remove_directory(parent)


def parts(directory: str, kind: str) -> list[str]:
    """The files of a finished run: ``extractions``, ``dead-letters`` or ``summary``, in their order."""
    found = FileSystems.match([FileSystems.join(directory, f"{kind}*")])
    return sorted(m.path for result in found for m in result.metadata_list)
