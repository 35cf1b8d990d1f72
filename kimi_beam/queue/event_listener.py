"""The listener to events: which jobs of a transform's shards are due, given the events that have come."""

from __future__ import annotations

import math
from collections.abc import Callable

from kimi_beam.network.client import Client
from kimi_beam.queue import jobs
from kimi_beam.queue.event_consumer import consumer_of
from kimi_beam.queue.event_inbox import Events
from kimi_beam.queue.jobs import Job, Shard
from kimi_beam.service import clock


class Listener:
    """Connects the shards of one transform with the consumer of their process. Without events it delays no poll.

    Args:
        settings: The settings of events. None: there are no events.
        client: The client of the service.
        name: The name of the transform: the same on each worker, and different for each transform, because their shards
            have the same keys.
        deadline: Seconds after a job's submit beyond which its poll is not delayed.
        pulled: Called with the number of pulls that were made.
    """

    def __init__(
        self, settings: Events | None, client: Client, name: str, deadline: float, pulled: Callable[[int], None]
    ) -> None:
        self._consumer = None if settings is None else consumer_of(client.service, settings)
        self._client = client
        self._name = name
        self._deadline = deadline
        self._pulled = pulled
        self._patience, self._look_again = 0.0, math.inf

    def apply_events(self, key: str, shard: Shard) -> Shard:
        """Makes the jobs of a shard due whose event has come.

        Args:
            key: The shard's key.
            shard: The shard as it is in committed state.
        """
        if self._consumer is None:
            return shard
        events = self._consumer.pull(self._client, (self._name, key), _tickets(shard))
        self._pulled(events.pulls)
        self._patience, self._look_again = events.patience, events.look_again
        return jobs.mark_event_seen(shard, events.ended, clock.now())

    def expect(self, key: str, shard: Shard) -> bool:
        """Announces the tickets that a shard has in flight by the state that it is about to commit.

        Returns:
            Whether the shard needs another turn even if nothing is in flight, so that its events are acknowledged.
        """
        return self._consumer is not None and self._consumer.expect((self._name, key), _tickets(shard))

    def due(self, shard: Shard, now: float) -> list[Job]:
        """The jobs to submit or poll now."""
        return jobs.due(shard, now, self._patience, self._deadline)

    def wake(self, shard: Shard) -> float | None:
        """When a shard needs its next turn, because a job is due or an event may have come; None if it has no jobs."""
        wake = jobs.wake(shard, self._patience, self._deadline)
        return wake if wake is None or not _tickets(shard) else min(wake, self._look_again)

    @property
    def trouble(self) -> str:
        """Why no events can be pulled; empty if they can."""
        return "" if self._consumer is None else self._consumer.trouble


def _tickets(shard: Shard) -> frozenset[str]:
    return frozenset(job.request_id for job in shard.jobs if job.request_id is not None)
