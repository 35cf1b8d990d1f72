"""Events instead of polling: what a process knows of the events that tell it which jobs have ended.

Pure: what came in, and the time, are arguments; what is to go out is a value. One `Inbox` serves all shards of a
process. An event takes this way::

    pulled ─┬─ of a ticket in flight here ──▶ held ──▶ its shard fetches the answer ──▶ acknowledged
            ├─ queued, or of a ticket that was fetched here ──────────────────────────▶ acknowledged
            └─ of no ticket known here ──▶ handed back, three times; then ────────────▶ acknowledged

A ticket's answer counts as taken when its shard's committed state no longer has the ticket. So a worker that dies, or a
bundle that fails, leaves the lease to run out, and the event comes again.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass

from kimi_beam.errors import ConfigError
from kimi_beam.wire.queues import MOST_MESSAGES, Message
from kimi_beam.wire.service_errors import ServiceError

HAND_BACKS = 3
"""Times that an event of another worker's ticket is handed back before it is acknowledged unread."""

TURN = 5.0
"""Seconds for which whoever handed something back leaves the queue to the others, each of which pulls meanwhile."""

_LONGEST_PAUSE = 4.0
_REMEMBERED = 10_000
_OUTCOMES = 8
_QUEUE = re.compile(r"[0-9A-Za-z_-]+")


@dataclass(frozen=True, slots=True)
class Events:
    """How completion events are received.

    Example:
        >>> events = kb.Events("0123456789abcdef0123456789abcdef", safety_net=600.0)
        >>> extract = kb.Extract({"type": "object"}, service=service, events=events)

    Attributes:
        queue: Id of a Cloudflare Queue with a pull consumer, subscribed to the model's batch events. One for each job
            that runs at a time: an event that another job has pulled may be lost to this one.
        safety_net: Seconds that polls of a job are put off for while events come: they find those whose event was lost.
        interval: Seconds between two pulls of a process while events come; up to four while none do.
        lease: Seconds until an event that was not used is delivered again.

    Raises:
        ConfigError: The id is none, or a number is out of range.
    """

    queue: str
    safety_net: float = 180.0
    interval: float = 1.0
    lease: float = 120.0

    def __post_init__(self) -> None:
        if not isinstance(self.queue, str) or not _QUEUE.fullmatch(self.queue):
            raise ConfigError("events: the id of a Cloudflare Queue is 32 hexadecimal digits (wrangler queues list)")
        if not (0 < self.interval <= _LONGEST_PAUSE and 0 <= self.safety_net < 86_400):
            raise ConfigError("Events: interval must be above 0 and at most 4, safety_net from 0 to a day")
        if not 1 <= self.lease <= 12 * 3600:
            raise ConfigError("Events: lease must be from 1 second to 12 hours")


