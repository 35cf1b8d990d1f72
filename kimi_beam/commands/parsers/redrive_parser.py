"""The command `redrive`: the documents of dead letters once more."""

from __future__ import annotations

import argparse

from kimi_beam.commands.extract_options import add_dry_run_options, add_extract_options
from kimi_beam.commands.parsers.declared_command import Command, RunCommand

_USAGE = "kimi-beam redrive DEAD_LETTERS… --schema FILE|module:Class --output DIR [options] [Beam options]"
_HELP = """\
Runs the documents of dead letters again: the retryable ones, or those that --code and --stage name. What fails again
goes to new dead letters; the others stay as they are, and are counted.

DEAD_LETTERS is directories that a run has written, paths and globs of their .jsonl (perhaps .gz, .bz2, .xz, .zst), or
- for standard input.
"""
_EPILOG = """\
Name the same schema, instructions and service as before, or repaired ones: what is asked in the same way uses the
journal of that run and polls what it left in flight. A bad answer is asked for anew, once a round.

All other options, and the exit codes, are those of extract (kimi-beam extract --help).

Examples:
  kimi-beam redrive out --schema schemas/receipt.json --output out2
  kimi-beam redrive out --schema repaired.json --output out2 --code schema_violation --code truncated
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    chosen = parser.add_argument_group("the dead letters")
    named = "run those with this {} again, retryable or not; repeatable (default: all that are retryable)"
    chosen.add_argument("--code", action="append", default=[], metavar="CODE", help=named.format("code"))
    chosen.add_argument("--stage", action="append", default=[], metavar="STAGE", help=named.format("stage"))
    add_extract_options(parser, reads_documents=False)
    add_dry_run_options(parser)


def _load() -> RunCommand:
    from kimi_beam.commands.run_extract import run

    return run


COMMAND = Command(
    name="redrive",
    summary="run the documents of dead letters again",
    add_arguments=_add_arguments,
    load=_load,
    description=_HELP,
    usage=_USAGE,
    epilog=_EPILOG,
    asks_model=True,
    reads_config=True,
)
