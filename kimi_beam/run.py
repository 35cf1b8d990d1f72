"""One run from files to a dataset: the pipeline that `kimi-beam extract` builds, runs and sums up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import apache_beam as beam
import orjson
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from kimi_beam.errors import ConfigError
from kimi_beam.files import whole_files
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.lease import lease
from kimi_beam.files.paths import absolute, check_reachable, is_local, listing, output
from kimi_beam.input.fields import USUAL, Reading
from kimi_beam.input.read_dead_letters import ReadDeadLetters
from kimi_beam.input.read_documents import ReadDocuments
from kimi_beam.input.redrive import Choice
from kimi_beam.journal.files import forget
from kimi_beam.journal.records import Journaling
from kimi_beam.network.client import SUBMITS_AT_ONCE
from kimi_beam.output.dataset import WriteDataset, check_output
from kimi_beam.queue.event_inbox import Events
from kimi_beam.report import metrics
from kimi_beam.report.outcomes import StopAfter
from kimi_beam.report.summary import COUNTERS, FILE_NAME
from kimi_beam.request.prompt import DEFAULT_INSTRUCTIONS, StructuredOutput
from kimi_beam.schema import OutputSchema
from kimi_beam.service.polling import Polling
from kimi_beam.service.prices import Price
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.transforms import Extract

DEFAULT_RUNNER = "FnApiRunner"
"""Beam's in-process runner by name: its default, DirectRunner, downloads a binary at first use."""

_LOCAL = ("FnApiRunner", "SwitchingDirectRunner", "BundleBasedDirectRunner", "PrismRunner")


@dataclass(frozen=True)
class Asking:
    """How the model is asked: see `Extract`."""

    structured_output: StructuredOutput = "schema"
    thinking: bool = False
    max_completion_tokens: int | None = None
    max_concurrency: int = 64
    max_in_flight: int = 128
    max_submits_at_once: int = SUBMITS_AT_ONCE
    stop_after: StopAfter | None = None


@dataclass(frozen=True)
class Job:
    """What `kimi-beam extract` was asked for.

    Attributes:
        inputs: Paths and globs.
        schema: What each document becomes.
        service: Where the service is.
        output: The directory.
        instructions: To the model.
        prompt_metadata: Keys of the metadata that the model may see.
        reading: How the inputs become documents.
        limit: Documents at most; None for all.
        polling: When to look for answers.
        overwrite: Replace a finished run.
        asking: How the model is asked.
        price: Takes the place of what is known of the model's.
        journaling: Where answers are kept; None for nowhere.
        journal_ttl: Seconds after which they are forgotten, before the run begins; None for never.
        events: How it is told of finished jobs; None where it polls.
        emulated: It is known that the emulator answers.
        redrive: The inputs are dead letters: which of them are run again. None: the inputs are documents.
    """

    inputs: Sequence[str]
    schema: OutputSchema
    service: WorkersAI
    output: str
    instructions: str = DEFAULT_INSTRUCTIONS
    prompt_metadata: Sequence[str] = ()
    reading: Reading = USUAL
    limit: int | None = None
    polling: Polling = field(default_factory=Polling)
    overwrite: bool = False
    asking: Asking = field(default_factory=Asking)
    price: Price | None = None
    journaling: Journaling | None = None
    journal_ttl: float | None = None
    events: Events | None = None
    redrive: Choice | None = None
    emulated: bool = False


