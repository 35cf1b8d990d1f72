"""Pipelines with several `Extract`s, or with other steps that have timers: counted from the files that each wrote."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.coders import StrUtf8Coder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from harness import QUICK, RECEIPT, receipts, service

import kimi_beam as kb
from kimi_beam.emulator import Emulator


def holding_step(timer: str) -> type[beam.DoFn]:
    """A user's own step that gives out at the end what it was given, by a timer of this name."""

    class Hold(beam.DoFn):
        HELD = BagStateSpec("held", StrUtf8Coder())
        TIMER = TimerSpec(timer, TimeDomain.WATERMARK)

        def process(
            self,
            element: tuple[str, str],
            window: Any = beam.DoFn.WindowParam,
            held: Any = beam.DoFn.StateParam(HELD),
            timer: Any = beam.DoFn.TimerParam(TIMER),
        ) -> None:
            held.add(element[1])
            timer.set(window.max_timestamp())

        @on_timer(TIMER)
        def fired(self, held: Any = beam.DoFn.StateParam(HELD)) -> Iterator[str]:
            texts = list(held.read())
            held.clear()
            yield from texts

    return Hold


UserStep = holding_step("drain")
"""Its timer is called as one of ours is declared."""
UserStep.__qualname__ = UserStep.__name__ = "UserStep"  # by which pickle finds it


def _keyed(document: kb.Document) -> tuple[str, str]:
    return "all", json.dumps([document.id, document.text])


def _document(text: str) -> kb.Document:
    return kb.Document(*json.loads(text))


def _again(extraction: kb.Extraction) -> kb.Document:
    return kb.Document(extraction.document_id, f"COMPANY: {extraction.fields['company']}\nTOTAL: 2.00\n")


class Built:
    """What a shape of a pipeline needs: documents, `Extract`s, and files for what each gives."""

    def __init__(self, directory: Path, base_url: str, extract: dict[str, Any], **where: Any) -> None:
        self._directory, self._service, self._extract = directory, service(base_url, **where), extract
        self.names: list[str] = []

    def extract(self, name: str, documents: beam.PCollection) -> beam.PCollection:
        self.names.append(name)
        results = documents | name >> kb.Extract(RECEIPT, service=self._service, polling=QUICK, **self._extract)
        results.extractions | f"{name}Rows" >> kb.WriteParquet(str(self._directory / name / "rows"), RECEIPT)
        results.dead_letters | f"{name}Letters" >> kb.WriteDeadLetters(str(self._directory / name / "letters"))
        return results.extractions

    def user_step(self, name: str, documents: beam.PCollection) -> beam.PCollection:
        keyed = documents | f"{name}Key" >> beam.Map(_keyed).with_output_types(tuple[str, str])
        held = keyed | name >> beam.ParDo(UserStep()).with_output_types(str)
        return held | f"{name}Document" >> beam.Map(_document).with_output_types(kb.Document)

    def left(self, name: str) -> tuple[Counter[str], Counter[str]]:
        """The ids of the rows and of the dead letters that an `Extract` gave."""
        directory = self._directory / name
        rows = [str(i) for path in directory.glob("rows*") for i in pq.read_table(path)["_document_id"].to_pylist()]
        lines = [line for path in directory.glob("letters*") for line in path.read_text().splitlines()]
        return Counter(rows), Counter(json.loads(line)["document_id"] for line in lines)


def fork(built: Built, documents: beam.PCollection) -> None:
    built.extract("A", documents)
    built.extract("B", documents)


def three(built: Built, documents: beam.PCollection) -> None:
    fork(built, documents)
    built.extract("C", documents)


def chain(built: Built, documents: beam.PCollection) -> None:
    rows = built.extract("A", documents)
    again = rows | "Again" >> beam.Map(_again).with_output_types(kb.Document)
    built.extract("B", again)


def chain_of_three(built: Built, documents: beam.PCollection) -> None:
    rows = documents
    for name in "ABC":
        given = built.extract(name, rows)
        rows = given | f"Again{name}" >> beam.Map(_again).with_output_types(kb.Document)


SHAPES: dict[str, Callable[[Built, beam.PCollection], None]] = {
    "fork": fork,
    "three": three,
    "chain": chain,
    "chain of three": chain_of_three,
}


def check_shape(
    shape: Callable[[Built, beam.PCollection], None],
    directory: Path,
    *,
    runner: str | None,
    options: Sequence[str] = (),
    count: int = 30,
    **extract: Any,
) -> None:
    """Runs a shape; each `Extract` of it gives each document once."""
    documents = receipts(count)
    with Emulator(latency=0.1, seed=2) as emulator:
        built = Built(directory, emulator.base_url, extract)
        with beam.Pipeline(runner=runner, options=PipelineOptions(list(options))) as pipeline:
            shape(built, pipeline | beam.Create(documents, reshuffle=False))
        stats = emulator.stats()
    expected = Counter(document.id for document in documents)
    for name in built.names:
        rows, letters = built.left(name)
        assert (rows, letters) == (expected, Counter()), f"Extract {name!r} lost or doubled documents"
    assert stats["items"] == count * len(built.names), "not each document was asked for once by each Extract"
