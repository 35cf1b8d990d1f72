"""Replies are handed on as they are: to say how large they are, nobody pickles them."""

from __future__ import annotations

from apache_beam import coders
from harness import receipts

from kimi_beam.transforms.replies import Replies
from kimi_beam.types import Completion, Failure, Reply, Ticket, Usage


def test_how_large_replies_are_is_told_without_pickling_them() -> None:
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
