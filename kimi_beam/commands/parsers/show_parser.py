"""The command `show`: what a run came to."""

from __future__ import annotations

import argparse

from kimi_beam.commands import option_values
from kimi_beam.commands.parsers.declared_command import Command, RunCommand

_USAGE = "kimi-beam show OUTPUT [--dead-letters] [options] [Beam options]"
_HELP = """\
Shows what a run came to: documents, tokens and money, the first rows, and the dead letters by code, with a message of
each and what to do about it. Of a run that is still going on, or has broken off, what its journal says.

With --dead-letters it prints a line for each of them instead, separated by tabs: id, code, whether it is retryable, and
the message.
"""
_EPILOG = """\
Exit codes: 0 it is shown · 1 it cannot be · 2 a mistake of yours

Examples:
  kimi-beam show out
  kimi-beam show out --rows 20
  kimi-beam show out --dead-letters --code schema_violation --offset 50 --limit 50
  kimi-beam show out --json | jq .dead_letters
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    rows = "so many rows (5)"
    parser.add_argument("--rows", type=option_values.count, default=5, metavar="N", help=rows)
    parser.add_argument("--dead-letters", action="store_true", help="print the dead letters, one a line")
    code = "only dead letters of this code; repeatable"
    parser.add_argument("--code", action="append", default=[], metavar="CODE", help=code)
    most = "so many dead letters (50)"
    parser.add_argument("--limit", type=option_values.count, default=50, metavar="N", help=most)
    skipped = "pass over the first N dead letters, to go on where the last page has ended"
    parser.add_argument("--offset", type=option_values.count, default=0, metavar="N", help=skipped)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _load() -> RunCommand:
    from kimi_beam.commands.run_show import run

    return run


COMMAND = Command(
    name="show",
    summary="what a run came to, and what to do about its dead letters",
    add_arguments=_add_arguments,
    load=_load,
    description=_HELP,
    usage=_USAGE,
    epilog=_EPILOG,
)
