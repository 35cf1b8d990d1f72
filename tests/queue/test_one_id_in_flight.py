"""A stream brings documents of one id: what is in flight of each leaves, although batches are named by ids alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from stream_worker import Worker

import kimi_beam as kb
from kimi_beam.emulator import Emulator

ONE = kb.Document("key", "COMPANY: One Ltd\nTOTAL: 1.00")
TWO = kb.Document("key", "COMPANY: Two Ltd\nTOTAL: 2.00")
OTHERS = [kb.Document(f"other-{i}", f"COMPANY: Other {i}\nTOTAL: 3.00") for i in range(2)]


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
