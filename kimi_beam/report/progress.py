"""The progress of this process: counts that can be read while a run goes on.

Beam's metrics can be read only when a run is over. The command line shows these counts while an in-process runner
works, and on Ctrl-C says how many batches are in flight. A bundle that the runner repeats is counted again.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kimi_beam.report import metrics
from kimi_beam.service.budget import Spending
from kimi_beam.types.answer import Usage
from kimi_beam.types.failure import Failure


@dataclass(frozen=True, slots=True)
class Flight:
    """What a part of the work has in flight.

    Attributes:
        count: Batches or requests that are sent and not answered.
        documents: The documents in them.
        jobs: For each batch, when it was accepted, in Unix seconds of `kimi_beam.service.clock`, and the number of its
            documents; empty for requests.
        answered: Documents that are answered and not settled yet, beside those in flight: answers of synchronous
            requests are settled many at once.
    """

    count: int
    documents: int
    jobs: tuple[tuple[float, int], ...] = ()
    answered: int = 0


@dataclass(frozen=True, slots=True)
class EndedBatch:
    """A batch whose answers have been fetched.

    Attributes:
        accepted: When the service accepted it, in Unix seconds of `kimi_beam.service.clock`.
        ended: When its answers were fetched.
        documents: How many documents it has.
        request_id: The service's id of its job; empty if that is not known.
    """

    accepted: float
    ended: float
    documents: int
    request_id: str


@dataclass(frozen=True, slots=True)
class Distribution:
    """Values that were measured. `Distribution()` is that of none, and ``+`` joins two."""

    count: int = 0
    sum: float = 0
    min: float = 0
    max: float = 0

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution:
        """That of some values."""
        return cls(len(values), sum(values), min(values), max(values)) if values else cls()

    def as_json(self) -> dict[str, float]:
        """The values by the names that ``summary.json`` has for them."""
        return {"count": self.count, "sum": self.sum, "min": self.min, "max": self.max}

    def __add__(self, other: Distribution) -> Distribution:
        """That of the values of both."""
        if not self.count or not other.count:
            return self if self.count else other
        least, greatest = min(self.min, other.min), max(self.max, other.max)
        return Distribution(self.count + other.count, self.sum + other.sum, least, greatest)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The progress at one moment.

    Attributes:
        counters: The counters of `kimi_beam.report.metrics` by name; those that were never counted are left out.
        distributions: The distributions by name; those of no value are left out.
        dead_letters: Documents that became dead letters, by code.
        unasked: How many of these the model was not asked about, as they could not be read or sent.
        usage: The tokens of the documents that are settled.
        in_flight: Batches or requests that are sent and not answered.
        documents_in_flight: The documents in them.
        jobs: For each batch in flight, when it was accepted, in Unix seconds of `kimi_beam.service.clock`, and the
            number of its documents.
        answered: Documents that are answered and not settled yet.
        unit: What `in_flight` counts: ``batch`` or ``request``.
        trouble: What went wrong last with a job or request that is still open, in one line; empty if nothing did.
        spending: What the budget has come to; None if there is none.
    """

    counters: Mapping[str, int] = field(default_factory=dict)
    distributions: Mapping[str, Distribution] = field(default_factory=dict)
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    unasked: int = 0
    usage: Usage = field(default_factory=Usage)
    in_flight: int = 0
    documents_in_flight: int = 0
    jobs: tuple[tuple[float, int], ...] = ()
    answered: int = 0
    unit: str = "batch"
    trouble: str = ""
    spending: Spending | None = None

    @property
    def documents(self) -> int:
        """Documents that were read."""
        return self.counters.get(metrics.DOCUMENTS, 0)

    @property
    def extractions(self) -> int:
        """Documents that became rows."""
        return self.counters.get(metrics.EXTRACTIONS, 0)

    @property
    def settled(self) -> int:
        """Documents that became rows or dead letters."""
        return self.extractions + self.counters.get(metrics.DEAD_LETTERS, 0)


