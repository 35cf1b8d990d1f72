"""What it costs to say where a value stands: beside a regular expression for each, and in a text ten times as long."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from kimi_beam.grounding.ground import ground
from kimi_beam.schema import OutputSchema
from kimi_beam.types.document import Document
from kimi_beam.types.grounding import GROUNDED

from .. import documents
from ..processes import CommandError
from ..report import Row
from . import Bench

_LONG = 335_000
"""The characters of the longest contract of the lawyers' collection CUAD."""
_VALUES = 500


def values(bench: Bench) -> Iterator[Row]:
    """Values of short invoices, and many values of a long text. Both sides take turns, and the least counts."""
    texts = list(documents.texts(bench.sizes.small // 4))
    answers = [documents.record(text) for text in texts]
    places = OutputSchema(documents.SCHEMA).places
    leaves = sum(len(list(_strings(answer))) for answer in answers)

    def ours() -> int:
        found = (ground(answer, Document("d", text), places) for answer, text in zip(answers, texts, strict=True))
        return sum(one.match in GROUNDED for entries in found for one in entries)

    def by_expression() -> int:
        return sum(
            _stands(value, text) for answer, text in zip(answers, texts, strict=True) for value in _strings(answer)
        )

    if ours() < leaves:
        raise CommandError("values that stand in their text were not found")
    mine, theirs = _least({"ours": ours, "theirs": by_expression}, bench.sizes.rounds)
    yield Row("ground", "a value of an invoice, grounded", "a regular expression for it", 1e3 * mine / leaves,
              1e3 * theirs / leaves, "ms CPU a value", 2.0)  # fmt: skip
    long, short = _long_text(_LONG), _long_text(_LONG // 10)
    anything = OutputSchema({}).places
    runs = {
        "ours": lambda: len(ground(long[1], Document("d", long[0]), anything)),
        "theirs": lambda: len(ground(short[1], Document("d", short[0]), anything)),
    }
    at_length, at_tenth = _least(runs, bench.sizes.rounds)
    measure = f"{_VALUES} values in {_LONG:,} characters"
    yield Row("ground_long", measure, "ten times those in a tenth of it", at_length, 10 * at_tenth, "s CPU", 1.2)
    yield Row("ground_bound", measure, "half a second", at_length, 0.5, "s CPU", 1.0)


def _least(runs: dict[str, Callable[[], int]], rounds: int) -> list[float]:
    """The least seconds of CPU of each, all of them in turn."""
    found = {name: float("inf") for name in runs}
    for _ in range(max(rounds, 2)):
        for name, run in runs.items():
            started = time.process_time()
            run()
            found[name] = min(found[name], time.process_time() - started)
    return list(found.values())


def _strings(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)
    elif not isinstance(value, bool):
        yield value


def _stands(value: Any, text: str) -> bool:
    """Whether a value stands in a text but for white space and case: the least that somebody would write by hand."""
    spaced = r"\s*".join(map(re.escape, "".join(str(value).split())))
    return re.search(rf"(?<!\w){spaced}(?!\w)", text, re.IGNORECASE) is not None


def _long_text(length: int) -> tuple[str, list[Any]]:
    """A text of paragraphs with amounts and dates, and values of which most stand in it; the same each time."""
    chance = random.Random(length)
    words = [
        f"{a}{b}" for a in ("con", "par", "sub", "ter", "lic", "pro") for b in ("tract", "ty", "ject", "m", "ense")
    ]
    parts: list[str] = []
    count = 0
    while count < length:
        kind = chance.random()
        if kind < 0.02:
            part = f"{chance.randint(1, 10**6):,}.{chance.randint(0, 99):02}"
        elif kind < 0.03:
            part = f"{chance.randint(1, 28):02}/{chance.randint(1, 12):02}/20{chance.randint(10, 30)}"
        else:
            part = chance.choice(words) + chance.choice(["", "", "", ",", ".\n"])
        parts.append(part)
        count += len(part) + 1
    values: list[Any] = []
    for number in range(_VALUES):
        first = chance.randrange(len(parts) - 8)
        phrase = " ".join(parts[first : first + chance.randint(2, 7)])
        values.append((phrase, phrase.upper(), chance.randint(1, 10**6) / 100, "2024-05-17")[number % 4])
    return " ".join(parts), values
