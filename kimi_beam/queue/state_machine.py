"""The state machine of a shard's jobs. No I/O: state, time and replies in, new state and effects out.

A shard has some batches as jobs. Each job takes this way, and leaves by exactly one of the effects at the right::

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
  or with a timeout, may have been queued, and paid for: it is repeated at most once.
* "Come back later" (429, 3040) is no failed attempt, and its ``Retry-After`` delays the whole shard. How many requests
  are sent at all is decided for the process (`kimi_beam.network.pacing`), not for the shard.
* A poll that fails never ends a job; only an answer about the job, or its deadline, does. A finished reply that has
  items of other jobs alone is no answer about it.
* Polling a finished job again is free. If items are missing from its reply it is polled once more before they count as
  missing, and again as long as each reply has some of them. Documents with items are settled meanwhile, and the others
  stay a job (FinishSome).
* The deadline ends a job that was polled until then. If it was not polled for long, or if its age is wrong because a
  clock was set, it is polled for some minutes more.
* A job that was accepted is submitted again at most once: because the service lost it (5504), or at the deadline where
  the user wants that.
* With events, which tell of jobs that have ended, polls are delayed, and a job whose event has come is polled at once.
* Trouble with the account, token or model is no batch's fault: it halts the shard, which keeps every job.

The table of what is done about each kind of refusal is in `kimi_beam.service.remedies`; here it is applied to a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kimi_beam.queue.effects import AskAgain, Drop, Effect, Finish, FinishSome, GiveUp, Halt, RunInstead, Split, Warn
from kimi_beam.queue.jobs import Job, Shard, delay_until, with_job, without
from kimi_beam.report import metrics
from kimi_beam.service.polling import Polling
from kimi_beam.service.remedies import RULES, Halving, Reach, Repeat
from kimi_beam.service.retry_limits import MAX_ACCOUNT_TROUBLE, MAX_UNKNOWN, OUTAGE, outlasted, quota_failure
from kimi_beam.types.failure import Failure
from kimi_beam.wire import matching
from kimi_beam.wire.envelopes import Refused, Unknown, Unsent
from kimi_beam.wire.matching import Matched
from kimi_beam.wire.protocol import Accepted, Done, Failed, Gone, NoResults, Pending, PollResult, SubmitResult, Trouble
from kimi_beam.wire.service_errors import Remedy, ServiceError, renewal

MAX_GONE = 2
"""Polls in a row that have to say "no such job" before the job counts as lost. Right after its submit the service may
not know it yet."""

GONE_AFTER = 60.0
"""Seconds after a submit during which "no such job" does not count; fewer if the longest wait between polls is
shorter."""


MAX_REREADS = 1
"""How often in a row a finished job is polled again without getting any of its missing items."""

WARN_EMPTY = 3
"""Polls in a row that call a job done without a list of results before the user is warned."""

MAX_EMPTY = 10
"""Such polls in a row before the job is given up; `OUTAGE` seconds have to pass as well."""

MAX_SPLITS_IN_VAIN = 20
"""Submits refused for good in a row, before batches are no longer cut in two: the fault is then in every request."""


def unreadable(
    shard: Shard, job: Job, lost: Mapping[int, Failure], now: float, polling: Polling
) -> tuple[Shard, list[Effect]]:
    """Decides what to do with a batch of which some files could not be read before its submit.

    Args:
        shard: The shard.
        job: The job that is due to be submitted.
        lost: The failure of each document whose file could not be read, by its index in the batch.
        now: Unix seconds.
        polling: Bounds the waits, and gives the deadline.
    """
    passing = [failure for failure in lost.values() if failure.code == "unreadable"]
    if not passing or now - job.since >= min(OUTAGE, polling.deadline):
        return without(shard, [job]), [Drop(job, lost)]
    wait = _until_deadline(job, polling.backoff(job.batch_id, job.delays), now, polling)
    return with_job(shard, replace(job, due=now + wait, delays=job.delays + 1, trouble=passing[0].message)), []


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
    """Decides what to do after several submits that were sent together. The arguments are those of `submitted`.

    A reply that the quota is used up is handled last, because it gives up every job that is not sent: by then the jobs
    are known that were accepted, ended without a reply, or have to wait.
    """
    effects: list[Effect] = []
    for job, result in sorted(results, key=lambda pair: _spends_quota(pair[1])):
        current = next((j for j in shard.jobs if j.batch_id == job.batch_id), None)
        if current is not None:
            shard, more = submitted(shard, current, result, now, polling, may_run=may_run, may_repeat=may_repeat)
            effects += more
    return shard, effects


def metrics_of(results: Sequence[tuple[Job, SubmitResult]]) -> Mapping[str, int]:
    """What several submits add to the metrics, by the names in `kimi_beam.report.metrics`."""
    accepted = [job for job, result in results if isinstance(result, (Accepted, Unknown))]
    repeated = [job.count for job in accepted if job.resubmitted or job.unknown]
    return {
        metrics.UNKNOWN_SUBMITS: sum(isinstance(result, Unknown) for _, result in results),
        metrics.RESUBMITS: len(repeated),
        metrics.MAYBE_PAID_TWICE: sum(repeated),
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
    """Decides what to do after a submit.

    Args:
        shard: The shard.
        job: The job that was submitted.
        result: The decoded reply.
        now: Unix seconds.
        polling: Bounds the waits, and gives the deadline.
        may_run: Whether a model without a queue may be asked synchronously.
        may_repeat: Whether a submit that ended without a reply may be repeated.
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
        return replace(with_job(shard, accepted), vain_refusals=0), []
    if isinstance(result, Unknown):
        return _unknown(shard, job, result.message, now, polling, may_repeat)
    if isinstance(result, Unsent):
        return _delay(shard, job, "unreachable", result.message, None, now, polling)
    if RULES[result.error.remedy].repeat is Repeat.ONCE:
        return _unknown(shard, job, str(result.error), now, polling, may_repeat)
    return _refused(shard, job, result.error, now, polling)


