"""`WriteDataset`: writes extractions, dead letters and, last, the summary that marks a finished run, to a directory."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from kimi_beam.beam_extensions.steps import Steps
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
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document
from kimi_beam.types.extraction import Extraction

JOURNAL = "_journal"
"""The subdirectory of a dataset that the journal is in, unless the user names another directory."""
REPORT_PAGE, REPORT_FIGURES = "report.html", "report.json"
"""The files in a dataset with its report, which another run in the directory makes untrue."""


@beam.typehints.with_input_types(Extraction | pa.RecordBatch, DeadLetter)
@beam.typehints.with_output_types(Summary)
class WriteDataset(TypedTransform):
    """Writes both outputs of `Extract` into one directory, all or nothing.

    ``extractions: PCollection[Extraction], dead_letters: PCollection[DeadLetter] -> PCollection[Summary]``

    The directory receives ``extractions-*.parquet``, ``dead-letters-*.jsonl`` and, last, ``summary.json``, which marks
    a finished run. No file appears before all are written. For bounded input only.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     documents = pipeline | kb.ReadDocuments("in/*.txt")
        ...     results = documents | kb.Extract("receipt.json", service=service)
        ...     _ = results | kb.WriteDataset("out3", "receipt.json", model=service.model, documents=documents)
        >>> sorted(path.name for path in Path("out3").iterdir())
        ['dead-letters-00000-of-00001.jsonl', 'extractions-00000-of-00001.parquet', 'summary.json']

    Args:
        directory: A directory on any filesystem that Beam knows. It is created if it is missing.
        schema: The schema that the extractions were made with.
        model: The model that was asked, by which the cost is computed.
        price: The model's price, if not the known one.
        overwrite: Whether to replace a finished run. If not, a directory that holds one is refused.
        documents: The input of `Extract`, ``PCollection[Document]``. If their number differs from that of the results,
            nothing is written. None: the numbers are not compared.
        left: ``PCollection[DeadLetter]`` of `ReadDeadLetters`: those that are not run again. The summary counts them by
            code. None: this is not a redrive.
        emulated: Whether the emulator is known to answer, so that nothing is paid. If one of the rows says that the
            emulator answered, the summary says so in any case.
        ground: Whether the extractions have the column ``_grounding`` even if there is no row. Rows of
            ``Extract(ground=True)`` bring it with them.

    Raises:
        OutputError: When the pipeline is built: the directory cannot be written, holds a finished run, or is to be
            overwritten although the schema breaks the columns that its readers expect.
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
        ground: bool = False,
    ) -> None:
        super().__init__()
        self._directory = check_output(directory, overwrite=overwrite)
        self._schema = OutputSchema(schema)
        check_columns(self._directory, self._schema, ground=ground)
        self._documents, self._not_rerun = documents, left
        self.staging = whole_files.new_staging(self._directory)
        self._commit = DatasetCommit(
            rows=Target(FileSystems.join(self._directory, "extractions"), parquet.SUFFIX, self.staging),
            letters=Target(FileSystems.join(self._directory, "dead-letters"), dead_letter_lines.SUFFIX, self.staging),
            schema=self._schema,
            directory=self._directory,
            model=model,
            price=price,
            overwrite=overwrite,
            emulated=emulated,
            ground=ground,
        )

    def expand(self, results: Any) -> beam.PCollection:
        extractions, failed = results
        check_type(f"{self.label}(left=…)", self._not_rerun, DeadLetter)
        if not (extractions.is_bounded and failed.is_bounded):
            raise ConfigError("WriteDataset is for bounded input: use WriteParquet and WriteDeadLetters")
        stage_rows = Steps(self._stage_rows)
        stage_letters = Steps(lambda letters: dead_letters.stage_dead_letters(letters, self._commit.letters))
        staged_rows = extractions | "Extractions" >> stage_rows.with_output_types(Staged)
        staged_letters = failed | "DeadLetters" >> stage_letters.with_output_types(Staged)
        inputs = {"rows": staged_rows, "letters": staged_letters, **self._document_counts(), **self._not_rerun_counts()}
        return (
            inputs
            | "Gather" >> staging.Gather()
            | "Commit" >> beam.Map(self._commit.name_all).with_output_types(Summary)
        )

    def _stage_rows(self, extractions: beam.PCollection) -> beam.PCollection:
        return parquet.stage_parquet(extractions, self._commit.rows, self._schema, None, ground=self._commit.ground)

    def clear_unfinished(self) -> None:
        """Removes files of a run that died while it named its files. Without a summary they are no result."""
        if not FileSystems.exists(FileSystems.join(self._directory, FILE_NAME)):
            for target in (self._commit.rows, self._commit.letters):
                whole_files.remove(target.existing())

    def _document_counts(self) -> dict[str, beam.PCollection]:
        if self._documents is None:
            return {}
        count = _CountMany() if self._documents.element_type is Document else _Count()
        documents = self._documents | "Window" >> staging.Window()
        return {"came_in": documents | "CountDocuments" >> beam.ParDo(count).with_output_types(int)}

    def _not_rerun_counts(self) -> dict[str, beam.PCollection]:
        """The number of dead letters of each code that are not run again."""
        if self._not_rerun is None:
            return {}
        letters = self._not_rerun | "WindowLeft" >> staging.Window()
        return {"left": letters | "CountLeft" >> beam.ParDo(_CountCodes()).with_output_types(tuple[str, int])}


