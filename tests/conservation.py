"""The law: documents in are rows and dead letters out, whatever the service does, on whatever runner."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from harness import HASTY, RECEIPT, Outcome, read_dataset, receipts, run_extract, service

import kimi_beam as kb
from kimi_beam.emulator import Behaviour, Emulator

FAULTS = (
    *("rate_limit", "capacity", "error_500", "error_502_bare", "drop_before_accept", "drop_after_accept"),
    *("expired", "failed_job", "never_ends"),
    *("missing_item", "failed_item", "doubled_item", "unknown_reference", "truncated", "invalid", "json_mode"),
)


@dataclass(frozen=True)
class Case:
    """Documents, what goes wrong, and how they are packed."""

    documents: Sequence[kb.Document]
    faults: dict[str, float]
    behaviour: Behaviour
    seed: int
    batching: kb.Batching
    shards: int | None
    max_in_flight: int


def made(seed: int) -> Case:
    """A case with some of everything, always the same for a seed: for runners that are too slow for Hypothesis."""
    draw = random.Random(seed)
    documents = receipts(draw.randint(20, 60), start=1_000 * seed)
    documents += [kb.Document(i, f"COMPANY: {n} Ltd") for i in ("twice", "thrice", "thrice") for n in range(2)]
    documents += [kb.Document("empty", ""), kb.Document("é/ü", "``` a fence of its own\nTOTAL: 1.00 ````")]
    draw.shuffle(documents)
    return Case(
        documents,
        {name: draw.choice((0.1, 0.3)) for name in draw.sample(FAULTS, 4)},
        Behaviour(
            array=draw.choice(("results", "responses")),
            order=draw.choice(("shuffled", "submitted")),
            item_failure=draw.choice(("error", "result", "missing")),
            job_failure=draw.choice(("error", "status")),
            cached_tokens=draw.choice(("job", "item")),
        ),
        seed,
        kb.Batching(max_items=draw.choice((1, 3, 10))),
        draw.choice((None, 3)),
        draw.choice((4, 64)),
    )


def emulated(case: Case) -> Emulator:
    """A service in which what the case says goes wrong."""
    spec = ",".join(f"{name}={chance}" for name, chance in case.faults.items())
    return Emulator(seed=case.seed, faults=spec, behaviour=case.behaviour)


def check(
    case: Case, directory: Path, *, runner: str | None = "FnApiRunner", options: Sequence[str] = (), **extract: Any
) -> set[str]:
    """Runs a case and holds it against the law; returns what `hold` does."""
    with emulated(case) as emulator:
        outcome = run_extract(
            case.documents,
            emulator.base_url,
            directory,
            runner=runner,
            options=options,
            batching=case.batching,
            shards=case.shards,
            max_in_flight=case.max_in_flight,
            polling=HASTY,
            **extract,
        )
        return hold(case, outcome, emulator.stats())


def check_together(
    cases: Sequence[Case], directory: Path, *, runner: str | None = "FnApiRunner", options: Sequence[str] = ()
) -> None:
    """Runs cases in one pipeline, where each has an `Extract`, and holds each against the law."""
    with contextlib.ExitStack() as running:
        emulators = [running.enter_context(emulated(case)) for case in cases]
        with beam.Pipeline(runner=runner, options=PipelineOptions(list(options))) as pipeline:
            for number, (case, emulator) in enumerate(zip(cases, emulators, strict=True)):
                came_in = pipeline | f"Create {number}" >> beam.Create(list(case.documents), reshuffle=False)
                results = came_in | f"Extract {number}" >> kb.Extract(
                    RECEIPT,
                    service=service(emulator.base_url),
                    batching=case.batching,
                    shards=case.shards,
                    max_in_flight=case.max_in_flight,
                    polling=HASTY,
                )
                write = kb.WriteDataset(str(directory / str(number)), RECEIPT, model="m", documents=came_in)
                (results.extractions, results.dead_letters) | f"Write {number}" >> write
        for number, (case, emulator) in enumerate(zip(cases, emulators, strict=True)):
            hold(case, read_dataset(directory / str(number)), emulator.stats())


def hold(case: Case, outcome: Outcome, stats: dict[str, Any]) -> set[str]:
    """Holds what a case came to against the law.

    Returns:
        What the case had for the law to see: ``rows``, ``dead letters`` of what the service did, ``faults`` that
        struck, ``duplicates`` of an id, several ``jobs``, and payments that were ``held`` against the documents.
    """
    assert outcome.ids == Counter(d.id for d in case.documents), "a document was lost or doubled"
    repeated = {i for i, count in Counter(d.id for d in case.documents).items() if count > 1}
    for row in outcome.rows:
        assert row["_document_id"] not in repeated, "one of several documents with one id became a row"
    for letter in outcome.letters:
        assert (letter["code"] == "duplicate_id") == (letter["document_id"] in repeated)
    assert outcome.summary["documents"] == len(case.documents)
    assert outcome.summary["extractions"] == len(outcome.rows)
    assert outcome.summary["dead_letters"] == outcome.codes
    may_pay_twice = {"drop_after_accept", "expired"} & case.faults.keys()
    texts = Counter(d.text for d in case.documents if d.id not in repeated)
    is_held = not may_pay_twice and max(texts.values(), default=0) <= 1 and stats["items"] > 0
    if is_held:
        assert stats["paid_twice"] == 0, "a document was paid for twice although every accepted submit was answered"
    seen = {
        "rows": outcome.rows,
        "dead letters": outcome.codes.keys() - {"duplicate_id", "empty_document"},
        "faults": any(stats["faults"].values()),
        "duplicates": repeated,
        "jobs": stats["submits"] > 1,
        "held": is_held,
    }
    return {name for name, has in seen.items() if has}
