"""Decides what to do after the reply to a synchronous request. No I/O: call, reply and time in, a decision out.

A `Call` is the state of one document, from its first request until it is settled::

    to send ──Answered──────────────────────────────▶ Settle
      ▲ ▲ ▲ └─the model calls functions─▶ CallFunctions ─┐
      │ │ └──────────────────at most 5 times─────────────┘
      │ ├─429, 3040, no connection: no failed attempt, until the deadline
      │ └─another server does not know how JSON is asked for: at once, in the next form (`server_form`)
      └─5xx: five times; no reply: once; JSON mode not met: once, and then without it

The rules are those of the queue (`kimi_beam.queue.state_machine`). A request that the service refused was not paid for
and may be repeated. A request that ended without a reply, or with a timeout, may have been paid for and is repeated
once. Trouble with the account, token or model is no document's fault and stops the run. When the quota is used up,
documents that were not sent are given up. The table of these rules is in `kimi_beam.service.remedies`; here they are
applied to one document.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from kimi_beam.service.polling import Polling
from kimi_beam.service.remedies import RULES, Reach, Repeat
from kimi_beam.service.retry_limits import MAX_REFUSALS, MAX_UNKNOWN, outlasted, quota_failure
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.failure import Code, Failure
from kimi_beam.wire.completions import FAILURES, Answered, RunResult, ToolCalls, failure_of
from kimi_beam.wire.envelopes import Refused, Unknown
from kimi_beam.wire.service_errors import ERRORS, Remedy, ServiceError, renewal

MAX_TURNS = 5
"""How often the model may call functions for one document, before it has to answer."""


_ACCOUNT_STATUSES = frozenset({402, 403, 404, 405})
"""HTTP statuses that mostly concern all requests: no payment, no permission, no such model, no such route."""


@dataclass(frozen=True, slots=True)
class Call:
    """The state of one document that is asked for synchronously.

    Attributes:
        since: When its first request was sent, in Unix seconds; the deadline counts from it.
        forms: How many forms there are (`Prompt.forms`).
        form: The index of the form that is next.
        attempts: Requests that the service received, without those that it told to come back later.
        delays: How often in a row the service could not be reached.
        refusals: Requests that the service refused because of trouble of its own.
        unknown: Requests that ended without a reply.
        turns: How often the model has called functions.
        usage: Tokens used so far.
        raw: The text of the latest answer that broke off or could not be read; None if there was none.
    """

    since: float
    forms: int = 1
    form: int = 0
    attempts: int = 0
    delays: int = 0
    refusals: int = 0
    unknown: int = 0
    turns: int = 0
    usage: Usage = field(default_factory=Usage)
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class Settle:
    """The document is settled: it has an answer or a failure."""

    call: Call
    result: Completion | Failure


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The document is asked for again.

    Attributes:
        call: The state after the reply.
        wait: Seconds to wait before.
        trouble: The reason, in one line.
    """

    call: Call
    wait: float
    trouble: str


@dataclass(frozen=True, slots=True)
class Delay:
    """The service is too busy: the document is asked for again when the gate lets its request through.

    Attributes:
        call: The state after the reply.
        retry_after: The seconds of the reply's Retry-After; None if it has none.
        trouble: The service's message, in one line.
    """

    call: Call
    retry_after: float | None
    trouble: str


@dataclass(frozen=True, slots=True)
class CallFunctions:
    """The model calls functions; their results are sent back to it."""

    call: Call
    calls: ToolCalls


@dataclass(frozen=True, slots=True)
class Park:
    """The document is given up, and so is every document that is not sent yet, with the same failure.

    Attributes:
        call: The state after the reply.
        failure: The failure of these documents.
        until: When documents are sent again, in Unix seconds; infinity means not in this run.
    """

    call: Call
    failure: Failure
    until: float


@dataclass(frozen=True, slots=True)
class Halt:
    """Account, token or model are turned away, which is not the document's fault.

    Attributes:
        call: The state after the reply.
        error: The service's error.
        is_certain: Whether one such reply is enough to stop the run. Otherwise it may be trouble that passes, or this
            one document after all.
        unless_answered: The failure of the document if another document in flight is answered, as that shows that the
            account is not to blame. None: an answer would show nothing.
    """

    call: Call
    error: ServiceError
    is_certain: bool = False
    unless_answered: Failure | None = None


NextStep: TypeAlias = Settle | AskAgain | Delay | CallFunctions | Park | Halt


