"""The output of the command line: messages and progress on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, TextIO

from kimi_beam.errors import KimiBeamError, UserError
from kimi_beam.report.progress import PROGRESS
from kimi_beam.types.grounding import GROUNDED
from kimi_beam.wire.printable import printable


class Display(Protocol):
    """Something that stands below the lines of stderr and is drawn anew again and again."""

    def write_above(self, line: str) -> None:
        """Writes a line above it."""

    def close(self) -> None:
        """Draws it no more. What is written next stands below it."""


_display: Display | None = None
_STDERR = threading.RLock()
"""Held while one thread writes to stderr, so that no line stands amid what another thread draws."""
_PATIENCE = 2.0
"""Seconds after which a line is written although another thread writes, as that may be stuck in a stopped terminal."""


def say(message: str) -> None:
    """Writes one line to stderr, which begins with the name of the program, as Unix programs do."""
    line = f"kimi-beam: {printable(message)}"
    with _writing():
        if _display is not None:
            _display.write_above(line)
        else:
            write_raw(f"{line}\n")


def write_raw(text: str) -> None:
    """Writes to stderr. Once its reader has gone, as with a closed pipe or terminal, the run goes on without it."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (BrokenPipeError, OSError):
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - it lives as long as the process


def put_figures(figures: Mapping[str, Any]) -> None:
    """Writes figures to stderr, as one line of JSON in ASCII."""
    with _writing():
        write_raw(json.dumps(figures) + "\n")


def redraw(draw: Callable[[], None]) -> None:
    """Lets the display draw itself while no other thread writes to stderr."""
    with _writing():
        if _display is not None:
            draw()


def set_display(display: Display) -> None:
    """Shows a display. The lines of `say` stand above it from now on."""
    global _display
    _display = display


def close_display() -> None:
    """Leaves the display as it is on the screen, and writes below it from now on."""
    global _display
    with _writing():
        display, _display = _display, None
        if display is not None:
            display.close()


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    is_alone = _STDERR.acquire(timeout=_PATIENCE)
    try:
        yield
    finally:
        if is_alone:
            _STDERR.release()


JSON_VERSION = 1
"""Of the JSON that commands print for ``--json``. It grows when a key gets another meaning or goes; keys may come."""


@dataclass
class _Ended:
    """The message of the error that has ended the command, for programs that read stdout; None: nothing has."""

    message: str | None = None

    def keep(self, message: str) -> None:
        """Keeps the message as it may be shown."""
        self.message = printable(message)


ENDED = _Ended()


def ended(message: str) -> None:
    """Shows the message of what ends the command."""
    ENDED.keep(message)
    say(message)


def fail(error: KimiBeamError | OSError) -> int:
    """Shows the error that ended a command.

    Returns:
        The exit code: 2 for a mistake of the user's, else 1.
    """
    ended(str(error) if isinstance(error, KimiBeamError) else " ".join(str(error).split())[:300])
    return 2 if isinstance(error, UserError) else 1


def put(line: str) -> None:
    """Writes one line of a result to stdout."""
    print(printable(line))


def put_words(*words: str) -> None:
    """Writes one line of a result to stdout, its words separated by tabs."""
    print("\t".join(map(printable, words)))


def put_object(**content: Any) -> None:
    """Writes the result of a command to stdout as one JSON object, with the version of its shape."""
    put_json(json.dumps({"version": JSON_VERSION, **content}, ensure_ascii=False).encode())


def put_json(encoded: bytes) -> None:
    """Writes one line of JSON to stdout, its unprintable characters escaped as JSON escapes them."""
    print("".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in encoded.decode()))


def show_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Writes a traceback to stderr, as Python itself does, but without characters that could control a terminal."""
    for line in "".join(traceback.format_exception(kind, error, trace)).rstrip("\n").split("\n"):
        sys.stderr.write(printable(line) + "\n")


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keeps the logs, warnings and tracebacks of Beam and of its worker processes off the screen."""
    root, before = logging.getLogger(), logging.getLogger().level
    logging.basicConfig(level=logging.CRITICAL)
    root.setLevel(logging.CRITICAL)
    # Worker processes inherit the file descriptor 2 and not `sys.stderr`. So the descriptor is pointed to nowhere, and
    # this process writes to a copy of the old one.
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
        return False  # a test or a notebook has replaced the stream by an object without a descriptor


def interrupted(output: str, *, local: bool, counted: bool, journal: bool) -> str:
    """The message after Ctrl-C: what is in flight, and how to go on.

    Args:
        output: The directory of the result.
        local: Whether the job ends with this process.
        counted: Whether the work is done in this process, so that the number of batches in flight is known.
        journal: Whether there is a journal, with which the same command goes on with what is in flight.
    """
    if not local:
        return f"interrupted: the job itself goes on, and writes to {output} when it is done"
    count = PROGRESS.in_flight
    unit = PROGRESS.unit
    batches = f"1 {unit} is" if count == 1 else f"{count} {plural(unit)} are"
    held = f"{batches} in flight" if counted else "worker processes hold batches that are in flight, not counted here"
    again = "; the same command goes on from here and pays for nothing twice" if journal and unit == "batch" else ""
    return f"interrupted: {held}, submitted and not collected; nothing was written to {output}{again}"


