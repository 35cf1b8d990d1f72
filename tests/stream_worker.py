"""One worker that holds a shard of a stream, driven step by step in this process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from apache_beam.transforms.window import TimestampedValue
from harness import extract_settings, packed, service
from patience import HANGS

import kimi_beam as kb
from kimi_beam.journal import files
from kimi_beam.journal.records import Journaling
from kimi_beam.queue.refill import Refill
from kimi_beam.queue.shard_turn import ShardTurn
from kimi_beam.queue.state_layout import KeyedState
from kimi_beam.report.outcomes import OutcomesHandle
from kimi_beam.transforms.dispatch import DispatchUnbounded
from kimi_beam.transforms.state import _HELD, _QUEUE, _Bag, _Value


class Worker:
    """One that holds a shard of a stream, and commits after each step."""

    def __init__(self, url: str, journal: Path | None) -> None:
        files._journals.forget_all()  # another process has an index of its own
        kept = None if journal is None else Journaling(str(journal), grace=0.0)
        self.settings = extract_settings(
            service(url), batching=kb.Batching(max_wait=0.0), max_in_flight=8, journaling=kept
        )
        self._step = DispatchUnbounded(self.settings, OutcomesHandle(), 1)
        self._step.setup()
        self._cells = _Value(), _Value(), _Bag(), [_Bag() for _ in _QUEUE], [_Bag() for _ in _HELD]
        self.left = Counter[str]()

    def take(self, *documents: kb.Document) -> None:
        """Takes documents in, packed as one batch, and looks after them once."""
        self.put(packed(documents, self.settings))
        self.admit()
        self.act()

    def put(self, blob: bytes) -> None:
        """Has a batch wait."""
        self._cells[2].add(blob)

    @property
    def jobs(self) -> list[int]:
        """How many documents each job has."""
        return [job.count for job in KeyedState(*self._cells).shard.jobs]

    def admit(self) -> None:
        turn = ShardTurn(self._step._step, "0", KeyedState(*self._cells))
        self._all(Refill(turn).run())
        turn.write()

    def act(self) -> bool:
        turn = ShardTurn(self._step._step, "0", KeyedState(*self._cells))
        self._all(self._step._act(turn))
        is_open = bool(turn.shard.jobs or turn.waiting)
        turn.write()
        return is_open

    def finish(self) -> None:
        until = time.monotonic() + HANGS
        while self.act():
            assert time.monotonic() < until, "it never ends"
            time.sleep(0.02)
            self.admit()
        self._step.teardown()

    def _all(self, outputs: Iterable[Any]) -> None:
        for came in outputs:
            replies = came.value if isinstance(came, TimestampedValue) else came
            self.left.update(reply.document.text for reply in replies)
