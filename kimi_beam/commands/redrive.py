"""`kimi-beam redrive`: what it does otherwise than `extract`. Its input is dead letters, and their journal goes on."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import orjson
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from kimi_beam.errors import ConfigError, OutputError
from kimi_beam.io.paths import absolute, find_all, listing, output
from kimi_beam.io.read_dead_letters import letter_files
from kimi_beam.job import Job
from kimi_beam.journal import Journaling
from kimi_beam.redrive import Choice
from kimi_beam.summary import FILE_NAME

STDIN = "-"


def as_redrive(job: Job, args: argparse.Namespace, stack: contextlib.ExitStack, *, remote: bool) -> Job:
    """The job over dead letters.

    Args:
        job: As its arguments have it, its inputs being dead letters.
        args: The command's arguments.
        stack: Removes what was read from standard input.
        remote: Whether the workers cannot see this machine's files.

    Raises:
        UserError: They are not there, no dead letters, or in the directory that would be written.
    """
    if remote and STDIN in job.inputs:
        raise ConfigError("standard input is this machine's: the workers of Dataflow need a file that they can reach")
    inputs = letter_files([_from_stdin(stack) if name == STDIN else name for name in job.inputs])
    directories = _directories(inputs)
    own = absolute(output(job.output))
    if own in directories:
        raise OutputError(
            f"the dead letters are in {job.output} itself: name another directory for what becomes of them"
        )
    journaling = job.journaling
    if journaling is not None and args.journal is None and len(directories) == 1:
        journaling = _journal_of(directories.pop(), journaling)
    return replace(job, inputs=inputs, redrive=Choice(args.code, args.stage), journaling=journaling)


def _directories(patterns: Sequence[str]) -> set[str]:
    return {FileSystems.split(absolute(found.path))[0] for found in find_all(tuple(patterns))}


def _journal_of(directory: str, otherwise: Journaling) -> Journaling:
    """The journal of the run that wrote a directory, if it is still there: what it knows is not paid for again."""
    for place in (FileSystems.join(directory, "_journal"), _named_journal(directory)):
        if place and listing(place):
            return replace(otherwise, directory=place)
    return otherwise


def _named_journal(directory: str) -> str | None:
    with contextlib.suppress(OSError, BeamIOError, ValueError, TypeError, AttributeError):
        with FileSystems.open(FileSystems.join(directory, FILE_NAME)) as f:
            named = orjson.loads(f.read()).get("journal")
        return named if isinstance(named, str) else None
    return None


def _from_stdin(stack: contextlib.ExitStack) -> str:
    """A file with what stands in standard input: the pipeline reads it in pieces, and in other processes."""
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="kimi_beam-"))
    path = Path(directory) / "stdin.jsonl"
    with path.open("wb") as f:
        shutil.copyfileobj(sys.stdin.buffer, f)
    return str(path)
