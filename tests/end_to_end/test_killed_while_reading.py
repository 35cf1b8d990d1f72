"""A run of PDFs that is killed while it reads them, and again while it waits for answers, is resumed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from command_processes import Program
from harness import RECEIPT, read_dataset
from mutated_files import many_pages
from patience import HANGS

from kimi_beam.emulator import Emulator

PDFS = 24


def children(pid: int) -> list[int]:
    """The processes that a process has started and that live."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, thread.read_text().split())
    return found


def is_alive(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has waited for has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def await_(comes: Callable[[], object], what: str) -> None:
    until = time.monotonic() + HANGS
    while not comes():
        assert time.monotonic() < until, what
        time.sleep(0.01)


def test_pdfs_leave_once_and_are_paid_once_though_their_run_was_killed_twice(tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    for number in range(PDFS):
        (inputs / f"{number:02}.pdf").write_bytes(many_pages(number, 3))
    (inputs / "cut off.pdf").write_bytes(many_pages(0, 3)[:900])
    (tmp_path / "schema.json").write_text(json.dumps(RECEIPT))
    output = tmp_path / "out"
    with Emulator(latency=1.0) as emulator:
        command = [
            "extract", str(inputs), "--schema", str(tmp_path / "schema.json"), "--output", str(output),
            "--base-url", emulator.base_url, "--poll-interval", "0.1:0.3", "--no-preflight",
        ]  # fmt: skip
        victim = Program(command, tmp_path)
        await_(lambda: children(victim.process.pid or 0), "no process reads files")
        readers = children(victim.process.pid or 0)
        victim.kill()
        assert emulator.stats()["submits"] == 0
        await_(lambda: not any(map(is_alive, readers)), "a process that reads files outlives its worker")
        victim = Program(command, tmp_path)
        await_(lambda: len(list((output / "_journal").glob("*.submissions.json"))) >= 2, "no ticket is written")
        victim.kill()
        paid = emulator.stats()["items"]
        code, _, err = Program(command, tmp_path).end()
        assert code == 0, err
        stats = emulator.stats()
    outcome = read_dataset(output)
    assert outcome.ids == dict.fromkeys(map(str, inputs.iterdir()), 1)
    assert [(letter["document_id"], letter["code"]) for letter in outcome.letters] == [
        (str(inputs / "cut off.pdf"), "damaged")
    ]
    assert (paid, stats["items"], stats["paid_twice"]) == (PDFS, PDFS, 0)
