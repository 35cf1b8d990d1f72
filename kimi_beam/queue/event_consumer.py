"""The consumer that pulls events from a Cloudflare Queue: one for all shards of a process.

It has no thread of its own. The first shard that takes its turn once a pull is due pulls for all shards of the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from kimi_beam.network.client import Client
from kimi_beam.queue.event_inbox import Events, Inbox
from kimi_beam.report.logging_reports import REPORTS
from kimi_beam.service.clock import now
from kimi_beam.service.per_process import PerProcess
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.wire.protocol import Trouble
from kimi_beam.wire.queues import MOST_MESSAGES, decode_ack, decode_pull, encode_ack, encode_pull

_PULLS_AT_ONCE = 10
"""Pulls in one turn of a shard, at most, while each of them is full."""


@dataclass(frozen=True, slots=True)
class PulledEvents:
    """What a shard learns from events in one of its turns.

    Attributes:
        ended: The tickets of the shard whose event has come.
        patience: Seconds by which polls of its other tickets are delayed.
        look_again: When the next pull is due, in Unix seconds, so that another turn is worthwhile.
        pulls: How many pulls were made.
    """

    ended: frozenset[str]
    patience: float
    look_again: float
    pulls: int


class Consumer:
    """Receives events for all shards of a process. Safe to use from several threads.

    Args:
        settings: How events are received.
        clock: Returns the time in Unix seconds.
    """

    def __init__(self, settings: Events, *, clock: Callable[[], float] = now) -> None:
        self._settings = settings
        self._clock = clock
        self._inbox = Inbox(settings)
        self._lock = threading.Lock()
        self._exchanging = threading.Lock()

    def pull(self, client: Client, shard: object, tickets: frozenset[str]) -> PulledEvents:
        """Pulls events if a pull is due, and returns those of a shard.

        Args:
            client: Sends the requests.
            shard: The shard, by any hashable name.
            tickets: The tickets that the shard has in flight by its committed state.
        """
        with self._lock:
            self._inbox.watch(shard, tickets, self._clock())
            is_last = self._inbox.is_answer_due(pulled=False)
        pulls = 0
        # If another shard is pulling, it pulls for this one too. The last shard waits, as there is none after it to
        # acknowledge the remaining events.
        if self._exchanging.acquire(blocking=is_last):
            try:
                pulls = self._exchange(client)
            finally:
                self._exchanging.release()
        with self._lock:
            inbox = self._inbox
            return PulledEvents(inbox.ended(tickets), inbox.patience, inbox.next_pull, pulls)

    def expect(self, shard: object, tickets: frozenset[str]) -> bool:
        """Adds the tickets that a shard has got during its turn.

        Args:
            shard: The shard, as in `pull`.
            tickets: The tickets in flight by the state that it is about to commit.

        Returns:
            Whether the shard should take another turn even if nothing is in flight, to have its events acknowledged.
        """
        with self._lock:
            self._inbox.expect(shard, tickets, self._clock())
            return self._inbox.awaits_commit(shard, tickets)

    @property
    def trouble(self) -> str:
        """Why no events can be pulled; empty if they can."""
        return self._inbox.trouble

    def _exchange(self, client: Client) -> int:
        pulls = 0
        while pulls < _PULLS_AT_ONCE:
            with self._lock:
                is_due = self._inbox.is_pull_due(self._clock())
            if not is_due:
                break
            pulls += 1
            pulled = decode_pull(
                client.consume(self._settings.queue, "pull", encode_pull(self._settings.lease)), self._clock()
            )
            with self._lock:
                if isinstance(pulled, Trouble):
                    self._inbox.record_failure(pulled.message, pulled.error, self._clock())
                    REPORTS.no_events(pulled.message)
                    break
                self._inbox.record_messages(pulled, self._clock())
            if len(pulled) < MOST_MESSAGES:
                break
        with self._lock:
            acks, retries = self._inbox.take_answers() if self._inbox.is_answer_due(pulled=pulls > 0) else ([], [])
        for start in range(0, max(len(acks), len(retries)), MOST_MESSAGES):
            some = slice(start, start + MOST_MESSAGES)
            body = encode_ack(acks[some], retries[some])
            answered = decode_ack(client.consume(self._settings.queue, "ack", body), self._clock())
            if answered is not None:
                with self._lock:
                    self._inbox.record_failure(answered.message, answered.error, self._clock())
                break
        return pulls


# ------------------------------------------------------------------------------------------------ one of a process

_consumers = PerProcess[Consumer]()


def consumer_of(service: WorkersAI, settings: Events) -> Consumer:
    """The consumer of this process for a queue. It has nothing that needs closing."""
    return _consumers.get((service.base_url, service.account_id, settings), lambda: Consumer(settings))
