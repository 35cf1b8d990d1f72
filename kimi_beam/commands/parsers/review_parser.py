"""The command `review`: the values that a person should look at first."""

from __future__ import annotations

import argparse

from kimi_beam.commands import option_values
from kimi_beam.commands.parsers.declared_command import Command, RunCommand
from kimi_beam.commands.parsers.shared_arguments import add_schema_of_rows
from kimi_beam.commands.reading_options import add_reading_options

_USAGE = "kimi-beam review OUTPUT… [--output FILE.jsonl] [options] [Beam options]"
_HELP = """\
Writes what a person should look at first: a line of JSON for each value of the rows, those first that are most likely
wrong, by where they stand in the document (extract --ground), conflicts, checks and repairs. No model is asked.

With --corrections it writes gold for evaluate instead. Put the key "correct" into lines of the queue: what is right, or
null if nothing is. Lines without it are undecided, and their values stand in the gold as they stand in the row.
"""
_EPILOG = """\
Exit codes: 0 it is written · 1 it cannot be · 2 a mistake of yours

Examples:
  kimi-beam review out --top 200 --output queue.jsonl
  kimi-beam review out --corrections queue.jsonl --output gold.jsonl
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", metavar="FILE.jsonl", help="where to (default: standard output)")
    parser.add_argument("--top", type=option_values.at_least_one, metavar="N", help="the first N lines (default: all)")
    corrected = "lines of the queue with the key correct: write gold for evaluate instead of a queue"
    parser.add_argument("--corrections", metavar="FILE.jsonl", help=corrected)
    fitted = "what evaluate --calibrate has written: expected errors are probabilities"
    parser.add_argument("--calibration", metavar="FILE.json", help=fitted)
    parser.add_argument("--json", action="store_true", help="print a mistake as JSON too, as all else is")
    add_schema_of_rows(parser)
    quoted = parser.add_argument_group(
        "quotes",
        "The files of the documents in the lines are read again: say the options that extract had.",
    )
    shown = "put the text around each value into its line, so that nobody has to open the document"
    quoted.add_argument("--quotes", action="store_true", help=shown)
    hidden = "what nobody is to see in quotes, as extract has it: iban, card, email, phone:REGION, module:function"
    quoted.add_argument("--redact", type=option_values.keys, default=[], metavar="RULE,…", help=hidden)
    add_reading_options(quoted)


def _load() -> RunCommand:
    from kimi_beam.commands.run_review import run

    return run


COMMAND = Command(
    name="review",
    summary="list the values that are most likely wrong",
    add_arguments=_add_arguments,
    load=_load,
    description=_HELP,
    usage=_USAGE,
    epilog=_EPILOG,
)
