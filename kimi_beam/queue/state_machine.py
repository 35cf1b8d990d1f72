"""What a shard does next: submit, poll, wait, or let go. Pure: state, time and results in; state and effects out.

A shard holds some batches as jobs. Each job goes through this, and ends in exactly one of the effects at the right::

    to submit ──Accepted──▶ in flight ──Done────────────────────▶ Finish
      │ ▲ ▲                   │  │ │
      │ │ └──Gone, deadline: once┘ └──deadline, Failed, Gone────▶ GiveUp
      │ └─429, 3040, no connection, error envelope; Unknown: once
      └──refused for good, refused or unknown too often─────────▶ GiveUp
      ├──too large, or one bad request among good ones──────────▶ Split (both halves are jobs again)
      └──a file has changed─────────────────────────────────────▶ Drop (the others are a job again)

The rules:

* A batch is a job in committed state before it is submitted, and the request id is committed right after: the caller
  acts only on jobs that it found in state, never on those that it just admitted.
* A submit that the service refused in its own words was not queued and may be repeated. One that ended without a word,
  or with a timeout's, may have been queued, and paid for: it is repeated at most once.
* "Come back later" (429, 3040) is no failed attempt, and its ``Retry-After`` holds the whole shard back. How many
  may be sent at all meanwhile is the process's business (`pacing`), not the shard's.
* A failed poll says nothing about the job; only the deadline ends it. Neither does a finished reply that holds other
  jobs' items alone.
* Reading again is free: a finished reply that lacks items is read once more before they are called missing, and again
  as long as each reading brings some of them. Those that came are settled meanwhile, and the others stay a job
  (FinishSome).
* The deadline is believed where the job was polled on the way to it. A job that nobody has looked at for long, or whose
  age is that of a clock that was set since, is polled for some minutes more.
* A job that was accepted is submitted again at most once: because the service lost it (5504), or at the deadline where
  the user wants that.
* Where events tell of jobs that have ended, polls are put off, and a job whose event has come is polled at once.
* Trouble with the account, token or model is no batch's fault: it halts the shard and keeps every job.

What follows from each kind of refusal stands in `kimi_beam.service.remedies`; here it is done to a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kimi_beam.queue.effects import AskAgain, Drop, Effect, Finish, FinishSome, GiveUp, Halt, RunInstead, Split, Warn
from kimi_beam.queue.jobs import Job, Shard, delay_until, put, without
from kimi_beam.report import metrics
from kimi_beam.service.polling import Polling
from kimi_beam.service.remedies import RULES, Halving, Reach, Repeat
from kimi_beam.service.retry_limits import MAX_ACCOUNT_TROUBLE, MAX_UNKNOWN, OUTAGE, outlasted, quota_failure
from kimi_beam.types import Failure
from kimi_beam.wire import matching
from kimi_beam.wire.envelopes import Refused, Unknown, Unsent
from kimi_beam.wire.matching import Matched
from kimi_beam.wire.protocol import Accepted, Done, Failed, Gone, NoResults, Pending, PollResult, SubmitResult, Trouble
from kimi_beam.wire.service_errors import Remedy, ServiceError, renewal

MAX_GONE = 2
"""Polls in a row that must say "no such job" to be believed: a job may be unknown for a moment after its submit."""

GONE_AFTER = 60.0
"""Seconds after a submit before which "no such job" is not believed at all, or the longest wait between polls."""


MAX_REREADS = 1
"""Times in a row that a job is read again although the last reading brought none of the items that it lacked."""

WARN_EMPTY = 3
"""Polls in a row that call a job done and send no list of results, after which the user is told."""

MAX_EMPTY = 10
"""Such polls in a row before the job is given up, and `OUTAGE` seconds have to be over as well."""

MAX_SPLITS_IN_VAIN = 20
"""Refusals in a row, without a submit accepted between them, after which the fault is taken to lie in every request."""


def unread(
    shard: Shard, job: Job, lost: Mapping[int, Failure], now: float, polling: Polling
) -> tuple[Shard, list[Effect]]:
    """What follows when files of a batch that is due to be submitted could not be read.

    Args:
        shard: Of the job.
        job: What was to be submitted.
        lost: Why, by position in the batch.
        now: Unix seconds.
        polling: How long waits are, and the deadline.
    """
    passing = [failure for failure in lost.values() if failure.code == "unreadable"]
    if not passing or now - job.since >= min(OUTAGE, polling.deadline):
        return without(shard, [job]), [Drop(job, lost)]
    wait = _patience(job, polling.backoff(job.batch_id, job.delays), now, polling)
    return put(shard, replace(job, due=now + wait, delays=job.delays + 1, trouble=passing[0].message)), []


# ------------------------------------------------------------------------------------------------ submits


def submitted_together(
    shard: Shard,
    results: Iterable[tuple[Job, SubmitResult]],
    now: float,
    polling: Polling,
    *,
    may_run: bool = False,
    may_repeat: bool = True,
) -> tuple[Shard, list[Effect]]:
    """What follows from submits that were made at once.

    A spent quota concerns all that is unsent, so it is heard last: after the submits that were accepted beside it,
    those that ended without a word, and those that were told how long to wait.
    """
    effects: list[Effect] = []
    for job, result in sorted(results, key=lambda pair: _spends_quota(pair[1])):
        current = next((j for j in shard.jobs if j.batch_id == job.batch_id), None)
        if current is not None:
            shard, more = submitted(shard, current, result, now, polling, may_run=may_run, may_repeat=may_repeat)
            effects += more
    return shard, effects


def counted(results: Sequence[tuple[Job, SubmitResult]]) -> Mapping[str, int]:
    """What is counted of submits that were made at once, by the names of `metrics`."""
    taken = [job for job, result in results if isinstance(result, (Accepted, Unknown))]
    again = [job.count for job in taken if job.resubmitted or job.unknown]
    return {
        metrics.UNKNOWN_SUBMITS: sum(isinstance(result, Unknown) for _, result in results),
        metrics.RESUBMITS: len(again),
        metrics.MAYBE_PAID_TWICE: sum(again),
        metrics.DELAYS: sum(isinstance(r, Refused) and r.error.remedy is Remedy.WAIT for _, r in results),
    }


def _spends_quota(result: SubmitResult) -> bool:
    return isinstance(result, Refused) and RULES[result.error.remedy].reach is Reach.UNSENT


def submitted(
    shard: Shard,
    job: Job,
    result: SubmitResult,
    now: float,
    polling: Polling,
    *,
    may_run: bool = False,
    may_repeat: bool = True,
) -> tuple[Shard, list[Effect]]:
    """What follows from a submit.

    Args:
        shard: Of the job.
        job: What was submitted.
        result: What came back.
        now: Unix seconds.
        polling: How long waits are, and the deadline.
        may_run: Whether a model without a queue may be asked synchronously.
        may_repeat: Whether a submit that ended without a word may be repeated.
    """
    if may_run and isinstance(result, Refused) and result.error.lacks_queue:
        return without(shard, [job]), [RunInstead(job)]
    if isinstance(result, Accepted):
        accepted = replace(
            job,
            request_id=result.request_id,
            since=now,
            due=now + polling.wait(result.request_id, 0),
            attempts=job.attempts + 1,
            polls=0,
            delays=0,
            gone=0,
            trouble="",
            event_seen=False,
        )
        return replace(put(shard, accepted), vain_refusals=0), []
    if isinstance(result, Unknown):
        return _unknown(shard, job, result.message, now, polling, may_repeat)
    if isinstance(result, Unsent):
        return _later(shard, job, "unreachable", result.message, None, now, polling)
    if RULES[result.error.remedy].repeat is Repeat.ONCE:
        return _unknown(shard, job, str(result.error), now, polling, may_repeat)
    return _refused(shard, job, result.error, now, polling)


def _unknown(
    shard: Shard, job: Job, message: str, now: float, polling: Polling, may_repeat: bool
) -> tuple[Shard, list[Effect]]:
    """What follows from a submit that may have been accepted."""
    rule = RULES[Remedy.TIMEOUT]
    job = replace(job, unknown=job.unknown + 1, attempts=job.attempts + rule.is_attempt, trouble=message)
    if job.unknown >= MAX_UNKNOWN or not may_repeat:
        times = "twice " if job.unknown >= MAX_UNKNOWN else ""
        told = f"{times}no word whether the submit was accepted, so it may have been paid for: {message}"
        return _give_up(shard, job, rule.failure(told))
    # The one repetition is made when what ails the service may be over, not at once.
    return put(shard, replace(job, due=now + 2 * polling.ceiling)), []


def _refused(shard: Shard, job: Job, error: ServiceError, now: float, polling: Polling) -> tuple[Shard, list[Effect]]:
    """What follows from a refusal, as `RULES` has it."""
    rule, message = RULES[error.remedy], f"the service refused the submit: {error}"
    if rule.reach is Reach.EVERYTHING:
        held = replace(shard, submits_from=now + polling.ceiling, polls_from=now + polling.ceiling)
        return put(held, replace(job, trouble=message)), [Halt(error)]
    if rule.reach is Reach.UNSENT:
        return park(shard, error, renewal(now))
    if rule.repeat is Repeat.UNTIL_DEADLINE:
        return _later(shard, job, rule.code, message, error.retry_after, now, polling)
    job = replace(job, attempts=job.attempts + rule.is_attempt)
    if rule.repeat is Repeat.IN_NEXT_FORM:
        return without(shard, [job]), [AskAgain(job, rule.failure(message))]
    if rule.repeat is Repeat.A_FEW_TIMES:
        job = replace(job, refusals=job.refusals + 1, trouble=message)
        if not outlasted(job.refusals, now - job.since, polling):
            wait = max(error.retry_after or 0.0, polling.backoff(job.batch_id, job.refusals))
            return put(shard, replace(job, due=now + _patience(job, wait, now, polling))), []
    if rule.halving is Halving.UNTIL_FOUND:
        shard = replace(shard, vain_refusals=shard.vain_refusals + 1)
    is_in_vain = rule.halving is Halving.UNTIL_FOUND and shard.vain_refusals > MAX_SPLITS_IN_VAIN
    if job.count > 1 and rule.halving is not Halving.NONE and not is_in_vain:
        return without(shard, [job]), [Split(job)]
    return _give_up(shard, job, rule.failure(message))


def park(shard: Shard, error: ServiceError, until: float) -> tuple[Shard, list[Effect]]:
    """Gives up what is unsent while the quota is spent, until a time in Unix seconds."""
    unsent = [job for job in shard.jobs if job.request_id is None]
    return without(replace(shard, parked_until=until), unsent), [GiveUp(job, _parked(job, error)) for job in unsent]


def leave_unsent(shard: Shard, failure: Failure) -> tuple[Shard, list[Effect]]:
    """Gives up what is unsent, because it is not worth while to send it."""
    unsent = [job for job in shard.jobs if job.request_id is None]
    given_up: list[Effect] = []
    for job in unsent:
        told = f"no word whether the submit was accepted, and then: {failure.message}"
        doubtful = Failure("submit", "unknown_submit", told, retryable=True)
        given_up.append(GiveUp(job, doubtful if job.unknown else failure))
    return without(shard, unsent), given_up


def _later(
    shard: Shard, job: Job, code: Any, message: str, retry_after: float | None, now: float, polling: Polling
) -> tuple[Shard, list[Effect]]:
    """Not now: no attempt is used up, and only the deadline ends it.

    The whole shard waits, unless the service is busy and does not say for how long: then the process's window does it.
    """
    if now - job.since >= polling.deadline:
        return _give_up(shard, job, Failure("submit", code, f"until the deadline: {message}", retryable=True))
    # A Retry-After of 0, or one in the past, is no leave to come back at once for ever.
    wait = retry_after or polling.backoff(job.batch_id, job.delays if code == "unreachable" else 0)
    wait = _patience(job, wait, now, polling)
    if retry_after or code == "unreachable":
        shard = delay_until(shard, submits=now + wait)
    return put(shard, replace(job, due=now + wait, delays=job.delays + 1, trouble=message)), []


def _patience(job: Job, wait: float, now: float, polling: Polling) -> float:
    """A wait by the service's own word, no longer than to the job's deadline: that is met by a last try, not passed."""
    return min(wait, max(job.since + polling.deadline - now, polling.first))


def _parked(job: Job, error: ServiceError) -> Failure:
    if job.unknown:
        message = f"no word whether the submit was accepted, and then the quota was spent: {error}"
        return Failure("submit", "unknown_submit", message, retryable=True)
    return quota_failure(str(error))


# ------------------------------------------------------------------------------------------------ polls


def polled(shard: Shard, job: Job, result: PollResult, now: float, polling: Polling) -> tuple[Shard, list[Effect]]:
    """What follows from a poll."""
    if isinstance(result, Done):
        lacking = matching.unusual_match(result.items, matching.references(*job.requests[:2]))
        if lacking is None or not lacking.is_foreign:
            return _done(shard, job, result, lacking, now, polling)
        told = f"a finished reply holds {len(result.items)} items of other jobs and none of this one"
        result = Trouble(told)
    if isinstance(result, Failed):
        return _give_up(shard, job, Failure("poll", "job_failed", result.message, retryable=True))
    effects: list[Effect] = []
    job = replace(job, polls=job.polls + 1)
    if not isinstance(result, NoResults):
        job = replace(job, empty=0)
    if isinstance(result, Pending):
        job = replace(job, gone=0, turned_away=0)
    elif isinstance(result, NoResults):
        since = job.empty_since if job.empty else now
        job = replace(job, gone=0, turned_away=0, empty=job.empty + 1, empty_since=since, trouble=result.message)
        is_late = now - job.since >= polling.deadline
        if (job.empty >= MAX_EMPTY and now - since >= OUTAGE) or (job.empty >= WARN_EMPTY and is_late):
            return _give_up(shard, job, Failure("poll", "no_results", result.message, retryable=True))
        if job.empty == WARN_EMPTY:
            told = "the service says that it is done and sends no list of results; it is polled again"
            effects = [Warn(f"job {job.request_id}: {told}")]
    elif isinstance(result, Gone):
        job = replace(job, gone=job.gone + 1, turned_away=0, trouble=result.message)
        if job.gone >= MAX_GONE and now - job.since >= min(GONE_AFTER, polling.ceiling):
            return _gone(shard, job, result, now)
    else:
        job = replace(job, gone=0, trouble=result.message)
        shard, job, effects = _trouble(shard, job, result.error, now, polling)
    is_first_look = job.polls == 1 or now - job.due > max(2 * polling.ceiling, GONE_AFTER)
    if now - job.since >= polling.deadline and is_first_look and not job.grace_until:
        job = replace(job, grace_until=now + min(OUTAGE, polling.deadline))
    if now >= max(job.since + polling.deadline, job.grace_until):
        if polling.on_deadline == "resubmit" and not job.resubmitted:
            return _again(shard, job, now), effects
        last = f"; the last trouble: {job.trouble}" if job.trouble else ""
        waited = f"no answer within {polling.deadline:g} s of the submit{last}"
        shard, given_up = _give_up(shard, job, Failure("poll", "deadline", waited, retryable=True))
        return shard, [*given_up, *effects]
    # The deadline is met by a last poll, not passed by a long wait.
    latest = max(job.since + polling.deadline, job.grace_until)
    next_poll = min(now + polling.wait(job.batch_id, job.polls), latest)
    return put(shard, replace(job, due=next_poll)), effects


def _done(
    shard: Shard, job: Job, done: Done, lacking: Matched | None, now: float, polling: Polling
) -> tuple[Shard, list[Effect]]:
    """What follows from a finished reply that holds items of this job, or items that cannot be told apart."""
    finish = Finish(job, done.items, done.usage)
    if lacking is None:
        return without(shard, [job]), [finish]
    came = [place for place, asked in enumerate(job.requests[2]) if lacking.items[asked] is not None]
    if len(came) == job.count or (job.rereads >= MAX_REREADS and not came):
        return without(shard, [job]), [finish]
    told = f"a finished reply lacks {job.count - len(came)} of {job.count} items"
    wait = polling.wait(job.batch_id, job.polls + 1)
    again = replace(job, rereads=job.rereads + 1, polls=job.polls + 1, due=now + wait, event_seen=True, trouble=told)
    return put(shard, again), [FinishSome(finish, came)] if came else []


def _gone(shard: Shard, job: Job, result: Gone, now: float) -> tuple[Shard, list[Effect]]:
    if job.resubmitted:
        message = f"the service lost the job, which had been submitted again before: {result.message}"
        return _give_up(shard, job, Failure("poll", "expired", message, retryable=True))
    return _again(shard, job, now), []


def _again(shard: Shard, job: Job, now: float) -> Shard:
    again = replace(job, request_id=None, since=now, due=now, polls=0, gone=0, submitted_as=None, event_seen=False)
    again = replace(again, rereads=0, empty=0, grace_until=0.0, resubmitted=True, replaces=job.request_id)
    return put(shard, again)


def _trouble(
    shard: Shard, job: Job, error: ServiceError | None, now: float, polling: Polling
) -> tuple[Shard, Job, list[Effect]]:
    if error is None:
        return shard, job, []
    if RULES[error.remedy].reach is Reach.EVERYTHING:
        job = replace(job, turned_away=job.turned_away + 1)
        if job.turned_away >= MAX_ACCOUNT_TROUBLE:
            return replace(shard, polls_from=now + polling.ceiling), job, [Halt(error)]
        return shard, job, []
    job = replace(job, turned_away=0)
    if not error.retry_after:
        return shard, job, []
    return delay_until(shard, polls=now + _patience(job, error.retry_after, now, polling)), job, []


def _give_up(shard: Shard, job: Job, failure: Failure) -> tuple[Shard, list[Effect]]:
    return without(shard, [job]), [GiveUp(job, failure)]
