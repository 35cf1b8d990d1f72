"""One run of `kimi-beam extract` or `redrive`: builds the pipeline from files to a dataset, runs it, and sums it up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import orjson
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from kimi_beam.errors import ConfigError
from kimi_beam.files import whole_files
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.lease import lease
from kimi_beam.files.paths import absolute, check_reachable, is_local, listing, output
from kimi_beam.input.fields import DEFAULT_READING, Reading
from kimi_beam.input.read_dead_letters import ReadDeadLetters
from kimi_beam.input.read_documents import ReadDocuments
from kimi_beam.input.redrive import Choice
from kimi_beam.journal.files import forget
from kimi_beam.output.dataset import WriteDataset, check_output
from kimi_beam.report import metrics
from kimi_beam.report.progress import Distribution
from kimi_beam.report.summary import COUNTERS, FILE_NAME, SKIPPED_NAMES
from kimi_beam.service.prices import Price
from kimi_beam.transforms import Extract
from kimi_beam.transforms.settings import ExtractSettings

DEFAULT_RUNNER = "FnApiRunner"
"""Beam's in-process runner by name: its default, DirectRunner, downloads a binary at first use."""

_LOCAL = ("FnApiRunner", "SwitchingDirectRunner", "BundleBasedDirectRunner", "PrismRunner")


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run.

    Attributes:
        inputs: Paths and globs of documents, or of dead letters if `redrive` is set.
        output: The directory that the dataset is written to.
        extract: How documents are extracted.
        reading: How the inputs become documents.
        limit: The most documents that are read. None: all.
        overwrite: Whether a finished run in `output` is replaced.
        price: The model's price. None: the known one, if there is one.
        journal_ttl: Before the run, answers in the journal that are older than this many seconds are removed. None:
            none are removed.
        redrive: Which dead letters are run again. None: the inputs are documents.
        emulated: Whether the emulator is known to answer. The summary says so then.
    """

    inputs: Sequence[str]
    output: str
    extract: ExtractSettings
    reading: Reading = DEFAULT_READING
    limit: int | None = None
    overwrite: bool = False
    price: Price | None = None
    journal_ttl: float | None = None
    redrive: Choice | None = None
    emulated: bool = False


class Run:
    """A run whose pipeline is built and can be started.

    Args:
        settings: The settings of the run.
        options: Beam's options, as words of a command line.

    Raises:
        UserError: The settings or options have a mistake. Nothing has been sent then.
    """

    def __init__(self, settings: RunSettings, options: Sequence[str] = ()) -> None:
        beam_options = PipelineOptions(list(options))
        standard = beam_options.view_as(StandardOptions)
        standard.runner = standard.runner or DEFAULT_RUNNER
        try:
            self._pipeline = beam.Pipeline(options=beam_options)
        except ValueError as e:  # an unknown runner, or options that contradict each other
            raise ConfigError(" ".join(str(e).split())[:300]) from None
        self._settings = settings
        self._leases = contextlib.ExitStack()
        self._write = build(self._pipeline, settings)

    @property
    def is_in_process(self) -> bool:
        """Whether all work is done in this process."""
        mode = self._pipeline.options.view_as(DirectOptions).direct_running_mode
        return self.is_local and mode != "multi_processing"

    @property
    def is_local(self) -> bool:
        """Whether the job ends with this process."""
        return type(self._pipeline.runner).__name__ in _LOCAL

    def run(self) -> dict[str, Any]:
        """Runs the job to its end.

        Returns:
            The content of ``summary.json``.

        Raises:
            Exception: The job failed; each runner raises errors of its own. No file of the dataset has its name then.
        """
        started = time.monotonic()
        settings, journaling = self._settings, self._settings.extract.journaling
        with self._leases:
            self._leases.enter_context(lease(settings.output))
            if journaling is not None:
                if absolute(journaling.directory) != absolute(output(settings.output)):
                    self._leases.enter_context(lease(journaling.directory, private=True))
                if settings.journal_ttl is not None:
                    oldest = time.time() - settings.journal_ttl
                    forget(journaling.directory, older_than=oldest, missing_ok=True)
            self._write.clear_unfinished()
            try:
                result = self._pipeline.run()
                result.wait_until_finish()
            except BaseException:
                if self.is_local:
                    self.clear()
                raise
        measured: dict[str, Any] = {**_counted(result), "wall_s": round(time.monotonic() - started, 3)}
        if journaling is not None:
            measured["journal"] = absolute(journaling.directory)
        if (budget := settings.extract.budget_of("", shares=1)) is not None:
            budget.refresh()
            measured["budget"] = {f"{name}_usd": round(usd, 9) for name, usd in budget.spending._asdict().items()}
        return _complete(settings.output, measured)

    def release(self) -> None:
        """Gives up the leases. Needed only if the process ends without leaving `run`."""
        self._leases.close()

    def clear(self) -> None:
        """Removes the staging directory, unless it holds complete files, whose content was paid for."""
        if not self.staged:
            whole_files.remove_directory(self._write.staging)

    @property
    def staged(self) -> list[str]:
        """The complete files that have not got their names yet."""
        return [file.path for file in listing(self._write.staging)]


def check_stores(settings: RunSettings) -> None:
    """Refuses object stores that cannot be used, before the service is asked for anything.

    Local paths are checked later, when the pipeline is built.

    Raises:
        UserError: A store cannot be used; the message names the bucket and the fault.
    """
    check_reachable(settings.inputs)
    if not is_local(output(settings.output)):
        check_output(settings.output, overwrite=settings.overwrite)
    journaling = settings.extract.journaling
    if journaling is not None and not is_local(journaling.directory):
        whole_files.check_writable(journaling.directory)


def build(pipeline: beam.Pipeline, settings: RunSettings) -> WriteDataset:
    """Adds the run to a pipeline.

    Raises:
        InputError: The input matches nothing.
        OutputError: The output cannot be written, or holds a finished run.
    """
    documents, not_rerun = _read(pipeline, settings)
    write = WriteDataset(
        settings.output,
        settings.extract.schema,
        model=settings.extract.service.model,
        price=settings.price,
        overwrite=settings.overwrite,
        documents=documents,
        left=not_rerun,
        emulated=settings.emulated,
        ground=settings.extract.ground,
    )
    results = documents | "Extract" >> Extract.from_settings(settings.extract)
    (results.extractions, results.dead_letters) | "Write" >> write
    return write


def _read(pipeline: beam.Pipeline, settings: RunSettings) -> tuple[beam.PCollection, beam.PCollection | None]:
    """Reads the documents and, in a redrive, the dead letters that are not run again."""
    choice = settings.redrive
    if choice is None:
        reading = replace(settings.reading, keep_boxes=settings.extract.ground)
        read = ReadDocuments.from_reading(settings.inputs, reading, limit=settings.limit)
        return pipeline | "Read" >> read, None
    letters = pipeline | "Read" >> ReadDeadLetters(
        settings.inputs, codes=tuple(choice.codes), stages=tuple(choice.stages), limit=settings.limit
    )
    return letters.documents, letters.left


def _counted(result: Any) -> dict[str, Any]:
    """The metrics of the run, and the names of the files that it passed over; empty if the runner has no metrics."""
    try:
        query = result.metrics().query
        own = query(MetricsFilter().with_namespace(metrics.NAMESPACE))
        found, measured = own["counters"], own["distributions"]
        skipped = query(MetricsFilter().with_namespace(metrics.SKIPPED_NAMESPACE))["counters"]
    except Exception:  # runners without metrics raise errors of their own
        return {}
    totals: dict[str, int] = {}
    for counter in found:
        name = counter.key.metric.name
        # Prism, which reports committed values only, gives None for a counter that is 0.
        totals[name] = totals.get(name, 0) + int(counter.result or 0)
    if not totals:
        return {}
    distributions = dict.fromkeys(metrics.DISTRIBUTIONS, Distribution())
    for one in measured:
        if (values := one.result) is not None and values.count:
            distributions[one.key.metric.name] += Distribution(values.count, values.sum, values.min, values.max)
    names = sorted({counter.key.metric.name for counter in skipped if counter.result})
    # Runners leave out counters that were never incremented. They are 0 if there are others.
    return {
        **{name: totals.get(name, 0) for name in COUNTERS},
        **{name: values.as_json() for name, values in distributions.items()},
        SKIPPED_NAMES: names,
    }


def _complete(directory: str, measured: dict[str, Any]) -> dict[str, Any]:
    """Adds values that only the launching process knows to the summary that the pipeline wrote.

    Args:
        directory: The directory of the dataset.
        measured: The values by their key in the summary.

    Returns:
        The complete content of the summary.
    """
    path = FileSystems.join(output(directory), FILE_NAME)
    with FileSystems.open(path) as f:
        content: dict[str, Any] = orjson.loads(f.read())
    content.update(measured)
    text = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    whole_files.write_whole(path, text)
    return content
