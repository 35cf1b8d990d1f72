"""A message queue with leases, like Cloudflare Queues, without I/O or a clock.

Time is an argument in Unix seconds. A message is delivered at least once: a pull leases it for a while, an
acknowledgement removes it, and one that is handed back, or whose lease runs out, is delivered again with ``attempts``
one higher, until it has been tried too often [documented: queues/configuration/pull-consumers].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from uuid import uuid4


@dataclass
class Message:
    """One message.

    Attributes:
        id: An id that the queue made.
        body: The body as it was sent.
        number: How many messages were sent before it.
        sent_at: When it was sent, in Unix seconds.
        visible_at: When it may next be pulled, in Unix seconds.
        attempts: How often it was delivered.
    """

    id: str
    body: bytes
    number: int
    sent_at: float
    visible_at: float
    attempts: int = 0


@dataclass(frozen=True)
class Delivery:
    """A message as one pull delivered it. It is acknowledged by its lease."""

    message: Message
    attempts: int
    lease: str


class Messages:
    """One queue.

    Args:
        seed: Decides the order of delivery, which is not that of sending [documented: no order is promised].
        max_retries: Deliveries after the first, before a message is deleted [documented: 3 by default, at most 100].
        retention: Seconds for which a message is kept; 4 days [documented: limits].
        new_id: Makes the ids of messages and leases.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        max_retries: int = 3,
        retention: float = 4 * 86_400.0,
        new_id: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._seed = seed
        self._max_retries = max_retries
        self._retention = retention
        self._new_id = new_id
        self._sent = 0
        self._messages: dict[str, Message] = {}

    def send(self, body: bytes, sent_at: float, *, delay: float = 0.0) -> None:
        """Send a message. It can be pulled ``delay`` seconds after ``sent_at``, which may be in the future."""
        message = Message(self._new_id(), body, self._sent, sent_at, sent_at + delay)
        self._sent += 1
        self._messages[message.id] = message

    def pull(self, most: int, visibility: float, now: float) -> list[Delivery]:
        """Lease at most ``most`` messages for ``visibility`` seconds."""
        self._forget(now)
        ready = sorted((m for m in self._messages.values() if m.visible_at <= now), key=self._order_of)[:most]
        delivered = []
        for message in ready:
            message.attempts += 1
            message.visible_at = now + visibility
            delivered.append(Delivery(message, message.attempts, f"{message.id}.{self._new_id()}"))
        return delivered

    def acknowledge(self, leases: Iterable[str]) -> int:
        """Remove messages by their leases, also expired ones [documented]; return how many were still there."""
        return sum(self._messages.pop(_leased(lease), None) is not None for lease in leases)

    def hand_back(self, leases: Iterable[tuple[str, float]], now: float) -> int:
        """Deliver messages again, each after its delay in seconds; return how many were still there."""
        found = [(self._messages.get(_leased(lease)), delay) for lease, delay in leases]
        for message, delay in found:
            if message is not None:
                message.visible_at = now + delay
        return sum(message is not None for message, _ in found)

    def backlog(self, now: float) -> int:
        """Return how many messages were sent and are not acknowledged."""
        self._forget(now)
        return sum(message.sent_at <= now for message in self._messages.values())

    def _order_of(self, message: Message) -> bytes:
        return blake2b(f"{self._seed}\0{message.number}\0{message.attempts}".encode(), digest_size=8).digest()

    def _forget(self, now: float) -> None:
        gone = [
            message.id
            for message in self._messages.values()
            if (message.visible_at <= now and message.attempts > self._max_retries)
            or message.sent_at + self._retention <= now
        ]
        for identity in gone:
            del self._messages[identity]


def _leased(lease: str) -> str:
    return lease.partition(".")[0]
