"""`Extract`: documents in, extractions and dead letters out. This module only connects its steps.

::

    Document ─▶ MakeBatches ─▶ Dispatch ─▶ Settle ─▶ Extraction │ DeadLetter
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.error_handling import ErrorHandler
from apache_beam.transforms.window import GlobalWindows
from apache_beam.typehints import KV, Union
from apache_beam.utils.windowed_value import WindowedValue

from kimi_beam.beam_extensions.element_types import TypedTransform
from kimi_beam.errors import ConfigError
from kimi_beam.files.paths import is_local
from kimi_beam.files.whole_files import check_writable
from kimi_beam.journal.records import Journaling
from kimi_beam.network.allowance import forget_quotas
from kimi_beam.network.client import SUBMITS_AT_ONCE
from kimi_beam.queue.event_inbox import Events
from kimi_beam.report.notices import forget_notices
from kimi_beam.report.outcomes import OutcomesHandle, StopAfter
from kimi_beam.request.answer_forms import StructuredOutput
from kimi_beam.request.guidance import Example, Guidance
from kimi_beam.request.packing import Batching
from kimi_beam.request.redact_document import Finder, RedactImages, Redactor
from kimi_beam.request.system_message import DEFAULT_INSTRUCTIONS
from kimi_beam.schema import OutputSchema, SchemaSource
from kimi_beam.service.models import MODELS
from kimi_beam.service.polling import Polling
from kimi_beam.service.prices import Price
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.stream.keep_arrival import KeepArrival
from kimi_beam.synchronous.server_form import forget_server_forms
from kimi_beam.synchronous.tools import declared
from kimi_beam.transforms.ask_model import ask_model, label_of_extract
from kimi_beam.transforms.conservation import COUNTS, CheckConservation, Counts
from kimi_beam.transforms.make_batches import MakeBatches, MakeBatchesOfMany
from kimi_beam.transforms.redact import Redact
from kimi_beam.transforms.runner_traits import default_shards, is_one_process
from kimi_beam.transforms.settings import ExtractSettings
from kimi_beam.transforms.settle import DEAD_LETTERS, Settle
from kimi_beam.transforms.windows import RestoreWindows, check_restorable, check_windows
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document
from kimi_beam.types.extraction import Extraction

EXTRACTIONS = "extractions"
_BATCHES = "batches"


class Extracted(NamedTuple):
    """The outputs of `Extract`. Each document is in exactly one of them.

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

    In bounded input, all documents that share an id become ``duplicate_id`` dead letters before anything is submitted.
    At the end the documents that entered are compared with those that left, and the run fails if the runner lost or
    doubled any. Results are in the windows of their documents.

    In unbounded input ids are not compared, and results have the time of the answer as timestamp. A Python timer cannot
    hold the watermark back for a job in flight, so group results in the global window or allow lateness.

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
        schema: The schema of the answers: a JSON Schema (dict or file), a pydantic model, or an `OutputSchema`.
        service: The service, the model and its API.
        instructions: The user's own words to the model.
        prompt_metadata: Keys of the documents' metadata that the model is shown; none by default.
        examples: Documents with their right answers, which the model is shown before every document.
        glossary: Terms of the documents or the schema with their meanings, which the model is told.
        language: The language of the documents, as a name or a tag (``de-CH``). None: nothing is said of it.
        redact: What the model is not shown: the rules ``iban``, ``card``, ``email`` and ``phone``, functions that take
            a text and give ``(start, end, kind)``, or a list of both. The values come back in rows; dead letters hold
            stand-ins. None: the model is shown all.
        redact_images: Whether documents with pictures, which cannot be redacted, are sent (``allow``) or become dead
            letters.
        keep_originals: Whether dead letters hold redacted documents as they came in, so that they can be run again.
        batching: How documents are packed into batches.
        polling: When jobs are polled, and when they are given up.
        max_in_flight: The most jobs of one shard at the same time.
        max_concurrency: The most synchronous requests of a worker process at the same time.
        max_completion_tokens: The most tokens of an answer. None: estimated from the schema.
        structured_output: How the schema is enforced: ``schema``, ``bare``, ``prompt`` or ``tool``.
        thinking: Whether the model thinks first. It costs as much as writing, and copying fields seldom needs it.
        tools: Functions that the model may call before it answers, at most 5 times a document; only with the
            synchronous APIs. They must be safe to repeat and importable on the workers.
        journal: Where answers are recorded so that they are not paid for again: a directory on any filesystem of
            Beam's, or a `Journaling`. None: nowhere, so that a bundle or run that is repeated asks again.
        events: The id of a Cloudflare Queue that gets the model's batch events, or `Events`. Answers are then fetched
            when their event comes, and jobs are polled rarely. None: jobs are only polled.
        record_batches: Whether the rows of a job are output as one `pyarrow.RecordBatch` with the Parquet file's schema
            instead of as `Extraction`s. It takes less CPU; `WriteParquet` and `WriteDataset` accept both. For bounded
            input.
        shards: The number of keys that the work is spread over. Between worker processes a limit of requests a minute
            is split by shard. None: depends on the runner's number of workers.
        max_submits_at_once: The most submits of a worker process at the same time. If a worker is killed, so many
            batches may be paid for twice.
        stop_after: How many documents have to fail (200), or which share of at least 200 settled ones (``"50%"``),
            before a worker process sends no more. Each counts its own documents. The remaining ones become ``stopped``
            dead letters, which can be run again. Until the bound can be reached, a shard of the queue has only so many
            documents in flight as that takes, in whole batches. For bounded input. None: sending never stops.
        chunk_tokens: The most tokens of text that the model is shown at once, estimated. A longer document is asked for
            in parts, whose answers are merged into one (docs/howto/long-documents.md). None: only where it has to be.
        coerce: Whether values of invalid answers are changed to what the schema wants, where that can be done in one
            way only: ``"12.50"`` to a number, a scalar to an array of one (docs/howto/repairs.md).
        repairs: How often the model is asked again, at most, for a document or a part whose answer cannot be read, is
            invalid, empty or cut off. It is shown its last answer and what is wrong with it (docs/howto/repairs.md).
        samples: How many answers each document is asked for. What most of them say is voted for, value by value, and
            the row says where they disagree (docs/howto/samples.md). Each is billed.
        ground: Whether each row says where its values stand in the document (docs/howto/grounding.md).
        require_grounding: Fields whose values have to stand in the document, which is then `ground`-ed: ``total``,
            ``items.amount``, or ``all``. A document with one that does not is an ``ungrounded`` dead letter; with
            ``:null`` behind the field, as ``total:null``, the value becomes null instead.
        max_cost: The most US dollars that all runs with the journal may spend together. The most that a request may
            cost is reserved before it is sent, and what is not sent for want of money becomes a ``budget`` dead letter
            (docs/howto/money.md). It needs a `journal` and a model whose price is known. None: there is no bound.
        price: The model's price, if it is not the known one. Only `max_cost` needs it.

    Raises:
        SchemaError: The schema cannot be read or compiled.
        ConfigError: A number is not positive; the answer of an example is invalid; a document is in several windows at
            once; or, on Dataflow, a token is named by an environment variable.
        ElementTypeError: The input elements are no documents. If Beam does not know their type, it is raised in the
            running pipeline.
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
        examples: Sequence[Example] = (),
        glossary: Mapping[str, str] | None = None,
        language: str | None = None,
        redact: str | Finder | Sequence[str | Finder] | None = None,
        redact_images: RedactImages = "refuse",
        keep_originals: bool = False,
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
        chunk_tokens: int | None = None,
        coerce: bool = False,
        ground: bool = False,
        require_grounding: str | Sequence[str] = (),
        repairs: int = 1,
        max_cost: float | None = None,
        price: Price | None = None,
        samples: int = 1,
    ) -> None:
        super().__init__()
        self._settings = ExtractSettings(
            schema=OutputSchema(schema),
            service=service,
            instructions=instructions,
            prompt_metadata=tuple(prompt_metadata),
            guidance=Guidance.of(examples, glossary, language),
            redactor=None if redact is None else Redactor.of(redact, redact_images, keeps_originals=keep_originals),
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
            chunk_tokens=chunk_tokens,
            coerce=coerce,
            ground=ground,
            require_grounding=_listed(require_grounding),
            repairs=repairs,
            max_cost=max_cost,
            price=price,
            samples=samples,
        )
        model = MODELS.get(service.model)
        if model is not None and model.is_deprecated:
            warnings.warn(f"{model.id} is {model.note}", stacklevel=2)
        self._handler: ErrorHandler | None = None

    @classmethod
    def from_settings(cls, settings: ExtractSettings) -> Extract:
        """Makes the transform from settings, as the command line does."""
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
        outcomes_handle = OutcomesHandle(settings.stop_after)
        windowing, is_bounded = documents.windowing, documents.is_bounded
        is_windowed = not isinstance(windowing.windowfn, GlobalWindows)
        if is_windowed:
            check_windows(windowing)
        restores_windows = is_windowed and is_bounded
        if restores_windows:
            if settings.record_batches:
                raise ConfigError(
                    "Extract: record_batches is for the global window: a batch holds rows of many windows"
                )
            check_restorable(windowing, documents.pipeline)
        # An earlier pipeline of this process leaves nothing behind that this one would go by.
        forget_quotas()
        forget_server_forms()
        forget_notices()
        if "Dataflow" in type(documents.pipeline.runner).__name__:
            settings.service.check_remote("Dataflow")
        if settings.journaling is not None and not is_local(settings.journaling.directory):
            check_writable(settings.journaling.directory)
        shards = settings.shards or default_shards(
            documents.pipeline.options, holds_jobs=is_bounded and settings.service.api == "batch"
        )
        if settings.redactor is not None:
            documents = documents | "Redact" >> beam.ParDo(Redact(settings.redactor)).with_output_types(Document)
        if not is_bounded or is_windowed:
            # Results of bounded input are put back into these windows, not into those that an earlier Extract has kept.
            keep = KeepArrival(anew=restores_windows)
            documents = documents | "KeepArrival" >> beam.ParDo(keep).with_output_types(Document)
        if not documents.windowing.is_default():
            documents = documents | "GlobalWindow" >> beam.WindowInto(GlobalWindows())
        make = MakeBatchesOfMany if documents.element_type is Document else MakeBatches
        packing = beam.ParDo(make(settings, shards, counts=is_bounded))
        if is_bounded:
            output_types = Union[KV[str, bytes], Counts, WindowedValue]
            tagged = packing.with_output_types(output_types).with_outputs(COUNTS, main=_BATCHES)
            packed = documents | "MakeBatches" >> tagged.with_output_types(output_types)
            batches = packed[_BATCHES]
            batches.element_type = KV[str, bytes]
        else:  # without a second output, because Flink finds the state of a running job by the name of the only one
            batches = documents | "MakeBatches" >> packing.with_output_types(tuple[str, bytes])
        rate_shares = 1 if is_one_process(documents.pipeline) else shards
        output_types = Union[row_type, DeadLetter, Counts, WindowedValue]
        settle = beam.ParDo(Settle(settings, outcomes_handle, counts=is_bounded))
        # Beam wants the types of all outputs together, both of the step and of its tagged outputs. `WindowedValue` is
        # one of them because a check of the running pipeline sees the counts as such when a bundle is finished.
        tagged = settle.with_output_types(output_types).with_outputs(DEAD_LETTERS, COUNTS, main=EXTRACTIONS)
        replies = ask_model(batches, settings, outcomes_handle, rate_shares)
        settled = replies | "Settle" >> tagged.with_output_types(output_types)
        settled[EXTRACTIONS].element_type = row_type
        settled[DEAD_LETTERS].element_type = DeadLetter
        if is_bounded:
            packed[COUNTS].element_type = settled[COUNTS].element_type = Counts
            (packed[COUNTS], settled[COUNTS]) | "CheckConservation" >> CheckConservation(label_of_extract(batches))
        results = Extracted(settled[EXTRACTIONS], settled[DEAD_LETTERS])
        if restores_windows:
            results = Extracted(
                results.extractions | "ExtractionWindows" >> RestoreWindows(windowing).with_output_types(Extraction),
                results.dead_letters | "DeadLetterWindows" >> RestoreWindows(windowing).with_output_types(DeadLetter),
            )
        if self._handler is None:
            return results
        self._handler.add_error_pcollection(results.dead_letters)
        return results.extractions


def _listed(fields: str | Sequence[str]) -> tuple[str, ...]:
    """Names that may be written in one text, with commas between them."""
    return tuple(filter(None, fields.split(",")) if isinstance(fields, str) else fields)
