"""`Behaviour`: the emulator's choices where the real service is undocumented or differs between accounts.

Every field is one thing that is unknown about Workers AI with Kimi, or that differs between accounts: the default is
the likelier case, the other values are the alternatives, so that a client can be tried against each. All of it is
[assumed] unless a field says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DAY: float = 24 * 60 * 60.0


@dataclass(frozen=True)
class Behaviour:
    """The choices an emulator is started with.

    The batch queue:

    Attributes:
        array: Name of the array in a finished job: ``results`` with ``index`` [observed: a live K2.6 job], or
            ``responses`` with ``id`` and ``external_reference: null`` where none was sent [documented: batch page,
            classic models].
        order: Order of the items in a finished job: ``shuffled`` by the seed [observed: not submit order], or
            ``submitted``.
        index_from: The number of a job's first item: 0 [observed: the numbers of a captured job; nobody says what they
            count], 1 or -1.
        references: ``external_reference`` comes back ``echoed`` with its own item [documented, observed], ``shuffled``
            among the items of its job, or it is ``dropped`` [assumed: what a fault of the service might do].
        item_failure: Where the reason of a failed item stands: under ``error``, under ``result`` as a list of errors,
            or nowhere, because the item is ``missing``.
        job_failure: What polling a failed job answers: an HTTP ``error`` (500) with code 5001, or a ``status`` of
            ``error``.
        unknown_id_status: HTTP status with code 5504 for an unknown or expired request id: 404 or 400 [observed:
            "4xx"].
        no_queue_status: HTTP status with code 8007 for a model without a queue: 400 or 405.
        empty_requests: ``requests: []`` is ``refused`` (400 / 5006) or ``accepted`` (a job with an empty array).
        oversize: A body over ``size_limit`` is ``accepted`` and never finishes [observed: 47 MB], or ``refused`` (413 /
            3006).
        size_limit: Bytes a submit may have; 10 MB [documented: batch pages].
        retention: Seconds after which a job is forgotten; 24 hours. A job a week old was gone [observed].
        k2_5_queue: Submitting to kimi-k2.5 is ``refused`` (8007) [observed: its last known answer], or served through
            the ``alias`` of kimi-k2.6 while ``model`` still says k2.5.
        batch_requests_per_minute: Submits and polls a minute for each account and model before 429 / 3021; None is no
            limit. Whether they count at all is unknown; if so, 20 is the likely number.
        cached_tokens: ``cached_tokens`` of a job is reported for the ``job`` only, ``null`` in each item [observed], or
            per ``item`` too. A synchronous answer always has its own.
        batch_affinity: Whether ``x-session-affinity`` chooses the instance in the queue too; if not, the header has no
            effect there.

    Synchronous requests:

    Attributes:
        requests_per_minute: Runs a minute for each account and model before 429 / 3021 with ``retry-after``; None is no
            limit and no ``Ratelimit`` header. Documented for K2.6: 20, with prepaid gateway credits 50 [limits page];
            that the headers come with Workers AI is assumed.
        minute: Seconds that the minute of these limits has, so that a test need not wait for one.
        limit_headers: Whether ``Ratelimit`` and ``retry-after`` tell of them; that they do is unproven.
        capacity: How many runs a model takes at once; more wait, or are refused with 3040 if they say ``rejectIfBusy``
            [documented: reject-if-busy]. None is enough for all. A stream counts until its first piece.
        over_capacity: What is too much for `capacity` ``waits`` unless it says otherwise, or is ``refused`` whatever it
            says [observed: bursts of 3040 on K2.6 and K2.7].
        cut_off: Seconds after which a run that does not stream ends in 408 / 3046 [observed: about 120].
        accounts: The account ids that exist; others are 404 / 7003 [observed]. None accepts any.
        plan: On the ``free`` plan K2.6 and K2.7 are 403 / 5035 [documented: changelog 2026-07-28]; ``paid`` has them.
        streaming: ``stream: true`` is answered with ``events``, or it is ``ignored`` and answered in one piece of JSON
            [observed: some models on ``/ai/run``].
        stream_usage: ``usage`` stands on ``every`` chunk [observed], or in one last chunk if ``asked`` for with
            ``stream_options.include_usage`` [documented: OpenAI's form].
        stream_closing: Whether ``{"response":"","usage":…}`` precedes ``[DONE]`` [observed: it may]: on ``/ai/run``
            (``run``), ``always`` or ``never``.
        stream_echo: Whether a chunk repeats its text as ``response`` at the top [observed: it may].
        openai_errors: ``/ai/v1`` answers errors in Cloudflare's ``envelope`` [observed] or in the ``openai`` form
            [observed once].
        openai_models: Model ids that the OpenAI-style root ``/v1`` serves; empty serves any.

    The answer:

    Attributes:
        enforce_schema: Whether the schema in ``response_format`` shapes the answer; if not, it is ignored, as some
            models do.
        schema_forms: Which forms of ``json_schema`` are enforced: ``both``, only the ``openai`` form A, or only the
            ``bare`` form B; the other is ignored.
        union_types: A schema with union types is ``accepted``, or ``refused`` with 5024 [observed: dense schemas]. With
            ``any_of`` it is refused where it has a list of types or ``nullable: true``, and accepted where it says
            the same by ``anyOf`` [observed: llama-3.3-70b].
        json_mode_status: HTTP status with code 5024.
        without_json_schema: Models that answer 403 / 5025 to any ``json_schema`` [observed].
        required_tools: ``tool_choice: "required"`` is ``advice`` while the model thinks [observed], or ``enforced``.
        forced_tool_with_switch: A named function together with a thinking switch is ``accepted``, or an ``error`` (500
            / 8005) [observed: one report].
        null_content: An assistant turn with ``content: null`` is ``refused`` (5006) [observed], or ``accepted``.
        thinking_switch: What turns thinking off: ``any`` known switch, only the model's own ``documented`` one, or it
            is ``ignored`` [observed: workers-sdk 13239]. Nothing turns K2.7's off [documented].
        reasoning_field: Where reasoning stands: ``reasoning_content`` [observed: K2.6 batch], ``reasoning``
            [documented: changelog 2026-04-20], or ``both`` [observed: streams].
        reasoning_tokens: How much the stand-in thinks.
        image_tokens: What an image costs.
        image_texts: A plain text that holds ``data:image/`` is ``accepted``, or ``refused`` (400 / 8006) [observed:
            K2.6 and K2.7, July 2026].
        queue_images: A request with a picture in a job is ``accepted`` [observed: Llama 4 Scout], ``refused`` with the
            whole submit (5006), or ``failed`` as the item that it is (8006) [assumed: never seen on Kimi].
        image_urls: An ``https:`` image is ``refused`` (400 / 5004), or ``accepted``.
        instances: Machines of a model that requests without ``x-session-affinity`` go to in turn; each has its own
            prefix cache.

    AI Gateway:

    Attributes:
        gateways: The gateways that exist beside ``default``; others are 400 / 2001 [observed]. None accepts any.
        gateway_token: What ``cf-aig-authorization`` must carry; None is a gateway without authentication.
        gateway_cache: Seconds an equal request gets the same reply from a gateway, unless it says
            ``cf-aig-skip-cache: true``; ``cf-aig-cache-ttl`` overrides it [documented]. 0 is a gateway whose cache is
            off. On by default, so that a client that polls through the cache is caught.

    Events, and the Cloudflare Queues that they go to:

    Attributes:
        event_queues: Ids of the queues that are subscribed to the batch events and have a pull consumer; any other is
            404 / 10104 [documented: queues/reference/error-codes; the status is assumed].
        event_body: A message's body is ``base64``, as ``json`` is encoded [documented], or ``plain`` JSON as the same
            page's sample shows it.
        event_retries: Deliveries of a message after its first, before it is deleted [documented: 3 unless the consumer
            says otherwise].
    """

    array: Literal["results", "responses"] = "results"
    order: Literal["shuffled", "submitted"] = "shuffled"
    index_from: Literal[0, 1, -1] = 0
    references: Literal["echoed", "shuffled", "dropped"] = "echoed"
    item_failure: Literal["error", "result", "missing"] = "error"
    job_failure: Literal["error", "status"] = "error"
    unknown_id_status: Literal[404, 400] = 404
    no_queue_status: Literal[400, 405] = 400
    empty_requests: Literal["refused", "accepted"] = "refused"
    oversize: Literal["accepted", "refused"] = "accepted"
    size_limit: int = 10_000_000
    retention: float = DAY
    k2_5_queue: Literal["refused", "alias"] = "refused"
    batch_requests_per_minute: int | None = None
    cached_tokens: Literal["job", "item"] = "job"
    batch_affinity: bool = False

    requests_per_minute: int | None = None
    minute: float = 60.0
    limit_headers: bool = True
    capacity: int | None = None
    over_capacity: Literal["waits", "refused"] = "waits"
    cut_off: float = 120.0
    accounts: tuple[str, ...] | None = None
    plan: Literal["paid", "free"] = "paid"
    streaming: Literal["events", "ignored"] = "events"
    stream_usage: Literal["every", "asked"] = "every"
    stream_closing: Literal["run", "always", "never"] = "run"
    stream_echo: bool = False
    openai_errors: Literal["envelope", "openai"] = "envelope"
    openai_models: tuple[str, ...] = ()

    enforce_schema: bool = True
    schema_forms: Literal["both", "openai", "bare"] = "both"
    union_types: Literal["accepted", "any_of", "refused"] = "accepted"
    json_mode_status: int = 400
    without_json_schema: tuple[str, ...] = ()
    required_tools: Literal["advice", "enforced"] = "advice"
    forced_tool_with_switch: Literal["accepted", "error"] = "accepted"
    null_content: Literal["refused", "accepted"] = "refused"
    thinking_switch: Literal["any", "documented", "ignored"] = "any"
    reasoning_field: Literal["reasoning_content", "reasoning", "both"] = "reasoning_content"
    reasoning_tokens: int = 8
    image_tokens: int = 1024
    image_texts: Literal["accepted", "refused"] = "accepted"
    queue_images: Literal["accepted", "refused", "failed"] = "accepted"
    image_urls: Literal["refused", "accepted"] = "refused"
    instances: int = 1

    gateways: tuple[str, ...] | None = None
    gateway_token: str | None = None
    gateway_cache: float = 3600.0

    event_queues: tuple[str, ...] = ()
    event_body: Literal["base64", "plain"] = "base64"
    event_retries: int = 3
