"""`kimi-beam audit`: says which documents of a stream have no row or dead letter, or more than one."""

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
        rest: The directory and Beam's options, in the order of the command line.

    Returns:
        The exit code.
    """
    try:
        directory = directory_among(rest, "audit")
        found = reconcile_directory(directory)
        unread = files_without(directory, args.input) if args.input else None
    except KimiBeamError as e:
        return console.fail(e)
    missing = found.neither.num_rows
    found = found.read_until(_before(args.older_than))
    counts = {
        "came in": found.came_in,
        "  rows": found.rows,
        "  dead letters": found.dead_letters,
        "  in flight": missing - found.neither.num_rows,
        "  neither": found.neither.num_rows,
        "  twice": found.twice.num_rows,
        "  both": found.both.num_rows,
        "never came in": found.strangers,
        **({} if unread is None else {"files not read": len(unread)}),
    }
    if args.json:
        console.put_object(
            counts={name.strip().replace(" ", "_"): count for name, count in counts.items()},
            documents=[dict(zip(_OF_A_LINE, words, strict=True)) for words in _documents(found)],
            not_read=list(unread or ()),
        )
        return 0 if found.adds_up and not unread else 1
    for name, count in counts.items():
        print(f"{name:<20}{count}")
    for line in (*_lines(found), *(f"not read\t{printable(path)}" for path in unread or ())):
        print(line)
    return 0 if found.adds_up and not unread else 1


_OF_A_LINE = ("outcome", "read_at", "id", "source", "delivery")


def _lines(found: Reconciliation) -> Iterator[str]:
    """A line for each document that has no outcome or several: which, when it was read, id, source and delivery."""
    for words in _documents(found):
        yield "\t".join(map(printable, words))


def _documents(found: Reconciliation) -> Iterator[tuple[str, str, str, str, str]]:
    for name in ("neither", "twice", "both"):
        for row in getattr(found, name).sort_by("read_at").to_pylist():
            read_at = row["read_at"].isoformat(timespec="seconds")
            yield name, read_at, row["document_id"], row["source"], row["delivery"]


def _before(seconds: float) -> datetime:
    """The time a number of seconds ago, or the earliest that Python knows if that is earlier."""
    try:
        return datetime.now(timezone.utc) - timedelta(seconds=seconds)
    except OverflowError:
        return datetime.min.replace(tzinfo=timezone.utc)
