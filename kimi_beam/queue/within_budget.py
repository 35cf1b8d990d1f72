"""What the budget lets a shard submit, and what its jobs have cost.

Money is reserved right before a submit, when all that is sent is known. Before that, a refill only makes jobs of what
is expected to suffice. Where money is short, jobs in flight are waited for, because most of what is reserved for them
comes back; then less is sent, down to single documents; only then is what remains given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kimi_beam.columnar import Documents, Replies
from kimi_beam.queue.effects import Finish
from kimi_beam.queue.jobs import Job
from kimi_beam.queue.state_layout import BatchStore
from kimi_beam.request import batches
from kimi_beam.request.highest_cost import HighestCost
from kimi_beam.service.budget import Budget
from kimi_beam.service.remedies import RULES, Repeat
from kimi_beam.service.spending import nanodollars
from kimi_beam.wire.envelopes import Refused, Unsent
from kimi_beam.wire.protocol import SubmitResult


class SubmitBudget:
    """The budget as the shards of a step use it.

    Args:
        budget: The budget of the run.
        highest: The most that requests may cost.
    """

    def __init__(self, budget: Budget, highest: HighestCost) -> None:
        self.budget, self.highest = budget, highest

    def amounts(self, blob: bytes) -> list[int]:
        """The most that each document of a batch may cost, as far as it is known before files are read again."""
        return self.highest.of_batch(batches.decode(blob), batches.head(blob).sizes)

    def reserve(self, shard: str, jobs: Sequence[tuple[Job, bytes, Documents]]) -> list[str | None]:
        """Reserves the most that submits may cost.

        Args:
            shard: The shard.
            jobs: The jobs that are due to be submitted, each with its batch and the documents as they are sent.

        Returns:
            For each job the name of its reservation; None if it must not be submitted now.
        """
        wanted = [
            (job.batch_id, self.highest.of_batch(documents, batches.head(blob).sizes)) for job, blob, documents in jobs
        ]
        return self.budget.reserve(shard, wanted)

    def take_over(self, shard: str, label: str, count: int, positions: Sequence[int], blob: bytes) -> str:
        """The name of the reservation of an earlier submission.

        Args:
            shard: The shard that polls it.
            label: The name that the references of its requests begin with.
            count: The number of its requests.
            positions: The index in it of each document.
            blob: The batch of these documents.
        """
        return self.budget.take_over(shard, label, count, dict(zip(positions, self.amounts(blob), strict=True)))

    def settle_unaccepted(self, shard: str, results: Sequence[tuple[Job, SubmitResult]]) -> None:
        """Gives back what was reserved for submits that the service has certainly not accepted."""
        costs = {job.reservation: dict.fromkeys(range(job.count), 0) for job, result in results if _is_free(result)}
        if costs:
            self.budget.settle(shard, costs)

    def settle_finished(self, shard: str, finished: Sequence[tuple[Finish, Replies]]) -> None:
        """Records what documents have cost. What the service does not say counts as it was reserved."""
        costs: dict[str, dict[int, int]] = {}
        for effect, replies in finished:
            each = costs.setdefault(effect.job.reservation, {})
            is_total_known = effect.usage is not None
            for index, position in enumerate(effect.job.requests[2]):
                usage = replies.tokens.usage_at(index)
                if usage.prompt_tokens or (is_total_known and index in replies.results.failures):
                    each[position] = nanodollars(self.highest.price.cost(usage))
        self.budget.settle(shard, costs)


def _is_free(result: SubmitResult) -> bool:
    if isinstance(result, Refused):
        return RULES[result.error.remedy].repeat is not Repeat.ONCE
    return isinstance(result, Unsent)


class Choice(NamedTuple):
    """What becomes of a batch."""

    sent: bytes | None
    """What is submitted now."""
    rest: bytes | None
    """What money does not suffice for now."""


class Affordable:
    """Decides in one refill of a shard what its share of the budget suffices for.

    Args:
        budget: The budget of the step.
        shard: The shard's key.
        jobs: The shard's jobs.
        held: The batches of the jobs.
    """

    def __init__(self, budget: SubmitBudget, shard: str, jobs: Sequence[Job], held: BatchStore) -> None:
        self._budget = budget
        unsent = [held[job.batch_id] for job in jobs if job.request_id is None]
        self._room = budget.budget.room(shard) - sum(
            sum(budget.amounts(blob)) for blob in unsent if not batches.head(blob).has_undivided
        )
        self.may_grow = bool(jobs) or budget.budget.may_get_back(shard)
        """Whether money may come back from what is in flight."""

    def choose(self, batch: bytes) -> Choice:
        """What of a batch is submitted now: all of it, or nothing, or, if no money may come back, what it suffices for.

        Args:
            batch: The batch.
        """
        amounts = self._budget.amounts(batch)
        if sum(amounts) <= self._room:
            self._room -= sum(amounts)
            self.may_grow = True
            return Choice(batch, None)
        chosen: list[int] = []
        if not self.may_grow:
            for index, amount in enumerate(amounts):
                if amount <= self._room:
                    self._room -= amount
                    chosen.append(index)
        if not chosen:
            return Choice(None, batch)
        self.may_grow = True
        others = set(range(len(amounts))).difference(chosen)
        return Choice(batches.select(batch, chosen), batches.select(batch, sorted(others)))
