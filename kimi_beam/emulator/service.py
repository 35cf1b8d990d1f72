"""The service itself: what every request is answered, without a socket.

`Service.handle` is one POST to ``/ai/run/{model}``. It runs in one event loop and touches its state only there; answers
are written in a worker thread, so that a large job does not keep other requests waiting.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import formatdate
from typing import Any, Final
from uuid import uuid4

import orjson

from kimi_beam.emulator import replies, work
from kimi_beam.emulator.batch import Writer, together
from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.faults import Endpoint, Faults, Injector
from kimi_beam.emulator.limits import MinuteLimit
from kimi_beam.emulator.queue import Fate, Job, Queue
from kimi_beam.emulator.replies import Json, Reply
from kimi_beam.emulator.statistics import Statistics
from kimi_beam.emulator.work import BadInput, Task

logger = logging.getLogger(__name__)

_K2_5: Final = "@cf/moonshotai/kimi-k2.5"
_K2_6: Final = "@cf/moonshotai/kimi-k2.6"
_K2_7: Final = "@cf/moonshotai/kimi-k2.7-code"
_K3: Final = "@cf/moonshotai/kimi-k3"
_FATES: Final[Mapping[str | None, Fate]] = {
    "never_ends": "never_ends",
    "expired": "expired",
    "failed_job": "fails",
    None: "runs",
}


class Service:
    """Workers AI for the Kimi models: synchronous runs and the batch queue.

    Args:
        latency: Seconds a job takes, and a synchronous run.
        seed: Decides faults and the order of items.
        faults: Which faults strike how often.
        token: The only API token accepted; None accepts any that is not empty.
        behaviour: The choices for what is not documented.
        answer: Replaces the rule-based model; None keeps it.
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
        self._latency = latency
        self._token = token
        self._behaviour = behaviour
        self._clock = clock
        self._queue: Queue[Task] = Queue(latency=latency, retention=behaviour.retention)
        self._injector = Injector(faults, seed)
        self._limit = MinuteLimit(behaviour.requests_per_minute)
        self._statistics = Statistics()
        self._prefixes: set[bytes] = set()
        self._completions = 0
        self._writer = Writer(behaviour, seed, answer, stopped=lambda: self._closing)
        self._thread = ThreadPoolExecutor(1, "kimi-beam-emulator-model")
        self._writing: dict[str, asyncio.Future[bytes]] = {}
        self._closing = False

    # What an operator asks for

    def stats(self) -> dict[str, object]:
        """Return the counters; see ``GET /stats``."""
        return {
            **self._statistics.snapshot(),
            "jobs_in_flight": self._queue.in_flight(self._clock()),
            "most_jobs_in_flight": self._queue.most_in_flight,
            "faults": dict(self._injector.injected),
        }

    def reset(self) -> None:
        """Set the counters to zero; jobs, and what the faults remember, stay."""
        self._statistics = Statistics()
        self._injector.injected.clear()
        self._queue.reset_statistics()

    def close(self) -> None:
        """Write no more answers."""
        self._closing = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    # What a client asks for

    async def handle(
        self, account: str, model: str, queued: bool, headers: Mapping[str, str], body: bytes
    ) -> Reply | None:
        """Answer one request; None means: close the connection without a reply.

        Args:
            account: The account id of the path; any is accepted.
            model: The model id of the path.
            queued: Whether the query says ``queueRequest=true``.
            headers: Request headers, names in lower case.
            body: The request body.
        """
        denied = self._denied(headers) or self._unavailable(model)
        if denied:
            return denied
        try:
            request = _json_object(body)
        except BadInput as error:
            return _bad_input(error)
        endpoint: Endpoint = "poll" if "request_id" in request else "submit" if queued else "run"
        if queued and (refused := self._without_queue(model)):
            return refused
        if wait := self._limit.wait((account, model), self._clock()):
            return _rate_limited(str(wait))
        fault = self._injector.request(endpoint)
        if fault == "drop_before_accept":
            return None
        if fault is not None and fault != "drop_after_accept":
            return self._faulty(fault)
        owner = (account, model)
        if endpoint == "poll":
            return await self._poll(owner, request["request_id"])
        try:
            if endpoint == "submit":
                reply = self._submit(owner, request, len(body))
            else:
                reply = await self._run(model, request, len(body))
        except BadInput as error:
            return _bad_input(error)
        if fault is not None and reply.status == 200:
            self._injector.count(fault)
            return None
        return reply

    def _denied(self, headers: Mapping[str, str]) -> Reply | None:
        """Check who asks. Codes [observed: bug reports]; that a missing header is 401 is assumed."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme and (scheme.lower() != "bearer" or not token):
            return replies.failure(400, 9106, "Authentication failed: malformed Authorization header")
        if self._token is not None:
            known = hmac.compare_digest(token.encode(), self._token.encode())
        else:
            known = bool(token or (headers.get("x-auth-key") and headers.get("x-auth-email")))
        return None if known else replies.failure(401, 10000, "Authentication error")

    def _unavailable(self, model: str) -> Reply | None:
        if model == _K3:
            return replies.failure(403, 5018, f"AiError: This account is not allowed to access this model {model}")
        if model not in (_K2_5, _K2_6, _K2_7):
            return replies.failure(400, 5007, f"AiError: No such model {model} or task")
        return None

    def _without_queue(self, model: str) -> Reply | None:
        """Refuse the models that lost the queue or never had it [documented: ``async_queue`` of the model pages]."""
        if model == _K2_6 or (model == _K2_5 and self._behaviour.k2_5_queue == "alias"):
            return None
        status = self._behaviour.no_queue_status
        return replies.failure(status, 8007, "AiError: AiError: This model does not support request queuing")

    def _faulty(self, fault: str) -> Reply:
        if fault == "rate_limit":
            return _rate_limited(f"{self._injector.argument(fault, 1.0):g}")
        if fault == "rate_limit_date":
            return _rate_limited(formatdate(self._clock() + self._injector.argument(fault, 1.0), usegmt=True))
        if fault == "capacity":
            return replies.failure(429, 3040, "AiError: AiError: Capacity temporarily exceeded, please try again.")
        if fault == "error_500":
            return replies.failure(500, 8005, f"AiError: AiError: Internal server error ({uuid4()})")
        return replies.bad_gateway()

    # Batch

    def _submit(self, owner: tuple[str, str], request: Json, size: int) -> Reply:
        now = self._clock()
        requests = request.get("requests")
        if size > self._behaviour.size_limit:
            if self._behaviour.oversize == "refused":
                return _too_large()
            return self._accepted(self._queue.submit(owner, (), now, fate="never_ends"), 0)
        if requests is None:
            work.read(request)
            # Accepted without the wrapper, it dies in the queue [observed].
            reason = (3030, "1 validation error for VllmBatchRequest")
            return self._accepted(self._queue.submit(owner, (), now, fate="fails", failure=reason), 1)
        if not isinstance(requests, list) or not all(isinstance(item, dict) for item in requests):
            raise BadInput("Type mismatch of '/requests', 'array' of 'object' expected")
        if not requests and self._behaviour.empty_requests == "refused":
            raise BadInput("'/requests' must be an array of at least 1 item")
        tasks = [work.read(item) for item in requests]
        fault = self._injector.job(together(tasks))
        if fault is None:
            tasks = [self._accept(task, self._injector.item(task.key)) for task in tasks]
        failure = (5001, "Internal error: the batch could not be processed") if fault == "failed_job" else None
        return self._accepted(self._queue.submit(owner, tasks, now, fate=_FATES[fault], failure=failure), len(tasks))

    def _accepted(self, job: Job[Task], items: int) -> Reply:
        self._statistics.submits += 1
        self._statistics.items += items
        return replies.success(replies.pending(job.id, job.owner[1], "queued"))

    def _accept(self, task: Task, fault: str | None) -> Task:
        """Bill a task that is going to run, and look its prefix up; a failed item costs nothing [assumed]."""
        if fault != "failed_item":
            self._statistics.bill((task.key,), task.prompt_tokens)
        cached = task.prefix in self._prefixes
        self._prefixes.add(task.prefix)
        return replace(task, fault=fault, cached=cached)

    async def _poll(self, owner: tuple[str, str], request_id: object) -> Reply:
        self._statistics.polls += 1
        found = self._queue.poll(owner, request_id, self._clock()) if isinstance(request_id, str) else None
        if found is None:
            message = f"AiError: AiError: Request not found in queue ({str(request_id)[:64]})"
            return replies.failure(self._behaviour.unknown_id_status, 5504, message)
        status, job = found
        if status == "failed":
            return self._failed(job)
        if status != "done":
            return replies.success(replies.pending(job.id, owner[1], status))
        return Reply(200, job.reply if job.reply is not None else await self._written(job))

    def _failed(self, job: Job[Task]) -> Reply:
        code, message = job.failure or (5001, "Internal error")
        if self._behaviour.job_failure == "status":
            error = {"code": code, "message": message}
            return replies.success({**replies.pending(job.id, job.owner[1], "error"), "error": error})
        return replies.failure(500, code, f"AiError: AiError: {message} ({job.id})")

    async def _written(self, job: Job[Task]) -> bytes:
        """Write a job that is read for the first time; polls that come meanwhile wait for the same answer."""
        writing = self._writing.get(job.id)
        if writing is None:
            writing = self._writing[job.id] = asyncio.ensure_future(self._write(job))
            writing.add_done_callback(lambda _: self._writing.pop(job.id, None))
        # A client that hangs up must not cancel what others wait for.
        return await asyncio.shield(writing)

    async def _write(self, job: Job[Task]) -> bytes:
        loop = asyncio.get_running_loop()
        reply, tokens = await loop.run_in_executor(self._thread, self._writer.write, job)
        self._statistics.completion_tokens += tokens
        job.items, job.reply = (), reply
        return reply

    # Synchronous

    async def _run(self, model: str, request: Json, size: int) -> Reply:
        """Answer at once; ``stream`` is ignored and answered in one piece, as some models do [observed]."""
        if size > self._behaviour.size_limit:
            return _too_large()
        task = work.read(request)
        task = self._accept(task, self._injector.item(task.key, alone=True))
        self._statistics.runs += 1
        self._completions += 1
        name = f"run:{self._completions}"
        await asyncio.sleep(self._latency)
        if task.fault == "failed_item":
            return replies.failure(500, 8005, f"AiError: AiError: the request could not be processed ({uuid4()})")
        loop = asyncio.get_running_loop()
        try:
            completion = await loop.run_in_executor(self._thread, self._writer.complete, task, name)
        except Exception as error:
            logger.exception("no answer for a synchronous run")
            return replies.failure(500, 8005, f"AiError: AiError: {error!r} ({uuid4()})")
        self._statistics.completion_tokens += completion.completion_tokens
        signed = self._writer.signed(model)
        return replies.success(replies.chat_completion(completion, model=signed, created=int(self._clock())))


def _json_object(body: bytes) -> Json:
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"invalid JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadInput("Type mismatch of '/', 'object' expected")
    return value


def _bad_input(error: BadInput) -> Reply:
    return replies.failure(400, 5006, f"AiError: Bad input: Error: {error}")


def _too_large() -> Reply:
    return replies.failure(413, 3006, "AiError: AiError: Request is too large")


def _rate_limited(retry_after: str) -> Reply:
    message = "AiError: AiError: inference request per min rate reached"
    return replies.failure(429, 3021, message, {"Retry-After": retry_after})
