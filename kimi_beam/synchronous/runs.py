"""Documents through the synchronous API: many at once, each asked until it is settled.

The caller's thread hands documents in and takes replies out, some at a time: to wake the other thread for each costs
more than to read an answer. The requests live on the process's event loop. What follows from each reply is decided in
`calling`.
"""

from __future__ import annotations

import asyncio
import functools
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from kimi_beam.network import event_loop
from kimi_beam.network.client import Client
from kimi_beam.report import metrics
from kimi_beam.report.logging_reports import REPORTS
from kimi_beam.report.outcomes import NO_FORM_FAILURE, Outcomes
from kimi_beam.report.progress import PROGRESS
from kimi_beam.request.prompt import Prompt
from kimi_beam.service import clock
from kimi_beam.service.polling import Polling
from kimi_beam.service.retry_limits import MAX_ACCOUNT_TROUBLE, quota_failure
from kimi_beam.synchronous import tools
from kimi_beam.synchronous.after_reply import AskAgain, Call, Delay, Halt, Park, Settle, Step, Turn, next_step, parked
from kimi_beam.synchronous.asked_form import asked_form_of
from kimi_beam.synchronous.tools import Tool
from kimi_beam.types import Completion, Document, Failure, Reply, Ticket
from kimi_beam.wire.completions import Answered, RunResult, decode_run
from kimi_beam.wire.envelopes import Exchange, HttpReply, Refused, Unknown, bare_error, spent_for
from kimi_beam.wire.form_refusals import refused_field, refused_request
from kimi_beam.wire.service_errors import Remedy, ServiceError

