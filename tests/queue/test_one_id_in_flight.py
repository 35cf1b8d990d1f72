"""A stream brings documents of one id: what is in flight of each leaves, although batches are named by ids alone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from apache_beam.transforms.window import TimestampedValue
from harness import RECEIPT, extract_settings, service
from patience import HANGS

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.journal import files
from kimi_beam.journal.records import Journaling
from kimi_beam.queue.state_layout import KeyedState
from kimi_beam.report.outcomes import Watch
from kimi_beam.request import batches
from kimi_beam.request.checks import prepare
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.transforms.dispatch import DispatchUnbounded
from kimi_beam.transforms.state import _HELD, _QUEUE, _Bag, _Value

PROMPT = Prompt(OutputSchema(RECEIPT))
ONE = kb.Document("key", "COMPANY: One Ltd\nTOTAL: 1.00")
TWO = kb.Document("key", "COMPANY: Two Ltd\nTOTAL: 2.00")
OTHERS = [kb.Document(f"other-{i}", f"COMPANY: Other {i}\nTOTAL: 3.00") for i in range(2)]


class Worker:
    """One that holds a shard of a stream, and commits after each step."""

    def __init__(self, url: str, journal: Path | None) -> None:
        files._journals.forget_all()  # another process has an index of its own
        kept = None if journal is None else Journaling(str(journal), grace=0.0)
        asked = extract_settings(service(url), batching=kb.Batching(max_wait=0.0), max_in_flight=8, journaling=kept)
        self._step = DispatchUnbounded(asked, Watch(), 1)
        self._step.setup()
        self._cells = _Value(), _Value(), _Bag(), [_Bag() for _ in _QUEUE], [_Bag() for _ in _HELD]
        self.left = Counter[str]()

    def take(self, *documents: kb.Document) -> None:
        """Takes documents in, packed as one batch, and looks after them once."""
        self._cells[2].add(batches.encode([prepare(d, PROMPT) for d in documents]))
        self.admit()
        self.act()

    def admit(self) -> None:
        state = KeyedState(*self._cells)
        state.write(self._all(self._step._top_up(state.shard, state.held, state.waiting, time.time())))

    def act(self) -> bool:
        state = KeyedState(*self._cells)
        shard, _ = self._all(self._step._slice("0", state))
        is_open = bool(shard.jobs or state.waiting)
        state.write(shard)
        return is_open

    def finish(self) -> None:
        until = time.monotonic() + HANGS
        while self.act():
            assert time.monotonic() < until, "it never ends"
            time.sleep(0.02)
            self.admit()
        self._step.teardown()

    def _all(self, outputs: Generator[Any, None, Any]) -> Any:
        while True:
            try:
                came = next(outputs)
            except StopIteration as end:
                return end.value
            replies = came.value if isinstance(came, TimestampedValue) else came
            self.left.update(reply.document.text for reply in replies)


@pytest.mark.parametrize("documents", [[ONE, ONE], [ONE, ONE, ONE], [ONE, TWO], [ONE, TWO, ONE]])
@pytest.mark.parametrize("has_journal", [True, False])
def test_what_comes_again_while_it_is_in_flight_leaves_too(
    documents: list[kb.Document], has_journal: bool, tmp_path: Path
) -> None:
    with Emulator(latency=0.3) as emulator:
        worker = Worker(emulator.base_url, tmp_path if has_journal else None)
        for document in documents:
            worker.take(document)
        worker.finish()
        stats = emulator.stats()
    assert worker.left == Counter(d.text for d in documents), "a document was lost or doubled"
    if has_journal:
        assert stats["items"] == len({d.text for d in documents}), "the same was asked twice"


@pytest.mark.parametrize("together", [True, False])
def test_two_of_one_id_that_an_earlier_run_left_in_flight_both_leave(together: bool, tmp_path: Path) -> None:
    """In batches of other documents then, alone or together now."""
    with Emulator(latency=0.5) as emulator:
        first = Worker(emulator.base_url, tmp_path)
        first.take(ONE, OTHERS[0])
        first.take(TWO, OTHERS[1])
        assert emulator.stats()["items"] == 4
        second = Worker(emulator.base_url, tmp_path)
        for documents in ([ONE, TWO], OTHERS) if together else ([ONE], [TWO], OTHERS):
            second.take(*documents)
        second.finish()
        assert emulator.stats()["items"] == 4
    assert second.left == Counter(d.text for d in (ONE, TWO, *OTHERS)), "a document was lost or doubled"
