"""`kimi-beam redrive`: changes the settings of `extract` so that dead letters are read and their journal is used."""

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
    """The settings of a run over dead letters.

    Args:
        settings: The settings that the arguments give, whose inputs are dead letters.
        args: The command's arguments.
        stack: Removes the copy of standard input at the end of the run.
        remote: Whether the workers are on other machines and cannot read this machine's files.

    Raises:
        UserError: An input does not exist, holds no dead letters, or is in the directory that would be written.
    """
    if remote and STDIN in settings.inputs:
        raise ConfigError("standard input is this machine's: the workers of Dataflow need a file that they can reach")
    inputs = letter_files(
        [from_stdin(stack, named="stdin.jsonl") if name == STDIN else name for name in settings.inputs]
    )
    directories = directories_of(inputs)
    if absolute(output(settings.output)) in directories:
        raise OutputError(f"the dead letters are in {settings.output} itself: name another directory for the result")
    journaling = settings.extract.journaling
    if journaling is not None and args.journal is None and len(directories) == 1:
        # The journal of the run that wrote the dead letters is used, so that nothing is paid for again. If it is not
        # found, the output gets a journal of its own.
        journaling = replace(journaling, directory=journal_of(directories.pop()) or journaling.directory)
    extract = replace(settings.extract, journaling=journaling)
    return replace(settings, inputs=inputs, redrive=Choice(args.code, args.stage), extract=extract)
