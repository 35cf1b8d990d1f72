"""Handles synchronous requests: one chat, answered in one piece or as a stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from uuid import uuid4

from kimi_beam.emulator import catalogue, jsonmode, replies, stream, work
from kimi_beam.emulator.batch import Writer
from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.ledger import Ledger
from kimi_beam.emulator.received import Call
from kimi_beam.emulator.refusals import BadInput, Refused
from kimi_beam.emulator.replies import Completion, Json, Reply
from kimi_beam.emulator.work import Task

logger = logging.getLogger(__name__)


class Runs:
    """Runs of all accounts.

    Args:
        ledger: The state across requests.
        writer: Writes answers.
        thread: The thread for the writer.
        behaviour: The choices where the service is not documented.
        latency: Seconds a run takes; a stream's events are spread over them.
        clock: Returns the time in Unix seconds.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        writer: Writer,
        thread: Executor,
        behaviour: Behaviour,
        latency: float,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._writer = writer
        self._thread = thread
        self._behaviour = behaviour
        # Only Cloudflare refuses these two.
        self._elsewhere = replace(behaviour, null_content="accepted", image_urls="accepted")
        self._latency = latency
        self._clock = clock
        self._completions = 0
        self._places: dict[str, asyncio.Semaphore] = {}

    async def run(self, call: Call, model: str, request: Json) -> Reply:
        """Answer a request.

        Raises:
            Refused: The request is refused.
        """
        if len(call.body) > self._behaviour.size_limit:
            raise Refused(3006)
        streams = request.get("stream") is True and self._behaviour.streaming == "events"
        if streams and call.surface != "openai" and jsonmode.form(request.get("response_format")) is not None:
            raise Refused(5023)  # observed
        task = work.read(request, model, self._elsewhere if call.surface == "openai" else self._behaviour)
        busy = _busy(request) or self._behaviour.over_capacity == "refused"
        if self._behaviour.capacity is None:
            return await self._answer(call, model, request, task, streams=streams)
        place = self._places.setdefault(model, asyncio.Semaphore(self._behaviour.capacity))
        if place.locked() and busy:
            raise Refused(3040)
        async with place:
            return await self._answer(call, model, request, task, streams=streams)

    async def _answer(self, call: Call, model: str, request: Json, task: Task, *, streams: bool) -> Reply:
        injector = self._ledger.injector
        broken = injector.stream(task.key) if streams else None
        if broken == "stream_error":
            return _stream((stream.event(_first_error()),), 0.0)
        fault = injector.item(
            task.key, is_synchronous=True, structured=task.structured, is_correction=bool(task.correction)
        )
        instance = self._ledger.prefixes.instance((call.account, model), call.session)
        task = self._ledger.accept(task, fault, instance)
        self._ledger.statistics.runs += 1
        self._completions += 1
        name = f"run:{self._completions}"
        if not streams:
            await asyncio.sleep(min(self._latency, self._behaviour.cut_off))
            if self._latency > self._behaviour.cut_off:
                raise Refused(3046, f"AiError: AiError: Request timeout ({uuid4()})")
        completion = await self._completed(task, model, name)
        self._ledger.note(completion.completion_tokens, completion.wrong_leaves)
        signed, created = self._writer.signed(model), int(self._clock())
        field = self._behaviour.reasoning_field
        if streams:
            style = self._style(call, request)
            events = stream.events(completion, model=signed, created=created, style=style)
            if broken == "stream_cut":
                return _stream(events[: max(2, len(events) // 2)], self._latency, cut=True)
            return _stream(events, self._latency)
        result = replies.chat_completion(completion, model=signed, created=created, reasoning_field=field)
        if call.surface == "openai":
            return replies.bare(result)
        neurons = catalogue.neurons(
            model, completion.prompt_tokens, completion.cached_tokens, completion.completion_tokens
        )
        reply = replies.success(result) if call.surface == "run" else replies.bare(result)
        return replace(reply, headers={"cf-ai-neurons": str(neurons)})  # observed: on 2xx only

    async def _completed(self, task: Task, model: str, name: str) -> Completion:
        if task.refusal is not None:  # the refusal of a fault, as other refusals were raised when the task was read
            raise jsonmode.not_met(self._behaviour)
        if task.fault == "failed_item":
            raise Refused(8005, f"AiError: AiError: the request could not be processed ({uuid4()})")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._writer.complete, task, model, name)
        except Refused:
            raise
        except Exception as error:
            logger.exception("no answer for a synchronous run")
            raise Refused(8005, f"AiError: AiError: {error!r} ({uuid4()})") from error

    def _style(self, call: Call, request: Json) -> stream.Style:
        behaviour = self._behaviour
        options = request.get("stream_options")
        asked = isinstance(options, dict) and options.get("include_usage") is True
        every = behaviour.stream_usage == "every" and call.surface != "openai"
        closing = behaviour.stream_closing == "always" or (behaviour.stream_closing == "run" and call.surface == "run")
        return stream.Style(
            reasoning_field=behaviour.reasoning_field,
            usage="every" if every else "last" if asked else "none",
            closing=closing and call.surface != "openai",
            echo=behaviour.stream_echo,
            padding=call.surface != "openai",
        )


def _stream(events: tuple[bytes, ...], seconds: float, *, cut: bool = False) -> Reply:
    pause = seconds / max(1, len(events) - 1)
    return Reply(200, b"", media_type=stream.MEDIA_TYPE, pieces=events, pause=pause, cut=cut)


def _first_error() -> Json:
    """Make an event that reports an error under HTTP 200 [observed: its ``errors``; assumed: the rest]."""
    refusal = Refused(3040)
    return {"errors": [{"message": refusal.message, "code": refusal.code}], "success": False, "result": {}}


def _busy(request: Json) -> bool:
    """Whether a request asks to be refused if it would have to wait [documented: reject-if-busy]."""
    options = request.get("options")
    if not isinstance(options, dict | None):
        raise BadInput("Type mismatch of '/options', 'object' expected")
    return options is not None and options.get("rejectIfBusy") is True
