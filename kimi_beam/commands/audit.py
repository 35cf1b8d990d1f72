"""`kimi-beam audit`: what has become of each document that came in by a stream."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone

from kimi_beam.commands import console
from kimi_beam.commands.beam_options import directory_among
from kimi_beam.errors import KimiBeamError
from kimi_beam.stream.audit_files import files_without, reconcile_directory
from kimi_beam.stream.reconciliation import Reconciliation
from kimi_beam.wire.printable import printable


def run(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs the command.

    Args:
        args: The command's own arguments.
        rest: The directory and Beam's options, as they stood.

    Returns:
        The exit code.
    """
    try:
        directory = directory_among(rest, "audit")
        found = reconcile_directory(directory)
        unread = files_without(directory, args.input) if args.input else None
    except KimiBeamError as e:
        return console.fail(e)
    every = found.neither.num_rows
    found = found.read_until(_before(args.older_than))
    counts = {
        "came in": found.came_in,
        "  rows": found.rows,
        "  dead letters": found.dead_letters,
        "  in flight": every - found.neither.num_rows,
        "  neither": found.neither.num_rows,
        "  twice": found.twice.num_rows,
        "  both": found.both.num_rows,
        "never came in": found.strangers,
        **({} if unread is None else {"files not read": len(unread)}),
    }
    for name, count in counts.items():
        print(f"{name:<20}{count}")
    for line in (*_lines(found), *(f"not read\t{printable(path)}" for path in unread or ())):
        print(line)
    return 0 if found.adds_up and not unread else 1


def _lines(found: Reconciliation) -> Iterator[str]:
    """Each document that has not left once: what became of it, when it was read, its id, its source, its delivery."""
    for name in ("neither", "twice", "both"):
        for row in getattr(found, name).sort_by("read_at").to_pylist():
            words = (row["read_at"].isoformat(timespec="seconds"), row["document_id"], row["source"], row["delivery"])
            yield "\t".join((name, *map(printable, words)))


def _before(seconds: float) -> datetime:
    """The time so many seconds ago; the first that there is where that is longer ago."""
    try:
        return datetime.now(timezone.utc) - timedelta(seconds=seconds)
    except OverflowError:
        return datetime.min.replace(tzinfo=timezone.utc)