class Inbox:
    """What one process knows of events. Times are Unix seconds.

    Args:
        settings: How events are received.
    """

    def __init__(self, settings: Events) -> None:
        self._settings = settings
        self._watched: dict[object, tuple[frozenset[str], float]] = {}
        self._held: dict[str, list[str]] = {}
        self._taken: OrderedDict[str, None] = OrderedDict()
        self._acks: list[str] = []
        self._retries: list[str] = []
        self._outcomes = deque([True] * _OUTCOMES, _OUTCOMES)
        self._failures = 0
        self._empty = 0
        self.next_pull = 0.0
        self.trouble = ""
        """Why events cannot be pulled; empty where they can."""

    # -------------------------------------------------------------------------------------------- the shards

    def watch(self, shard: object, tickets: frozenset[str], now: float) -> None:
        """Takes note of what a shard has in flight by its committed state.

        A ticket that it had before and has no more was taken: its event is acknowledged, now or when it comes.
        """
        before, _ = self._watched.get(shard, (frozenset[str](), 0.0))
        for ticket in before - tickets:
            leases = self._held.pop(ticket, [])
            self._outcomes.append(bool(leases))
            self._acks += leases
            self._remember(ticket)
        self._watched[shard] = (tickets, now)
        # A shard that was not heard of for so long is another process's now.
        stale = now - max(self._settings.safety_net, self._settings.lease)
        self._watched = {key: value for key, value in self._watched.items() if value[0] and value[1] > stale}
        known = self._known
        self._held = {ticket: leases for ticket, leases in self._held.items() if ticket in known}

    def expect(self, shard: object, tickets: Iterable[str], now: float) -> None:
        """Adds what a shard has got in flight since, so that its events are known before its state is committed."""
        before, _ = self._watched.get(shard, (frozenset[str](), 0.0))
        self._watched[shard] = (before | frozenset(tickets), now)

    def ended(self, tickets: frozenset[str]) -> frozenset[str]:
        """Those of these tickets whose event is here."""
        return tickets & self._held.keys()

    def awaits_commit(self, shard: object, tickets: frozenset[str]) -> bool:
        """Whether events are held for tickets that the shard has let go of, in state that is not committed yet."""
        before, _ = self._watched.get(shard, (frozenset[str](), 0.0))
        return not self._held.keys().isdisjoint(before - tickets)

    @property
    def patience(self) -> float:
        """Seconds that polls are put off for: none while pulls fail, or most jobs end without an event."""
        is_trusted = self._failures < 3 and 2 * sum(self._outcomes) >= _OUTCOMES
        return self._settings.safety_net if is_trusted else 0.0

    # -------------------------------------------------------------------------------------------- the queue

    def is_pull_due(self, now: float) -> bool:
        """Whether it is time to pull: never while nothing is in flight."""
        return bool(self._watched) and now >= self.next_pull

    def received(self, messages: list[Message], now: float) -> None:
        """Sorts out what a pull has brought."""
        self._failures, self.trouble = 0, ""
        known = self._known
        for message in messages:
            ticket, lease = message.request_id, message.lease_id
            if ticket is None or (message.has_ended and ticket not in known and ticket not in self._taken):
                (self._acks if message.attempts > HAND_BACKS else self._retries).append(lease)
            elif not message.has_ended:
                self._acks.append(lease)
            elif ticket in known:
                self._held.setdefault(ticket, []).append(lease)
            else:  # late, or doubled; a late one too says that events come
                self._outcomes.append(True)
                self._acks.append(lease)
        self._empty = 0 if messages else self._empty + 1
        pause = min(_LONGEST_PAUSE, self._settings.interval * 1.5 ** min(self._empty, 10))
        self.next_pull = now + (TURN if self._retries else 0.0 if len(messages) == MOST_MESSAGES else pause)

    def failed(self, message: str, error: ServiceError | None, now: float) -> None:
        """Takes note of a pull or an acknowledgement that did not come through."""
        self._failures += 1
        self.trouble = f"events cannot be pulled, so jobs are polled: {message}"
        told = error.retry_after if error is not None else None
        self.next_pull = now + max(told or 0.0, min(60.0, self._settings.interval * 2 ** min(self._failures, 10)))

    def is_answer_due(self, *, pulled: bool) -> bool:
        """Whether leases are to be answered now: after a pull, or when there will be none."""
        return bool(self._acks or self._retries) and (pulled or not self._watched)

    def answers(self) -> tuple[list[str], list[str]]:
        """Takes the leases of events that are done with, and of those that are handed back.

        If answering them fails they are lost: then they run out, and the events come again.
        """
        acks, retries, self._acks, self._retries = self._acks, self._retries, [], []
        return acks, retries

    # -------------------------------------------------------------------------------------------- inside

    @property
    def _known(self) -> frozenset[str]:
        return frozenset[str]().union(*(tickets for tickets, _ in self._watched.values()))

    def _remember(self, ticket: str) -> None:
        self._taken[ticket] = None
        if len(self._taken) > _REMEMBERED:
            self._taken.popitem(last=False)
