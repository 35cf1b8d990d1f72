"""Documents in windows through `Extract`, and which windows their results are in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import TimestampedValue
from harness import QUICK, RECEIPT, receipts, service

import kimi_beam as kb
from kimi_beam.emulator import Emulator


class NameWindows(beam.DoFn):
    """Which window and timestamp each result has, as a line."""

    def process(
        self, result: Any, window: Any = beam.DoFn.WindowParam, at: Any = beam.DoFn.TimestampParam
    ) -> Iterable[str]:
        yield f"{_id(result)} {int(window.start)}-{int(window.end)} {at.seconds()}"


def _id(result: kb.Extraction | kb.DeadLetter) -> str:
    return result.document_id if isinstance(result, kb.Extraction) else result.document.id


def _count(group: tuple[str, Iterable[str]]) -> str:
    return " ".join(sorted(group[1]))


def run_windowed(
    directory: Path, windows: Any, *, runner: str = "FnApiRunner", options: Iterable[str] = (), **where: Any
) -> tuple[Counter[str], Counter[str]]:
    """Two documents in each of three hours, and an empty one: the lines of `NameWindows`, and what a grouping gives."""
    documents = [
        TimestampedValue(document, 3_600 * (index // 2) + 60 * index) for index, document in enumerate(receipts(6))
    ]
    documents.append(TimestampedValue(kb.Document("empty", ""), 7_200))
    with Emulator(latency=0.05) as emulator:
        with beam.Pipeline(runner, options=PipelineOptions(list(options))) as pipeline:
            came_in = pipeline | beam.Create(documents, reshuffle=False) | beam.Map(lambda document: document)
            windowed = came_in | beam.WindowInto(windows)
            results = windowed | kb.Extract(RECEIPT, service=service(emulator.base_url, **where), polling=QUICK)
            for name, output in results._asdict().items():
                lines = output | f"{name} lines" >> beam.ParDo(NameWindows()).with_output_types(str)
                lines | f"{name} write" >> beam.io.WriteToText(str(directory / name))
            grouped = (
                results.extractions
                | beam.Map(lambda extraction: ("", _id(extraction))).with_output_types(tuple[str, str])
                | beam.GroupByKey()
                | beam.Map(_count).with_output_types(str)
            )
            grouped | "groups" >> beam.io.WriteToText(str(directory / "groups"))
        assert emulator.stats()["paid_twice"] == 0
    lines = Counter(line for kind in ("extractions", "dead_letters") for line in lines_of(directory, kind))
    return lines, Counter(lines_of(directory, "groups"))


def lines_of(directory: Path, name: str) -> list[str]:
    return [line for path in directory.glob(f"{name}-*") for line in path.read_text().splitlines()]


EXPECTED = Counter(
    [
        *("doc-0 0-3600 0", "doc-1 0-3600 60"),
        *("doc-2 3600-7200 3720", "doc-3 3600-7200 3780"),
        *("doc-4 7200-10800 7440", "doc-5 7200-10800 7500", "empty 7200-10800 7200"),
    ]
)
GROUPS = Counter(["doc-0 doc-1", "doc-2 doc-3", "doc-4 doc-5"])
