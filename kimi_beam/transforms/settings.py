"""`ExtractSettings`: everything that was asked of one `Extract`, as one value that each of its steps is given whole."""

from __future__ import annotations

from dataclasses import dataclass, field

from kimi_beam.errors import ConfigError
from kimi_beam.journal.records import Journaling
from kimi_beam.network.client import SUBMITS_AT_ONCE
from kimi_beam.queue.event_inbox import Events
from kimi_beam.report.outcomes import StopAfter
from kimi_beam.request.packing import Batching
from kimi_beam.request.prompt import DEFAULT_INSTRUCTIONS, Prompt, StructuredOutput
from kimi_beam.schema import OutputSchema
from kimi_beam.service.polling import Polling
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.synchronous.tools import Tool


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """How documents are extracted. It travels to the workers inside of each step: values only, and no secret.

    What the pipeline decides, such as whether its input is bounded, is told to a step beside the settings.

    Attributes:
        schema: What each document becomes.
        service: Where the service is, which model is asked and by which API.
        instructions: The user's own words to the model.
        prompt_metadata: Keys of `Document.metadata` that the model may see.
        batching: How documents are packed into batches.
        polling: When finished jobs are looked for, and when they are given up.
        max_in_flight: Jobs that one shard has submitted and not finished, at most.
        max_concurrency: Synchronous requests that a worker process has in flight, at most.
        max_completion_tokens: Tokens of each answer, at most. None: as many as the schema's longest answer needs.
        structured_output: How the answer's shape is asked for.
        thinking: Whether the model thinks before it answers.
        tools: Functions that the model may call before it answers; only with the synchronous APIs.
        journaling: Where answers are kept. None: nowhere, so that a repeated bundle asks again.
        events: The Cloudflare Queue that tells of finished jobs. None: jobs are polled.
        record_batches: Whether the rows of a job leave as one `pyarrow.RecordBatch`, not each as an `Extraction`.
        shards: Keys that the work is spread over. None: by the runner's number of workers.
        max_submits_at_once: Submits that a worker process has in the air at once, at most.
        stop_after: How many failed documents end the sending. None: it goes on whatever fails.

    Raises:
        ConfigError: A number is not positive, or one setting contradicts another.
        SchemaError: No answer to the schema can be valid.
    """

    schema: OutputSchema
    service: WorkersAI
    instructions: str = DEFAULT_INSTRUCTIONS
    prompt_metadata: tuple[str, ...] = ()
    batching: Batching = field(default_factory=Batching)
    polling: Polling = field(default_factory=Polling)
    max_in_flight: int = 128
    max_concurrency: int = 64
    max_completion_tokens: int | None = None
    structured_output: StructuredOutput = "schema"
    thinking: bool = False
    tools: tuple[Tool, ...] = ()
    journaling: Journaling | None = None
    events: Events | None = None
    record_batches: bool = False
    shards: int | None = None
    max_submits_at_once: int = SUBMITS_AT_ONCE
    stop_after: StopAfter | None = None

    prompt: Prompt = field(init=False, repr=False, compare=False)
    """What all requests have in common. It is made here, once, so that a schema that cannot be asked for is refused
    before there is a pipeline."""

    def __post_init__(self) -> None:
        numbers = (
            self.max_in_flight,
            self.max_concurrency,
            self.max_submits_at_once,
            self.max_completion_tokens,
            self.shards,
        )
        if any(number is not None and number < 1 for number in numbers):
            names = "max_in_flight, max_concurrency, max_submits_at_once, max_completion_tokens and shards"
            raise ConfigError(f"Extract: {names} must be at least 1")
        if not isinstance(self.service, WorkersAI):
            raise ConfigError("Extract: service is a kimi_beam.WorkersAI")
        if self.tools and self.service.api == "batch":
            raise ConfigError("Extract: tools need turns, which the queue has not: WorkersAI(api='run') or 'chat'")
        prompt = Prompt(
            schema=self.schema,
            instructions=self.instructions,
            metadata_keys=self.prompt_metadata,
            max_completion_tokens=self.max_completion_tokens,
            structured_output=self.structured_output,
            thinking=self.thinking,
            model=self.service.model,
            api=self.service.api,
            is_elsewhere=self.service.is_elsewhere,
            tools=tuple(tool.declaration for tool in self.tools),
        )
        object.__setattr__(self, "prompt", prompt)
        if self.events is not None:
            self.service.check_events()

    @property
    def may_repeat(self) -> bool:
        """Whether a submit whose fate is unknown may be sent again, which may pay for it twice."""
        return self.journaling is None or self.journaling.may_repeat
