"""One table says what follows from a refusal: both ways of asking do what it says, and the documentation shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kimi_beam.queue import effects, state_machine
from kimi_beam.queue.jobs import Job, Shard, admit
from kimi_beam.service.polling import Polling
from kimi_beam.service.remedies import RULES, Halving, Reach, Repeat, Rule, remedies_table
from kimi_beam.service.retry_limits import MAX_REFUSALS, OUTAGE, quota_failure
from kimi_beam.synchronous import after_reply
from kimi_beam.synchronous.after_reply import Call, next_step
from kimi_beam.types.failure import Failure
from kimi_beam.wire.envelopes import Refused
from kimi_beam.wire.service_errors import Remedy, ServiceError

ROOT = Path(__file__).parents[2]
POLLING = Polling(first=1, factor=1.5, ceiling=60, deadline=3_600)
FORMS = 3

ERRORS = {
    Remedy.RETRY: ServiceError(500, 8005, "words"),
    Remedy.WAIT: ServiceError(429, 3040, "words", 30.0),
    Remedy.TIMEOUT: ServiceError(408, 3046, "words"),
    Remedy.OTHER_FORM: ServiceError(400, 5024, "words"),
    Remedy.TOMORROW: ServiceError(429, 3036, "words"),
    Remedy.SPLIT: ServiceError(413, 3006, "words"),
    Remedy.NEVER: ServiceError(400, 8001, "words"),
    Remedy.ACCOUNT: ServiceError(401, 10000, "words"),
}
"""An error of each kind."""


def test_each_kind_of_refusal_has_a_rule() -> None:
    assert set(RULES) == set(Remedy) == set(ERRORS)
    assert all(error.remedy is remedy for remedy, error in ERRORS.items())


def _queue(error: ServiceError, count: int) -> tuple[list[tuple[str, int]], Failure | None, int]:
    """A batch whose submit is refused again and again, until it ends.

    Returns:
        What was done and how many attempts were counted by then, step by step; the failure that it was given up with,
        None where it was not; and how often it was submitted.
    """
    shard, now, done = admit(Shard(), [("b", count)], 0.0), 0.0, []
    for submits in range(1, 1_000):
        job: Job = shard.jobs[0]
        now = max(now, job.due, shard.submits_from)
        shard, came = state_machine.submitted(shard, job, Refused(error), now, POLLING)
        attempts = [one.attempts for one in shard.jobs] or [one.job.attempts for one in came if hasattr(one, "job")]
        done.append((type(came[0]).__name__ if came else "waits", attempts[0]))
        if came:
            failure = came[0].failure if isinstance(came[0], (effects.GiveUp, effects.AskAgain)) else None
            return done, failure, submits
    raise AssertionError("it never ends")


def _synchronous(error: ServiceError) -> tuple[list[tuple[str, int]], Failure | None, int]:
    """One document whose request is refused again and again: see `_queue`."""
    call, now, done = Call(0.0, forms=FORMS), 0.0, []
    for requests in range(1, 1_000):
        step = next_step(call, Refused(error), "doc", now, POLLING)
        call = step.call
        done.append((type(step).__name__, call.attempts))
        if isinstance(step, (after_reply.AskAgain, after_reply.Delay)):
            waits = step.wait if isinstance(step, after_reply.AskAgain) else step.retry_after or 60.0
            now += max(waits, 1.0)
            continue
        failure = step.result if isinstance(step, after_reply.Settle) else getattr(step, "failure", None)
        assert failure is None or isinstance(failure, Failure)
        return done, failure, requests
    raise AssertionError("it never ends")


def _agrees(rule: Rule, failure: Failure | None) -> None:
    expected = None if rule.code is None else (rule.stage, rule.code, rule.is_retryable)
    assert (failure and (failure.stage, failure.code, failure.retryable)) == expected


@pytest.mark.parametrize("remedy", Remedy)
@pytest.mark.parametrize("way", ["queue", "synchronous"])
def test_one_document_meets_what_its_rule_says(remedy: Remedy, way: str) -> None:
    rule, error = RULES[remedy], ERRORS[remedy]
    done, failure, requests = _queue(error, 1) if way == "queue" else _synchronous(error)
    _agrees(rule, failure)
    assert done[0][1] == rule.is_attempt
    most = {
        Repeat.NEVER: 1,
        Repeat.ONCE: 2,
        # In the queue the next form is another batch's, which is submitted as this one was.
        Repeat.IN_NEXT_FORM: 1 if way == "queue" else FORMS,
    }
    if rule.repeat in most:
        assert requests == most[rule.repeat]
    else:
        assert requests >= MAX_REFUSALS
    ended = done[-1][0]
    if rule.reach is Reach.EVERYTHING:
        assert ended == "Halt"
    elif way == "synchronous":
        assert ended == ("Park" if rule.reach is Reach.UNSENT else "Settle")
    else:
        assert ended == ("AskAgain" if rule.repeat is Repeat.IN_NEXT_FORM else "GiveUp")


@pytest.mark.parametrize("remedy", Remedy)
def test_a_batch_of_several_is_halved_where_its_rule_says_so_and_only_there(remedy: Remedy) -> None:
    done, _, _ = _queue(ERRORS[remedy], 2)
    assert ("Split" in {name for name, _ in done}) == (RULES[remedy].halving is not Halving.NONE)


def test_a_batch_that_is_too_large_is_cut_in_two_however_many_were_refused_for_good_before() -> None:
    shard = admit(Shard(vain_refusals=state_machine.MAX_SPLITS_IN_VAIN + 1), [("b", 2)], 0.0)
    for remedy, effect in ((Remedy.SPLIT, effects.Split), (Remedy.NEVER, effects.GiveUp)):
        _, (came,) = state_machine.submitted(shard, shard.jobs[0], Refused(ERRORS[remedy]), 0.0, POLLING)
        assert isinstance(came, effect), "halving ends where every document is refused, but not where less would fit"


@pytest.mark.parametrize("way", ["queue", "synchronous"])
def test_trouble_of_the_services_own_is_borne_for_as_long_as_the_table_says(way: str) -> None:
    assert f"{MAX_REFUSALS} times" in Repeat.A_FEW_TIMES.value
    assert f"{OUTAGE / 60:g} minutes" in Repeat.A_FEW_TIMES.value
    error = ERRORS[Remedy.RETRY]
    _, _, requests = _queue(error, 1) if way == "queue" else _synchronous(error)
    assert requests > MAX_REFUSALS  # five refusals take less than ten minutes


def test_a_used_up_quota_is_recognised_by_its_rule() -> None:
    _agrees(RULES[Remedy.TOMORROW], quota_failure("words"))


def test_the_table_has_a_line_for_each_kind_and_no_cell_breaks_it() -> None:
    lines = remedies_table().splitlines()
    assert len(lines) == 2 + len(Remedy)
    assert len({line.count("|") for line in lines}) == 1


def test_the_documentation_shows_the_table_as_it_is() -> None:
    header = remedies_table().splitlines()[0]
    pages = [ROOT / "README.md", ROOT / "kimi_beam" / "DESIGN.md", *(ROOT / "docs").rglob("*.md")]
    shown = [page for page in pages if page.exists() and header in page.read_text()]
    assert shown, "no page shows what follows from a refusal"
    stale = [str(page) for page in shown if remedies_table() not in page.read_text()]
    assert not stale, f"put what kimi_beam.service.remedies.remedies_table() gives into {stale}"
