"""The benchmark measures what it says: the floor does the product's job, and a worse ratio is told from noise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kimi_beam.input.file_parts import Part
from kimi_beam.input.read_parts import read_part

from . import document, documents, made_files, report
from .clients import Clients, with_service
from .floor import COLUMNS
from .processes import CommandError, run
from .report import Row


def row(ours: float, **changed: Any) -> Row:
    return Row(**{"name": "cost", "measure": "each document", "against": "the floor", "ours": ours, "theirs": 2.0,
                  "unit": "ms", "target": 1.5, **changed})  # fmt: skip


def test_the_floor_and_the_product_give_the_same_rows(tmp_path: Path) -> None:
    clients = Clients(tmp_path)
    _, asked = with_service(clients.extract, 60)
    assert (asked["submits"], asked["items"]) == (1, 60)
    with_service(clients.floor, 60)
    product = pq.read_table(sorted(clients.output.glob("extractions-*.parquet"))).select(COLUMNS.names)
    by_hand = pq.read_table(tmp_path / "floor.parquet")
    assert product.schema.types == by_hand.schema.types
    assert product.sort_by("_document_id").to_pylist() == by_hand.sort_by("_document_id").to_pylist()
    lines = [json.loads(line) for line in clients.documents(60).read_text().splitlines()]
    numbers = dict(zip(*by_hand.select(["_document_id", "number"]).to_pydict().values(), strict=True))
    assert numbers == {line["id"]: documents.record(line["text"])["number"] for line in lines}


def test_a_run_that_loses_a_document_is_no_figure(tmp_path: Path) -> None:
    class Lossy(Clients):
        def documents(self, count: int, *, compressible: bool = True) -> Path:
            return super().documents(count - 1, compressible=compressible)

    with pytest.raises(CommandError, match="59 right rows, 60 expected"):
        with_service(Lossy(tmp_path).floor, 60)


@pytest.mark.parametrize("compressible", [True, False])
def test_documents_are_the_same_each_time_and_say_what_is_answered(compressible: bool) -> None:
    texts = list(documents.texts(200, compressible=compressible))
    assert texts == list(documents.texts(300, compressible=compressible))[:200]
    assert {len(text.encode()) for text in texts} == {documents.LENGTH}
    answers = [json.loads(documents.answer([{"content": text}], None)) for text in texts]
    assert all(answer == documents.record(text) for answer, text in zip(answers, texts, strict=True))
    totals = [sum(line["quantity"] * line["unit_price"] for line in answer["line_items"]) for answer in answers]
    assert [round(total, 2) for total in totals] == [answer["total"] for answer in answers]


def test_a_process_tree_is_counted_whole(tmp_path: Path) -> None:
    """Also what a grandchild uses that nobody waits for, and that outlives the command."""
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    orphan = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}], start_new_session=True)"
    alone, with_orphan = run([sys.executable, "-c", "pass"], tmp_path), run([sys.executable, "-c", orphan], tmp_path)
    assert alone.cpu < 0.3 <= with_orphan.cpu


def test_the_memory_of_two_processes_is_added_up(tmp_path: Path) -> None:
    hold = "import subprocess, sys, time; held = bytearray(b'1') * (60 << 20)"
    child = f"{hold}; time.sleep(0.5)"
    used = run(
        [sys.executable, "-c", f"{hold}; subprocess.run([sys.executable, '-c', {child!r}])"], tmp_path, sums_memory=True
    )
    assert 120 << 20 < used.together < 200 << 20


@pytest.mark.parametrize("kind", sorted(made_files.WRITERS))
def test_each_of_the_made_files_is_another_and_its_answer_is_known(tmp_path: Path, kind: str) -> None:
    made_files.WRITERS[kind](tmp_path, 7)
    paths = sorted(tmp_path.iterdir())
    assert len({path.read_bytes() for path in paths}) == 7
    for index, path in enumerate(paths[:2] if kind == "scans" else paths):
        (found,) = read_part(Part(str(path)))
        assert found.failure is None
        blocks = [{"type": "image_url", "image_url": {"url": uri}} for uri in found.images]
        shown = [{"role": "user", "content": [*blocks, {"type": "text", "text": found.text}]}]
        answer = json.loads(made_files.answer(shown))
        if kind == "scans":
            assert (answer["pictures"], answer["clauses"]) == (10, [])
        else:
            assert answer["number"] == f"FILE-{index:07}"
            assert [clause["name"] for clause in answer["clauses"]] == [
                f"c-{number}" for number in range(1, len(answer["clauses"]) + 1)
            ]
            assert answer["clauses"]


def test_a_command_that_fails_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="exit code 3"):
        run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path)


@pytest.mark.parametrize(("ours", "lines"), [(2.0, 0), (2.39, 0), (2.41, 1), (1.0, 0)])
def test_a_ratio_over_20_per_cent_worse_is_told(tmp_path: Path, ours: float, lines: int) -> None:
    recorded = tmp_path / "recorded.json"
    report.record(recorded, [row(2.0)], {"machine": "this"})
    found = report.worse([row(ours), row(9.0, name="never recorded")], report.read(recorded)["rows"])
    assert len(found) == lines


def test_recording_some_rows_keeps_the_others_as_they_were(tmp_path: Path) -> None:
    recorded, when = tmp_path / "recorded.json", {"machine": "m", "versions": "v", "commit": "c", "load": "0.5"}
    report.record(recorded, [row(2.0), row(3.0, name="other")], {**when, "date": "2026-01-01"})
    report.record(recorded, [row(2.5)], {**when, "date": "2026-01-02"})
    rows = report.read(recorded)["rows"]
    assert [(name, found["ratio"], found["date"]) for name, found in rows.items()] == [
        ("cost", 1.25, "2026-01-02"),
        ("other", 1.5, "2026-01-01"),
    ]
    text = document.figures(rows)
    assert text.index("2026-01-02") < text.index("| 1.25 | ≤ 1.5 | met |") < text.index("2026-01-01")


def test_an_unknown_measure_is_refused_with_the_names_that_there_are() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.benchmarks", "--only", "speed"]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "no measure speed: there are cost, rivals" in ended.stderr


def test_the_help_of_the_benchmark_can_be_read() -> None:
    """A bare percent sign in a help text ends argparse with a traceback."""
    asked = [sys.executable, "-m", "tests.benchmarks", "--help"]
    done = subprocess.run(asked, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "20 % worse" in " ".join(done.stdout.split())
