"""What the command line says: talk on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TextIO

from kimi_beam.errors import KimiBeamError, UserError
from kimi_beam.report.progress import PROGRESS
from kimi_beam.wire.printable import printable


def say(message: str) -> None:
    """Writes one line to stderr, named as Unix programs name themselves."""
    sys.stderr.write(f"kimi-beam: {printable(message)}\n")
    sys.stderr.flush()


def fail(error: KimiBeamError | OSError) -> int:
    """Says what ended a command.

    Returns:
        The exit code: 2 for a mistake of the user's, else 1.
    """
    say(str(error) if isinstance(error, KimiBeamError) else " ".join(str(error).split())[:300])
    return 2 if isinstance(error, UserError) else 1


def put(line: str) -> None:
    """Writes one line of a result to stdout."""
    print(printable(line))


def show_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Writes a traceback to stderr, as Python itself does, but for what its messages could do to a terminal."""
    for line in "".join(traceback.format_exception(kind, error, trace)).rstrip("\n").split("\n"):
        sys.stderr.write(printable(line) + "\n")


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keeps Beam's own logs, warnings and tracebacks off the screen, those of its worker processes too."""
    root, before = logging.getLogger(), logging.getLogger().level
    logging.basicConfig(level=logging.CRITICAL)
    root.setLevel(logging.CRITICAL)
    # Worker processes inherit the descriptor, not `sys.stderr`: they get an empty one, and this process keeps its own.
    own = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    stream = sys.stderr
    if _is_descriptor(stream, 2):
        sys.stderr = os.fdopen(os.dup(own), "w", buffering=1, errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(before)
        os.dup2(own, 2)
        os.close(own)
        sys.stderr = stream


def _is_descriptor(stream: TextIO, number: int) -> bool:
    try:
        return stream.fileno() == number
    except (OSError, ValueError):
        return False  # a test or a notebook has put something else there


@contextlib.contextmanager
def progress(every: float = 5.0) -> Iterator[None]:
    """Says on stderr how far an in-process runner is.

    Args:
        every: Seconds between two lines; where nothing has changed, a minute.
    """
    done = threading.Event()
    PROGRESS.take_notices()  # those of an earlier pipeline of this process

    def report() -> None:
        last, quiet = None, 0.0
        while not done.wait(every):
            _say_notices()
            now = PROGRESS.snapshot()
            quiet += every
            if now["documents"] and (now != last or quiet >= 60):
                last, quiet = now, 0.0
                trouble = f"; the last trouble: {PROGRESS.trouble}" if PROGRESS.trouble else ""
                counts = f"{now['documents']} documents in, {now['settled']} settled"
                say(f"{counts}, {_plural(PROGRESS.unit)} in flight: {now['in_flight']}{trouble}")

    thread = threading.Thread(target=report, name="kimi_beam-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        _say_notices()


def _say_notices() -> None:
    for line in PROGRESS.take_notices():
        say(line)


def interrupted(output: str, *, local: bool, counted: bool, journal: bool) -> str:
    """What Ctrl-C leaves behind, in one line.

    Args:
        output: Where the result would have been.
        local: Whether the job ends with this process.
        counted: Whether the work is done in this process, so that it knows its batches.
        journal: Whether there is one, so that the same command goes on with what is in flight.
    """
    if not local:
        return f"interrupted: the job itself goes on, and writes to {output} when it is done"
    count = PROGRESS.in_flight
    unit = PROGRESS.unit
    batches = f"1 {unit} is" if count == 1 else f"{count} {_plural(unit)} are"
    held = f"{batches} in flight" if counted else "worker processes hold batches that are in flight, not counted here"
    again = "; the same command goes on from here and pays for nothing twice" if journal and unit == "batch" else ""
    return f"interrupted: {held}, submitted and not collected; nothing was written to {output}{again}"


def _plural(unit: str) -> str:
    return f"{unit}es" if unit.endswith("ch") else f"{unit}s"


_OURS = re.compile(r"kimi_beam(?:\.\w+)*\.\w+Error: (.+)")
"""What a worker process raised of this project's own errors, as the last line of its traceback names it."""


def job_failed(error: Exception) -> str:
    """What a runner raised, without the tracebacks of its workers: the error itself stands in the last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    ours = [found[1] for line in lines if (found := _OURS.match(line))]
    said = without_place((ours or lines)[-1])[:500]
    hint = "" if ours else " (--verbose shows the workers' own words)"
    return f"the job failed: {said}{hint}"


def without_place(message: str) -> str:
    """The message without the name of the step that Beam adds to it."""
    return message.partition(" [while running")[0]


def print_summary(summary: Mapping[str, Any], files: Sequence[str]) -> None:
    """Prints what a run came to.

    Args:
        summary: The content of ``summary.json``.
        files: What was written.
    """
    usage, twice, unnamed = (summary[key] for key in ("usage", "documents_maybe_paid_twice", "rows_with_unnamed_keys"))
    tokens = (usage["prompt_tokens"], usage["cached_tokens"], usage["completion_tokens"])
    lines = [
        ("documents", summary["documents"]),
        ("extractions", summary["extractions"]),
        ("dead letters", sum(summary["dead_letters"].values())),
        *((f"  {code}", count) for code, count in summary["dead_letters"].items()),
        *((("left as they are", sum(left.values())),) if (left := summary.get("left")) is not None else ()),
        *((f"  {code}", count) for code, count in (left or {}).items()),
        *((("mismatched items", mismatched),) if (mismatched := summary.get("mismatched_items")) else ()),
        ("tokens", "{} prompt ({} cached), {} completion".format(*tokens)),
        *(("answered by", f"{name}: {count}") for name, count in summary["model_answered"].items()),
        ("cost", _cost(summary)),
        *((("maybe paid twice", f"{twice} documents (docs/howto/money.md says when that happens)"),) if twice else ()),
        *((("unnamed keys", f"in {unnamed} rows, kept in _additional (--closed refuses them)"),) if unnamed else ()),
        *((("saved by caching", f"${saved:.4f}"),) if (saved := summary["cache_saved_usd"]) else ()),
        *(("written", path) for path in files),
    ]
    for name, value in lines:
        put(f"{name:<20}{value}")


def _cost(summary: Mapping[str, Any]) -> str:
    if not summary["emulated"]:
        return "unknown for this model" if summary["cost_usd"] is None else f"${summary['cost_usd']:.4f}"
    would = summary["would_have_cost_usd"]
    price = "" if would is None else f"; {summary['model']} would have cost ${would:.4f}"
    return f"nothing: the emulator answered, which is not Kimi{price}"


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints rows as a table: the id and the schema's own columns."""
    names = [name for name in (rows[0] if rows else ()) if name not in ("_additional", "_metadata", "_provenance")]
    lines = [[*map(printable, names)], *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    print()
    for line in lines:
        put("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = f"[{len(value)}]" if isinstance(value, list) else str(value)
    text = printable(" ".join(text.split()))
    return text if len(text) <= 34 else f"{text[:33]}…"