def plural(unit: str) -> str:
    """The plural of batch or request."""
    return f"{unit}es" if unit.endswith("ch") else f"{unit}s"


_OURS = re.compile(r"kimi_beam(?:\.\w+)*\.\w+Error: (.+)")
"""An error of this project, as it stands in the last line of a worker process's traceback."""


def job_failed(error: Exception) -> str:
    """The message about a failed job: the last line of the runner's error, without the tracebacks of its workers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    ours = [found[1] for line in lines if (found := _OURS.match(line))]
    said = without_place((ours or lines)[-1])[:500]
    hint = "" if ours else " (--verbose shows the workers' own words)"
    return f"the job failed: {said}{hint}"


def without_place(message: str) -> str:
    """An error message without the name of the step, which Beam appends."""
    return message.partition(" [while running")[0]


def print_summary(summary: Mapping[str, Any], files: Sequence[str]) -> None:
    """Prints the counts and the cost of a run.

    Args:
        summary: The content of ``summary.json``.
        files: The paths of the files that were written.
    """
    usage, twice, unnamed = (summary[key] for key in ("usage", "documents_maybe_paid_twice", "rows_with_unnamed_keys"))
    tokens = (usage["prompt_tokens"], usage["cached_tokens"], usage["completion_tokens"])
    not_rerun: dict[str, int] | None = summary.get("left")
    pictures = summary.get("pictures")
    skipped, kept = summary.get("skipped_files"), summary.get("budget")
    lines = [
        ("documents", summary["documents"]),
        ("extractions", summary["extractions"]),
        ("dead letters", sum(summary["dead_letters"].values())),
        *((f"  {code}", count) for code, count in summary["dead_letters"].items()),
        *((("pictures", f"{pictures} read, {summary['pictures_sent']} sent"),) if pictures else ()),
        *((("not run again", sum(not_rerun.values())),) if not_rerun is not None else ()),
        *((f"  {code}", count) for code, count in (not_rerun or {}).items()),
        *((("skipped files", f"{skipped} (summary.json names them)"),) if skipped else ()),
        *((("mismatched items", mismatched),) if (mismatched := summary.get("mismatched_items")) else ()),
        ("tokens", "{} prompt ({} cached), {} completion".format(*tokens)),
        *(("answered by", f"{name}: {count}") for name, count in summary["model_answered"].items()),
        ("cost", _cost(summary)),
        *(
            (("budget", spending_text(**{name.removesuffix("_usd"): usd for name, usd in kept.items()})),)
            if kept
            else ()
        ),
        *((("maybe paid twice", f"{twice} documents (docs/howto/money.md says when that happens)"),) if twice else ()),
        *((("unnamed keys", f"in {unnamed} rows, kept in _additional (--closed refuses them)"),) if unnamed else ()),
        *((("saved by caching", f"${saved:.4f}"),) if (saved := summary["cache_saved_usd"]) else ()),
        *_grounding(summary.get("grounding") or {}),
        *(("written", path) for path in files),
    ]
    for name, value in lines:
        put(f"{name:<20}{value}")


_MOST_FIELDS = 20
"""So many fields are printed of those whose values do not all stand in their documents."""


def _grounding(fields: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[str, str]]:
    """The share of values that stand in their documents, then the fields with the least of them."""
    if not fields:
        return
    found = {
        name: (sum(counts[kind] for kind in GROUNDED & counts.keys()), sum(counts.values()))
        for name, counts in fields.items()
    }
    all_found, count = (sum(column) for column in zip(*found.values(), strict=True))
    yield "grounded", f"{all_found} of {count} values ({all_found / count:.1%})"
    lacking = [name for name, (there, total) in found.items() if there < total]
    lacking.sort(key=lambda name: found[name][0] / found[name][1])
    for name in lacking[:_MOST_FIELDS]:
        total = found[name][1]
        kinds = sorted(fields[name].items(), key=lambda pair: -pair[1])
        yield f"  {printable(name)}", ", ".join(f"{kind} {number / total:.1%}" for kind, number in kinds)
    if len(lacking) > _MOST_FIELDS:
        yield "  others", f"{len(lacking) - _MOST_FIELDS} fields (summary.json names them)"


def _cost(summary: Mapping[str, Any]) -> str:
    if not summary["emulated"]:
        return "unknown for this model" if summary["cost_usd"] is None else f"${summary['cost_usd']:.4f}"
    dollars = summary["would_have_cost_usd"]
    price = "" if dollars is None else f"; {summary['model']} would have cost ${dollars:.4f}"
    return f"nothing: the emulator answered, which is not Kimi{price}"


def spending_text(max_cost: float, spent: float, reserved: float) -> str:
    """What a budget has come to, in words."""
    return f"${spent:.4f} of ${max_cost:.4f} spent, ${reserved:.4f} reserved"


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints rows as a table: the id and the schema's own columns."""
    beside = ("_additional", "_metadata", "_provenance", "_grounding")
    names = [name for name in (rows[0] if rows else ()) if name not in beside]
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