class Progress:
    """Counts of one process. Safe to use from several threads.

    Attributes:
        trouble: What went wrong last with a job or request that is still open, in one line; empty if nothing did.
        unit: What `in_flight` counts: ``batch`` or ``request``.
        spending: What the budget has come to; None if there is none.
        keeps_batches: Whether batches that end are kept until `take_ended`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.begin()

    def begin(self) -> None:
        """Forgets what an earlier pipeline of this process has counted."""
        with self._lock:
            self.trouble, self.unit = "", "batch"
            self.spending: Spending | None = None
            self.keeps_batches = False
            self._ended: list[EndedBatch] = []
            self._notices: list[str] = []
            self._counters: Counter[str] = Counter()
            self._distributions: dict[str, Distribution] = {}
            self._dead_letters: Counter[str] = Counter()
            self._unasked = 0
            self._usage = Usage()
            self._in_flight: dict[object, Flight] = {}

    def count(self, name: str, by: int) -> None:
        """Adds to a counter of `kimi_beam.report.metrics`."""
        if by:
            with self._lock:
                self._counters[name] += by

    def measure(self, name: str, values: Sequence[float]) -> None:
        """Adds values to a distribution of `kimi_beam.report.metrics`."""
        measured = Distribution.of(values)
        with self._lock:
            self._distributions[name] = self._distributions.get(name, Distribution()) + measured

    def count_settled(self, failures: Iterable[Failure], tokens: Sequence[Sequence[int]]) -> None:
        """Says why documents became dead letters, and what settled documents were billed.

        Args:
            failures: Why each of the dead letters failed.
            tokens: The prompt, cached and completion tokens of each document.
        """
        usage = Usage(*map(sum, tokens))
        with self._lock:
            self._usage += usage
            for failure in failures:
                self._dead_letters[failure.code] += 1
                self._unasked += failure.stage in ("read", "prompt")

    def add_notice(self, line: str) -> None:
        """Adds a line for the command line to print once."""
        with self._lock:
            self._notices.append(line)

    def take_notices(self) -> list[str]:
        """Returns and removes the lines that were not printed yet."""
        with self._lock:
            found, self._notices = self._notices, []
        return found

    def add_ended(self, batches: Iterable[EndedBatch]) -> None:
        """Adds batches that have ended."""
        with self._lock:
            self._ended += batches

    def take_ended(self) -> list[EndedBatch]:
        """Returns and removes the batches that have ended since the last call."""
        with self._lock:
            found, self._ended = self._ended, []
        return found

    def set_in_flight(self, owner: object, flight: Flight) -> None:
        """Sets how many batches of the queue a part of the work has in flight.

        Args:
            owner: Identifies the part, such as a shard.
            flight: What it has in flight now.
        """
        self._set(owner, flight, "batch")

    def set_requests(self, owner: object, count: int, *, answered: int) -> None:
        """Sets how many synchronous requests a part of the work has in flight.

        Args:
            owner: Identifies the part, such as a bundle.
            count: Requests that are sent and not answered.
            answered: Requests that are answered, and whose documents are not settled yet.
        """
        self._set(owner, Flight(count, count, answered=answered), "request")

    def _set(self, owner: object, flight: Flight, unit: str) -> None:
        with self._lock:
            self.unit = unit
            if flight.count:
                self._in_flight[owner] = flight
            else:
                self._in_flight.pop(owner, None)

    @property
    def in_flight(self) -> int:
        """How many batches or requests are sent and not answered."""
        with self._lock:
            return sum(flight.count for flight in self._in_flight.values())

    def snapshot(self) -> Snapshot:
        """The progress now."""
        with self._lock:
            flights = list(self._in_flight.values())
            return Snapshot(
                dict(self._counters),
                dict(self._distributions),
                dict(self._dead_letters),
                self._unasked,
                self._usage,
                sum(flight.count for flight in flights),
                sum(flight.documents for flight in flights),
                tuple(job for flight in flights for job in flight.jobs),
                sum(flight.answered for flight in flights),
                self.unit,
                self.trouble,
                self.spending,
            )


PROGRESS = Progress()
"""The progress of this process."""
