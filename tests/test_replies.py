"""Replies are handed on as they are: to say how large they are, nobody pickles them."""

from __future__ import annotations

from apache_beam import coders
from harness import receipts

from kimi_beam.transforms.replies import Replies
from kimi_beam.types import Completion, Reply, Ticket, Usage


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
