"""`Extract`: documents in, extractions and dead letters out. It only wires; the deciding is done elsewhere.

::

    Document ─▶ MakeBatches ─▶ Dispatch ─▶ Settle ─▶ Extraction │ DeadLetter
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.error_handling import ErrorHandler
from apache_beam.transforms.window import GlobalWindows
from apache_beam.typehints import KV, Union
from apache_beam.utils.windowed_value import WindowedValue

from kimi_beam.beam_extensions.element_types import TypedTransform
from kimi_beam.beam_extensions.reply_coder import Replies
from kimi_beam.beam_extensions.timer_names import with_own_timers
from kimi_beam.errors import ConfigError
from kimi_beam.files.paths import is_local
from kimi_beam.files.whole_files import check_writable
from kimi_beam.journal.records import Journaling
from kimi_beam.network.allowance import forget_quotas
from kimi_beam.network.client import SUBMITS_AT_ONCE
from kimi_beam.queue.event_inbox import Events
from kimi_beam.report.notices import forget_notices
from kimi_beam.report.outcomes import StopAfter, Watch
from kimi_beam.request.packing import Batching
from kimi_beam.request.prompt import DEFAULT_INSTRUCTIONS, StructuredOutput
from kimi_beam.schema import OutputSchema, SchemaSource
from kimi_beam.service.models import MODELS
from kimi_beam.service.polling import Polling
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.stream.keep_arrival import KeepArrival
from kimi_beam.synchronous.server_form import forget_server_forms
from kimi_beam.synchronous.tools import declared
from kimi_beam.transforms.conservation import COUNTS, CheckConservation, Counts
from kimi_beam.transforms.dispatch import DispatchAtOnce, DispatchBounded, DispatchUnbounded
from kimi_beam.transforms.make_batches import MakeBatches, MakeBatchesOfMany
from kimi_beam.transforms.request import Request, Separate, Values
from kimi_beam.transforms.settings import ExtractSettings
from kimi_beam.transforms.settle import DEAD_LETTERS, Settle
from kimi_beam.transforms.windows import RestoreWindows, check_restorable, check_windows
from kimi_beam.types import DeadLetter, Document, Extraction

EXTRACTIONS = "extractions"
_BATCHES = "batches"
_IN_PROCESS = ("FnApiRunner", "DirectRunner", "SwitchingDirectRunner")


class Extracted(NamedTuple):
    """What `Extract` gives: each document is in one of the two.

    Attributes:
        extractions: ``PCollection[Extraction]``, or ``PCollection[RecordBatch]`` with `record_batches`.
        dead_letters: ``PCollection[DeadLetter]``.
    """

    extractions: beam.PCollection
    dead_letters: beam.PCollection


@beam.typehints.with_input_types(Document)
class Extract(TypedTransform):
    """Extracts one instance of a schema from each document: through the model's batch queue, or synchronously.

    ``PCollection[Document] -> extractions: PCollection[Extraction], dead_letters: PCollection[DeadLetter]``, or
    ``extractions: PCollection[RecordBatch]`` with `record_batches`.

    Every document leaves exactly once, by one of the two outputs. Use them as ``result.extractions`` and
    ``result.dead_letters``, or hand the dead letters to a Beam error handler::

        with ErrorHandler(kb.WriteDeadLetters("out/dead")) as dead:
            extractions = documents | kb.Extract(Invoice, service=service).with_error_handler(dead)

    Bounded input has its duplicate ids found before anything is submitted: every holder is a ``duplicate_id`` dead
    letter. When it has ended, the documents that came in are counted against those that left, on every runner: one that
    lost or doubled results fails the run. Results are in the windows of their documents.

    In unbounded input ids are not compared, and outputs carry the time of the answer; as a Python timer cannot
    hold the watermark for a job in flight, group them in the global window or allow lateness.

    Example:
        >>> from kimi_beam.emulator import Emulator
        >>> receipt = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
        >>> with Emulator() as emulator, beam.Pipeline() as pipeline:
        ...     documents = pipeline | beam.Create([kb.Document("a", "Total: 24.80"), kb.Document("b", "")])
        ...     service = kb.WorkersAI.from_env(base_url=emulator.base_url)
        ...     results = documents | kb.Extract(receipt, service=service)
        ...     _ = results.extractions | "rows" >> beam.Map(lambda row: print(row.document_id, row.fields))
        ...     _ = results.dead_letters | "dead" >> beam.Map(lambda dead: print(dead.document.id, dead.failure.code))
        b empty_document
        a {'total': 24.8}

    Args:
        schema: What each document shall become: a JSON Schema (dict or file), a pydantic model, or an `OutputSchema`.
        service: Where the service is and which model is asked.
        instructions: The user's own words to the model.
        prompt_metadata: Keys of the documents' metadata that the model may see; none by default.
        batching: How documents are packed.
        polling: When finished jobs are looked for, and for how long.
        max_in_flight: Jobs that one shard has submitted and not finished.
        max_concurrency: Synchronous requests that a worker process has in flight.
        max_completion_tokens: Bound of each answer. None: read off the schema.
        structured_output: How the answer's shape is asked for: ``schema``, ``bare``, ``prompt`` or ``tool``.
        thinking: Whether the model thinks first: it costs as much as writing, and copying fields seldom needs it.
        tools: Functions that the model may call before it answers, at most 5 times a document; only with the
            synchronous APIs. They must be safe to repeat and importable on the workers.
        journal: Where answers are kept, so that what was paid for is never paid for again: a directory on any
            filesystem of Beam's, or a `Journaling`. None: nowhere; a bundle or a run that is repeated asks again.
        events: Id of a Cloudflare Queue that the model's batch events are sent to, or `Events`: answers are fetched
            when their event comes, and jobs are polled slowly beside it. None: jobs are polled.
        record_batches: Give the rows of a job as one `pyarrow.RecordBatch` of the Parquet file's schema, not each as an
            `Extraction`: that takes less CPU, and `WriteParquet` and `WriteDataset` take both. For bounded input.
        shards: Keys that the work is spread over, and parts that a limit of requests a minute is shared out in where
            workers are processes of their own. None: by the runner's number of workers.
        max_submits_at_once: Submits that a worker process has in the air at once. Of a worker that is killed, as many
            may be paid for twice.
        stop_after: How many documents have to fail, 200 say, or which share of the first 200 or more, ``"50%"``, for a
            worker process to give up sending, by those that it has seen itself: the others are ``stopped`` dead
            letters, which can be run again. Until as many are settled as can reach the bound, each shard of the queue
            has no more than them in flight, in whole batches. For bounded input. None: never.

    Raises:
        SchemaError: The schema cannot be read or compiled.
        ConfigError: A number is not positive; a document is in several windows at once; or, on Dataflow, a token is
            named by an environment variable.
        ElementTypeError: When it is applied to elements that are no documents; where Beam does not know their type, in
            the running pipeline.
        UnmetSchemaError: In a running bounded pipeline: the service can meet the schema with no document (5024).
        AccountError: In a running bounded pipeline: token, account or model are turned away.
        ConservationError: In a running bounded pipeline: the runner lost or doubled documents.
    """

    def __init__(
        self,
        schema: SchemaSource,
        *,
        service: WorkersAI,
        instructions: str = DEFAULT_INSTRUCTIONS,
        prompt_metadata: Sequence[str] = (),
        batching: Batching | None = None,
        polling: Polling | None = None,
        max_in_flight: int = 128,
        max_concurrency: int = 64,
        max_completion_tokens: int | None = None,
        structured_output: StructuredOutput = "schema",
        thinking: bool = False,
        tools: Sequence[Callable[..., Any]] = (),
        journal: str | Journaling | None = None,
        events: str | Events | None = None,
        record_batches: bool = False,
        shards: int | None = None,
        max_submits_at_once: int = SUBMITS_AT_ONCE,
        stop_after: int | str | StopAfter | None = None,
    ) -> None:
        super().__init__()
        self._settings = ExtractSettings(
            schema=OutputSchema(schema),
            service=service,
            instructions=instructions,
            prompt_metadata=tuple(prompt_metadata),
            batching=batching or Batching(),
            polling=polling or Polling(),
            max_in_flight=max_in_flight,
            max_concurrency=max_concurrency,
            max_completion_tokens=max_completion_tokens,
            structured_output=structured_output,
            thinking=thinking,
            tools=declared(tools),
            journaling=Journaling(journal) if isinstance(journal, str) else journal,
            events=Events(events) if isinstance(events, str) else events,
            record_batches=record_batches,
            shards=shards,
            max_submits_at_once=max_submits_at_once,
            stop_after=None if stop_after is None else StopAfter.of(stop_after),
        )
        model = MODELS.get(service.model)
        if model is not None and model.is_deprecated:
            warnings.warn(f"{model.id} is {model.note}", stacklevel=2)
        self._handler: ErrorHandler | None = None

    @classmethod
    def from_settings(cls, settings: ExtractSettings) -> Extract:
        """The transform for settings that were made elsewhere, as the command line makes them."""
        extract = cls(settings.schema, service=settings.service)
        extract._settings = settings
        return extract

    def with_error_handler(self, handler: ErrorHandler | None) -> Extract:
        """Sends the dead letters to a Beam error handler; the output is then the extractions alone."""
        self._handler = handler
        return self

    def expand(self, documents: beam.PCollection) -> Any:
        settings = self._settings
        row_type = pa.RecordBatch if settings.record_batches else Extraction
        if settings.record_batches and not documents.is_bounded:
            raise ConfigError("Extract: record_batches is for bounded input: a stream's rows are filed one by one")
        if settings.stop_after is not None and not documents.is_bounded:
            raise ConfigError("Extract: stop_after is for bounded input: a stream has no first documents")
        watch = Watch(settings.stop_after)
        windowing, is_bounded = documents.windowing, documents.is_bounded
        is_windowed = not isinstance(windowing.windowfn, GlobalWindows)
        if is_windowed:
            check_windows(windowing)
        gives_windows_back = is_windowed and is_bounded
        if gives_windows_back:
            if settings.record_batches:
                raise ConfigError(
                    "Extract: record_batches is for the global window: a batch holds rows of many windows"
                )
            check_restorable(windowing, documents.pipeline)
        forget_quotas()  # of an earlier pipeline of this process
        forget_server_forms()
        forget_notices()
        if "Dataflow" in type(documents.pipeline.runner).__name__:
            settings.service.check_remote("Dataflow")
        if settings.journaling is not None and not is_local(settings.journaling.directory):
            check_writable(settings.journaling.directory)
        shards = settings.shards or default_shards(
            documents.pipeline.options, holds_jobs=is_bounded and settings.service.api == "batch"
        )
        if not is_bounded or is_windowed:
            # Of bounded input the results are given back in these windows, whatever an earlier Extract has kept.
            keep = KeepArrival(anew=gives_windows_back)
            documents = documents | "KeepArrival" >> beam.ParDo(keep).with_output_types(Document)
        if not documents.windowing.is_default():
            documents = documents | "GlobalWindow" >> beam.WindowInto(GlobalWindows())
        make = MakeBatchesOfMany if documents.element_type is Document else MakeBatches
        packing = beam.ParDo(make(settings, shards, counts=is_bounded))
        if is_bounded:
            given = Union[KV[str, bytes], Counts, WindowedValue]
            parted = packing.with_output_types(given).with_outputs(COUNTS, main=_BATCHES).with_output_types(given)
            packed = documents | "MakeBatches" >> parted
            batches = packed[_BATCHES]
            batches.element_type = KV[str, bytes]
        else:  # by its one output, as Flink finds the state of a running job by the name of it
            batches = documents | "MakeBatches" >> packing.with_output_types(tuple[str, bytes])
        parts = 1 if is_one_process(documents.pipeline) else shards
        given = Union[row_type, DeadLetter, Counts, WindowedValue]
        settle = beam.ParDo(Settle(settings, watch, counts=is_bounded))
        # Beam asks for the types of all outputs together, and again of the step that parts them. One of its checks of a
        # running pipeline sees the windowed value of the counts, as they are given out when a bundle is finished.
        parting = settle.with_output_types(given).with_outputs(DEAD_LETTERS, COUNTS, main=EXTRACTIONS)
        settled = self._dispatch(batches, watch, parts) | "Settle" >> parting.with_output_types(given)
        settled[EXTRACTIONS].element_type = row_type
        settled[DEAD_LETTERS].element_type = DeadLetter
        if is_bounded:
            packed[COUNTS].element_type = settled[COUNTS].element_type = Counts
            (packed[COUNTS], settled[COUNTS]) | "CheckConservation" >> CheckConservation(_label(batches))
        results = Extracted(settled[EXTRACTIONS], settled[DEAD_LETTERS])
        if gives_windows_back:
            results = Extracted(
                results.extractions | "ExtractionWindows" >> RestoreWindows(windowing).with_output_types(Extraction),
                results.dead_letters | "DeadLetterWindows" >> RestoreWindows(windowing).with_output_types(DeadLetter),
            )
        if self._handler is None:
            return results
        self._handler.add_error_pcollection(results.dead_letters)
        return results.extractions

    def _dispatch(self, batches: beam.PCollection, watch: Watch, parts: int) -> beam.PCollection:
        """Through the queue, or by a request for each document, as the service's API is."""
        if self._settings.service.api != "batch":
            return self._request(batches, watch, parts)
        step = _label(batches)
        if not batches.is_bounded:
            dispatch = with_own_timers(DispatchUnbounded, step)(self._settings, watch, parts)
            return batches | "Dispatch" >> _giving_replies(dispatch)
        if not keeps_state(batches.pipeline):
            at_once = DispatchAtOnce(self._settings, watch, parts)
            return batches | beam.GroupByKey() | "Dispatch" >> _giving_replies(at_once)
        bounded = with_own_timers(DispatchBounded, step)(self._settings, watch, parts)
        return batches | "Dispatch" >> _giving_replies(bounded)

    def _request(self, batches: beam.PCollection, watch: Watch, parts: int) -> beam.PCollection:
        """Without state: a request is answered in the call that makes it, and its bundle holds the watermark."""
        request = Request(self._settings, watch, parts, bounded=batches.is_bounded)
        if not batches.is_bounded:
            return batches | Values() | "Request" >> _giving_replies(request)
        # Documents of one id meet in one shard. Reshuffled, so that each batch finds a worker that has time.
        good = batches | beam.GroupByKey() | "Separate" >> beam.ParDo(Separate()).with_output_types(bytes)
        # On the input, not on the reshuffle: Flink passes on what the one's coder wrote for the other's to read.
        good.element_type = bytes
        # Nothing joins here: a Flatten ends the stage, and all answers would be pickled on their way to `Settle`.
        return good | beam.Reshuffle() | "Request" >> _giving_replies(request)


