"""The command `evaluate`: an output scored against gold."""

from __future__ import annotations

import argparse

from kimi_beam.commands.parsers.declared_command import Command, RunCommand
from kimi_beam.commands.parsers.shared_arguments import add_schema_of_rows

_USAGE = "kimi-beam evaluate OUTPUT… GOLD.jsonl [options] [Beam options]"
_HELP = """\
Scores what extract has written against gold: precision, recall, F1 and whole documents, field by field, with the kinds
of errors. Each document of the gold counts: one with a dead letter, or with nothing, as one without any value.

OUTPUT is the directory of extract's --output; several are those of a run and of its redrives, in the order of time.
GOLD.jsonl has a line of JSON for each document, with its id and what is right for it, in the form of an answer.
{"$any": ["9.00", "9"]} in the place of a value accepts any of these.
"""
_EPILOG = """\
Exit codes: 0 it was scored, whatever the score · 1 it cannot be · 2 a mistake of yours

Examples:
  kimi-beam evaluate out gold.jsonl
  kimi-beam evaluate out out-redriven gold.jsonl
  kimi-beam evaluate out invoices.jsonl --by language --json
  kimi-beam evaluate out-k2 gold.jsonl --compare out-k3
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    in_gold = parser.add_argument_group("the gold")
    in_gold.add_argument("--gold-field", default="gold", metavar="KEY", help="the key of what is right (default: gold)")
    in_gold.add_argument("--id-field", default="id", metavar="KEY", help="the key of the document's id (default: id)")
    scored = parser.add_argument_group("what is scored")
    other = "another output, scored against the same gold; the difference has an interval by the paired bootstrap"
    scored.add_argument("--compare", metavar="OUTPUT2", help=other)
    slices = "score the documents of each value of this key by themselves too; the gold's lines or the metadata have it"
    scored.add_argument("--by", metavar="METADATA", help=slices)
    add_schema_of_rows(scored)
    scored.add_argument("--seed", type=int, default=0, metavar="N", help="the seed of the bootstrap (default: 0)")
    lines = "first a line for each wrong value, with tabs: id, JSON Pointer, error, the gold's value, the answer's"
    parser.add_argument("--wrong", action="store_true", help=lines)
    fitted = "write how likely values are wrong by their signals, for review --calibration"
    parser.add_argument("--calibrate", metavar="FILE.json", help=fitted)
    parser.add_argument("--json", action="store_true", help="print the score as one JSON object")


def _load() -> RunCommand:
    from kimi_beam.commands.run_evaluate import run

    return run


COMMAND = Command(
    name="evaluate",
    summary="score an output against gold",
    add_arguments=_add_arguments,
    load=_load,
    description=_HELP,
    usage=_USAGE,
    epilog=_EPILOG,
)
