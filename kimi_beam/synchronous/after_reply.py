"""What follows from the reply to a synchronous request. Pure: call, reply and time in; a decision out.

A call is all that is asked about one document, until it is settled::

    to send ──Answered──────────────────────────────▶ Settle
      ▲ ▲ ▲ └─the model calls functions─▶ Turn ─┐
      │ │ └────────────at most 5 times──────────┘
      │ ├─429, 3040, no connection: no failed attempt, until the deadline
      │ └─a server that is not Cloudflare's does not know how JSON is asked for: at once, in another way (`asked_form`)
      └─5xx: five times; no word: once; JSON mode not met: once, and then without it

The rules are those of the queue (`kimi_beam.queue.state_machine`): an error in the service's own words was not paid for
and may be repeated; a request that ended without a word, or with a timeout's, may have been paid for and is repeated
once; trouble with the account, token or model is no document's fault and stops the run; a spent quota gives up what is
unsent. What follows from each kind of refusal stands in `kimi_beam.service.remedies`, which both go by; here it is done
to one document.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from kimi_beam.service.polling import Polling
from kimi_beam.service.remedies import RULES, Reach, Repeat
from kimi_beam.service.retry_limits import MAX_REFUSALS, MAX_UNKNOWN, outlasted, quota_failure
from kimi_beam.types import Code, Completion, Failure, Usage
from kimi_beam.wire.completions import FAILURES, Answered, RunResult, ToolCalls, failure_of
from kimi_beam.wire.envelopes import Refused, Unknown
from kimi_beam.wire.service_errors import ERRORS, Remedy, ServiceError, renewal

MAX_TURNS = 5
"""Times that the model may have functions called for one document."""


_TURNED_AWAY = frozenset({402, 403, 404, 405})
"""Statuses that turn everybody away, mostly: no payment, no permission, no such model, no such route."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked about one document.

    Attributes:
        since: Unix seconds of its beginning; the deadline counts from it.
        forms: How many ways there are to ask for the answer's shape (`Prompt.forms`).
        form: Which of them is next.
        attempts: Requests that the service saw, "come back later" not counted.
        delays: Times it could not connect, in a row.
        refusals: Requests refused for trouble of the service.
        unknown: Requests that ended without a word.
        turns: Times that functions were called.
        usage: Tokens spent so far.
        raw: What came of the latest answer that broke off or could not be read; None where nothing did.
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
    """It is over."""

    call: Call
    result: Completion | Failure


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The same document again.

    Attributes:
        call: With what was learnt.
        wait: Seconds.
        trouble: Why, in one line.
    """

    call: Call
    wait: float
    trouble: str


@dataclass(frozen=True, slots=True)
class Delay:
    """The service is too busy: the same document again, when the process may send (`pacing`). Others wait as well.

    Attributes:
        call: With what was learnt.
        retry_after: Seconds by the service's own word; None where it gives none.
        trouble: What it said, in one line.
    """

    call: Call
    retry_after: float | None
    trouble: str


@dataclass(frozen=True, slots=True)
class Turn:
    """The model wants functions called; their results go back to it."""

    call: Call
    calls: ToolCalls


@dataclass(frozen=True, slots=True)
class Park:
    """It is over, and whatever is unsent is given up with the same failure, until a time in Unix seconds."""

    call: Call
    failure: Failure
    until: float


@dataclass(frozen=True, slots=True)
class Halt:
    """Account, token or model are turned away. The document is not to blame.

    Attributes:
        call: What was asked.
        error: What the service said.
        is_certain: Whether once is enough; else it may be this one document, or trouble that passes.
        unless_answered: What the document is given up with if another one that is in flight is answered: then the
            document is to blame after all. None: nothing would change by that.
    """

    call: Call
    error: ServiceError
    is_certain: bool = False
    unless_answered: Failure | None = None


Step: TypeAlias = Settle | AskAgain | Delay | Turn | Park | Halt


def next_step(
    call: Call, result: RunResult, name: str, now: float, polling: Polling, *, may_repeat: bool = True
) -> Step:
    """What follows from a reply.

    Args:
        call: What was asked.
        result: What came back.
        name: Names the document; jitter is drawn from it.
        now: Unix seconds.
        polling: How long waits are, and the deadline.
        may_repeat: Whether a request that ended without a word may be repeated.
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


def parked(call: Call, failure: Failure) -> Failure:
    """What a call is given up with because of another's failure; one that went unanswered may have been paid for."""
    if (call.unknown or call.turns) and failure.code == "quota_exhausted":
        told = f"no word whether the request was answered, and then the quota was spent: {failure.message}"
        return Failure("submit", "unknown_submit", told, retryable=True)
    return failure


def _answered(call: Call, answer: Answered, name: str, polling: Polling) -> Step:
    call = replace(call, attempts=call.attempts + 1, usage=call.usage + (answer.usage or Usage()), delays=0)
    if isinstance(answer.result, ToolCalls):
        if call.turns >= MAX_TURNS:
            told = f"the model still called functions after {MAX_TURNS} turns"
            return Settle(call, Failure("infer", "too_many_turns", told, retryable=True))
        return Turn(replace(call, turns=call.turns + 1), answer.result)
    return Settle(call, answer.result)


def _unknown(call: Call, message: str, name: str, polling: Polling, may_repeat: bool) -> Step:
    rule = RULES[Remedy.TIMEOUT]
    call = replace(call, unknown=call.unknown + 1, attempts=call.attempts + rule.is_attempt)
    if call.unknown >= MAX_UNKNOWN or not may_repeat:
        times = "twice " if call.unknown >= MAX_UNKNOWN else ""
        told = f"{times}no word whether the request was answered, so it may have been paid for: {message}"
        return Settle(call, replace(rule.failure(told), raw=call.raw))
    return AskAgain(call, polling.backoff(name, call.attempts), message)


def _refused(call: Call, error: ServiceError, name: str, now: float, polling: Polling) -> Step:
    rule, message = RULES[error.remedy], f"the service refused the request: {error}"
    if rule.reach is Reach.EVERYTHING:
        return Halt(call, error)
    if error.status in _TURNED_AWAY and error.code not in ERRORS:
        # Or a firewall dislikes this one document: then it is all that goes.
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
        # What the model cannot do at all is refused for every document alike.
        return Park(call, failure, math.inf) if failure.code == "json_mode_unsupported" else Settle(call, failure)
    if rule.repeat is Repeat.A_FEW_TIMES:
        call = replace(call, refusals=call.refusals + 1)
        if not outlasted(call.refusals, now - call.since, polling):
            return AskAgain(call, max(error.retry_after or 0.0, polling.backoff(name, call.refusals)), message)
    return Settle(call, rule.failure(message))


def _too_late(call: Call, code: Code, message: str) -> Settle:
    """No attempt was used up all the time; only the deadline ends it."""
    return Settle(call, Failure("submit", code, f"until the deadline: {message}", retryable=True))
