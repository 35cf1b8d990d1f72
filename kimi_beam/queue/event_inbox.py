"""The inbox of events: which jobs have ended, as far as one process knows from events.

No I/O: messages and the time are arguments, and the answers to messages are return values. One `Inbox` serves all
shards of a process. An event takes this way::

    pulled ─┬─ of a ticket in flight here ──▶ kept ──▶ its shard fetches the answer ──▶ acknowledged
            ├─ queued, or of a ticket that was fetched here ──────────────────────────▶ acknowledged
            └─ of an unknown ticket ───────▶ handed back, three times; then ──────────▶ acknowledged

A ticket counts as fetched when the committed state of its shard no longer contains it. So if a worker dies or a bundle
fails, the lease of the event runs out, and the event is delivered again.
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
"""How often an event of another worker's ticket is handed back before it is acknowledged unread."""

HAND_BACK_PAUSE = 5.0
"""Seconds for which a process does not pull after it has handed an event back, so that the other processes can pull
it."""

_LONGEST_PAUSE = 4.0
"""The longest time between two pulls while no events come, in seconds."""
_REMEMBERED = 10_000
"""How many fetched tickets are remembered, so that their late events are acknowledged."""
_OUTCOMES = 8
"""Events are relied on while half of the last so many jobs had one."""
_QUEUE = re.compile(r"[0-9A-Za-z_-]+")


@dataclass(frozen=True, slots=True)
class Events:
    """The settings of completion events, by which the service tells that a job has ended.

    Example:
        >>> events = kb.Events("0123456789abcdef0123456789abcdef", safety_net=600.0)
        >>> extract = kb.Extract({"type": "object"}, service=service, events=events)

    Attributes:
        queue: The id of a Cloudflare Queue with a pull consumer, subscribed to the model's batch events. Runs at the
            same time need a queue each, as one may lose an event that the other has pulled.
        safety_net: Seconds by which polls of jobs are delayed while events come. Polls find jobs whose event was lost.
        interval: Seconds between two pulls of a process while events come; up to four while none do.
        lease: Seconds until an event that was pulled and not acknowledged is delivered again.

    Raises:
        ConfigError: The id is malformed, or a number is out of range.
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
    """The events of one process. Times are Unix seconds.

    Args:
        settings: How events are received.
    """

    def __init__(self, settings: Events) -> None:
        self._settings = settings
        self._watched: dict[object, tuple[frozenset[str], float]] = {}
        self._leases: dict[str, list[str]] = {}
        self._fetched: OrderedDict[str, None] = OrderedDict()
        self._acks: list[str] = []
        self._retries: list[str] = []
        self._outcomes = deque([True] * _OUTCOMES, _OUTCOMES)
        self._failures = 0
        self._empty = 0
        self.next_pull = 0.0
        self.trouble = ""
        """Why events cannot be pulled; empty if they can."""

    # -------------------------------------------------------------------------------------------- the shards

    def watch(self, shard: object, tickets: frozenset[str], now: float) -> None:
        """Records what a shard has in flight by its committed state.

        A ticket that it no longer has was fetched: its event is acknowledged, now or when it comes.
        """
        before, _ = self._watched.get(shard, (frozenset[str](), 0.0))
        for ticket in before - tickets:
            leases = self._leases.pop(ticket, [])
            self._outcomes.append(bool(leases))
            self._acks += leases
            self._remember(ticket)
        self._watched[shard] = (tickets, now)
        # Another process works by now on a shard that has not called for so long.
        stale = now - max(self._settings.safety_net, self._settings.lease)
        self._watched = {key: value for key, value in self._watched.items() if value[0] and value[1] > stale}
        in_flight = self._in_flight
        self._leases = {ticket: leases for ticket, leases in self._leases.items() if ticket in in_flight}

    def expect(self, shard: object, tickets: Iterable[str], now: float) -> None:
        """Adds tickets that a shard has got since, so that their events are known before its state is committed."""
        before, _ = self._watched.get(shard, (frozenset[str](), 0.0))
        self._watched[shard] = (before | frozenset(tickets), now)

    def ended(self, tickets: frozenset[str]) -> frozenset[str]:
        """The tickets among these whose event has come."""
        return tickets & self._leases.keys()

    def awaits_commit(self, shard: object, tickets: frozenset[str]) -> bool:
        """Whether events wait for the commit of a state in which the shard no longer has their tickets."""
        before, _ = self._watched.get(shard, (frozenset[str](), 0.0))
        return not self._leases.keys().isdisjoint(before - tickets)

    @property
    def patience(self) -> float:
        """Seconds by which polls are delayed: 0 while pulls fail, or while most jobs end without an event."""
        is_trusted = self._failures < 3 and 2 * sum(self._outcomes) >= _OUTCOMES
        return self._settings.safety_net if is_trusted else 0.0

    # -------------------------------------------------------------------------------------------- the queue

    def is_pull_due(self, now: float) -> bool:
        """Whether it is time to pull. It never is while nothing is in flight."""
        return bool(self._watched) and now >= self.next_pull

    def record_messages(self, messages: list[Message], now: float) -> None:
        """Records the messages of a pull, and decides which to acknowledge or hand back."""
        self._failures, self.trouble = 0, ""
        in_flight = self._in_flight
        for message in messages:
            ticket, lease = message.request_id, message.lease_id
            if ticket is None or (message.has_ended and ticket not in in_flight and ticket not in self._fetched):
                (self._acks if message.attempts > HAND_BACKS else self._retries).append(lease)
            elif not message.has_ended:
                self._acks.append(lease)
            elif ticket in in_flight:
                self._leases.setdefault(ticket, []).append(lease)
            else:  # the event of a fetched ticket is late or a duplicate, and still shows that events come
                self._outcomes.append(True)
                self._acks.append(lease)
        self._empty = 0 if messages else self._empty + 1
        pause = min(_LONGEST_PAUSE, self._settings.interval * 1.5 ** min(self._empty, 10))
        self.next_pull = now + (HAND_BACK_PAUSE if self._retries else 0.0 if len(messages) == MOST_MESSAGES else pause)

    def record_failure(self, message: str, error: ServiceError | None, now: float) -> None:
        """Records that a pull or an acknowledgement failed."""
        self._failures += 1
        self.trouble = f"events cannot be pulled, so jobs are polled: {message}"
        retry_after = error.retry_after if error is not None else None
        self.next_pull = now + max(
            retry_after or 0.0, min(60.0, self._settings.interval * 2 ** min(self._failures, 10))
        )

    def is_answer_due(self, *, pulled: bool) -> bool:
        """Whether events are acknowledged and handed back now: after a pull, or if there will be none."""
        return bool(self._acks or self._retries) and (pulled or not self._watched)

    def take_answers(self) -> tuple[list[str], list[str]]:
        """Returns and removes the leases to acknowledge, and those to hand back.

        If sending them fails they are lost. Then the leases run out, and the events are delivered again.
        """
        acks, retries, self._acks, self._retries = self._acks, self._retries, [], []
        return acks, retries

    # -------------------------------------------------------------------------------------------- inside

    @property
    def _in_flight(self) -> frozenset[str]:
        return frozenset[str]().union(*(tickets for tickets, _ in self._watched.values()))

    def _remember(self, ticket: str) -> None:
        self._fetched[ticket] = None
        if len(self._fetched) > _REMEMBERED:
            self._fetched.popitem(last=False)
