"""Documents through the synchronous API: many at once, each asked until it is settled.

The caller's thread hands documents in and takes replies out; the requests live on the process's event loop. What
follows from each reply is decided in `calling`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from queue import Empty, SimpleQueue

from kimi_beam import event_loop, metrics, tools
from kimi_beam.calling import Again, Call, Halt, Park, Settle, Step, Turn, Wait, heard, parked
from kimi_beam.client import Client
from kimi_beam.dispatch import MAX_ACCOUNT_TROUBLE, quota_failure
from kimi_beam.polling import Polling
from kimi_beam.progress import PROGRESS
from kimi_beam.prompting import Prompt
from kimi_beam.tools import Tool
from kimi_beam.types import Completion, Document, Failure, Reply, Ticket
from kimi_beam.wire.completions import Answered, decode_run
from kimi_beam.wire.envelopes import HttpReply, Refused, Unknown, spent_for
from kimi_beam.wire.service_errors import Remedy, ServiceError

_GROUP = 100
"""Replies that are handed on together, where so many are there."""
_LONGEST_SLEEP = 5.0
"""Seconds after which a request that waits for its turn looks whether it may still be sent."""
_LOOK = 0.5
"""Seconds after which a thread that waits for a free place looks whether the run has been stopped."""


class _Stopped(Exception):  # noqa: N818 - no error, but the end of a request that was not sent
    """The run has been stopped before this request was sent."""


class Runs:
    """The documents of one bundle.

    Args:
        connection: Shared by the process, and with it pace, concurrency and what is known of the quota.
        prompt: What is asked.
        polling: How long waits are, and the deadline.
        functions: What the model may call.
        halts: Whether trouble with the account ends the run. If not, it is tried again after the longest wait of
            `polling`: a stream outlives a revoked token.
        may_repeat: Whether a request that ended without a word may be repeated.
    """

    def __init__(
        self,
        connection: Client,
        prompt: Prompt,
        polling: Polling,
        functions: Sequence[Tool] = (),
        *,
        halts: bool,
        may_repeat: bool = True,
    ) -> None:
        self._client, self._prompt, self._polling, self._tools = connection, prompt, polling, functions
        self._halts, self._may_repeat = halts, may_repeat
        self._ready: SimpleQueue[Reply] = SimpleQueue()
        self._open: set[Future[Reply]] = set()
        self._halted: ServiceError | None = None
        self._turned_away = 0
        self._cancelled = False
        self._broken: BaseException | None = None
        self._unsupported: Failure | None = None
        self._counts: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()

    # -------------------------------------------------------------------------------------------- the caller's thread

    def put(self, document: Document) -> None:
        """Takes a document in; waits while the process has as many requests in flight as it may.

        Raises:
            AccountError: Token, account or model are turned away.
        """
        while not self._client.slots.acquire(timeout=_LOOK):
            self._check()
        try:
            self._check()
            future = event_loop.start(self._settled(document))
        except BaseException:
            self._client.slots.release()
            raise
        self._open.add(future)
        PROGRESS.hold(self, len(self._open), "request")
        future.add_done_callback(self._done)

    def take(self) -> list[Reply]:
        """The replies that are there, if they are worth handing on together; else none."""
        return self.left() if self._ready.qsize() >= _GROUP else []

    def left(self) -> list[Reply]:
        """The replies that are there."""
        found: list[Reply] = []
        with contextlib.suppress(Empty):
            while True:
                found.append(self._ready.get_nowait())
        return found

    def drain(self) -> Iterator[list[Reply]]:
        """Waits for all documents and gives their replies.

        Raises:
            AccountError: Token, account or model are turned away.
        """
        group: list[Reply] = []
        while self._open or not self._ready.empty():
            self._check()  # before: what is taken out is handed on
            with contextlib.suppress(Empty):
                group.append(self._ready.get(timeout=_LOOK))
            if len(group) >= _GROUP:
                yield group
                group = []
        if group:
            yield group
        self._check()

    def cancel(self) -> None:
        """Lets go of what is in flight."""
        self._cancelled = True
        for future in list(self._open):
            future.cancel()
        PROGRESS.hold(self, 0, "request")

    def counts(self) -> Counter[str]:
        """What was counted since the last time, by the names of `metrics`."""
        now = Counter(self._counts)
        new, self._counted = now - self._counted, now
        return new

    def _check(self) -> None:
        if self._halted is not None:
            # What is on its way is paid for, so it is waited for; nothing more is sent.
            while self._open:
                time.sleep(_LOOK / 10)
            raise self._client.service.turned_away(self._halted)
        if self._broken is not None:
            self.cancel()
            raise self._broken

    # -------------------------------------------------------------------------------------------- the loop's thread

    def _done(self, future: Future[Reply]) -> None:
        self._client.slots.release()
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is None:
            self._ready.put(future.result())
        elif isinstance(error, _Stopped):
            pass
        elif not self._cancelled:  # no document may leave without a reply
            self._broken = RuntimeError(f"a request ended by {type(error).__name__}: {error}")
            self._broken.__cause__ = error
        # Last: who finds nothing open finds every reply.
        self._open.discard(future)
        PROGRESS.hold(self, len(self._open), "request")

    async def _settled(self, document: Document) -> Reply:
        call, turns = Call(0.0, len(self._prompt.forms)), list[bytes]()
        line, step = self._client.flow.runs, None
        while True:
            turn = line.join(again=isinstance(step, Wait))
            try:
                failure = await self._may_send(turn)
                if failure is not None:
                    return _reply(document, call, parked(call, failure))
                if not call.since:  # waiting for a turn is no waiting for an answer
                    call = replace(call, since=time.time())
                request = self._prompt.request(document, form=call.form, turns=turns)
                step = await self._asked(call, request, document.id)
            finally:
                line.leave(turn)
            call = step.call
            if isinstance(step, Settle):
                PROGRESS.trouble = ""
                return _reply(document, call, step.result)
            if isinstance(step, Park):
                return _reply(document, call, parked(call, step.failure))
            if isinstance(step, Turn):
                try:
                    turns += await asyncio.wait_for(tools.answer(step.calls, self._tools), self._left(call))
                except asyncio.TimeoutError:
                    told = "the functions that the model called were not done by the deadline"
                    return _reply(document, call, Failure("infer", "deadline", told, retryable=True))
            elif isinstance(step, Again):
                PROGRESS.trouble = step.trouble
                # The deadline is met by a last request, not passed by a long wait.
                await asyncio.sleep(min(step.wait, self._left(call)))
            elif isinstance(step, Halt):
                await self._stop(step)

    async def _may_send(self, turn: asyncio.Future[None]) -> Failure | None:
        """Waits for a turn.

        Returns:
            What a document is given up with that may no longer be sent; None where it may.
        """
        while True:
            if self._halted is not None:
                raise _Stopped
            if spent := self._client.quota.is_spent(time.time()):
                return quota_failure(str(spent))
            if self._unsupported is not None:
                return self._unsupported
            if turn.done():
                return None
            await asyncio.wait({turn}, timeout=_LONGEST_SLEEP)

    async def _asked(self, call: Call, request: bytes, name: str) -> Step:
        """Sends a request, and tells the whole process what it has to know of the reply."""
        gate, sent = self._client.flow.runs.gate, time.monotonic()
        exchange = await self._client.ask(request, self._left(call))
        now = time.time()
        self._counts[metrics.REQUESTS] += 1
        result = decode_run(exchange, now, answer_tool=self._prompt.answer_tool, calls_tools=bool(self._tools))
        self._counts[metrics.UNKNOWN_SUBMITS] += isinstance(result, Unknown)
        step = heard(call, result, name, now, self._polling, may_repeat=self._may_repeat)
        self._counts[metrics.FALLBACKS] += step.call.form > call.form
        if isinstance(exchange, HttpReply) and (wait := spent_for(exchange)):
            gate.hold(time.monotonic() + min(wait, self._left(call)))
        if isinstance(result, Answered):
            gate.answered(sent)
        elif isinstance(result, Refused) and result.error.remedy is Remedy.WAIT:
            self._counts[metrics.DELAYS] += 1
            backoff = functools.partial(self._polling.backoff, name)
            gate.throttled(sent, time.monotonic(), backoff, result.error.retry_after, self._left(call))
        if isinstance(step, Wait):
            PROGRESS.trouble = step.trouble
        elif isinstance(step, Park) and step.until < math.inf and isinstance(result, Refused):
            self._client.quota.spend(result.error, step.until)
        elif isinstance(step, Park):
            self._unsupported = step.failure
        if not isinstance(step, Halt) and isinstance(exchange, HttpReply):
            self._turned_away = 0
        return step

    def _left(self, call: Call) -> float:
        """Seconds until the call's deadline, and never none."""
        return max(call.since + self._polling.deadline - time.time(), self._polling.first)

    async def _stop(self, halt: Halt) -> None:
        self._counts[metrics.ACCOUNT_TROUBLE] += 1
        self._turned_away += 1
        PROGRESS.trouble = str(halt.error)
        if self._halts and self._turned_away >= MAX_ACCOUNT_TROUBLE:
            self._halted = halt.error
        elif self._halts:
            await asyncio.sleep(self._polling.first)
        else:
            await asyncio.sleep(self._polling.ceiling)


def _reply(document: Document, call: Call, result: Completion | Failure) -> Reply:
    return Reply(document, result, call.usage, Ticket(None, call.attempts))
