"""Replies are handed on as they are: to say how large they are, nobody pickles them."""

from __future__ import annotations

import pickle

from apache_beam import coders
from harness import receipts

import kimi_beam as kb
from kimi_beam.beam_extensions.reply_coder import Replies
from kimi_beam.columnar import Documents
from kimi_beam.request import batches
from kimi_beam.request.batches import Item
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import OpenRequest, Ticket


def test_the_size_of_replies_is_known_without_pickling_them() -> None:
    coder = coders.registry.get_coder(Replies)
    unpicklable = [lambda: None] * 3
    assert coder.estimate_size(unpicklable) == 3 * coder.estimate_size([None])
    assert coder.get_impl().estimate_size(unpicklable) >= coder.estimate_size(unpicklable)


def test_replies_come_back_where_a_runner_does_send_them() -> None:
    answer = Completion("{}", "stop", 1, "m")
    replies = [Reply(document, answer, Usage(1, 0, 1), Ticket("r", 1)) for document in receipts(3)]
    coder = coders.registry.get_coder(Replies)
    assert coder.decode(coder.encode(replies)) == replies


def test_replies_by_column_come_back_too() -> None:
    answer, failure = Completion("{}", "stop", 1, "m"), Failure("infer", "refusal", "no")
    replies = [
        Reply(document, failure if n == 1 else answer, Usage(1, 0, n), Ticket("r", 1))
        for n, document in enumerate(receipts(3))
    ]
    coder = coders.registry.get_coder(Replies)
    back = coder.decode(coder.encode(Replies.of(replies)))
    assert isinstance(back, Replies)
    assert back == replies
    assert back[1:] == replies[1:]
    assert back != replies[1:]


def test_the_replies_of_several_jobs_are_those_of_each_in_order() -> None:
    answer, failure = Completion("{}", "stop", 1, "m"), Failure("infer", "refusal", "no")
    more = kb.Document("more", "é", metadata={"a": 1})
    left_open = OpenRequest("r", "0f" * 16, "n", 1, 0)
    jobs = [
        [Reply(document, answer, Usage(1, 0, n), Ticket("a", 1)) for n, document in enumerate(receipts(3))],
        [Reply(more, failure, Usage(2, 1, 0), Ticket("b", 2), left_open)],
        [],
        [Reply(document, failure if n else answer) for n, document in enumerate([*receipts(2, 10), more])],
    ]
    joined = Replies.joined([Replies.of(job) for job in jobs])
    assert joined == [reply for job in jobs for reply in job]
    assert pickle.loads(pickle.dumps(joined)) == joined
    travelled = batches.decode(batches.encode([Item(document, 1) for document in (more, *receipts(1))]))
    assert Documents.joined([travelled, Documents.of([more]), travelled]) == [*travelled, more, *travelled]
