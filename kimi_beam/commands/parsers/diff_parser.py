"""The command `diff`: the answers of two runs beside each other."""

from __future__ import annotations

import argparse

from kimi_beam.commands.parsers.declared_command import Command, RunCommand
from kimi_beam.commands.parsers.shared_arguments import add_schema_of_rows

_USAGE = "kimi-beam diff OUTPUT1 OUTPUT2 [options] [Beam options]"
_HELP = """\
Compares what two runs of extract have answered, without gold: another prompt, another model, another day.

Prints a line for each value that differs (id, JSON Pointer, changed|gone|new, the first value, the second), or for each
document that became a row in one run alone (id and both outcomes), separated by tabs; then the sums by field.
"""
_EPILOG = """\
Exit codes, as diff has them: 0 the same answers · 1 they differ · 2 trouble

Examples:
  kimi-beam diff out-monday out-friday
  kimi-beam diff out-k2 out-k3 --brief
  kimi-beam diff out-k2 out-k3 | cut -f2 | sort | uniq -c
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--brief", action="store_true", help="print the sums alone")
    add_schema_of_rows(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, a line for each document and one for the sums")


def _load() -> RunCommand:
    from kimi_beam.commands.run_diff import run

    return run


COMMAND = Command(
    name="diff",
    summary="compare the answers of two runs",
    add_arguments=_add_arguments,
    load=_load,
    description=_HELP,
    usage=_USAGE,
    epilog=_EPILOG,
)