def _unknown(
    shard: Shard, job: Job, message: str, now: float, polling: Polling, may_repeat: bool
) -> tuple[Shard, list[Effect]]:
    """Decides what to do after a submit that may have been accepted."""
    rule = RULES[Remedy.TIMEOUT]
    job = replace(job, unknown=job.unknown + 1, attempts=job.attempts + rule.is_attempt, trouble=message)
    if job.unknown >= MAX_UNKNOWN or not may_repeat:
        times = "twice " if job.unknown >= MAX_UNKNOWN else ""
        reason = f"{times}no word whether the submit was accepted, so it may have been paid for: {message}"
        return _give_up(shard, job, rule.failure(reason))
    # The one repetition waits for a while, so that the trouble of the service may be over by then.
    return with_job(shard, replace(job, due=now + 2 * polling.ceiling)), []


def _refused(shard: Shard, job: Job, error: ServiceError, now: float, polling: Polling) -> tuple[Shard, list[Effect]]:
    """Decides what to do after a refusal, by `RULES`."""
    rule, message = RULES[error.remedy], f"the service refused the submit: {error}"
    if rule.reach is Reach.EVERYTHING:
        halted = replace(shard, submits_from=now + polling.ceiling, polls_from=now + polling.ceiling)
        return with_job(halted, replace(job, trouble=message)), [Halt(error)]
    if rule.reach is Reach.UNSENT:
        return park(shard, error, renewal(now))
    if rule.repeat is Repeat.UNTIL_DEADLINE:
        return _delay(shard, job, rule.code, message, error.retry_after, now, polling)
    job = replace(job, attempts=job.attempts + rule.is_attempt)
    if rule.repeat is Repeat.IN_NEXT_FORM:
        return without(shard, [job]), [AskAgain(job, rule.failure(message))]
    if rule.repeat is Repeat.A_FEW_TIMES:
        job = replace(job, refusals=job.refusals + 1, trouble=message)
        if not outlasted(job.refusals, now - job.since, polling):
            wait = max(error.retry_after or 0.0, polling.backoff(job.batch_id, job.refusals))
            return with_job(shard, replace(job, due=now + _until_deadline(job, wait, now, polling))), []
    if rule.halving is Halving.UNTIL_FOUND:
        shard = replace(shard, vain_refusals=shard.vain_refusals + 1)
    is_in_vain = rule.halving is Halving.UNTIL_FOUND and shard.vain_refusals > MAX_SPLITS_IN_VAIN
    if job.count > 1 and rule.halving is not Halving.NONE and not is_in_vain:
        return without(shard, [job]), [Split(job)]
    return _give_up(shard, job, rule.failure(message))


