"""`ExtractSettings`: all settings of one `Extract`, as one value that is passed to each of its steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

from kimi_beam.errors import ConfigError
from kimi_beam.grounding.demands import demands_of
from kimi_beam.journal.recorder import Keys
from kimi_beam.journal.records import Journaling
from kimi_beam.journal.spending_files import open_budget
from kimi_beam.network.client import SUBMITS_AT_ONCE
from kimi_beam.queue.event_inbox import Events
from kimi_beam.queue.within_budget import SubmitBudget
from kimi_beam.report.outcomes import StopAfter
from kimi_beam.request.answer_forms import StructuredOutput
from kimi_beam.request.document_parts import DocumentParts
from kimi_beam.request.guidance import NO_GUIDANCE, Guidance
from kimi_beam.request.highest_cost import HighestCost
from kimi_beam.request.packing import Batching
from kimi_beam.request.prompt import Prompt
from kimi_beam.request.redact_document import Redactor
from kimi_beam.request.system_message import DEFAULT_INSTRUCTIONS
from kimi_beam.results.ground_rows import GroundRules
from kimi_beam.schema import OutputSchema, jsontext
from kimi_beam.service.budget import Budget
from kimi_beam.service.polling import Polling
from kimi_beam.service.prices import PRICES, Price
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.synchronous.request_budget import RequestBudget
from kimi_beam.synchronous.tools import Tool

_MOST_SAMPLES = 15


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """The settings of one `Extract`. They are pickled with each of its steps, and contain no secret.

    What depends on the pipeline, such as whether its input is bounded, is passed to a step beside the settings.

    Attributes:
        schema: The schema of the answers.
        service: The service, the model and its API.
        instructions: The user's own words to the model.
        prompt_metadata: Keys of `Document.metadata` that the model may see.
        guidance: What the model is told beside the instructions: examples, the meanings of terms, and a language.
        redactor: What the model is not shown of documents. None: it is shown all.
        batching: How documents are packed into batches.
        polling: When jobs are polled, and when they are given up.
        max_in_flight: The most jobs of one shard at the same time.
        max_concurrency: The most synchronous requests of a worker process at the same time.
        max_completion_tokens: The most tokens of an answer. None: estimated from the schema.
        structured_output: How the schema is enforced.
        thinking: Whether the model thinks before it answers.
        tools: Functions that the model may call before it answers; only with the synchronous APIs.
        journaling: Where answers are kept. None: nowhere, so that a repeated bundle asks again.
        events: The Cloudflare Queue with events of jobs that have ended. None: jobs are only polled.
        record_batches: Whether the rows of a job leave as one `pyarrow.RecordBatch`, not each as an `Extraction`.
        shards: The number of keys that the work is spread over. None: depends on the runner's number of workers.
        max_submits_at_once: The most submits of a worker process at the same time.
        stop_after: How many documents have to fail before no more are sent. None: sending never stops.
        chunk_tokens: The most tokens of a part. None: documents are asked for in parts only where they must be.
        coerce: Whether values of invalid answers are changed to what the schema wants where there is one way only.
        ground: Whether each row says where its values stand in the document. `require_grounding` sets it too.
        require_grounding: The fields whose values have to stand in the document (`kimi_beam.grounding.demands`).
        repairs: How often a document or a part is asked for again, at most, because its answer is refused.
        max_cost: The most dollars that all runs with the journal may spend together. None: there is no bound.
        price: The model's price, if not the known one. Only `max_cost` needs it.
        samples: How many answers each document is asked for; what most of them say is voted for, value by value.

    Raises:
        ConfigError: A number is not positive, or one setting contradicts another, or `max_cost` lacks what it needs.
        SchemaError: No answer to the schema can be valid.
    """

    schema: OutputSchema
    service: WorkersAI
    instructions: str = DEFAULT_INSTRUCTIONS
    prompt_metadata: tuple[str, ...] = ()
    guidance: Guidance = NO_GUIDANCE
    redactor: Redactor | None = None
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
    chunk_tokens: int | None = None
    coerce: bool = False
    ground: bool = False
    require_grounding: tuple[str, ...] = ()
    repairs: int = 1
    max_cost: float | None = None
    price: Price | None = None
    samples: int = 1

    prompt: Prompt = field(init=False, repr=False, compare=False)
    """The prompt that these settings make. It is made here so that a schema that cannot be asked for is refused before
    there is a pipeline."""

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
        if self.repairs < 0:
            raise ConfigError("Extract: repairs is a number of times, from 0 on")
        if not 1 <= self.samples <= _MOST_SAMPLES:
            raise ConfigError(f"Extract: samples is a number of answers for each document, from 1 to {_MOST_SAMPLES}")
        if not isinstance(self.service, WorkersAI):
            raise ConfigError("Extract: service is a kimi_beam.WorkersAI")
        if self.max_cost is not None:
            self._check_max_cost(self.max_cost)
        if self.tools and self.service.api == "batch":
            raise ConfigError("Extract: tools need turns, which the queue has not: WorkersAI(api='run') or 'chat'")
        if self.require_grounding:
            demands_of(self.require_grounding, self.schema.places)
            object.__setattr__(self, "ground", True)
        if self.tools and self.redactor is not None:
            raise ConfigError(
                "Extract: tools would get stand-ins for redacted values, and what they answer is sent as it is"
            )
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
            chunk_tokens=self.chunk_tokens,
            guidance=replace(self.guidance, has_stand_ins=self.redactor is not None),
        )
        object.__setattr__(self, "prompt", prompt)
        if self.events is not None:
            self.service.check_events()

    def _check_max_cost(self, max_cost: float) -> None:
        if not 0 < max_cost < math.inf:
            raise ConfigError("max_cost is a number of dollars above 0")
        if self.known_price is None:
            raise ConfigError(
                f"max_cost: the price of {self.service.model} is not known, so no budget can be kept: name it by "
                "--price (Extract(price=…))"
            )
        if self.journaling is None:
            raise ConfigError(
                "max_cost needs a journal, which says what was spent before a worker or a run was lost: name it by "
                "--journal DIR (Extract(journal=…))"
            )

    @property
    def known_price(self) -> Price | None:
        """The price of the model; None if it is not known."""
        return self.price or PRICES.get(self.service.model)

    def budget_of(self, run: str, shares: int) -> Budget | None:
        """What may be spent, as this process knows it; None if there is no bound.

        Args:
            run: Identifies the run.
            shares: The number of shards that have a share each, or 1 if all workers are in this process.
        """
        highest, journaling = self._highest_cost, self.journaling
        if self.max_cost is None or highest is None or journaling is None:
            return None
        return open_budget(journaling.directory, self.max_cost, highest, run, shares)

    def submit_budget(self, budget: Budget | None) -> SubmitBudget | None:
        """The budget as the shards of the queue use it."""
        highest = self._highest_cost
        return None if budget is None or highest is None else SubmitBudget(budget, highest)

    def request_budget(self, budget: Budget | None, shard: str, *, waits: bool) -> RequestBudget | None:
        """The budget as a bundle of synchronous requests uses it. The other arguments are those of `RequestBudget`."""
        highest = self._highest_cost
        return None if budget is None or highest is None else RequestBudget(budget, highest, shard, waits=waits)

    @cached_property
    def _highest_cost(self) -> HighestCost | None:
        return None if self.known_price is None else HighestCost(self.prompt, self.known_price)

    @property
    def parts(self) -> DocumentParts:
        """Divides the documents that are asked for in parts."""
        keys = Keys(self.prompt, self.service)
        return DocumentParts(
            self.prompt, lambda shown, round_: keys.for_parts.of_shown(shown, round_), self.batching, keys.of_shown
        )

    @property
    def ground_rules(self) -> GroundRules | None:
        """How answers are grounded; None if they are not."""
        if not self.ground:
            return None
        demands = demands_of(self.require_grounding, self.schema.places)
        shown = (f"{example.text}\n{jsontext.dumps_any(example.answer).decode()}" for example in self.guidance.examples)
        return GroundRules(self.prompt_metadata, tuple(shown), demands)

    @property
    def may_repeat(self) -> bool:
        """Whether an unknown submit may be repeated, which may pay for it twice."""
        return self.journaling is None or self.journaling.may_repeat
