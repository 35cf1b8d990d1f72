"""What the shards of a transform hear by events, and when they are due because of it."""

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
    """Events as one transform's shards see them; without events it hears nothing, and puts no poll off.

    Args:
        settings: How events are received. None: they are not.
        client: Of the service that the jobs are at.
        name: Of the transform, the same on each worker and no other's: shards are named alike in all of them.
        deadline: Seconds from a job's submit past which its poll is put off no further.
        pulled: Called with the number of requests that were made.
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
        """Lets a shard know which of its jobs have ended.

        Args:
            key: Of the shard.
            shard: As its committed state has it.
        """
        if self._consumer is None:
            return shard
        events = self._consumer.pull(self._client, (self._name, key), _tickets(shard))
        self._pulled(events.pulls)
        self._patience, self._look_again = events.patience, events.look_again
        return jobs.mark_event_seen(shard, events.ended, clock.now())

    def expect(self, key: str, shard: Shard) -> bool:
        """Announces what a shard will have in flight by the state that it is about to commit.

        Returns:
            Whether it has to hear once more even if nothing is open, so that its events are acknowledged.
        """
        return self._consumer is not None and self._consumer.expect((self._name, key), _tickets(shard))

    def due(self, shard: Shard, now: float) -> list[Job]:
        """The jobs to act on now."""
        return jobs.due(shard, now, self._patience, self._deadline)

    def wake(self, shard: Shard) -> float | None:
        """When to look at a shard again: a job is due, or an event may have come. None where nothing is open."""
        wake = jobs.wake(shard, self._patience, self._deadline)
        return wake if wake is None or not _tickets(shard) else min(wake, self._look_again)

    @property
    def trouble(self) -> str:
        """Why no events come; empty where they can."""
        return "" if self._consumer is None else self._consumer.trouble


def _tickets(shard: Shard) -> frozenset[str]:
    return frozenset(job.request_id for job in shard.jobs if job.request_id is not None)
