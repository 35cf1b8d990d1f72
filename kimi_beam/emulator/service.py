"""The service without its HTTP server: decides what every request is answered.

`Service.handle` answers one POST. It runs in one event loop and changes its state only there; answers are written in a
worker thread, so that a large job does not keep other requests waiting. Each request is checked here in this order:
account and token, gateway and its cache, model, queue, limit per minute, faults. Then it is handed to `queue_requests`
(a submit or a poll) or `synchronous_requests` (a run).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import formatdate
from typing import Literal
from uuid import uuid4

from kimi_beam.emulator import access, catalogue, markdown, replies, work
from kimi_beam.emulator.ai_gateway import Gateway
from kimi_beam.emulator.batch import Writer
from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.events import COUNTED, Events
from kimi_beam.emulator.faults import Endpoint, Faults
from kimi_beam.emulator.leaf_faults import WrongLeaf
from kimi_beam.emulator.ledger import Ledger
from kimi_beam.emulator.limits import MinuteLimit
from kimi_beam.emulator.queue import Queue
from kimi_beam.emulator.queue_requests import Jobs
from kimi_beam.emulator.received import Call
from kimi_beam.emulator.refusals import Refused
from kimi_beam.emulator.replies import Json, Reply
from kimi_beam.emulator.synchronous_requests import Runs
from kimi_beam.emulator.work import Task


class Service:
    """Workers AI for the Kimi models: synchronous runs, the batch queue and the catalogue.

    Args:
        latency: Seconds a job takes, and a synchronous run.
        seed: Decides faults and the order of items.
        faults: How often each fault strikes.
        token: The only API token accepted; None accepts any that is not empty.
        behaviour: The choices where the service is not documented.
        answer: The function that replaces the rule-based model; None keeps the model.
        clock: Returns the time in Unix seconds.
    """

    def __init__(
        self,
        *,
        latency: float,
        seed: int,
        faults: Faults,
        token: str | None,
        behaviour: Behaviour,
        answer: work.Answer | None,
        clock: Callable[[], float],
    ) -> None:
        self._token = token
        self._behaviour = behaviour
        self._clock = clock
        self._closing = False
        self._queue: Queue[Task] = Queue(latency=latency, retention=behaviour.retention)
        self._ledger = Ledger(behaviour, faults, seed)
        self._gateway = Gateway(behaviour)
        minute, in_headers = behaviour.minute, behaviour.limit_headers
        self._limit = MinuteLimit(behaviour.requests_per_minute, minute, in_headers=in_headers)
        self._batch_limit = MinuteLimit(behaviour.batch_requests_per_minute, minute, in_headers=in_headers)
        self._thread = ThreadPoolExecutor(1, "kimi-beam-emulator-model")
        writer = Writer(behaviour, seed, faults, answer, stopped=lambda: self._closing)
        self._events = Events(behaviour, self._ledger.injector, seed)
        self._jobs = Jobs(
            queue=self._queue,
            ledger=self._ledger,
            events=self._events,
            writer=writer,
            thread=self._thread,
            behaviour=behaviour,
            clock=clock,
        )
        self._runs = Runs(
            ledger=self._ledger,
            writer=writer,
            thread=self._thread,
            behaviour=behaviour,
            latency=latency,
            clock=clock,
        )

    # Requests of the operator

    def stats(self) -> dict[str, object]:
        """Return the counters; see ``GET /stats``."""
        return {
            **self._ledger.statistics.snapshot(),
            "jobs_in_flight": self._queue.in_flight(self._clock()),
            "most_jobs_in_flight": self._queue.most_in_flight,
            "faults": dict(self._ledger.injector.injected),
            "events": {name: self._events.counted[name] for name in COUNTED},
        }

    def wrong_leaves(self) -> list[WrongLeaf]:
        """Return the values of answers that a fault has made wrong, in the order in which they were written."""
        return list(self._ledger.wrong_leaves)

    def reset(self) -> None:
        """Set the counters to zero. Jobs, caches and the memory of the faults stay."""
        self._ledger.reset()
        self._queue.reset_statistics()
        self._events.counted.clear()

    def close(self) -> None:
        """Write no more answers."""
        self._closing = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    # Requests of clients

    async def handle(self, call: Call) -> Reply | None:
        """Answer one request; None means that the connection has to be closed without a reply."""
        try:
            reply = await self._pass(call)
        except Refused as refusal:
            reply = replies.refused(refusal)
        self._ledger.statistics.throttled += reply is not None and reply.status == 429
        local = call.surface == "openai"
        if reply is not None and (local or (call.surface == "chat" and self._behaviour.openai_errors == "openai")):
            reply = replies.in_openai_form(reply)
        return reply

    def look_up(self, account: str, page: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        """Answer one GET of the catalogue.

        Args:
            account: The account id of the path.
            page: ``search`` or ``schema``.
            query: The parameters of the URL.
            headers: The headers of the request, names in lower case.
        """
        try:
            access.check_account(account, self._behaviour)
            access.check_token(headers, self._token)
            if page == "schema":
                return replies.success(catalogue.schema(query.get("model")))
        except Refused as refusal:
            return replies.refused(refusal)
        found, info = catalogue.search(query)
        return replies.success(found, result_info=info)

    def handle_messages(
        self, account: str, queue: str, action: Literal["pull", "ack"], body: bytes, headers: Mapping[str, str]
    ) -> Reply | None:
        """Answer a pull consumer; None means that the connection has to be closed without a reply.

        Args:
            account: The account id of the path.
            queue: The queue id of the path.
            action: Whether messages are pulled or acknowledged.
            body: The body as sent.
            headers: The headers of the request, names in lower case.
        """
        try:
            access.check_account(account, self._behaviour)
            access.check_token(headers, self._token)
            injector = self._ledger.injector
            fault = injector.request(action)
            if fault in ("rate_limit", "error_500"):
                wait = {"Retry-After": f"{injector.argument(fault, 1.0):g}"} if fault == "rate_limit" else None
                raise Refused(10250 if fault == "rate_limit" else 15000, headers=wait)
            if fault == "error_502_bare":
                return replies.bad_gateway()
            if fault == "drop_before_accept":
                return None
            reply = self._events.answer(account, queue, action, body, self._clock())
        except Refused as refusal:
            return replies.refused(refusal)
        if fault is not None:
            injector.count(fault)
            return None
        return reply

    async def convert(self, account: str, body: bytes, headers: Mapping[str, str]) -> Reply | None:
        """Answer the Markdown conversion; None means that the connection has to be closed without a reply.

        Args:
            account: The account id of the path.
            body: The multipart body as sent.
            headers: The headers of the request, names in lower case.
        """
        try:
            access.check_account(account, self._behaviour)
            access.check_token(headers, self._token)
            injector = self._ledger.injector
            fault = injector.request("convert")
            if fault in ("rate_limit", "error_500"):
                wait = {"Retry-After": f"{injector.argument(fault, 1.0):g}"} if fault == "rate_limit" else None
                self._ledger.statistics.throttled += fault == "rate_limit"
                raise Refused(3021 if fault == "rate_limit" else 8005, headers=wait)
            if fault == "error_502_bare":
                return replies.bad_gateway()
            if fault == "drop_before_accept":
                return None
            # In a thread, so that a large file does not keep other requests waiting.
            content_type = headers.get("content-type", "")
            files = await asyncio.get_running_loop().run_in_executor(self._thread, markdown.convert, content_type, body)
        except Refused as refusal:
            return replies.refused(refusal)
        self._ledger.statistics.conversions += len(files)
        if fault is not None:
            injector.count(fault)
            return None
        return replies.success(files)

    def openai_models(self, headers: Mapping[str, str]) -> Reply:
        """Answer ``GET /v1/models``, as servers do that are not Cloudflare's."""
        try:
            access.check_token(headers, self._token, optional=True)
        except Refused as refusal:
            return replies.in_openai_form(replies.refused(refusal))
        return replies.bare(catalogue.openai_list(self._behaviour.openai_models, int(self._clock())))

    async def _pass(self, call: Call) -> Reply | None:
        """Answer a request that may come through a gateway."""
        local = call.surface == "openai"
        if not local:
            access.check_account(call.account, self._behaviour)
        access.check_token(call.headers, self._token, optional=local)
        passage = None if local else self._gateway.enter(call)
        if passage is None:
            return await self._admit(call)
        if kept := self._gateway.kept(passage, self._clock()):
            return kept
        try:
            reply = await asyncio.wait_for(self._admit(call), passage.timeout)
        except Refused as refusal:
            reply = replies.refused(refusal)
        except asyncio.TimeoutError:
            reply = replies.refused(Refused(2014))
        return reply and self._gateway.leave(passage, reply, self._clock())

    async def _admit(self, call: Call) -> Reply | None:
        """Answer a request that may be over a limit."""
        local = call.surface == "openai"
        # A model in the path is checked before the body is read.
        model = access.check_model(call.model, self._behaviour, local=local) if call.model is not None else None
        named_model, request = call.read()
        model = model or access.check_model(named_model, self._behaviour, local=local)
        endpoint = _endpoint(call, request)
        if call.queued and call.surface == "run":
            access.check_queue(model, self._behaviour)
        limit = self._limit if endpoint == "run" else self._batch_limit
        allowance = limit.take((call.account, model), self._clock())
        limit_headers = allowance.headers() if allowance else {}
        if allowance and allowance.refused:
            raise Refused(3021, headers=limit_headers)
        try:
            reply = await self._serve(call, model, request, endpoint)
        except Refused as refusal:
            reply = replies.refused(refusal)
        return reply and replace(reply, headers={**limit_headers, **reply.headers})

    async def _serve(self, call: Call, model: str, request: Json, endpoint: Endpoint) -> Reply | None:
        """Answer a request that may meet a fault."""
        injector = self._ledger.injector
        fault = injector.request(endpoint)
        if fault == "drop_before_accept":
            return None
        if fault is not None and fault != "drop_after_accept":
            return self._faulty(fault)
        if endpoint == "poll":
            return await self._jobs.poll(call, model, request["request_id"])
        if endpoint == "submit":
            reply = self._jobs.submit(call, model, request)
        else:
            reply = await self._runs.run(call, model, request)
        if fault is not None and reply.status == 200:
            injector.count(fault)
            return None
        return reply

    def _faulty(self, fault: str) -> Reply:
        argument = self._ledger.injector.argument
        if fault == "rate_limit":
            raise Refused(3021, headers={"Retry-After": f"{argument(fault, 1.0):g}"})
        if fault == "rate_limit_date":
            date = formatdate(self._clock() + argument(fault, 1.0), usegmt=True)
            raise Refused(3021, headers={"Retry-After": date})
        if fault == "capacity":
            raise Refused(3040)
        if fault == "error_500":
            raise Refused(8005, f"AiError: AiError: Internal server error ({uuid4()})")
        if fault == "error_code":
            raise Refused(int(argument(fault, 3007)))
        return replies.bad_gateway()


def _endpoint(call: Call, request: Json) -> Endpoint:
    if call.surface != "run":
        return "run"
    return "poll" if "request_id" in request else "submit" if call.queued else "run"
