from __future__ import annotations

from itertools import count

from kimi_beam.emulator.messages import Delivery, Messages


def queue(**options: int) -> Messages:
    numbers = count(1)
    return Messages(new_id=lambda: f"id-{next(numbers)}", **options)


def bodies(delivered: list[Delivery]) -> set[bytes]:
    return {delivery.message.body for delivery in delivered}


def test_a_message_is_leased_and_comes_again_when_the_lease_runs_out() -> None:
    q = queue()
    q.send(b"a", 100.0)
    assert q.pull(5, 30, 99.9) == []
    (first,) = q.pull(5, 30, 100.0)
    assert (first.message.body, first.attempts) == (b"a", 1)
    assert q.pull(5, 30, 129.9) == []
    (second,) = q.pull(5, 30, 130.0)
    assert second.attempts == 2
    assert first.attempts == 1, "what was delivered must not change in the receiver's hands"
    assert second.lease != first.lease


def test_an_acknowledgement_removes_it_also_by_a_lease_that_ran_out() -> None:
    q = queue()
    q.send(b"a", 0.0)
    (first,) = q.pull(5, 1, 0.0)
    (second,) = q.pull(5, 1, 10.0)
    assert q.acknowledge([first.lease]) == 1
    assert q.acknowledge([second.lease, "nonsense"]) == 0
    assert q.pull(5, 1, 1_000.0) == []


def test_what_is_handed_back_waits_for_its_delay_and_no_longer_for_its_lease() -> None:
    q = queue()
    q.send(b"a", 0.0)
    (first,) = q.pull(5, 1_000, 0.0)
    assert q.hand_back([(first.lease, 7.0)], 1.0) == 1
    assert q.pull(5, 30, 7.9) == []
    assert [d.attempts for d in q.pull(5, 30, 8.0)] == [2]


def test_a_message_that_was_tried_too_often_is_deleted() -> None:
    q = queue(max_retries=3)
    q.send(b"a", 0.0)
    for attempt in range(1, 5):
        (delivery,) = q.pull(5, 10, attempt * 10.0)
        assert delivery.attempts == attempt
    assert q.backlog(45.0) == 1
    assert q.pull(5, 10, 50.0) == []
    assert q.backlog(50.0) == 0


def test_messages_come_in_another_order_than_they_were_sent_each_once_and_no_more_than_asked_for() -> None:
    q = queue(seed=3)
    for n in range(50):
        q.send(str(n).encode(), 0.0)
    delivered = [d for _ in range(6) for d in q.pull(10, 30, 0.0)]
    order = [int(d.message.body) for d in delivered]
    assert sorted(order) == list(range(50)) != order
    assert q.backlog(0.0) == 50


def test_a_message_is_forgotten_after_its_retention() -> None:
    q = queue()
    q.send(b"a", 0.0, delay=2.0)
    q.send(b"b", 86_400.0)
    assert bodies(q.pull(5, 0, 3 * 86_400.0)) == {b"a", b"b"}
    assert bodies(q.pull(5, 0, 4 * 86_400.0)) == {b"b"}