_GROUP = 100
"""Replies that are handed on together, where so many are there."""
_KEPT_BACK = 0.5
"""Seconds that a reply may wait for others, and `_LOOK` longer at most: what is not handed on is in no journal."""
_AHEAD = 16
"""Documents that may wait for a free place when more are handed in: few, as each may hold its pictures."""
_LONGEST_SLEEP = 5.0
"""Seconds after which a request that waits for its turn looks whether it may still be sent."""
_LOOK = 0.5
"""Seconds after which the caller's thread looks whether the run has been stopped, whatever it waits for."""


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
        outcomes: How documents have fared before, and whether more are to be sent. None: nothing is known.
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
        outcomes: Outcomes | None = None,
    ) -> None:
        self._client, self._prompt, self._polling, self._tools = connection, prompt, polling, functions
        self._halts, self._may_repeat = halts, may_repeat
        self._outcomes = outcomes or Outcomes()
        where = connection.service
        self._form = asked_form_of(where.root, prompt) if where.is_elsewhere else None
        self._tasks: set[asyncio.Task[Reply]] = set()
        self._in_flight = 0
        self._doubtful = 0  # of those: refused for what may be every document's fault
        # What both threads know, and when it has changed.
        self._changed = threading.Condition()
        self._ready: list[Reply] = []
        self._ready_since = 0.0
        self._waiting = 0
        self._unsettled = 0
        self._halted: ServiceError | None = None
        self._turned_away = 0
        self._cancelled = False
        self._broken: BaseException | None = None
        self._unsupported: Failure | None = None
        self._is_unmet = False
        self._counts: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()

    # -------------------------------------------------------------------------------------------- the caller's thread

    def put(self, documents: Sequence[Document]) -> Iterator[list[Reply]]:
        """Takes documents in; waits while others wait for a free place, and gives the replies that are due.

        Raises:
            AccountError: Token, account or model are turned away.
        """
        yield from self._until(lambda: self._waiting < _AHEAD)
        with self._changed:
            self._waiting += len(documents)
            self._unsettled += len(documents)
        event_loop.call(self._begin, documents)
        if self._is_due():
            yield self.left()

    def left(self) -> list[Reply]:
        """The replies that are there."""
        with self._changed:
            found, self._ready = self._ready, []
        return found

    def drain(self) -> Iterator[list[Reply]]:
        """Waits for all documents and gives their replies.

        Raises:
            AccountError: Token, account or model are turned away.
        """
        yield from self._until(lambda: not self._unsettled)
        if replies := self.left():
            yield replies

    def cancel(self) -> None:
        """Lets go of what is in flight."""
        self._cancelled = True
        event_loop.call(self._end)

    def counts(self) -> Counter[str]:
        """What was counted since the last time, by the names of `metrics`."""
        now = Counter(self._counts)
        new, self._counted = now - self._counted, now
        return new

    def _until(self, there: Callable[[], bool]) -> Iterator[list[Reply]]:
        """Waits for something that changes and gives the replies that are due, or raises why it will not."""
        self._check()
        while True:
            with self._changed:
                is_there = self._changed.wait_for(lambda: there() or self._is_due(), _LOOK) and there()
            self._check()
            REPORTS.progress()
            if self._is_due():
                yield self.left()
            if is_there:
                return

    def _is_due(self) -> bool:
        """Whether the replies that are there are worth handing on, or have waited for others long enough."""
        count = len(self._ready)
        return count >= _GROUP or (count > 0 and time.monotonic() - self._ready_since >= _KEPT_BACK)

    def _check(self) -> None:
        if self._halted is not None or self._is_unmet:
            # What is on its way is paid for, so it is waited for; nothing more is sent.
            with self._changed:
                self._changed.wait_for(lambda: not self._unsettled)
            if self._halted is not None:
                raise self._client.service.account_error(self._halted)
            self._outcomes.check_forms(len(self._prompt.forms))
        if self._broken is not None:
            self.cancel()
            raise self._broken

    # -------------------------------------------------------------------------------------------- the loop's thread

    def _begin(self, documents: Sequence[Document]) -> None:
        for document in documents:
            task = asyncio.get_running_loop().create_task(self._in_its_place(document))
            self._tasks.add(task)
            task.add_done_callback(self._done)
            if self._cancelled:
                task.cancel()

    def _end(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _done(self, task: asyncio.Task[Reply]) -> None:
        self._tasks.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if not (error is None or isinstance(error, _Stopped) or self._cancelled):  # none may leave without a reply
            self._broken = RuntimeError(f"a request ended by {type(error).__name__}: {error}")
            self._broken.__cause__ = error
        with self._changed:
            if error is None:
                if not self._ready:
                    self._ready_since = time.monotonic()
                self._ready.append(task.result())
            self._unsettled -= 1
            if not self._unsettled or len(self._ready) == _GROUP:
                self._changed.notify_all()

    async def _in_its_place(self, document: Document) -> Reply:
        async with self._client.slots:
            with self._changed:
                self._waiting -= 1
                if self._waiting == _AHEAD - 1:
                    self._changed.notify_all()
            self._in_flight += 1
            PROGRESS.set_in_flight(self, self._in_flight, "request")
            try:
                return await self._settled(document)
            finally:
                self._in_flight -= 1
                PROGRESS.set_in_flight(self, self._in_flight, "request")

    async def _settled(self, document: Document) -> Reply:
        call, turns = Call(0.0, len(self._prompt.forms)), list[bytes]()
        line, step = self._client.allowance.runs, None
        while True:
            turn = line.join(at_front=isinstance(step, Delay))
            try:
                failure = await self._may_send(turn)
                if failure is not None:
                    return _reply(document, call, parked(call, failure))
                if not call.since:  # waiting for a turn is no waiting for an answer
                    call = replace(call, since=clock.now())
                if self._form is not None:
                    call = self._form.applied(call)
                call = replace(call, form=max(call.form, min(self._outcomes.first_form(call.forms), call.forms - 1)))
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
            elif isinstance(step, AskAgain):
                PROGRESS.trouble = step.trouble
                # The deadline is met by a last request, not passed by a long wait.
                await asyncio.sleep(min(step.wait, self._left(call)))
            elif isinstance(step, Halt):
                if step.unless_answered is not None and await self._is_answered_yet():
                    return _reply(document, call, step.unless_answered)
                await self._stop(step)

    async def _may_send(self, turn: asyncio.Future[None]) -> Failure | None:
        """Waits for a turn.

        Returns:
            What a document is given up with that may no longer be sent; None where it may.
        """
        while True:
            if self._halted is not None:
                raise _Stopped
            if spent := self._client.quota.spent_error(clock.now()):
                return quota_failure(str(spent))
            if self._unsupported is not None:
                return self._unsupported
            if self._outcomes.stopped is not None:
                return self._outcomes.stopped
            if self._outcomes.first_form(len(self._prompt.forms)) == len(self._prompt.forms):
                if not self._halts:
                    return NO_FORM_FAILURE
                self._is_unmet = True
                raise _Stopped
            if turn.done():
                return None
            await asyncio.wait({turn}, timeout=_LONGEST_SLEEP)

    async def _asked(self, call: Call, request: bytes, name: str) -> Step:
        """Sends a request, and tells the whole process what it has to know of the reply."""
        gate, sent = self._client.allowance.runs.gate, time.monotonic()
        exchange = await self._client.ask(request, self._left(call))
        now, today = clock.now(), time.time()  # a date in a reply is one of the wall clock's
        self._counts[metrics.REQUESTS] += 1
        result = decode_run(exchange, today, answer_tool=self._prompt.answer_tool, calls_tools=bool(self._tools))
        if call.unknown and isinstance(result, (Answered, Unknown)):
            self._counts[metrics.RESUBMITS] += 1
            self._counts[metrics.MAYBE_PAID_TWICE] += 1
        REPORTS.log_trouble("request", result)
        step = self._refused_form(call, exchange, result, today) if self._form is not None else None
        if step is None:
            self._counts[metrics.UNKNOWN_SUBMITS] += isinstance(result, Unknown)
            step = next_step(call, result, name, now, self._polling, may_repeat=self._may_repeat)
        is_unmet = isinstance(result, Refused) and result.error.remedy is Remedy.OTHER_FORM
        self._outcomes.count_form(call.form, met=isinstance(result, Answered), unmet=is_unmet)
        self._counts[metrics.FALLBACKS] += step.call.form > call.form
        if isinstance(exchange, HttpReply) and (wait := spent_for(exchange)):
            gate.block_until(time.monotonic() + min(wait, self._left(call)))
        if isinstance(result, Answered):
            gate.answered(sent)
        elif isinstance(result, Refused) and result.error.remedy is Remedy.WAIT:
            self._counts[metrics.DELAYS] += 1
            backoff = functools.partial(self._polling.backoff, name)
            gate.throttled(sent, time.monotonic(), backoff, result.error.retry_after, self._left(call))
        if isinstance(step, Delay):
            PROGRESS.trouble = step.trouble
        elif isinstance(step, Park) and step.until < math.inf and isinstance(result, Refused):
            self._client.quota.mark_spent(result.error, step.until)
        elif isinstance(step, Park):
            self._unsupported = step.failure
        if not isinstance(step, Halt) and isinstance(exchange, HttpReply):
            self._turned_away = 0
        return step

    def _refused_form(self, call: Call, exchange: Exchange, result: RunResult, now: float) -> Step | None:
        """What follows where another server does not take the request as it is; None where something else does."""
        assert self._form is not None
        if isinstance(result, Answered):
            self._form.answered(call.form)
            return None
        if not isinstance(exchange, HttpReply) or not (isinstance(result, Refused) or exchange.status >= 400):
            return None
        error = result.error if isinstance(result, Refused) else bare_error(exchange, now)
        if error.code is not None or error.is_redirect:
            return None  # Cloudflare's own code says what helps; or the URL is wrong
        why = refused_request(exchange, error.status, has_tool=self._prompt.answer_tool is not None)
        if why is None:
            return None
        return self._form.refused(call, error, why, halts=self._halts, field=refused_field(exchange))

    async def _is_answered_yet(self) -> bool:
        """Waits until a document that is in flight is answered, or until all of them are refused as well."""
        assert self._form is not None
        self._doubtful += 1
        try:
            while not self._form.is_answered and self._halted is None and self._in_flight > self._doubtful:
                await asyncio.sleep(_LOOK / 5)
        finally:
            self._doubtful -= 1
        return self._form.is_answered

    def _left(self, call: Call) -> float:
        """Seconds until the call's deadline, and never none."""
        return max(call.since + self._polling.deadline - clock.now(), self._polling.first)

    async def _stop(self, halt: Halt) -> None:
        self._counts[metrics.ACCOUNT_TROUBLE] += 1
        self._turned_away += 1
        PROGRESS.trouble = str(halt.error)
        if self._halts and (halt.is_certain or self._turned_away >= MAX_ACCOUNT_TROUBLE):
            self._halted = halt.error
        elif self._halts:
            await asyncio.sleep(self._polling.first)
        else:
            await asyncio.sleep(self._polling.ceiling)


def _reply(document: Document, call: Call, result: Completion | Failure) -> Reply:
    return Reply(document, result, call.usage, Ticket(None, call.attempts))
