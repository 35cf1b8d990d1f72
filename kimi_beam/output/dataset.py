"""`WriteDataset`: a directory with extractions, dead letters and, last, the summary that marks a finished run."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from kimi_beam.beam_extensions.document_coder import Documents
from kimi_beam.beam_extensions.element_types import TypedTransform, check_type
from kimi_beam.errors import ConfigError, ConservationError, KimiBeamError, OutputError
from kimi_beam.files import whole_files
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import listing, output
from kimi_beam.files.store_errors import in_one_line
from kimi_beam.output import dead_letters, parquet, staging
from kimi_beam.output.staging import Staged, Target
from kimi_beam.report.summary import FILE_NAME, Summary, to_json
from kimi_beam.results import dead_letter_lines
from kimi_beam.results.rows import file_schema
from kimi_beam.schema import OutputSchema, SchemaSource
from kimi_beam.schema.diff import Verdict, diff
from kimi_beam.service.prices import Price
from kimi_beam.types import DeadLetter, Document, Extraction

JOURNAL = "_journal"
"""The directory, in that of a dataset, that keeps the answers unless another is named."""


@beam.typehints.with_input_types(Extraction | pa.RecordBatch, DeadLetter)
@beam.typehints.with_output_types(Summary)
class WriteDataset(TypedTransform):
    """Writes both outputs of `Extract` into one directory, all or nothing.

    ``extractions: PCollection[Extraction], dead_letters: PCollection[DeadLetter] -> PCollection[Summary]``

    The directory receives ``extractions-*.parquet``, ``dead-letters-*.jsonl`` and, last, ``summary.json``, which marks
    a finished run. Nothing appears before everything is written. For bounded input.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     documents = pipeline | kb.ReadDocuments("in/*.txt")
        ...     results = documents | kb.Extract("receipt.json", service=service)
        ...     _ = results | kb.WriteDataset("out3", "receipt.json", model=service.model, documents=documents)
        >>> sorted(path.name for path in Path("out3").iterdir())
        ['dead-letters-00000-of-00001.jsonl', 'extractions-00000-of-00001.parquet', 'summary.json']

    Args:
        directory: On any filesystem that Beam knows; created where it is missing.
        schema: The schema that the extractions were made with.
        model: The model that was asked, for the cost.
        price: Takes the place of what is known of the model's.
        overwrite: Replace a finished run; without it a directory that holds one is refused.
        documents: What went into `Extract`, ``PCollection[Document]``: if as many did not come out, nothing is written.
            None: not compared.
        left: ``PCollection[DeadLetter]`` of `ReadDeadLetters`: counted by code in the summary. None: there is none.
        emulated: Whether it is known that the emulator answers, so that nothing is paid; where it has given rows, the
            summary says so without.

    Raises:
        OutputError: When the pipeline is built: the directory holds a finished run, one with columns that the schema's
            would break, or cannot be written.
        ConservationError: In the running pipeline: the runner lost or doubled documents.
    """

    def __init__(
        self,
        directory: str,
        schema: SchemaSource,
        *,
        model: str,
        price: Price | None = None,
        overwrite: bool = False,
        documents: beam.PCollection | None = None,
        left: beam.PCollection | None = None,
        emulated: bool = False,
    ) -> None:
        super().__init__()
        self._directory = check_output(directory, overwrite=overwrite)
        self._schema = OutputSchema(schema)
        check_columns(self._directory, self._schema)
        self._asked = model, price, emulated
        self._overwrite = overwrite
        self._documents, self._left = documents, left
        self.staging = whole_files.new_staging(self._directory)

    def expand(self, results: Any) -> beam.PCollection:
        extractions, failed = results
        check_type(f"{self.label}(left=…)", self._left, DeadLetter)
        if not (extractions.is_bounded and failed.is_bounded):
            raise ConfigError("WriteDataset is for bounded input: use WriteParquet and WriteDeadLetters")
        rows, letters = self._targets()
        staged_rows = extractions | "Extractions" >> _StageParquet(rows, self._schema)
        staged_letters = failed | "DeadLetters" >> _StageDeadLetters(letters)
        parts = {"rows": staged_rows, "letters": staged_letters, **self._came_in(), **self._left_by_code()}
        return (
            parts
            | "Gather" >> staging.Gather()
            | "Commit"
            >> beam.Map(
                _commit_gathered,
                (rows, letters),
                self._schema,
                self._asked,
                self._directory,
                self._overwrite,
            ).with_output_types(Summary)
        )

    def clear_unfinished(self) -> None:
        """Removes what a run that died while it named its files left: without a summary it is no result."""
        if not FileSystems.exists(FileSystems.join(self._directory, FILE_NAME)):
            for target in self._targets():
                whole_files.remove(target.existing())

    def _targets(self) -> tuple[Target, Target]:
        rows = Target(FileSystems.join(self._directory, "extractions"), parquet.SUFFIX, self.staging)
        letters = Target(FileSystems.join(self._directory, "dead-letters"), dead_letter_lines.SUFFIX, self.staging)
        return rows, letters

    def _came_in(self) -> dict[str, beam.PCollection]:
        if self._documents is None:
            return {}
        count = _CountMany() if self._documents.element_type is Document else _Count()
        documents = self._documents | "Window" >> staging.Window()
        return {"came_in": documents | "CountDocuments" >> beam.ParDo(count).with_output_types(int)}

    def _left_by_code(self) -> dict[str, beam.PCollection]:
        if self._left is None:
            return {}
        left = self._left | "WindowLeft" >> staging.Window()
        return {"left": left | "CountLeft" >> beam.ParDo(_CountCodes()).with_output_types(tuple[str, int])}


class _Count(beam.DoFn):
    """``Any -> int``: how many elements a bundle has."""

    def start_bundle(self) -> None:
        self._count = 0

    def process(self, _: Any) -> None:
        self._count += 1

    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield WindowedValue(self._count, GlobalWindow().max_timestamp(), [GlobalWindow()])


class _CountCodes(beam.DoFn):
    """``DeadLetter -> (code, how many of a bundle)``."""

    def start_bundle(self) -> None:
        self._codes: Counter[str] = Counter()

    def process(self, letter: DeadLetter) -> None:
        self._codes[letter.failure.code] += 1

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for one in self._codes.items():
            yield WindowedValue(one, GlobalWindow().max_timestamp(), [GlobalWindow()])


class _CountMany(_Count):
    """The same for documents that `ReadDocuments` hands on by column."""

    @beam.DoFn.yields_elements
    def process_batch(self, documents: Documents) -> None:
        self._count += len(documents)

    def get_input_batch_type(self, input_element_type: Any) -> Any:
        return Documents  # Beam cannot read annotations that are put off


@beam.typehints.with_output_types(Staged)
class _StageParquet(beam.PTransform):
    def __init__(self, target: Target, schema: OutputSchema) -> None:
        super().__init__()
        self._target, self._schema = target, schema

    def expand(self, extractions: beam.PCollection) -> beam.PCollection:
        return parquet.stage_parquet(extractions, self._target, self._schema, None)


@beam.typehints.with_output_types(Staged)
class _StageDeadLetters(beam.PTransform):
    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target

    def expand(self, failed: beam.PCollection) -> beam.PCollection:
        return dead_letters.stage_dead_letters(failed, self._target)


def _commit_gathered(
    gathered: dict[str, list[Any]],
    targets: tuple[Target, Target],
    schema: OutputSchema,
    asked: tuple[str, Price | None, bool],
    directory: str,
    overwrite: bool,
) -> Summary:
    came_in, left = gathered.get("came_in"), gathered.get("left")
    rows, letters = gathered["rows"], gathered["letters"]
    return _commit(rows, letters, targets, schema, asked, directory, overwrite, came_in, left)


def _commit(
    rows: Sequence[Staged],
    letters: Sequence[Staged],
    targets: tuple[Target, Target],
    schema: OutputSchema,
    asked: tuple[str, Price | None, bool],
    directory: str,
    overwrite: bool,
    came_in: Sequence[int] | None = None,
    left: Sequence[tuple[str, int]] | None = None,
) -> Summary:
    """Names everything. Safe to repeat: what an earlier attempt named is there already."""
    summary = sum((file.summary for file in (*rows, *letters)), Summary())
    if came_in is not None and sum(came_in) != summary.documents:
        raise ConservationError(
            f"{sum(came_in)} documents came in and {summary.documents} left: the runner lost or doubled results, "
            "and nothing was written"
        )
    rows = rows or [staging.stage((), targets[0], parquet.writer(schema))]
    letters = letters or [staging.stage((), targets[1], dead_letters.write)]
    summary_path = FileSystems.join(directory, FILE_NAME)
    run = FileSystems.split(targets[0].staging)[1].rpartition("-")[2]
    if FileSystems.exists(summary_path):
        if not any(FileSystems.exists(file.temporary) for file in (*rows, *letters)):
            return summary  # an earlier attempt came to its end
        if _run_of(summary_path) == run:
            # It did, and the runner has done everything once more: Flink restarts a job that fails in its last second.
            whole_files.remove_directory(targets[0].staging)
            return summary
        if not overwrite:
            raise KimiBeamError(f"another run has finished in {directory} meanwhile: this one's result is not named")
        whole_files.remove([summary_path])
    for files, target in zip((rows, letters), targets, strict=True):
        staging.name_all(files, target)
    by_code = None if left is None else _sums(left)
    model, price, emulated = asked
    text = to_json(summary, model=model, schema_hash=schema.hash, price=price, run=run, left=by_code, emulated=emulated)
    whole_files.write_whole(summary_path, text)
    whole_files.remove_directory(targets[0].staging)
    whole_files.remove_abandoned(directory)
    return summary


def _sums(counts: Sequence[tuple[str, int]]) -> dict[str, int]:
    """The counts of each name, added up over bundles."""
    total: Counter[str] = Counter()
    for name, count in counts:
        total[name] += count
    return dict(total)


def _run_of(path: str) -> str | None:
    """Which run a summary is of; None where it does not say."""
    return _said(path, "run")


def _said(path: str, key: str) -> str | None:
    with FileSystems.open(path) as f, contextlib.suppress(ValueError, TypeError, KeyError):
        value: str | None = orjson.loads(f.read())[key]
        return value
    return None


# ------------------------------------------------------------------------------------------------ the directory


def check_output(directory: str, *, overwrite: bool) -> str:
    """Refuses a directory that holds a finished run or cannot be written; creates one that is missing.

    Returns:
        The directory in the one spelling that is used from then on.

    Raises:
        OutputError: Saying which and what to do.
    """
    path = output(directory)
    try:
        finished = FileSystems.exists(FileSystems.join(path, FILE_NAME))
    except Exception as e:  # a store raises what its own library does
        raise OutputError(f"cannot write to {path}: {in_one_line(path, e)}") from None
    if finished and not overwrite:
        raise OutputError(f"{path} holds a finished run: name another directory, or replace it by --overwrite")
    whole_files.check_writable(path)
    return path


def check_columns(directory: str, schema: OutputSchema) -> None:
    """Refuses a dataset whose readers the schema's columns would break.

    Raises:
        OutputError: Naming the columns.
    """
    if not FileSystems.exists(FileSystems.join(directory, FILE_NAME)):
        return  # no dataset: what a run that died left is replaced
    for path in parts(directory, "extractions"):
        try:
            with FileSystems.open(path) as f:
                found = pq.read_schema(f)
        except (OSError, BeamIOError, pa.ArrowException):
            continue  # who replaces a dataset that cannot be read breaks nothing
        changes = diff(found, file_schema(schema))
        breaking = [f"{change.path}: {change.what}" for change in changes if change.verdict is Verdict.BREAKING]
        if breaking:
            more = f", and {len(breaking) - 3} more" if len(breaking) > 3 else ""
            raise OutputError(
                f"the dataset in {directory} has columns that this schema breaks ({'; '.join(breaking[:3])}{more}): "
                "name another directory"
            )
        return


def journal_of(directory: str) -> str | None:
    """The journal of the run that wrote a directory: in it, or where its summary says; None where it is in neither."""
    summary = FileSystems.join(directory, FILE_NAME)
    named = _said(summary, "journal") if FileSystems.exists(summary) else None
    return next((path for path in (FileSystems.join(directory, JOURNAL), named) if path and listing(path)), None)


def parts(directory: str, kind: str) -> list[str]:
    """The files of a finished run: ``extractions``, ``dead-letters`` or ``summary``, in their order."""
    return [f.path for f in listing(output(directory)) if FileSystems.split(f.path)[1].startswith(kind)]
