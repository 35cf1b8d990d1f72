"""Runs documents through the synchronous API: many at the same time, each until it is settled.

The caller's thread puts documents in and takes replies out, several at a time, because waking the other thread for
each one would cost more than reading an answer. The requests run on the process's event loop. `after_reply` decides
what to do after each reply.
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
from kimi_beam.service.budget import OVER_BUDGET
from kimi_beam.service.polling import Polling
from kimi_beam.service.retry_limits import MAX_ACCOUNT_TROUBLE, quota_failure
from kimi_beam.synchronous import tools
from kimi_beam.synchronous.after_reply import (
    AskAgain,
    Call,
    CallFunctions,
    Delay,
    Halt,
    NextStep,
    Park,
    Settle,
    failure_of_unsent,
    next_step,
)
from kimi_beam.synchronous.request_budget import Charge, RequestBudget
from kimi_beam.synchronous.server_form import server_form_of
from kimi_beam.synchronous.tools import Tool
from kimi_beam.types.answer import Completion
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import Ticket
from kimi_beam.wire.completions import Answered, decode_run
from kimi_beam.wire.envelopes import HttpReply, Refused, Unknown, spent_for
from kimi_beam.wire.service_errors import Remedy, ServiceError

_GROUP = 100
"""How many replies are returned together, if so many are there."""
_MAX_DELAY = 0.5
"""Seconds that a reply may wait for others; at most `_LOOK` is added. It is short because a reply that was not
returned is in no journal yet."""
_AHEAD = 16
"""How many documents may wait for a free slot when more are put in: few, as each may hold its pictures."""
_LONGEST_SLEEP = 5.0
"""Seconds after which a request that waits for its turn checks whether it may still be sent."""
_LOOK = 0.5
"""Seconds after which the caller's thread checks whether the run was stopped, whatever it waits for."""


class _Stopped(Exception):  # noqa: N818 - no error, but the end of a request that was not sent
    """The run has been stopped before this request was sent."""