class Run:
    """A job with its pipeline, built and ready.

    Args:
        job: What to do.
        options: Beam's own, as on a command line.

    Raises:
        UserError: A mistake that was found before anything was sent.
    """

    def __init__(self, job: Job, options: Sequence[str] = ()) -> None:
        beam_options = PipelineOptions(list(options))
        standard = beam_options.view_as(StandardOptions)
        standard.runner = standard.runner or DEFAULT_RUNNER
        try:
            self._pipeline = beam.Pipeline(options=beam_options)
        except ValueError as e:  # an unknown runner, or options that contradict each other
            raise ConfigError(" ".join(str(e).split())[:300]) from None
        self._job = job
        self._held = contextlib.ExitStack()
        self._write = build(self._pipeline, job)

    @property
    def is_in_process(self) -> bool:
        """Whether the work is done in this very process."""
        mode = str(self._pipeline.options.get_all_options().get("direct_running_mode") or "")
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
            Exception: Whatever the runner raises when the job failed; nothing of the dataset is left then.
        """
        started = time.monotonic()
        with self._held:
            self._held.enter_context(lease(self._job.output))
            if self._job.journaling is not None:
                if absolute(self._job.journaling.directory) != absolute(output(self._job.output)):
                    self._held.enter_context(lease(self._job.journaling.directory, private=True))
                if self._job.journal_ttl is not None:
                    oldest = time.time() - self._job.journal_ttl
                    forget(self._job.journaling.directory, older_than=oldest, missing_ok=True)
            self._write.clear_unfinished()
            try:
                result = self._pipeline.run()
                result.wait_until_finish()
            except BaseException:
                if self.is_local:
                    self.clear()
                raise
        measured: dict[str, Any] = {**_counters(result), "wall_s": round(time.monotonic() - started, 3)}
        if self._job.journaling is not None:
            measured["journal"] = absolute(self._job.journaling.directory)
        return _complete(self._job.output, measured)

    def release(self) -> None:
        """Lets go of the directories, where the process ends without leaving `run`."""
        self._held.close()

    def clear(self) -> None:
        """Removes what is half done. Files that are whole were paid for: they stay."""
        if not self.staged:
            whole_files.remove_directory(self._write.staging)

    @property
    def staged(self) -> list[str]:
        """Whole files that have not got their names."""
        return [file.path for file in listing(self._write.staging)]


def check_stores(job: Job) -> None:
    """Refuses object stores that cannot be used, before the service is asked for anything.

    Paths of this machine are looked at when the pipeline is built.

    Raises:
        UserError: Naming the bucket, and what is wrong with it.
    """
    check_reachable(job.inputs)
    if not is_local(output(job.output)):
        check_output(job.output, overwrite=job.overwrite)
    if job.journaling is not None and not is_local(job.journaling.directory):
        whole_files.check_writable(job.journaling.directory)


def build(pipeline: beam.Pipeline, job: Job) -> WriteDataset:
    """Adds the job to a pipeline.

    Raises:
        InputError: The input matches nothing.
        OutputError: The output cannot be written, or holds a finished run.
    """
    documents, left = _read(pipeline, job)
    write = WriteDataset(
        job.output,
        job.schema,
        model=job.service.model,
        price=job.price,
        overwrite=job.overwrite,
        documents=documents,
        left=left,
        emulated=job.emulated,
    )
    results = documents | "Extract" >> Extract(
        job.schema,
        service=job.service,
        instructions=job.instructions,
        prompt_metadata=job.prompt_metadata,
        polling=job.polling,
        **vars(job.asking),
        journal=job.journaling,
        events=job.events,
        record_batches=True,
    )
    (results.extractions, results.dead_letters) | "Write" >> write
    return write


def _read(pipeline: beam.Pipeline, job: Job) -> tuple[beam.PCollection, beam.PCollection | None]:
    """What is extracted from; and the dead letters that are not run again."""
    if job.redrive is None:
        return pipeline | "Read" >> ReadDocuments(job.inputs, limit=job.limit, **asdict(job.reading)), None
    chosen = {"codes": tuple(job.redrive.codes), "stages": tuple(job.redrive.stages)}
    letters = pipeline | "Read" >> ReadDeadLetters(job.inputs, **chosen, limit=job.limit)
    return letters.documents, letters.left


def _counters(result: Any) -> dict[str, int]:
    """The counters of the run; none where the runner has no metrics."""
    try:
        found = result.metrics().query(MetricsFilter().with_namespace(metrics.NAMESPACE))["counters"]
    except Exception:  # a runner without metrics says so in its own way
        return {}
    totals: dict[str, int] = {}
    for counter in found:
        name = counter.key.metric.name
        # Prism says None of a counter that was touched and is 0, where it tells what is committed alone.
        totals[name] = totals.get(name, 0) + int(counter.result or 0)
    # A counter that was never touched is not reported: 0 where others are there.
    return {name: totals.get(name, 0) for name in COUNTERS} if totals else {}


def _complete(directory: str, measured: dict[str, Any]) -> dict[str, Any]:
    """Adds what only the launcher knows to the summary that the pipeline wrote."""
    path = FileSystems.join(output(directory), FILE_NAME)
    with FileSystems.open(path) as f:
        content: dict[str, Any] = orjson.loads(f.read())
    content.update(measured)
    text = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    whole_files.write_whole(path, text)
    return content
