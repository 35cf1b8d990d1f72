"""Handles the two requests of the batch queue: submit and poll."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Final

from kimi_beam.emulator import replies, work
from kimi_beam.emulator.batch import Writer, Written, body_for_poll, job_key
from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.compression import pack, unpack
from kimi_beam.emulator.events import Events
from kimi_beam.emulator.ledger import Ledger
from kimi_beam.emulator.queue import Fate, Job, Queue
from kimi_beam.emulator.received import Call
from kimi_beam.emulator.refusals import BadInput, Refused
from kimi_beam.emulator.replies import Json, Reply
from kimi_beam.emulator.work import Task

_FATES: Final[Mapping[str | None, Fate]] = {
    "never_ends": "never_ends",
    "expired": "expired",
    "failed_job": "fails",
    None: "runs",
}


class Jobs:
    """Submits and polls of all accounts.

    Args:
        queue: The queue of jobs.
        ledger: The state across requests.
        events: Sends the events of jobs.
        writer: Writes finished jobs.
        thread: The thread for the writer, so that a large job does not keep other requests waiting.
        behaviour: The choices where the service is not documented.
        clock: Returns the time in Unix seconds.
    """

    def __init__(
        self,
        *,
        queue: Queue[Task],
        ledger: Ledger,
        events: Events,
        writer: Writer,
        thread: Executor,
        behaviour: Behaviour,
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._ledger = ledger
        self._events = events
        self._writer = writer
        self._thread = thread
        self._behaviour = behaviour
        self._clock = clock
        self._writing: dict[str, asyncio.Future[bytes]] = {}

    def submit(self, call: Call, model: str, request: Json) -> Reply:
        """Accept a job.

        Raises:
            Refused: The job is not accepted.
        """
        now, owner = self._clock(), (call.account, model)
        requests = request.get("requests")
        if len(call.body) > self._behaviour.size_limit:
            if self._behaviour.oversize == "refused":
                raise Refused(3006)
            return self._accepted(self._queue.submit(owner, (), now, fate="never_ends"), 0)
        if requests is None:
            work.read(request, model, self._behaviour, is_synchronous=False)
            # A submit without the wrapper ``requests`` is accepted but fails in the queue [observed].
            reason = (3030, "1 validation error for VllmBatchRequest")
            return self._accepted(self._queue.submit(owner, (), now, fate="fails", failure=reason), 1)
        if not isinstance(requests, list) or not all(isinstance(item, dict) for item in requests):
            raise BadInput("Type mismatch of '/requests', 'array' of 'object' expected")
        if not requests and self._behaviour.empty_requests == "refused":
            raise BadInput("'/requests' must be an array of at least 1 item")
        tasks = [work.read(item, model, self._behaviour, is_synchronous=False).packed() for item in requests]
        injector = self._ledger.injector
        key = job_key(tasks)
        fault = injector.job(key)
        if fault is None:
            # One machine runs a job [assumed], so that its items share a prefix cache.
            session = call.session if self._behaviour.batch_affinity else None
            instance = self._ledger.prefixes.instance(owner, session)
            tasks = [
                self._ledger.accept(
                    task,
                    injector.item(task.key, structured=task.structured, is_correction=bool(task.correction)),
                    instance,
                )
                for task in tasks
            ]
        failure = (5001, "Internal error: the batch could not be processed") if fault == "failed_job" else None
        job = self._queue.submit(owner, tasks, now, fate=_FATES[fault], failure=failure)
        job.key = key
        return self._accepted(job, len(tasks), key)

    async def poll(self, call: Call, model: str, request_id: object) -> Reply:
        """Return the status of a job, or its answers."""
        self._ledger.statistics.polls += 1
        owner = (call.account, model)
        found = self._queue.poll(owner, request_id, self._clock()) if isinstance(request_id, str) else None
        if found is None:
            message = f"AiError: AiError: Request not found in queue ({str(request_id)[:64]})"
            raise Refused(5504, message, status=self._behaviour.unknown_id_status)
        status, job = found
        if status == "failed":
            return self._failed(job)
        if status != "done":
            return replies.success(replies.pending(job.id, model, status))
        reply = unpack(job.reply) if job.reply is not None else await self._written(job)
        return Reply(200, body_for_poll(reply, self._ledger.injector.read(job.key), self._behaviour.array))

    def _accepted(self, job: Job[Task], items: int, key: str = "") -> Reply:
        self._events.publish(job, key)
        self._ledger.statistics.submits += 1
        self._ledger.statistics.items += items
        return replies.success(replies.pending(job.id, job.owner[1], "queued"))

    def _failed(self, job: Job[Task]) -> Reply:
        code, message = job.failure or (5001, "Internal error")
        if self._behaviour.job_failure == "status":
            error = {"code": code, "message": message}
            return replies.success({**replies.pending(job.id, job.owner[1], "error"), "error": error})
        return replies.failure(500, code, f"AiError: AiError: {message} ({job.id})")

    async def _written(self, job: Job[Task]) -> bytes:
        """Write a job when it is first read; polls that arrive meanwhile wait for the same answer."""
        writing = self._writing.get(job.id)
        if writing is None:
            writing = self._writing[job.id] = asyncio.ensure_future(self._write(job))
            writing.add_done_callback(lambda _: self._writing.pop(job.id, None))
        # A client that hangs up must not cancel the answer for which others wait.
        return await asyncio.shield(writing)

    async def _write(self, job: Job[Task]) -> bytes:
        def write() -> tuple[Written, bytes]:
            written = self._writer.write(job)
            return written, pack(written.body)

        loop = asyncio.get_running_loop()
        written, packed = await loop.run_in_executor(self._thread, write)
        self._ledger.note(written.completion_tokens, written.wrong_leaves)
        job.items, job.reply = (), packed
        return written.body
