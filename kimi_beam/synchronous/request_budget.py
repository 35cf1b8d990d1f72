"""What the budget lets a bundle ask synchronously, and what each request has cost.

Money is reserved in groups before documents are put in, because each reservation is a write to the journal's disk, and
settled in groups when their replies are taken out. A document that is asked for once more, because its first request
may have been paid for, reserves once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from kimi_beam.report.progress import PROGRESS
from kimi_beam.request.highest_cost import HighestCost
from kimi_beam.service import clock
from kimi_beam.service.budget import OVER_BUDGET, Budget
from kimi_beam.service.prices import Price
from kimi_beam.service.remedies import RULES, Repeat
from kimi_beam.service.spending import nanodollars
from kimi_beam.types.document import Document
from kimi_beam.types.reply import Reply
from kimi_beam.wire.completions import Answered, RunResult
from kimi_beam.wire.envelopes import Refused, Unsent

_LABEL = "requests"
_GROUP = 8
"""How many documents reserve money together: what is reserved for documents in line is lost if the worker is killed."""
_LOOK = 0.25
"""Seconds after which it is looked again whether other bundles have given money back."""


class Charge:
    """What the requests for one document have cost.

    Args:
        name: The reservation for its next request.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._costs: dict[str, int] = {}

    @property
    def is_reserved(self) -> bool:
        """Whether money is reserved for the next request."""
        return bool(self._name)

    def reserve(self, name: str) -> None:
        """Takes over another reservation for the next request."""
        self._name = name

    def replied(self, result: RunResult, price: Price) -> None:
        """Records what a request has cost. After a refusal its reservation serves the next request."""
        if isinstance(result, Answered):
            if result.usage is not None and result.usage.prompt_tokens:
                self._costs[self._name] = nanodollars(price.cost(result.usage))
            self._name = ""
        elif not isinstance(result, Unsent) and not (
            isinstance(result, Refused) and RULES[result.error.remedy].repeat is not Repeat.ONCE
        ):
            self._name = ""

    def close(self) -> None:
        """Gives back what is reserved for a request that is not sent any more."""
        if self._name:
            self._costs[self._name] = 0
            self._name = ""

    def take_costs(self) -> dict[str, int]:
        """What requests have cost that was not taken before, by reservation. All others count as they were reserved."""
        costs, self._costs = self._costs, {}
        return costs


class RequestBudget:
    """The budget as one bundle of synchronous requests uses it.

    Args:
        budget: The budget of the run.
        highest: The most that requests may cost.
        shard: The shard whose share it draws on.
        waits: Whether it may wait for what comes back from others. A turn of a shard may not, since the others may need
            its thread.
    """

    def __init__(self, budget: Budget, highest: HighestCost, shard: str, *, waits: bool = True) -> None:
        self._budget, self._highest = budget, highest
        self.shard, self._waits = shard, waits
        self._open = set[Charge]()
        self._closed: list[Charge] = []
        self._in_need = 0
        """How many documents that were paid for once wait for money, before which no other document is asked for."""

    @property
    def may_get_back(self) -> bool:
        """Whether money may come back from other bundles, for which it waits."""
        return self._waits and self._budget.may_get_back(id(self))

    def reserve(self, documents: Iterable[Document]) -> list[Charge | None]:
        """Reserves the most that the request for each document may cost; None where the money does not suffice."""
        wanted = [(_LABEL, [self._highest.of_document(document)]) for document in documents]
        if self._in_need:
            return [None] * len(wanted)
        charges = [Charge(name) if name else None for name in self._budget.reserve(self.shard, wanted)]
        self._open.update(filter(None, charges))
        return charges

    async def has_reserved(self, charge: Charge | None, document: Document, turns: Sequence[bytes]) -> bool:
        """Whether money is reserved for the next request for a document, which is done now if it is not the first one.

        Where it is short, what other requests give back is waited for.

        Args:
            charge: What its requests have cost so far.
            document: The document.
            turns: The messages that follow it.
        """
        if charge is None or charge.is_reserved:
            return True
        self._in_need += 1
        try:
            while not await asyncio.to_thread(self._reserve_again, charge, document, turns):
                if not any(other.is_reserved for other in list(self._open)):
                    return False
                await asyncio.sleep(_LOOK)
        finally:
            self._in_need -= 1
        return True

    def replied(self, charge: Charge | None, result: RunResult) -> None:
        """Records what a request has cost."""
        if charge is not None:
            charge.replied(result, self._highest.price)

    def close(self, charge: Charge | None) -> None:
        """Keeps what a document has cost until its reply is taken out."""
        if charge is not None:
            charge.close()
            self._open.discard(charge)
            self._closed.append(charge)

    def update(self, *, is_busy: bool) -> None:
        """Records what documents have cost whose replies are taken out, and whether others are still asked for."""
        closed, self._closed = self._closed, []
        self._settle(closed)
        self._budget.set_live(id(self), is_live=is_busy)
        PROGRESS.spending = self._budget.spending

    def _reserve_again(self, charge: Charge, document: Document, turns: Sequence[bytes]) -> bool:
        self._settle([charge])
        amount = self._highest.of_document(document, turns=turns)
        (name,) = self._budget.reserve(self.shard, [(_LABEL, [amount])])
        if name:
            charge.reserve(name)
        return bool(name)

    def _settle(self, charges: Sequence[Charge]) -> None:
        self._budget.settle(self.shard, {name: {0: cost} for one in charges for name, cost in one.take_costs().items()})


class InFlight(Protocol):
    """The documents of a bundle that are being asked for. `kimi_beam.synchronous.runs.DocumentsInFlight` is one."""

    @property
    def budget(self) -> RequestBudget | None:
        """What may be spent; None if there is no bound."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether some documents have no reply yet, or replies have not been taken out."""
        ...

    def put(self, documents: Sequence[Document], charges: Sequence[Charge] | None = None) -> Iterator[list[Reply]]:
        """Puts documents in, with what is reserved for each of them."""
        ...

    def await_room(self) -> Iterator[list[Reply]]:
        """Waits until few documents wait for a free slot, and yields replies meanwhile."""
        ...

    def await_some(self) -> Iterator[list[Reply]]:
        """Waits for a reply, and yields those that are there."""
        ...


def put_within_budget(in_flight: InFlight, documents: Sequence[Document]) -> Iterator[list[Reply]]:
    """Puts documents in as money suffices for them, and yields replies meanwhile.

    Where it is short, it waits for what comes back from the requests in flight. Documents for which it does not suffice
    even then are given up.

    Args:
        in_flight: Where they are put in.
        documents: The documents, with their files' contents.
    """
    own = in_flight.budget
    if own is None:
        yield from in_flight.put(documents)
        return
    waiting = list(documents)
    while waiting:
        yield from in_flight.await_room()
        some, waiting = waiting[:_GROUP], waiting[_GROUP:]
        charges = own.reserve(some)
        chosen = [(document, charge) for document, charge in zip(some, charges, strict=True) if charge is not None]
        waiting = [*(one for one, charge in zip(some, charges, strict=True) if charge is None), *waiting]
        if chosen:
            yield from in_flight.put([document for document, _ in chosen], [charge for _, charge in chosen])
        elif in_flight.is_busy:
            yield from in_flight.await_some()
        elif own.may_get_back:
            clock.pause(_LOOK)
        else:
            yield [Reply(document, OVER_BUDGET) for document in some]
            waiting = waiting[len(some) :]