def park(shard: Shard, error: ServiceError, until: float) -> tuple[Shard, list[Effect]]:
    """Gives up all jobs that are not sent, as the quota is used up until a time in Unix seconds."""
    unsent = [job for job in shard.jobs if job.request_id is None]
    return without(replace(shard, parked_until=until), unsent), [
        GiveUp(job, _failure_of_unsent(job, error)) for job in unsent
    ]


def give_up_unsent(shard: Shard, failure: Failure) -> tuple[Shard, list[Effect]]:
    """Gives up all jobs that are not sent, because of a failure that concerns every document."""
    return give_up_some(shard, [job for job in shard.jobs if job.request_id is None], failure)


def give_up_some(shard: Shard, unsent: Sequence[Job], failure: Failure) -> tuple[Shard, list[Effect]]:
    """Gives up some jobs that are not sent. If a submit of one ended without a reply, its failure says that."""
    given_up: list[Effect] = []
    for job in unsent:
        message = f"no word whether the submit was accepted, and then: {failure.message}"
        doubtful = Failure("submit", "unknown_submit", message, retryable=True)
        given_up.append(GiveUp(job, doubtful if job.unknown else failure))
    return without(shard, unsent), given_up


def _delay(
    shard: Shard, job: Job, code: Any, message: str, retry_after: float | None, now: float, polling: Polling
) -> tuple[Shard, list[Effect]]:
    """Has a job wait that the service did not accept. No attempt is used up; the deadline ends it.

    The whole shard is delayed, unless the service is busy without saying for how long: then the process's window slows
    its requests.
    """
    if now - job.since >= polling.deadline:
        return _give_up(shard, job, Failure("submit", code, f"until the deadline: {message}", retryable=True))
    # A Retry-After of 0 counts as none, so that the service is not asked again at once for ever.
    wait = retry_after or polling.backoff(job.batch_id, job.delays if code == "unreachable" else 0)
    wait = _until_deadline(job, wait, now, polling)
    if retry_after or code == "unreachable":
        shard = delay_until(shard, submits=now + wait)
    return with_job(shard, replace(job, due=now + wait, delays=job.delays + 1, trouble=message)), []


def _until_deadline(job: Job, wait: float, now: float, polling: Polling) -> float:
    """A wait that ends at the job's deadline at the latest, so that there is a last try then."""
    return min(wait, max(job.since + polling.deadline - now, polling.first))


def _failure_of_unsent(job: Job, error: ServiceError) -> Failure:
    if job.unknown:
        message = f"no word whether the submit was accepted, and then the quota was spent: {error}"
        return Failure("submit", "unknown_submit", message, retryable=True)
    return quota_failure(str(error))


# ------------------------------------------------------------------------------------------------ polls


