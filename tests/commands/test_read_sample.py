"""What a sample of files says of all of them, beside all of them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from kimi_beam.commands.estimate.expected_requests import Expected
from kimi_beam.commands.estimate.read_sample import SampleSize, Stratum, strata_of
from kimi_beam.commands.estimate.sample_totals import SampleTotals
from kimi_beam.input.fields import DEFAULT_READING

DRAWS = 100


def expected_of(path: str, cache: dict[str, list[Expected]]) -> list[Expected]:
    """Of a file with lines, a document a line; of any other, one. A document has about a token for four bytes."""
    if path not in cache:
        draw, content = random.Random(path), Path(path).read_text()
        texts = content.splitlines() if path.endswith(".jsonl") else [content]
        cache[path] = [Expected("new", 1, words=len(text) / 4 * draw.uniform(0.7, 1.3)) for text in texts]
    return cache[path]


def totals_of(strata: list[Stratum], cache: dict[str, list[Expected]]) -> SampleTotals:
    totals = SampleTotals()
    for stratum in strata:
        totals.add(stratum, [expected_of(unit.path, cache) for unit in stratum.chosen])
    return totals


@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_the_band_of_a_sample_holds_the_sum_of_all_files_in_nearly_every_draw(suffix: str, tmp_path: Path) -> None:
    draw, cache = random.Random(3), dict[str, list[Expected]]()
    for number in range(400):
        text = "Total 4.00 " * round(draw.lognormvariate(3, 1))
        line = json.dumps({"id": str(number), "text": text}) + "\n"
        (tmp_path / f"{number}{suffix}").write_text(text if suffix == ".txt" else line * draw.randint(1, 9))
    inputs, small = [str(tmp_path)], SampleSize(files=60, line_bytes=120_000)
    whole = totals_of(strata_of(inputs, DEFAULT_READING, SampleSize(files=10_000), reads_first=False), cache)
    assert whole.is_whole
    held = near = 0
    for seed in range(DRAWS):
        found = totals_of(strata_of(inputs, DEFAULT_READING, small, reads_first=False, seed=seed), cache)
        assert not found.is_whole
        assert found.read < whole.read / 2
        off = found.numbers["words"] / whole.numbers["words"] - 1
        held += abs(off) <= 2.5 * found.error("words")
        near += abs(found.documents / whole.documents - 1) <= 0.2
    assert held >= 0.95 * DRAWS, held
    assert near >= 0.95 * DRAWS, near


def test_the_files_that_an_earlier_run_with_a_limit_has_asked_for_are_always_read(tmp_path: Path) -> None:
    for number in range(500):
        (tmp_path / f"{number:03}.txt").write_text("Total 4.00")
    strata = strata_of([str(tmp_path)], DEFAULT_READING, SampleSize(files=60), reads_first=True)
    read = {Path(unit.path).name for stratum in strata for unit in stratum.chosen}
    assert {f"{number:03}.txt" for number in range(SampleSize().first)} <= read
    assert len(read) < 200
    assert sum(stratum.count for stratum in strata) == 500
