"""What lies in a shard's bags: nothing is lost or doubled, and little is touched, however much waits."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.queue.jobs import Job, Shard
from kimi_beam.queue.state_layout import HELD_CELLS, QUEUE_CELLS, KeyedState


class Bag:
    """A bag as Beam has it: reads see what was written, in no order; what is touched is counted."""

    def __init__(self, elements: Iterable[Any] = ()) -> None:
        self.elements = list(elements)
        self.read_count = self.added = 0

    def read(self) -> list[Any]:
        self.read_count += len(self.elements)
        shuffled = list(self.elements)
        random.Random(len(shuffled)).shuffle(shuffled)
        return shuffled

    def add(self, element: Any) -> None:
        self.added += 1
        self.elements.append(element)

    def clear(self) -> None:
        self.elements = []


class Value:
    def __init__(self, value: bytes | None = None) -> None:
        self.value, self.writes = value, 0

    def read(self) -> bytes | None:
        return self.value

    def write(self, value: bytes) -> None:
        self.value = value
        self.writes += 1


class Store:
    """What a runner keeps between firings."""

    def __init__(self, inbox: Iterable[bytes] = ()):
        self.jobs, self.layout = Value(), Value()
        self.inbox = Bag(inbox)
        self.queue = [Bag() for _ in range(QUEUE_CELLS)]
        self.held = [Bag() for _ in range(HELD_CELLS)]

    def fire(self) -> KeyedState:
        return KeyedState(self.jobs, self.layout, self.inbox, self.queue, self.held)

    @property
    def touched(self) -> int:
        return sum(bag.read_count + bag.added for bag in (self.inbox, *self.queue, *self.held))

    def everything_that_waits(self) -> Counter[bytes]:
        return Counter(self.fire().waiting.take())


def blobs(start: int, count: int) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


def take(state: KeyedState, count: int) -> list[bytes]:
    found, batches = list[bytes](), state.waiting.take()
    while len(found) < count and (blob := next(batches, None)) is not None:
        found.append(blob)
    return found


# ------------------------------------------------------------------------------------------------ what waits

_steps = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "take", "put back", "add", "look", "nothing"]),
        st.integers(0, 60),
    ),
    max_size=40,
)


@settings(derandomize=True, max_examples=300)
@given(_steps)
def test_whatever_is_done_each_batch_is_waiting_or_taken_once(steps: list[tuple[str, int]]) -> None:
    store, expected, serial = Store(), Counter[bytes](), 0
    for what, count in steps:
        new = blobs(serial, count)
        serial += count
        if what == "arrive":
            for blob in new:
                store.inbox.add(blob)
            expected.update(new)
            continue
        state = store.fire()
        if what == "take":
            expected.subtract(take(state, count))
        elif what == "put back":
            took = take(state, count)
            state.waiting.put_at_front(took[::2])
            expected.subtract(took[1::2])
        elif what == "add":
            for blob in new:
                state.waiting.add(blob)
            expected.update(new)
        elif what == "look":
            assert bool(state.waiting) == bool(+expected)
        state.write(Shard())
    assert store.everything_that_waits() == +expected


def test_what_came_first_is_taken_first_but_for_the_order_within_a_bag() -> None:
    store, order = Store(blobs(0, 400)), list[int]()
    for start in range(400, 800, 100):
        state = store.fire()
        order += map(int, take(state, 16))
        state.write(Shard())
        for blob in blobs(start, 100):
            store.inbox.add(blob)
    order += map(int, store.fire().waiting.take())
    assert sorted(order) == list(range(800))
    assert set(order[:400]) == set(range(400)), "a later batch has overtaken those that waited in other bags"


@pytest.mark.parametrize("count", [100, 1_000, 10_000])
def test_to_take_from_a_long_queue_touches_each_batch_a_few_times(count: int) -> None:
    """One bag that is read and written whole is touched count / 16 times a batch: 1,250 times here at the most."""
    store = Store(blobs(0, count))
    taken = Counter[bytes]()
    while True:
        state = store.fire()
        took = take(state, 16)
        state.write(Shard())
        if not took:
            break
        taken.update(took)
    assert taken == Counter(blobs(0, count))
    assert store.touched / count < 2 + 2 * (3 if count < 10_000 else 8)


@pytest.mark.parametrize("count", [1_000, 10_000])
def test_a_firing_that_takes_nothing_touches_nothing_that_waits(count: int) -> None:
    store = Store(blobs(0, count))
    state = store.fire()
    take(state, 16)
    state.write(Shard())
    before = store.touched
    state = store.fire()
    state.waiting.add(b"put back by a job")
    state.write(Shard())
    assert store.touched == before + 1
    assert store.everything_that_waits().total() == count - 16 + 1


def test_a_stream_that_is_far_behind_fills_bags_and_spreads_the_last_when_it_comes_to_it() -> None:
    store, came = Store(), 0
    for _ in range(300):
        for blob in blobs(came, 7):
            store.inbox.add(blob)
        came += 7
        state = store.fire()
        take(state, 1)
        state.write(Shard())
    before, left = store.touched, came - 300
    found = Counter[bytes]()
    while took := take(state := store.fire(), 16):
        found.update(took)
        state.write(Shard())
    assert found.total() == left == len(found)
    assert (store.touched - before) / left < 12


# ------------------------------------------------------------------------------------------------ what is held


class BatchStore:
    """A shard with jobs, against a dict that knows what should be there."""

    def __init__(self, store: Store) -> None:
        self.store, self.expected = store, dict[str, bytes]()

    def fire(self, admit: Iterable[tuple[str, bytes]] = (), end: Iterable[str] = ()) -> None:
        state = self.store.fire()
        for batch_id in end:
            assert state.held.take(batch_id) == self.expected.pop(batch_id)
        for batch_id, blob in admit:
            state.held[batch_id] = blob
            self.expected.setdefault(batch_id, blob)
        state.write(Shard())
        state = self.store.fire()
        assert {batch_id: state.held[batch_id] for batch_id in self.expected} == self.expected
        assert "never admitted" not in state.held


@settings(derandomize=True, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=120), st.integers(1, 9))
def test_a_batch_is_held_until_its_job_ends_also_when_one_of_its_name_comes_again(
    steps: list[tuple[int, bool]], at_once: int
) -> None:
    held = BatchStore(Store())
    for at in range(0, len(steps), at_once):
        some = steps[at : at + at_once]
        ending = {str(name) for name, ends in some if ends and str(name) in held.expected}
        admitted = [(str(name), b"%d at %d" % (name, at)) for name, ends in some if not ends]
        held.fire(admitted, ending)


def test_what_is_admitted_and_ends_in_one_firing_leaves_nothing() -> None:
    store = Store()
    state = store.fire()
    state.held["a"] = b"a"
    assert state.held.take("a") == b"a"
    state.write(Shard())
    assert not any(bag.elements for bag in store.held)


@pytest.mark.parametrize("together", [1, 4, 16])
def test_a_job_that_ends_costs_no_more_than_a_few_batches(together: int) -> None:
    """One bag would have all 64 read and 63 written for each that ends alone."""
    held, rounds = BatchStore(Store()), 100
    state = held.store.fire()
    names = [str(number) for number in range(64)]
    for name in names:
        state.held[name] = name.encode()
    state.write(Shard())
    before = held.store.touched
    order = random.Random(1)
    for turn in range(rounds):
        ending = order.sample(names, together)
        state = held.store.fire()
        for name in ending:
            assert state.held.take(name) == name.encode()
        fresh = [f"{turn}-{number}" for number in range(together)]
        for name in fresh:
            state.held[name] = name.encode()
        state.write(Shard())
        names = [name for name in names if name not in ending] + fresh
    assert (held.store.touched - before) / (rounds * together) < 14
    lying = sum(len(bag.elements) for bag in held.store.held)
    assert lying <= 2 * 64 + HELD_CELLS, "what has ended is never cleared away"


def test_nothing_is_written_about_where_things_lie_while_nothing_moves() -> None:
    store = Store(blobs(0, 50))
    state = store.fire()
    take(state, 16)
    state.write(Shard())
    state = store.fire()
    state.write(Shard((Job("a", 1, 0.0, 0.0),)))
    assert (store.jobs.writes, store.layout.writes) == (2, 1)


# ------------------------------------------------------------------------------------------------ the layout is true


def test_what_is_put_back_comes_first_and_in_its_order() -> None:
    store = Store([b"c", b"d"])
    waiting = store.fire().waiting
    waiting.put_at_front([b"a", b"b"])
    assert [next(waiting.take()) for _ in range(2)] == [b"a", b"b"]
    assert Counter(waiting.take()) == Counter([b"c", b"d"])


@settings(derandomize=True, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_the_layout_says_how_much_lies_in_each_bag(firings: list[tuple[int, int, int]]) -> None:
    """A count that is wrong lets a bag grow for ever, or has it written anew in each firing."""
    store, number = Store(), 0
    for waits, held, ends in firings:
        state = store.fire()
        for _ in range(waits):
            number += 1
            state.waiting.add(b"%d" % number)
        assert state.waiting or not waits  # what came is looked at
        for _ in range(held):
            number += 1
            state.held[f"{number:016x}"] = b"%d" % number
        for batch_id in list(state._now.held)[:ends]:
            state.held.take(batch_id)
        state.write(Shard())
        layout = store.fire()._now
        lying = [[cell, len(bag.elements)] for cell, bag in enumerate(store.queue) if bag.elements]
        assert sorted(layout.queue) == lying
        live = Counter(cell for cell, _ in layout.held.values())
        for cell, bag in enumerate(store.held):
            assert len(bag.elements) == live[cell] + layout.ended.get(cell, 0)
            assert layout.ended.get(cell, 0) <= live[cell], "what has ended is more than what has not"