def _label(batches: beam.PCollection) -> str:
    """What the user's pipeline calls this `Extract`, with the transforms that it stands in: ``Invoices/Extract``."""
    label: str = batches.producer.full_label
    return label.rpartition("/MakeBatches")[0]


def _giving_replies(do: beam.DoFn) -> beam.ParDo:
    return beam.ParDo(do).with_output_types(Replies)


def is_one_process(pipeline: beam.Pipeline) -> bool:
    """Whether all workers are threads of this process, which then has all of the job's requests a minute."""
    mode = pipeline.options.get_all_options().get("direct_running_mode")
    return type(pipeline.runner).__name__ in (*_IN_PROCESS, "BundleBasedDirectRunner") and mode != "multi_processing"


def keeps_state(pipeline: beam.Pipeline) -> bool:
    """Whether the runner's keyed state and timers can be built upon.

    Those of two of Beam's in-process runners cannot (2.77):

    * `BundleBasedDirectRunner` lets the watermark pass timers, so that what they give out is dropped by any grouping.
    * `FnApiRunner` with several workers hands the bundles of one key to each in turn, and each reads what its own cache
      holds: submits would be repeated and paid for twice.
    """
    runner = type(pipeline.runner).__name__
    workers = int(pipeline.options.get_all_options().get("direct_num_workers") or 0)
    return runner != "BundleBasedDirectRunner" and not (runner in _IN_PROCESS and workers != 1)


def default_shards(options: PipelineOptions, *, holds_jobs: bool) -> int:
    """As many keys as there are workers to hold one: more would only make batches smaller.

    But Flink's streaming mode gives keys to subtasks by a hash, and of as many keys as subtasks a third have none (of
    two both went to one): four for each are spread better. Its batch mode runs one key at a time on each slot, so that
    keys beyond its parallelism wait for each other.

    Args:
        options: The runner's.
        holds_jobs: Whether the work is done where a key is, in full batches: in the queue, of input that ends.
    """
    known = options.get_all_options()
    if "dataflow" in str(known.get("runner") or "").lower():
        return 4 * max(int(known.get("num_workers") or 1), int(known.get("max_num_workers") or 1))
    parallelism = int(known.get("parallelism") or 1)
    spread = 4 if holds_jobs and known.get("streaming") and parallelism > 1 else 1
    return max(1, int(known.get("direct_num_workers") or 1), spread * parallelism)