class DocumentsInFlight:
    """The documents of one bundle that are being asked for: put in, and taken out as replies.

    Args:
        connection: The client of the process. Its pace, concurrency and quota are shared by all bundles.
        prompt: The prompt.
        polling: Bounds the waits, and gives the deadline.
        functions: The functions that the model may call.
        halts: Whether trouble with the account ends the run. If not, as in a stream, the document is tried again after
            the longest wait of `polling`.
        may_repeat: Whether a request that ended without a reply may be repeated.
        outcomes: The outcomes of earlier documents, which decide whether more are sent. None: there are none.
        budget: What may be spent. None: there is no bound.
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
        budget: RequestBudget | None = None,
    ) -> None:
        self.budget = budget
        self._client, self._prompt, self._polling, self._tools = connection, prompt, polling, functions
        self._halts, self._may_repeat = halts, may_repeat
        self._outcomes = outcomes or Outcomes()
        service = connection.service
        self._form = server_form_of(service.root, prompt) if service.is_elsewhere else None
        self._tasks: set[asyncio.Task[Reply]] = set()
        self._in_flight = 0
        self._doubtful = 0  # those in flight that wait to see whether the refusal concerns all documents
        # The fields below are shared by the two threads; `_changed` protects them and tells of changes.
        self._changed = threading.Condition()
        self._ready: list[Reply] = []
        self._ready_since = 0.0
        self._waiting = 0
        self._unsettled = 0
        self._halted: ServiceError | None = None
        self._account_troubles = 0
        self._cancelled = False
        self._broken: BaseException | None = None
        self._unsupported: Failure | None = None
        self._is_unmet = False
        self._counts: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()

    # -------------------------------------------------------------------------------------------- the caller's thread

    def put(self, documents: Sequence[Document], charges: Sequence[Charge] | None = None) -> Iterator[list[Reply]]:
        """Puts documents in. While too many wait for a free slot, it waits and yields replies.

        Args:
            documents: The documents.
            charges: What is reserved for each of them, if there is a budget (`put_within_budget`).

        Raises:
            AccountError: Token, account or model are turned away.
        """
        yield from self.await_room()
        with self._changed:
            self._waiting += len(documents)
            self._unsettled += len(documents)
        self._update_budget()
        event_loop.call(self._begin, documents, charges or [None] * len(documents))
        if self._is_due():
            yield self.take_ready()

    def take_ready(self) -> list[Reply]:
        """Returns the replies that are there, without waiting."""
        with self._changed:
            found, self._ready = self._ready, []
        self._update_budget()
        return found

    @property
    def is_busy(self) -> bool:
        """Whether some documents have no reply yet, or replies have not been taken out."""
        return bool(self._unsettled or self._ready)

    def await_room(self) -> Iterator[list[Reply]]:
        """Waits until few documents wait for a free slot, and yields replies meanwhile."""
        return self._until(lambda: self._waiting < _AHEAD)

    def await_some(self) -> Iterator[list[Reply]]:
        """Waits for a reply, and yields those that are there."""
        yield from self._until(lambda: bool(self._ready) or not self._unsettled)
        yield self.take_ready()

    def drain(self) -> Iterator[list[Reply]]:
        """Waits until all documents are settled, and yields their replies.

        Raises:
            AccountError: Token, account or model are turned away.
        """
        yield from self._until(lambda: not self._unsettled)
        if replies := self.take_ready():
            yield replies

    def cancel(self) -> None:
        """Cancels the requests in flight."""
        self._cancelled = True
        event_loop.call(self._end)
        self._update_budget()

    def _update_budget(self) -> None:
        if self.budget is not None:
            self.budget.update(is_busy=self.is_busy and not self._cancelled)

    def counts(self) -> Counter[str]:
        """What was counted since the last call, by the names in `metrics`."""
        now = Counter(self._counts)
        new, self._counted = now - self._counted, now
        return new

    def _until(self, is_reached: Callable[[], bool]) -> Iterator[list[Reply]]:
        """Waits until a condition holds and yields replies meanwhile; raises the reason if the run was stopped."""
        self._check()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: is_reached() or self._is_due(), _LOOK)
                is_done = is_reached()
            self._check()
            REPORTS.progress()
            if self._is_due():
                yield self.take_ready()
            if is_done:
                return

    def _is_due(self) -> bool:
        """Whether the replies that are there are returned now: they are many, or have waited long enough."""
        count = len(self._ready)
        return count >= _GROUP or (count > 0 and time.monotonic() - self._ready_since >= _MAX_DELAY)

    def _check(self) -> None:
        if self._halted is not None or self._is_unmet:
            # Nothing more is sent, but requests in flight are paid for, so their replies are waited for.
            with self._changed:
                self._changed.wait_for(lambda: not self._unsettled)
            if self._halted is not None:
                raise self._client.service.account_error(self._halted)
            self._outcomes.check_forms(len(self._prompt.forms))
        if self._broken is not None:
            self.cancel()
            raise self._broken

    # -------------------------------------------------------------------------------------------- the loop's thread

    def _begin(self, documents: Sequence[Document], charges: Sequence[Charge | None]) -> None:
        for document, charge in zip(documents, charges, strict=True):
            task = asyncio.get_running_loop().create_task(self._run_in_slot(document, charge))
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
        if not (error is None or isinstance(error, _Stopped) or self._cancelled):  # a document without a reply
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

    async def _run_in_slot(self, document: Document, charge: Charge | None) -> Reply:
        async with self._client.slots:
            with self._changed:
                self._waiting -= 1
                if self._waiting == _AHEAD - 1:
                    self._changed.notify_all()
            self._in_flight += 1
            PROGRESS.set_requests(self, self._in_flight, answered=len(self._ready))
            try:
                return await self._settle(document, charge)
            finally:
                if self.budget is not None and not self._cancelled:  # or its request may be in flight
                    self.budget.close(charge)
                self._in_flight -= 1
                PROGRESS.set_requests(self, self._in_flight, answered=len(self._ready))

    async def _settle(self, document: Document, charge: Charge | None) -> Reply:
        call, messages = Call(0.0, len(self._prompt.forms)), list[bytes]()
        line, step = self._client.allowance.runs, None
        while True:
            place = line.join(at_front=isinstance(step, Delay))
            try:
                failure = await self._may_send(place)
                if failure is not None:
                    return _reply(document, call, failure_of_unsent(call, failure))
                if not call.since:  # the deadline does not count the wait for the first turn
                    call = replace(call, since=clock.now())
                if self._form is not None:
                    call = self._form.applied(call)
                call = replace(call, form=max(call.form, min(self._outcomes.first_form(call.forms), call.forms - 1)))
                if self.budget is not None and not await self.budget.has_reserved(charge, document, messages):
                    return _reply(document, call, failure_of_unsent(call, OVER_BUDGET))
                request = self._prompt.request(document, form=call.form, turns=messages)
                step = await self._ask(call, request, document.id, charge)
                self._counts[metrics.PICTURES_SENT] += len(document.images)
            finally:
                line.leave(place)
            call = step.call
            if isinstance(step, Settle):
                PROGRESS.trouble = ""
                return _reply(document, call, step.result)
            if isinstance(step, Park):
                return _reply(document, call, failure_of_unsent(call, step.failure))
            if isinstance(step, CallFunctions):
                try:
                    messages += await asyncio.wait_for(tools.answer(step.calls, self._tools), self._seconds_left(call))
                except asyncio.TimeoutError:
                    message = "the functions that the model called were not done by the deadline"
                    return _reply(document, call, Failure("infer", "deadline", message, retryable=True))
            elif isinstance(step, AskAgain):
                PROGRESS.trouble = step.trouble
                # The wait ends at the deadline, so that a last request is sent then.
                await asyncio.sleep(min(step.wait, self._seconds_left(call)))
            elif isinstance(step, Halt):
                if step.unless_answered is not None and await self._is_answered_yet():
                    return _reply(document, call, step.unless_answered)
                await self._stop(step)

    async def _may_send(self, place: asyncio.Future[None]) -> Failure | None:
        """Waits until a request may be sent.

        Returns:
            None if it may be sent; otherwise the failure with which its document is given up.
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
            if place.done():
                return None
            await asyncio.wait({place}, timeout=_LONGEST_SLEEP)

    async def _ask(self, call: Call, request: bytes, name: str, charge: Charge | None) -> NextStep:
        """Sends a request, and adapts what the whole process shares (pace, quota, outcomes) to the reply."""
        gate, sent = self._client.allowance.runs.gate, time.monotonic()
        exchange = await self._client.ask(request, self._seconds_left(call))
        now, today = clock.now(), time.time()  # a date in a reply's header is compared with the wall clock
        self._counts[metrics.REQUESTS] += 1
        result = decode_run(exchange, today, answer_tool=self._prompt.answer_tool, calls_tools=bool(self._tools))
        if self.budget is not None:
            self.budget.replied(charge, result)
        if call.unknown and isinstance(result, (Answered, Unknown)):
            self._counts[metrics.RESUBMITS] += 1
            self._counts[metrics.MAYBE_PAID_TWICE] += 1
        REPORTS.log_trouble("request", result)
        form = self._form
        step: NextStep | None = form.next_step(call, exchange, result, today, halts=self._halts) if form else None
        if step is None:
            self._counts[metrics.UNKNOWN_SUBMITS] += isinstance(result, Unknown)
            step = next_step(call, result, name, now, self._polling, may_repeat=self._may_repeat)
        is_unmet = isinstance(result, Refused) and result.error.remedy is Remedy.OTHER_FORM
        self._outcomes.count_form(call.form, met=isinstance(result, Answered), unmet=is_unmet)
        self._counts[metrics.FALLBACKS] += step.call.form > call.form
        if isinstance(exchange, HttpReply) and (wait := spent_for(exchange)):
            gate.block_until(time.monotonic() + min(wait, self._seconds_left(call)))
        if isinstance(result, Answered):
            gate.answered(sent)
        elif isinstance(result, Refused) and result.error.remedy is Remedy.WAIT:
            self._counts[metrics.DELAYS] += 1
            backoff = functools.partial(self._polling.backoff, name)
            gate.throttled(sent, time.monotonic(), backoff, result.error.retry_after, self._seconds_left(call))
        if isinstance(step, Delay):
            PROGRESS.trouble = step.trouble
        elif isinstance(step, Park) and step.until < math.inf and isinstance(result, Refused):
            self._client.quota.mark_spent(result.error, step.until)
        elif isinstance(step, Park):
            self._unsupported = step.failure
        if not isinstance(step, Halt) and isinstance(exchange, HttpReply):
            self._account_troubles = 0
        return step

    async def _is_answered_yet(self) -> bool:
        """Waits until another document in flight is answered (True), or all of them are refused as well (False)."""
        assert self._form is not None
        self._doubtful += 1
        try:
            while not self._form.is_answered and self._halted is None and self._in_flight > self._doubtful:
                await asyncio.sleep(_LOOK / 5)
        finally:
            self._doubtful -= 1
        return self._form.is_answered

    def _seconds_left(self, call: Call) -> float:
        """Seconds until the call's deadline, but at least the first wait of `polling`."""
        return max(call.since + self._polling.deadline - clock.now(), self._polling.first)

    async def _stop(self, halt: Halt) -> None:
        self._counts[metrics.ACCOUNT_TROUBLE] += 1
        self._account_troubles += 1
        PROGRESS.trouble = str(halt.error)
        if self._halts and (halt.is_certain or self._account_troubles >= MAX_ACCOUNT_TROUBLE):
            self._halted = halt.error
        elif self._halts:
            await asyncio.sleep(self._polling.first)
        else:
            await asyncio.sleep(self._polling.ceiling)


def _reply(document: Document, call: Call, result: Completion | Failure) -> Reply:
    return Reply(document, result, call.usage, Ticket(None, call.attempts))