class _Count(beam.DoFn):
    """``Any -> int``: the number of elements in a bundle."""

    def start_bundle(self) -> None:
        self._count = 0

    def process(self, _: Any) -> None:
        self._count += 1

    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield WindowedValue(self._count, GlobalWindow().max_timestamp(), [GlobalWindow()])


class _CountCodes(beam.DoFn):
    """``DeadLetter -> (code, number)``: how many dead letters of each code a bundle has."""

    def start_bundle(self) -> None:
        self._codes: Counter[str] = Counter()

    def process(self, letter: DeadLetter) -> None:
        self._codes[letter.failure.code] += 1

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for code_and_number in self._codes.items():
            yield WindowedValue(code_and_number, GlobalWindow().max_timestamp(), [GlobalWindow()])


class _CountMany(_Count):
    """`_Count` for documents that `ReadDocuments` passes on in blocks, column by column."""

    @beam.DoFn.yields_elements
    def process_batch(self, documents: Documents) -> None:
        self._count += len(documents)

    def get_input_batch_type(self, input_element_type: Any) -> Any:
        return Documents  # needed because Beam cannot read annotations under `from __future__ import annotations`


@dataclass(frozen=True)
class DatasetCommit:
    """Gives the staged files of a run their names, and then writes its summary. Safe to repeat.

    Attributes:
        rows: Where the extractions go.
        letters: Where the dead letters go.
        schema: The schema that the extractions were made with.
        directory: The directory of the dataset.
        model: The model that was asked.
        price: The model's price. None: the known one, if there is one.
        overwrite: Whether a finished run in the directory is replaced.
        emulated: Whether the emulator is known to have answered.
        ground: Whether the extractions have the column ``_grounding`` even if there is no row.
    """

    rows: Target
    letters: Target
    schema: OutputSchema
    directory: str
    model: str
    price: Price | None
    overwrite: bool
    emulated: bool
    ground: bool = False

    def name_all(self, gathered: dict[str, list[Any]]) -> Summary:
        """Names the files and writes the summary.

        Args:
            gathered: Lists by name. ``rows`` and ``letters`` are the staged files. ``came_in``, if documents were
                counted, is their number in each bundle. ``left``, in a redrive, is pairs of a code and the number of
                dead letters that were not run again.

        Raises:
            ConservationError: More or fewer documents came in than results came out.
            KimiBeamError: Another run has finished in the directory meanwhile.
        """
        rows: list[Staged] = gathered["rows"]
        letters: list[Staged] = gathered["letters"]
        summary = sum((file.summary for file in (*rows, *letters)), Summary())
        came_in = sum(gathered["came_in"]) if "came_in" in gathered else summary.documents
        if came_in != summary.documents:
            raise ConservationError(
                f"{came_in} documents came in and {summary.documents} left: the runner lost or doubled results, "
                "and nothing was written"
            )
        rows = rows or [staging.stage((), self.rows, parquet.writer(self.schema, ground=self.ground))]
        letters = letters or [staging.stage((), self.letters, dead_letters.write)]
        if not self._is_named([*rows, *letters]):
            staging.name_all(rows, self.rows)
            staging.name_all(letters, self.letters)
            whole_files.write_whole(self._summary_path, self._text(summary, gathered.get("left")))
            whole_files.remove_directory(self.rows.staging)
            whole_files.remove_abandoned(self.directory)
        return summary

    def _remove_report(self) -> None:
        paths = (FileSystems.join(self.directory, name) for name in (REPORT_PAGE, REPORT_FIGURES))
        whole_files.remove(path for path in paths if FileSystems.exists(path))

    def _is_named(self, files: Sequence[Staged]) -> bool:
        """Whether an earlier attempt of this run has named everything.

        Removes the summary of another run, if that may be replaced.
        """
        if not FileSystems.exists(self._summary_path):
            return False
        if not any(FileSystems.exists(file.temporary) for file in files):
            return True
        if _run_of(self._summary_path) == self._run:
            # The runner has repeated the whole job: Flink restarts one that fails in its last second.
            whole_files.remove_directory(self.rows.staging)
            return True
        if not self.overwrite:
            message = f"another run has finished in {self.directory} meanwhile: this one's result is not named"
            raise KimiBeamError(message)
        whole_files.remove([self._summary_path])
        self._remove_report()
        return False

    def _text(self, summary: Summary, not_rerun: Sequence[tuple[str, int]] | None) -> bytes:
        return to_json(
            summary,
            model=self.model,
            schema_hash=self.schema.hash,
            price=self.price,
            run=self._run,
            not_rerun=None if not_rerun is None else _sums(not_rerun),
            emulated=self.emulated,
        )

    @property
    def _summary_path(self) -> str:
        path: str = FileSystems.join(self.directory, FILE_NAME)
        return path

    @property
    def _run(self) -> str:
        """The id of this run: the random part of the name of its staging directory."""
        name: str = FileSystems.split(self.rows.staging)[1].rpartition("-")[2]
        return name


