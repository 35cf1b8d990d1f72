"""What becomes of it when there is more: memory, time, the journal, and what travels between workers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import pairwise

from .. import documents
from ..clients import best, marginal, with_service
from ..processes import CommandError, Usage
from ..report import Row
from ..service import Running
from . import Bench


def more_documents(bench: Bench) -> Iterator[Row]:
    """Ten times the documents, and ten times those; then once more with every answer in the journal.

    Their text does not compress away. Memory is that of the largest process.
    """
    counts = bench.sizes.growth
    found: dict[int, Usage] = {}
    resumed: list[Usage] = []

    def extract(count: int, asked: Running) -> Usage:
        return bench.clients.extract(count, asked, compressible=False)

    def extract_twice(count: int, asked: Running) -> Usage:
        # From one service: answers of another, even on another port, are not taken for its own.
        first, submits = extract(count, asked), asked.stats()["submits"]
        resumed.append(bench.clients.extract(count, asked, compressible=False, keep=True))
        if asked.stats()["submits"] != submits:
            raise CommandError("what is in the journal was asked for again")
        return first

    for count in counts:
        client = extract_twice if count == counts[2] else extract
        rounds = bench.sizes.rounds if count <= bench.sizes.large else 1
        found[count] = best([with_service(client, count)[0] for _ in range(rounds)])
        used = found[count]
        bench.say(f"{count:,} documents: {used.cpu:.1f} s CPU, {used.wall:.1f} s, {used.peak / 1e6:.0f} MB")
    again = best(resumed)
    bench.say(f"resumed: {again.cpu:.1f} s CPU, {again.wall:.1f} s, {again.peak / 1e6:.0f} MB")
    middle, large = counts[1:3]
    steps = [(a, b, marginal({a: found[a], b: found[b]})) for a, b in pairwise(counts)]
    for (a, b, before), (_, c, after) in pairwise(steps):
        measure = f"each further document, {b:,} to {c:,}"
        yield Row(f"linear_{c}", measure, f"{a:,} to {b:,}", after, before, "ms CPU a document", 1.15)
    size = _size(large)
    grown = (found[large].peak - found[middle].peak) / 1e6
    peaks = {f"MB at {count:,}": found[count].peak / 1e6 for count in counts}
    measure = f"memory above that of {middle:,} documents, {large:,}"
    yield Row("memory", measure, "documents and answers", grown, size / 1e6, "MB", 2.5, peaks)
    yield Row("memory_bound", f"memory, {large:,} documents", "1 GB", found[large].peak / 1e6, 1e3, "MB", 1.0)
    yield Row("resume", f"{large:,} documents, all in the journal", "the first run", again.cpu, found[large].cpu,
              "s CPU", 0.5)  # fmt: skip


def crossings(bench: Bench) -> Iterator[Row]:
    """Bytes that go through shuffles and into state, of text that does not compress away."""
    count = bench.sizes.small
    program = (sys.executable, "-m", "tests.benchmarks.crossings")
    used, _ = with_service(
        lambda count, asked: bench.clients.extract(count, asked, compressible=False, program=program), count
    )
    seen = json.loads(used.said.splitlines()[-1])
    bench.say(f"crossings: {seen}")
    crossed, size = (seen["shuffle"] + seen["state_written"]) / count, _size(count) / count
    detail = {f"bytes of {name.replace('_', ' ')}": total / count for name, total in seen.items()}
    yield Row("crossings", "bytes through shuffle and into state", "document and answer", crossed, size,
              "bytes a document", 2, detail)  # fmt: skip


def _size(count: int) -> int:
    """Bytes of the texts and of their answers."""
    texts = documents.texts(count, compressible=False)
    return sum(len(text) + len(documents.answer([{"content": text}], None)) for text in texts)
