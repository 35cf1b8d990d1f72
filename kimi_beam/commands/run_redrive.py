"""`kimi-beam redrive`: what it does otherwise than `extract`. Its input is dead letters, and their journal goes on."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import replace

from kimi_beam.commands.stdin import STDIN, from_stdin
from kimi_beam.errors import ConfigError, OutputError
from kimi_beam.files.paths import absolute, directories_of, output
from kimi_beam.input.read_dead_letters import letter_files
from kimi_beam.input.redrive import Choice
from kimi_beam.output.dataset import journal_of
from kimi_beam.run import RunSettings


def as_redrive(
    settings: RunSettings, args: argparse.Namespace, stack: contextlib.ExitStack, *, remote: bool
) -> RunSettings:
    """The run over dead letters.

    Args:
        settings: What the arguments say, the inputs being dead letters.
        args: The command's arguments.
        stack: Removes what was read from standard input.
        remote: Whether the workers cannot see this machine's files.

    Raises:
        UserError: They are not there, no dead letters, or in the directory that would be written.
    """
    if remote and STDIN in settings.inputs:
        raise ConfigError("standard input is this machine's: the workers of Dataflow need a file that they can reach")
    inputs = letter_files(
        [from_stdin(stack, named="stdin.jsonl") if name == STDIN else name for name in settings.inputs]
    )
    directories = directories_of(inputs)
    if absolute(output(settings.output)) in directories:
        raise OutputError(
            f"the dead letters are in {settings.output} itself: name another directory for what becomes of them"
        )
    journaling = settings.extract.journaling
    if journaling is not None and args.journal is None and len(directories) == 1:
        # What the run that wrote them knows is not paid for again; where it is not to be found, the output has its own.
        journaling = replace(journaling, directory=journal_of(directories.pop()) or journaling.directory)
    extract = replace(settings.extract, journaling=journaling)
    return replace(settings, inputs=inputs, redrive=Choice(args.code, args.stage), extract=extract)