def next_step(
    call: Call, result: RunResult, name: str, now: float, polling: Polling, *, may_repeat: bool = True
) -> NextStep:
    """Decides what to do after a reply.

    Args:
        call: The state of the document before the reply.
        result: The decoded reply.
        name: The document's id, which the jitter of waits is drawn from.
        now: Unix seconds.
        polling: Bounds the waits, and gives the deadline.
        may_repeat: Whether a request that ended without a reply may be repeated.
    """
    if isinstance(result, Answered):
        return _answered(call, result, name, polling)
    if isinstance(result, Unknown):
        call = replace(call, usage=call.usage + (result.usage or Usage()), raw=result.raw or call.raw)
        return _unknown(call, result.message, name, polling, may_repeat)
    if isinstance(result, Refused):
        if RULES[result.error.remedy].repeat is Repeat.ONCE:
            return _unknown(call, str(result.error), name, polling, may_repeat)
        return _refused(call, result.error, name, now, polling)
    if now - call.since >= polling.deadline:
        return _too_late(call, "unreachable", result.message)
    return AskAgain(replace(call, delays=call.delays + 1), polling.backoff(name, call.delays), result.message)


def failure_of_unsent(call: Call, failure: Failure) -> Failure:
    """The failure of a document that may not be sent any more.

    Args:
        call: The state of the document.
        failure: Why nothing is sent any more. If the quota or the budget is used up, but an earlier request of this
            document may have been paid for, that is said instead.
    """
    what = {"quota_exhausted": "quota", "budget": "budget"}.get(failure.code)
    if (call.unknown or (call.turns and what == "quota")) and what is not None:
        message = f"no word whether the request was answered, and then the {what} was spent: {failure.message}"
        return Failure("submit", "unknown_submit", message, retryable=True)
    return failure


def _answered(call: Call, answer: Answered, name: str, polling: Polling) -> NextStep:
    call = replace(call, attempts=call.attempts + 1, usage=call.usage + (answer.usage or Usage()), delays=0)
    if isinstance(answer.result, ToolCalls):
        if call.turns >= MAX_TURNS:
            message = f"the model still called functions after {MAX_TURNS} turns"
            return Settle(call, Failure("infer", "too_many_turns", message, retryable=True))
        return CallFunctions(replace(call, turns=call.turns + 1), answer.result)
    return Settle(call, answer.result)


def _unknown(call: Call, message: str, name: str, polling: Polling, may_repeat: bool) -> NextStep:
    rule = RULES[Remedy.TIMEOUT]
    call = replace(call, unknown=call.unknown + 1, attempts=call.attempts + rule.is_attempt)
    if call.unknown >= MAX_UNKNOWN or not may_repeat:
        times = "twice " if call.unknown >= MAX_UNKNOWN else ""
        reason = f"{times}no word whether the request was answered, so it may have been paid for: {message}"
        return Settle(call, replace(rule.failure(reason), raw=call.raw))
    return AskAgain(call, polling.backoff(name, call.attempts), message)


def _refused(call: Call, error: ServiceError, name: str, now: float, polling: Polling) -> NextStep:
    rule, message = RULES[error.remedy], f"the service refused the request: {error}"
    if rule.reach is Reach.EVERYTHING:
        return Halt(call, error)
    if error.status in _ACCOUNT_STATUSES and error.code not in ERRORS:
        # A firewall may have refused this one document alone; after some refusals only that document is given up.
        call = replace(call, refusals=call.refusals + 1)
        if call.refusals >= MAX_REFUSALS:
            return Settle(call, Failure("submit", "refused", message, retryable=True))
        return Halt(call, error)
    if rule.reach is Reach.UNSENT:
        return Park(call, quota_failure(str(error)), renewal(now))
    if rule.repeat is Repeat.UNTIL_DEADLINE:
        if now - call.since >= polling.deadline:
            return _too_late(call, rule.failure(message).code, message)
        return Delay(call, error.retry_after, message)
    call = replace(call, attempts=call.attempts + rule.is_attempt)
    if rule.repeat is Repeat.IN_NEXT_FORM and call.form + 1 < call.forms:
        return AskAgain(replace(call, form=call.form + 1), polling.backoff(name, 0), message)
    if error.code in FAILURES and not error.concerns_image:
        failure = failure_of(error, "the service refused the request")
        # A model without JSON mode refuses every document, so no more are sent.
        return Park(call, failure, math.inf) if failure.code == "json_mode_unsupported" else Settle(call, failure)
    if rule.repeat is Repeat.A_FEW_TIMES:
        call = replace(call, refusals=call.refusals + 1)
        if not outlasted(call.refusals, now - call.since, polling):
            return AskAgain(call, max(error.retry_after or 0.0, polling.backoff(name, call.refusals)), message)
    return Settle(call, rule.failure(message))


def _too_late(call: Call, code: Code, message: str) -> Settle:
    """Settles a document that was never accepted until its deadline."""
    return Settle(call, Failure("submit", code, f"until the deadline: {message}", retryable=True))
