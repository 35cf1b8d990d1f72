"""The document of a dead letter is mended in the pipeline and asked for by a second `Extract`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import pytest
from harness import QUICK, RECEIPT, read_dataset, receipts, service

import kimi_beam as kb
from kimi_beam.emulator import Emulator

GOOD = receipts(6)


def mended(letter: kb.DeadLetter) -> kb.Document:
    """The document of a letter with what it should have had from the first; doc-5 stays as it is."""
    number = int(letter.document.id[-1])
    return letter.document if number == 5 else replace(letter.document, text=GOOD[number].text, images=())


BROKEN = [
    replace(GOOD[0], text="", failure=kb.Failure("read", "not_json", "the line is not JSON")),
    replace(GOOD[1], text=" "),
    replace(GOOD[2], text="a\0" * 20),
    replace(GOOD[3], text="half a pair: \ud800"),
    replace(GOOD[4], images=("data:image/png;base64,aaaa",)),
    replace(GOOD[5], text="", failure=kb.Failure("read", "not_json", "the line is not JSON")),
]
"""None of these can be sent, each for another reason; the last is not mended."""


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_mended_document_is_sent_and_one_that_is_not_mended_fails_again(tmp_path: Path, api: str) -> None:
    with Emulator() as emulator:
        where = service(emulator.base_url, api=api)
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            documents = pipeline | beam.Create(BROKEN, reshuffle=False)
            first = documents | "First" >> kb.Extract(RECEIPT, service=where, polling=QUICK)
            again = first.dead_letters | beam.Map(mended).with_output_types(kb.Document)
            second = again | "Second" >> kb.Extract(RECEIPT, service=where, polling=QUICK)
            write = kb.WriteDataset(str(tmp_path / "out"), RECEIPT, model=where.model, documents=again)
            (second.extractions, second.dead_letters) | write
    outcome = read_dataset(tmp_path / "out")
    assert outcome.codes == {"empty_document": 1}, outcome.letters
    assert sorted(outcome.ids.elements()) == [document.id for document in GOOD]
    assert sorted(row["_document_id"] for row in outcome.rows) == [document.id for document in GOOD[:5]]
    assert outcome.codes == {"empty_document": 1}
