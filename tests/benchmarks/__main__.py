"""``python -m tests.benchmarks``: everything side by side in one run; see docs/performance.md.

Progress goes to standard error, the table to standard output. Exit codes: 0; 1 a ratio is worse than the recorded one
(with ``--check``); 2 nothing of that name.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import document, machine, report
from .clients import Clients
from .measures import QUICK, Bench, Measure, Sizes, cost, files, flink, ground, growth, start, waiting, watched
from .processes import CommandError
from .report import Row

RECORDED = Path(__file__).with_name("recorded.json")
MEASURES: dict[str, Measure] = {
    "cost": cost.beside_the_floor,
    "rivals": cost.beside_rivals,
    "start": start.few_documents,
    "help": start.help_text,
    "queue": waiting.batch_queue,
    "requests": waiting.http_requests,
    "synchronous": waiting.synchronous,
    "crossings": growth.crossings,
    "growth": growth.more_documents,
    "ground": ground.values,
    "panel": watched.panel,
    "pdf": files.pages_of_pdfs,
    "long": files.long_texts,
    "scans": files.scans,
}
ON_REQUEST: dict[str, Measure] = {"flink": flink.streaming, "scale-out": flink.scale_out}


def main() -> int:
    """Measures, prints and compares or records."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    names = ", ".join((*MEASURES, *ON_REQUEST))
    only = f"measure these alone: {names} (default: all but {' and '.join(ON_REQUEST)})"
    parser.add_argument("--only", metavar="NAME,…", type=lambda text: text.split(","), help=only)
    parser.add_argument("--quick", action="store_true", help="small sizes, once: to see that it works, not how fast")
    parser.add_argument("--rounds", type=int, metavar="N", help="repeat what is repeated N times (default: 3)")
    parser.add_argument("--million", action="store_true", help="growth: up to a million documents")
    parser.add_argument(
        "--all-files", action="store_true", help="pdf, long, scans: 10,000 PDFs, 5,000 texts, 1,000 scans"
    )
    outcome = parser.add_mutually_exclusive_group()
    outcome.add_argument("--record", action="store_true", help=f"write {RECORDED.name} and the table of the document")
    outcome.add_argument("--check", action="store_true", help="fail where a ratio is over 20 %% worse than recorded")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit ends what was started
    known = {**MEASURES, **ON_REQUEST}
    chosen = args.only or list(MEASURES)
    if unknown := [name for name in chosen if name not in known]:
        parser.error(f"no measure {unknown[0]}: there are {names}")
    sizes = QUICK if args.quick else Sizes()
    if args.rounds:
        sizes = replace(sizes, rounds=args.rounds)
    if args.million:
        sizes = replace(sizes, growth=(*sizes.growth, 1_000_000))
    if args.all_files:
        sizes = sizes.with_all_files()
    say = _teller()
    with tempfile.TemporaryDirectory(prefix="kimi_beam-bench-") as directory:
        bench = Bench(Clients(Path(directory)), sizes, say)
        rows = _measured(bench, [(name, known[name]) for name in chosen])
    sys.stdout.write(f"{report.table(rows)}\n\n{report.details(rows)}\n")
    for reason in bench.left_out:
        sys.stdout.write(f"Left out: {reason}\n")
    for name in bench.failed:
        sys.stdout.write(f"Failed: {name}\n")
    code = _compared(rows) if args.check else _recorded(rows) if args.record else 0
    return 1 if bench.failed else code


def _measured(bench: Bench, measures: list[tuple[str, Measure]]) -> list[Row]:
    rows: list[Any] = []
    for name, measure in measures:
        bench.say(f"--- {name}; load {machine.load():.1f}")
        try:
            rows += measure(bench)
        except CommandError as error:
            bench.say(f"{name} failed: {error}")
            bench.failed.append(name)
    return rows


def _teller() -> Callable[[str], None]:
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:6.0f} s  {text}\n")
        sys.stderr.flush()

    return say


def _compared(rows: list[Row]) -> int:
    found = report.worse(rows, report.read(RECORDED)["rows"])
    for line in found:
        sys.stdout.write(f"Worse than recorded: {line}\n")
    return 1 if found else 0


def _recorded(rows: list[Row]) -> int:
    report.record(RECORDED, rows, machine.described())
    document.write(json.loads(RECORDED.read_text())["rows"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
