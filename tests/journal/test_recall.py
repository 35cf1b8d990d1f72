"""Recall of a batch whose answers are in several files: each document gets its own answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from kimi_beam.columnar import Results, Tokens
from kimi_beam.journal.files import Journal
from kimi_beam.journal.recall import recall
from kimi_beam.journal.records import Answers
from kimi_beam.request import batches
from kimi_beam.request.batches import Item
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import Ticket

DOCUMENTS = [Document(f"d{n}", f"text {n}", (), {"n": n} if n % 2 else {}, "in.jsonl") for n in range(6)]
KEYS = [bytes([n]) * 16 for n in range(6)]
RESULTS = [
    Failure("infer", "refusal", "no", raw="no")
    if n == 4
    else Completion(f'{{"n": {n}}}', "stop", 1_700_000_000 + n, "m")
    for n in range(6)
]
REPLIES = [
    Reply(document, result, Usage(10 + n, n, 5), Ticket(f"job {n // 3}", 1))
    for n, (document, result) in enumerate(zip(DOCUMENTS, RESULTS, strict=True))
]


def write(journal: Journal, places: list[int]) -> None:
    replies = [REPLIES[place] for place in places]
    results, usages = [reply.result for reply in replies], [reply.usage for reply in replies]
    tickets = [reply.ticket for reply in replies]
    journal.write_answers(Answers([KEYS[p] for p in places], Results.of(results), Tokens.of(usages), tickets))


@pytest.mark.parametrize("files", [[[0, 1, 2, 3, 4, 5]], [[5, 3, 1], [0, 2, 4]], [[n] for n in range(6)]])
def test_each_document_gets_its_own_answer(tmp_path: Path, files: list[list[int]]) -> None:
    journal = Journal(str(tmp_path))
    for places in files:
        write(journal, places)
    again = Journal(str(tmp_path))
    again.refresh()
    blob = batches.encode([Item(document, 100, key) for document, key in zip(DOCUMENTS, KEYS, strict=True)])
    for known in (journal, again):
        recalled = recall(blob, KEYS, known)
        assert recalled.answered == REPLIES
        assert (recalled.in_flight, recalled.doubtful, recalled.fresh) == ([], [], None)


def test_documents_without_an_answer_are_fresh(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    write(journal, [0, 1, 3, 4, 5])
    blob = batches.encode([Item(document, 100, key) for document, key in zip(DOCUMENTS, KEYS, strict=True)])
    recalled = recall(blob, KEYS, journal)
    assert recalled.answered == [REPLIES[n] for n in (0, 1, 3, 4, 5)]
    assert recalled.fresh is not None
    assert batches.decode(recalled.fresh) == [DOCUMENTS[2]]