def _sums(counts: Sequence[tuple[str, int]]) -> dict[str, int]:
    """The counts of each name, added up over bundles."""
    total: Counter[str] = Counter()
    for name, count in counts:
        total[name] += count
    return dict(total)


def _run_of(path: str) -> str | None:
    """The id of the run that wrote a summary; None if the summary does not hold it."""
    return _summary_value(path, "run")


def _summary_value(path: str, key: str) -> str | None:
    """A value in a summary; None if the summary lacks it or is not JSON."""
    with FileSystems.open(path) as f, contextlib.suppress(ValueError, TypeError, KeyError):
        value: str | None = orjson.loads(f.read())[key]
        return value
    return None


# ------------------------------------------------------------------------------------------------ the directory


def check_output(directory: str, *, overwrite: bool) -> str:
    """Refuses a directory that cannot be written, or that holds a finished run. Creates a missing one.

    Args:
        directory: The directory as the user wrote it.
        overwrite: Whether a finished run in it may be replaced.

    Returns:
        The uniform spelling of the directory.

    Raises:
        OutputError: The directory is refused.
    """
    path = output(directory)
    try:
        finished = FileSystems.exists(FileSystems.join(path, FILE_NAME))
    except Exception as e:  # each store's library has errors of its own
        raise OutputError(f"cannot write to {path}: {in_one_line(path, e)}") from None
    if finished and not overwrite:
        raise OutputError(f"{path} holds a finished run: name another directory, or replace it by --overwrite")
    whole_files.check_writable(path)
    return path


def check_columns(directory: str, schema: OutputSchema, *, ground: bool) -> None:
    """Refuses to replace a dataset by one with other columns, if that would break readers of the dataset.

    Raises:
        OutputError: Some columns are missing or have another type; the message names them.
    """
    if not FileSystems.exists(FileSystems.join(directory, FILE_NAME)):
        return  # files without a summary are of a run that died, so nobody reads them
    for path in files_of(directory, "extractions"):
        try:
            with FileSystems.open(path) as f:
                found = pq.read_schema(f)
        except (OSError, BeamIOError, pa.ArrowException):
            continue  # replacing a file that nobody can read breaks no reader
        changes = diff(found, file_schema(schema, ground=ground))
        breaking = [f"{change.path}: {change.description}" for change in changes if change.verdict is Verdict.BREAKING]
        if breaking:
            more = f", and {len(breaking) - 3} more" if len(breaking) > 3 else ""
            raise OutputError(
                f"the dataset in {directory} has columns that this schema breaks ({'; '.join(breaking[:3])}{more}): "
                "name another directory"
            )
        return


def journal_of(directory: str) -> str | None:
    """The journal of the run that wrote a directory, in it or where its summary says; None if there is none."""
    summary = FileSystems.join(directory, FILE_NAME)
    named = _summary_value(summary, "journal") if FileSystems.exists(summary) else None
    return next((path for path in (FileSystems.join(directory, JOURNAL), named) if path and listing(path)), None)


def files_of(directory: str, kind: str) -> list[str]:
    """The files of one kind in a dataset, by path.

    Args:
        directory: The directory of the dataset.
        kind: ``extractions``, ``dead-letters`` or ``summary``.
    """
    return [f.path for f in listing(output(directory)) if FileSystems.split(f.path)[1].startswith(kind)]
