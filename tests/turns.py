"""One turn of a shard without a pipeline, a network or a disk: what the service answers is a function of the test."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from kimi_beam.columnar import Replies
from kimi_beam.network.allowance import Allowance, Quota
from kimi_beam.queue.due_jobs import DueJobs
from kimi_beam.queue.earlier import Recalled
from kimi_beam.queue.event_listener import Listener
from kimi_beam.queue.jobs import Job
from kimi_beam.queue.refill import Refill
from kimi_beam.queue.shard_turn import ShardTurn
from kimi_beam.queue.state_layout import HELD_CELLS, QUEUE_CELLS, KeyedState
from kimi_beam.queue.step import Step
from kimi_beam.report.outcomes import Outcomes
from kimi_beam.request import batches
from kimi_beam.request.batches import NO_KEY, Item
from kimi_beam.request.document_parts import DocumentParts
from kimi_beam.request.packing import Batching
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.service import clock
from kimi_beam.service.polling import Polling
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import OpenRequest
from kimi_beam.wire.envelopes import Exchange, HttpReply

PROMPT = Prompt(OutputSchema({"type": "object"}))
POLLING = Polling(first=1, factor=1.5, ceiling=60, deadline=3_600)


def batch(*names: str, form: int = 0, size: int = 100) -> bytes:
    """A batch of texts alone; each document's key is its name."""
    items = [Item(Document(name, f"text of {name}"), size, name.encode().ljust(16)) for name in names]
    return batches.encode(items, form=form, spent=[batches.Spent()] * len(items) if form else ())


def ids(blobs: Iterable[bytes]) -> list[list[str]]:
    """The ids of the documents of batches."""
    return [list(batches.decode(blob).ids) for blob in blobs]


def json_reply(status: int, body: Any, retry_after: str | None = None) -> HttpReply:
    return HttpReply(status, json.dumps(body).encode(), retry_after)


def accepted(request_id: str) -> HttpReply:
    return json_reply(200, {"success": True, "result": {"request_id": request_id, "status": "queued"}})


def refused(status: int, code: int, retry_after: str | None = None) -> HttpReply:
    return json_reply(status, {"success": False, "errors": [{"code": code, "message": "words"}]}, retry_after)


def done(job: Job, places: Iterable[int]) -> HttpReply:
    """A finished job with the items of some of its documents."""
    name, _, positions = job.requests
    items = [
        {
            "external_reference": f"{name}-{positions[place]}",
            "index": positions[place],
            "success": True,
            "result": {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "{}"}}]},
        }
        for place in places
    ]
    return json_reply(200, {"success": True, "result": {"responses": items}})


class FakeJournal:
    """A journal that knows what the test says, and remembers what it was told."""

    is_quick = True

    def __init__(self) -> None:
        self.known: dict[str, Recalled] = {}
        """By the first id of a batch."""
        self.ahead: set[str] = set()
        """Ids of batches of which it knows more than the state."""
        self.taken: set[str] = set()
        self.written: list[str] = []
        self.recalled: list[str] = []
        """The first ids of the batches that were looked up."""
        self.open: list[OpenRequest] = []

    def refresh(self) -> None:
        self.written.append("refreshed")

    def recall(self, blob: bytes) -> Recalled:
        self.recalled.append(batches.decode(blob).ids[0])
        found = self.known.pop(self.recalled[-1], None)
        return found or Recalled([], [], [], blob)

    def is_ahead(self, job: Job, blob: bytes) -> bool:
        return job.batch_id in self.ahead

    def is_asked_elsewhere(self, blob: bytes) -> bool:
        return batches.head(blob).batch_id in self.taken

    def record_intents(self, batches: Iterable[tuple[Job, bytes]]) -> None:
        self.written += [f"about to submit {job.count}" for job, _ in batches]

    def record_submit_reply(self, index: int, exchange: Exchange) -> None:
        self.written.append(f"reply {index}")

    def record_replies_of_jobs(self, jobs: Sequence[tuple[Replies, bytes | None]]) -> None:
        self.written.append(f"answers {[len(replies) for replies, _ in jobs]}")

    def record_failure(self, replies: Sequence[Reply], failure: Failure, blob: bytes) -> None:
        self.written.append(f"failure {failure.code} {len(replies)}")

    def open_requests(self, job: Job, blob: bytes, failure: Failure) -> list[OpenRequest]:
        return self.open


