"""How well the time is used while the service works: wall time, and the requests that are made."""

from __future__ import annotations

from collections.abc import Iterator

from ..clients import interleaved, marginal, with_service
from ..floor import MAX_ITEMS
from ..report import Row
from . import Bench

_FEW = 50
_LATENCY = 2.0
_POLLS = 2
"""Intervals that fit into the latency: the first poll comes after 1 s, the second 1.2 to 1.5 s later."""
_CONNECTIONS = 64
_ANSWER = 0.2


def batch_queue(bench: Bench) -> Iterator[Row]:
    """Answers that are there 2 s after the submit: beside the floor, without what starting costs."""
    clients, counts = {"extract": bench.clients.extract, "the floor": bench.clients.floor}, (_FEW, bench.sizes.large)
    found = interleaved(clients, counts, bench.sizes.rounds, bench.say, _LATENCY)
    wall = {name: {count: used.wall for count, used in by.items()} for name, by in found.items()}
    start = wall["extract"][_FEW] - wall["the floor"][_FEW]
    ours, theirs = wall["extract"][counts[1]] - start, wall["the floor"][counts[1]]
    measure = f"{counts[1]:,} documents, answers after {_LATENCY:.0f} s, without start-up"
    yield Row("wall_queue", measure, "the floor", ours, theirs, "s wall", 1.3, {"seconds of start-up": start})


def http_requests(bench: Bench) -> Iterator[Row]:
    """What the service counts: one submit a batch, and at most one poll a ticket and interval."""
    count = bench.sizes.large
    _, stats = with_service(bench.clients.extract, count, _LATENCY)
    batches = -(-count // MAX_ITEMS)
    bench.say(f"requests: {stats['submits']} submits and {stats['polls']} polls of {batches} batches")
    yield Row("submits", "submits", "batches", float(stats["submits"]), float(batches), "", 1.0)
    # One asks for a job that nobody has: is the service there?
    yield Row("polls", "polls", "tickets and intervals", stats["polls"] - 1.0, float(batches * _POLLS), "", 1.0)


def synchronous(bench: Bench) -> Iterator[Row]:
    """64 connections, answers of 200 ms: beside an aiohttp loop that does nothing but ask."""
    small, large = bench.sizes.synchronous
    options = ("--api=run", f"--max-concurrency={_CONNECTIONS}", "--requests-per-minute=0")
    clients = {
        "extract, synchronous": lambda count, asked: bench.clients.extract(count, asked, *options),
        "aiohttp": bench.clients.bare_aiohttp,
    }
    found = interleaved(clients, (small, large), bench.sizes.rounds, bench.say, _ANSWER)
    ours, theirs = found["extract, synchronous"], found["aiohttp"]
    cost = marginal(ours), marginal(theirs)
    measure = f"synchronous, {_CONNECTIONS} connections, {_ANSWER * 1e3:.0f} ms"
    yield Row("cost_synchronous", f"each further document, {measure}", "aiohttp", *cost, "ms CPU a document", 2)
    start = ours[small].wall - theirs[small].wall
    walls = ours[large].wall - start, theirs[large].wall
    yield Row("wall_synchronous", f"{large:,} documents, {measure}, without start-up", "aiohttp", *walls, "s wall", 1.1)
