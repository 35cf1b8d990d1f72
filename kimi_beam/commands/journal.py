"""`kimi-beam journal ls` and `gc`: shows what a journal holds, and removes old files from it."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Sequence

from kimi_beam.commands import console
from kimi_beam.commands.beam_options import directory_among
from kimi_beam.errors import KimiBeamError
from kimi_beam.files.lease import lease
from kimi_beam.journal.files import contents, existing, forget

MEANINGS = {
    "documents": "that were asked for, by their last state:",
    "answered": "the answer is kept, and is not paid for again",
    "in flight": "submitted and not answered yet: the next run polls, and pays nothing",
    "doubtful": "a run ended while it submitted them; they may have been accepted (--on-unknown-submit)",
    "unanswered": "refused, given up or lost, and not in flight: the next run asks for them again",
    "submitted again": "the service accepted more than one submit of them: each may have been paid for twice",
}
"""An explanation of each count of `contents`, which is printed beside it."""


def run(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs the command.

    Args:
        args: The command's own arguments.
        rest: The directory and Beam's options, in the order of the command line.

    Returns:
        The exit code.
    """
    try:
        directory = directory_among(rest, f"journal {args.action}")
        if args.action == "ls":
            found = contents(directory)
            if args.json:
                console.put_object(**{name.strip().replace(" ", "_"): value for name, value in found.items()})
                return 0
            for name, value in found.items():
                print(f"{name:<24}{value:<28}{MEANINGS.get(name.strip(), '')}".rstrip())
            return 0
        existing(directory)  # checked first, because taking the lease would create a directory with a mistyped name
        with contextlib.nullcontext() if args.dry_run else lease(directory):
            paths = forget(directory, older_than=time.time() - args.ttl, dry_run=args.dry_run)
        if args.json:
            console.put_object(removed=paths, dry_run=args.dry_run)
            return 0
        for path in paths:
            console.put(path)
        return 0
    except (KimiBeamError, OSError) as e:  # Beam's own errors of files are OSErrors
        return console.fail(e)