class FakeClient:
    """Answers submits and polls as the test says, in order."""

    def __init__(self, service: WorkersAI) -> None:
        self.service, self.allowance, self.quota = service, Allowance(service), Quota()
        self.on_submit: Callable[[bytes], Exchange] = lambda _: accepted("r")
        self.on_poll: Callable[[str], Exchange] = lambda _: json_reply(
            200, {"success": True, "result": {"status": "running"}}
        )
        self.submitted: list[bytes] = []
        self.polled: list[str] = []

    def submit(self, bodies: Sequence[bytes], on_reply: Callable[..., None], *, on_loop: bool) -> list[Exchange]:
        self.submitted += bodies
        found = [self.on_submit(body) for body in bodies]
        for index, exchange in enumerate(found):
            on_reply(index, exchange)
        return found

    def poll(self, request_ids: Sequence[str]) -> Iterator[tuple[int, Exchange]]:
        for index, request_id in enumerate(request_ids):
            self.polled.append(request_id)
            yield index, self.on_poll(request_id)


class Bag(list[Any]):
    """A bag of a runner's state."""

    add = list.append

    def read(self) -> list[Any]:
        return list(self)


class Value:
    """A value of a runner's state."""

    def __init__(self) -> None:
        self.value: bytes | None = None

    def read(self) -> bytes | None:
        return self.value

    def write(self, value: bytes) -> None:
        self.value = value


class Shop:
    """A step with one shard, and its state between the turns. The time stands still until the test moves it."""

    def __init__(self, monkeypatch: Any, **changes: Any) -> None:
        self.now = 1_784_180_523.0
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(clock, "pause", self._pause)
        self.pauses: list[float] = []
        self.counts: Counter[str] = Counter()
        self.measured: defaultdict[str, list[float]] = defaultdict(list)
        self.journal = FakeJournal()
        self.client = FakeClient(WorkersAI("0" * 32, requests_per_minute=0))
        self.outcomes = Outcomes()
        self.files: dict[str, Document] = {}
        """What is found where a document is read again, by its id."""
        batching = changes.get("batching", Batching(max_items=4))
        given: dict[str, Any] = {
            "prompt": PROMPT,
            "parts": DocumentParts(changes.get("prompt", PROMPT), lambda _shown, _round: NO_KEY, batching),
            "batching": Batching(max_items=4),
            "polling": POLLING,
            "client": self.client,
            "journal": self.journal,
            "listener": Listener(None, self.client, "step", POLLING.deadline, lambda _: None),  # type: ignore[arg-type]
            "outcomes": self.outcomes,
            "count": lambda name, by: self.counts.update({name: by}),
            "measure": lambda name, values: self.measured[name].extend(values),
            "read_again": lambda documents: [self.files.get(one.id, one) for one in documents],
            "run_instead": None,
            "max_in_flight": 3,
            "submits_at_once": 2,
            "rate_shares": 1,
            "may_repeat": True,
            "grace": 60.0,
            "is_bounded": True,
        }
        self.step = Step(**{**given, **changes})
        self._cells = Value(), Value(), Bag(), [Bag() for _ in range(QUEUE_CELLS)], [Bag() for _ in range(HELD_CELLS)]

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def turn(self) -> ShardTurn:
        """The next firing of the shard's timer."""
        return ShardTurn(self.step, "0", KeyedState(*self._cells))

    def put(self, *blobs: bytes) -> None:
        """Has batches arrive."""
        self._cells[2].extend(blobs)

    def refill(self) -> list[Reply]:
        """A turn that fills the shard."""
        turn = self.turn()
        left = [reply for replies in Refill(turn).run() for reply in replies]
        turn.write()
        return left

    def act(self) -> list[Reply]:
        """A turn that submits and polls what is due."""
        turn = self.turn()
        left = [reply for replies in DueJobs(turn).run() for reply in replies]
        turn.write()
        self.last = turn
        return left

    @property
    def jobs(self) -> tuple[Job, ...]:
        """What the committed state has."""
        return self.turn().shard.jobs

    @property
    def held(self) -> list[list[str]]:
        """The ids of the documents of each job."""
        turn = self.turn()
        return ids(turn.held[job.batch_id] for job in turn.shard.jobs)

    @property
    def waiting(self) -> list[list[str]]:
        """The ids of the documents of each batch that waits, in their order."""
        return ids(self.turn().waiting.take())