def polled(shard: Shard, job: Job, result: PollResult, now: float, polling: Polling) -> tuple[Shard, list[Effect]]:
    """Decides what to do after a poll. The arguments are those of `submitted`."""
    if isinstance(result, Done):
        unusual = matching.unusual_match(result.items, matching.references(*job.requests[:2]))
        if unusual is None or not unusual.is_foreign:
            return _done(shard, job, result, unusual, now, polling)
        result = Trouble(f"a finished reply holds {len(result.items)} items of other jobs and none of this one")
    if isinstance(result, Failed):
        return _give_up(shard, job, Failure("poll", "job_failed", result.message, retryable=True))
    effects: list[Effect] = []
    job = replace(job, polls=job.polls + 1)
    if not isinstance(result, NoResults):
        job = replace(job, empty=0)
    if isinstance(result, Pending):
        job = replace(job, gone=0, account_trouble=0)
    elif isinstance(result, NoResults):
        since = job.empty_since if job.empty else now
        job = replace(job, gone=0, account_trouble=0, empty=job.empty + 1, empty_since=since, trouble=result.message)
        is_late = now - job.since >= polling.deadline
        if (job.empty >= MAX_EMPTY and now - since >= OUTAGE) or (job.empty >= WARN_EMPTY and is_late):
            return _give_up(shard, job, Failure("poll", "no_results", result.message, retryable=True))
        if job.empty == WARN_EMPTY:
            warning = "the service says that it is done and sends no list of results; it is polled again"
            effects = [Warn(f"job {job.request_id}: {warning}")]
    elif isinstance(result, Gone):
        job = replace(job, gone=job.gone + 1, account_trouble=0, trouble=result.message)
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
            return _resubmit(shard, job, now), effects
        last = f"; the last trouble: {job.trouble}" if job.trouble else ""
        waited = f"no answer within {polling.deadline:g} s of the submit{last}"
        shard, given_up = _give_up(shard, job, Failure("poll", "deadline", waited, retryable=True))
        return shard, [*given_up, *effects]
    # The wait ends at the deadline at the latest, so that there is a last poll then.
    latest = max(job.since + polling.deadline, job.grace_until)
    next_poll = min(now + polling.wait(job.batch_id, job.polls), latest)
    return with_job(shard, replace(job, due=next_poll)), effects


def _done(
    shard: Shard, job: Job, done: Done, unusual: Matched | None, now: float, polling: Polling
) -> tuple[Shard, list[Effect]]:
    """Decides what to do after a finished reply with items of this job, or with items that cannot be told apart.

    Args:
        shard: The shard.
        job: The job that was polled.
        done: The reply.
        unusual: What is unusual about its items; None if there is exactly one for each request.
        now: Unix seconds.
        polling: Bounds the waits, and gives the deadline.
    """
    finish = Finish(job, done.items, done.usage)
    if unusual is None:
        return without(shard, [job]), [finish]
    answered = [index for index, position in enumerate(job.requests[2]) if unusual.items[position] is not None]
    if len(answered) == job.count or (job.rereads >= MAX_REREADS and not answered):
        return without(shard, [job]), [finish]
    trouble = f"a finished reply lacks {job.count - len(answered)} of {job.count} items"
    wait = polling.wait(job.batch_id, job.polls + 1)
    again = replace(job, rereads=job.rereads + 1, polls=job.polls + 1, due=now + wait, event_seen=True, trouble=trouble)
    return with_job(shard, again), [FinishSome(finish, answered)] if answered else []


def _gone(shard: Shard, job: Job, result: Gone, now: float) -> tuple[Shard, list[Effect]]:
    if job.resubmitted:
        message = f"the service lost the job, which had been submitted again before: {result.message}"
        return _give_up(shard, job, Failure("poll", "expired", message, retryable=True))
    return _resubmit(shard, job, now), []


def _resubmit(shard: Shard, job: Job, now: float) -> Shard:
    again = replace(job, request_id=None, since=now, due=now, polls=0, gone=0, submitted_as=None, event_seen=False)
    again = replace(again, rereads=0, empty=0, grace_until=0.0, resubmitted=True, replaces=job.request_id)
    return with_job(shard, again)


def _trouble(
    shard: Shard, job: Job, error: ServiceError | None, now: float, polling: Polling
) -> tuple[Shard, Job, list[Effect]]:
    if error is None:
        return shard, job, []
    if RULES[error.remedy].reach is Reach.EVERYTHING:
        job = replace(job, account_trouble=job.account_trouble + 1)
        if job.account_trouble >= MAX_ACCOUNT_TROUBLE:
            return replace(shard, polls_from=now + polling.ceiling), job, [Halt(error)]
        return shard, job, []
    job = replace(job, account_trouble=0)
    if not error.retry_after:
        return shard, job, []
    return delay_until(shard, polls=now + _until_deadline(job, error.retry_after, now, polling)), job, []


def _give_up(shard: Shard, job: Job, failure: Failure) -> tuple[Shard, list[Effect]]:
    return without(shard, [job]), [GiveUp(job, failure)]
