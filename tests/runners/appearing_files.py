"""`pipelines/stream.py` at work: files appear while it runs, and what it has written is counted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
from conftest import ROOT
from harness import ACCOUNT, receipts

from kimi_beam.emulator import Emulator
from kimi_beam.journal.files import contents
from kimi_beam.stream.audit_files import files_without, reconcile_directory

_PATIENCE = 240.0
"""Seconds until documents must have left: a busy machine takes one to start a job on Flink."""


class Stream:
    """A directory that files appear in, and what a program makes of them.

    Args:
        directory: For input, output and logs.
        base_url: The service.
        options: Of the program.
    """

    def __init__(self, directory: Path, base_url: str, options: Sequence[str]) -> None:
        self.output = directory / "out"
        self._input, self._aside = directory / "in", directory / "aside"
        self._log = directory / "stream.log"
        for made in (self._input, self._aside):
            made.mkdir(parents=True)
        self._command = [
            *(sys.executable, ROOT / "pipelines" / "stream.py", "--input", self._input / "*"),
            *("--schema", ROOT / "schemas" / "receipt.json", "--output", self.output, "--base-url", base_url),
            *("--interval", "0.5", "--quiet", "0", "--max-seconds", "1", "--max-wait", "0.2", *options),
        ]
        self._program: subprocess.Popen[bytes] | None = None

    def put(self, name: str, content: bytes) -> None:
        """Lets a file appear whole."""
        (self._aside / name).write_bytes(content)
        (self._aside / name).replace(self._input / name)

    def put_receipts(self, count: int, start: int = 0) -> None:
        """Lets documents appear, a file each."""
        for document in receipts(count, start):
            self.put(f"{document.id}.txt", document.text.encode())

    @contextlib.contextmanager
    def running(self, *options: str) -> Iterator[None]:
        """Runs the program, and ends it as Ctrl-C does."""
        words = [str(word) for word in (*self._command, *options)]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "CLOUDFLARE_ACCOUNT_ID": ACCOUNT}
        with self._log.open("ab") as log, subprocess.Popen(words, env=env, stdout=log, stderr=log) as program:
            self._program = program
            try:
                yield
            finally:
                program.send_signal(signal.SIGINT)
                try:
                    program.wait(60)
                except subprocess.TimeoutExpired:
                    program.kill()

    @property
    def left(self) -> Counter[str]:
        """The names of the files whose documents have left, rows and dead letters."""
        ids = [
            i
            for path in self.output.glob("extractions/*/*/*.parquet")
            for i in pq.ParquetFile(path).read(columns=["_document_id"])["_document_id"].to_pylist()
        ]
        ids += [letter["document_id"] for letter in self.letters]
        return Counter(Path(i).name for i in ids)  # type: ignore[arg-type]

    @property
    def letters(self) -> list[dict[str, object]]:
        """The dead letters."""
        paths = self.output.glob("dead-letters/*/*/*.jsonl")
        return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]

    @property
    def files(self) -> set[str]:
        """The files that were written."""
        return {path.name for path in self.output.glob("*/event_date=*/event_hour=*/part-*")}

    @property
    def journaled(self) -> int:
        """Documents that the journal knows to be submitted."""
        known = contents(str(self.output / "_journal"))
        return int(known["  answered"]) + int(known["  in flight"])

    def wait_until(self, said: str, reached: Callable[[], bool]) -> None:
        """Waits while the program works."""
        deadline = time.monotonic() + _PATIENCE
        while not reached():
            assert self._program is not None
            over = self._program.poll()
            if over is not None or time.monotonic() > deadline:
                told = self._log.read_text(errors="replace")[-5_000:]
                raise AssertionError(f"not {said}: {self.left.total()} documents left, program {over}\n{told}")
            time.sleep(0.1)

    def wait_for(self, count: int) -> None:
        """Waits until so many documents have left, and are in the summaries, which come a moment later."""
        self.wait_until(
            f"{count} documents",
            lambda: self.left.total() >= count and all(told >= count for told in summed(self.output)),
        )

    def check(self, emulator: Emulator, expected: Counter[str], asked: int) -> None:
        """Holds what is written against what was put there, and what was paid against what had to be."""
        assert self.left == expected, "a document was lost or doubled"
        stats = emulator.stats()
        assert (stats["items"], stats["paid_twice"]) == (asked, 0), stats
        check_account(self.output, expected.total())
        assert files_without(str(self.output), [str(self._input / "*")]) == []


def summed(directory: Path) -> tuple[int, int]:
    """How many documents came in and left, as the summaries say."""
    summaries = [json.loads(path.read_text()) for path in directory.glob("summaries/*/*/summary.json")]
    return sum(summary["came_in"] for summary in summaries), sum(summary["documents"] for summary in summaries)


def check_account(directory: Path, count: int) -> None:
    """Holds what the stream itself has written of its documents against how many there were."""
    assert summed(directory) == (count, count)
    found = reconcile_directory(str(directory))
    assert (found.came_in, found.rows + found.dead_letters) == (count, count)
    assert found.adds_up, found


def names(count: int, start: int = 0) -> Counter[str]:
    """The files of some receipts."""
    return Counter(f"doc-{i}.txt" for i in range(start, start + count))


def files_that_appear(directory: Path, options: Sequence[str], *, end: Callable[[], None] = lambda: None) -> None:
    """Lets files appear while the program runs, and runs it once more over the same.

    Args:
        directory: For everything.
        options: Beam's.
        end: Ends what the program has left running elsewhere.
    """
    with Emulator(latency=1.5, seed=8) as emulator:
        stream = Stream(directory, emulator.base_url, options)
        stream.put_receipts(10)
        stream.put("not-utf8.txt", b"\xff\xfe\xfd")
        stream.put(".doc-0.txt", b"hidden")
        stream.put("doc-0.txt.part", b"of another kind")
        with stream.running():
            stream.wait_for(11)
            first = stream.files
            stream.put("doc-0.txt", b"COMPANY: Changed Ltd\nTOTAL: 9.99")
            stream.put_receipts(10, start=10)
            stream.wait_for(21)
            assert stream.files > first
            (letter,) = stream.letters
            assert (letter["stage"], letter["code"]) == ("read", "not_utf8")
            assert letter["event_time"]
            expected = names(20) + Counter({"not-utf8.txt": 1})
            stream.check(emulator, expected, asked=20)  # a file that changes is not read again
            stream.put_receipts(5, start=20)
            stream.wait_until("submitted", lambda: stream.journaled == 25)
        end()
        # A new start knows the journal, what is in flight by it, and what is written. The file that has changed is
        # another to it.
        with stream.running():
            stream.put_receipts(5, start=25)
            expected += names(10, start=20) + Counter({"doc-0.txt": 1})
            stream.wait_for(expected.total())
        end()
        stream.check(emulator, expected, asked=31)
