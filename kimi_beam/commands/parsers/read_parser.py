"""The command `read`: what the model would see of each document."""

from __future__ import annotations

import argparse

from kimi_beam.commands import option_values
from kimi_beam.commands.parsers.declared_command import Command, RunCommand
from kimi_beam.commands.reading_options import add_reading_options

_USAGE = "kimi-beam read INPUT… [--output FILE.jsonl] [options] [Beam options]"
_HELP = """\
Prints what the model would see of each document, one line of JSON each: look here first when an answer is odd.
Nothing is sent, so that it needs neither an account nor a schema.

INPUT is what extract takes: paths, directories and globs, or - for standard input.

A line holds the id; the text; the images, by type and size, and where each stands in the text; the metadata; the
hidden_text that was found, and how it is hidden; and the failure if it cannot be read or sent, with its code.
"""
_EPILOG = """\
Exit codes: 0 it was read, whatever failed · 1 it cannot be written · 2 a mistake of yours

Examples:
  kimi-beam read invoice.pdf
  kimi-beam read in/ --limit 10 --skip-unknown
  kimi-beam read 'in/*.pdf' --output read.jsonl
  kimi-beam read in/ | jq -r 'select(.failure) | .failure.code' | sort | uniq -c
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    shown = parser.add_argument_group("what is printed")
    written = "the file for the lines, which appears whole or not at all (default: standard output)"
    shown.add_argument("--output", metavar="FILE.jsonl", help=written)
    first = "stop after N documents, the first by path and position"
    shown.add_argument("--limit", type=option_values.count, metavar="N", help=first)
    shown.add_argument("--images", action="store_true", help="print images whole, as data URIs")
    parser.add_argument("--json", action="store_true", help="print a mistake as JSON too, as all else is")
    add_reading_options(parser.add_argument_group("how documents are read"))


def _load() -> RunCommand:
    from kimi_beam.commands.run_read import run

    return run


COMMAND = Command(
    name="read",
    summary="what the model would see of each document",
    add_arguments=_add_arguments,
    load=_load,
    description=_HELP,
    usage=_USAGE,
    epilog=_EPILOG,
)
