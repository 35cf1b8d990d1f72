"""Files that are passed over are counted and named, however the work is spread, by names that the report knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import IN_PROCESS_RUNNERS, read_dataset
from running_cli import SCHEMA, run

from kimi_beam.input import skipped_files
from kimi_beam.report import metrics


def test_the_reading_and_the_report_name_the_counters_alike() -> None:
    assert (skipped_files.NAMESPACE, skipped_files.SKIPPED_FILES) == (metrics.NAMESPACE, metrics.SKIPPED_FILES)
    assert skipped_files.NAMES_NAMESPACE == metrics.SKIPPED_NAMESPACE


@pytest.mark.parametrize("runner", ["one worker", "2 in memory", "bundle based"])
def test_each_file_that_is_passed_over_is_counted_once_and_named(
    runner: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.txt").write_text("Total: 3.10")
    names = [f"{source}/{number}.log" for number in range(40)]
    for name in names:
        Path(name).write_text("x")
    name, options = IN_PROCESS_RUNNERS[runner]
    rest = ("--schema", SCHEMA, "--emulator", "--api", "run", "--output", tmp_path / "out", "--runner", name, *options)
    code, _, err = run("extract", source, *rest, "--skip-unknown", capsys=capsys)
    assert code == 0, err
    summary = read_dataset(tmp_path / "out").summary
    assert (summary["documents"], summary["skipped_files"], summary["skipped_names"]) == (1, 40, sorted(names))
