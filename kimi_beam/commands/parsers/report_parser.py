"""The command `report`: a page that shows a run."""

from __future__ import annotations

import argparse

from kimi_beam.commands import option_values
from kimi_beam.commands.parsers.declared_command import Command, RunCommand
from kimi_beam.commands.parsers.shared_arguments import add_schema_of_rows
from kimi_beam.commands.reading_options import add_reading_options

_USAGE = "kimi-beam report OUTPUT [--gold GOLD.jsonl] [--html FILE.html] [options] [Beam options]"
_HELP = """\
Writes one page that shows a run: documents, tokens and money; dead letters by reason; how the values of each field are;
and each document beside its row, its values marked where they stand (extract --ground). The page asks the network for
nothing, and nothing of a document runs in it. OUTPUT receives report.html, and report.json with the same figures.

The rows hold no texts: they are read again from the paths that the rows name. Name the options of extract that say how
documents are read, if there were any. A page is as confidential as its documents.
"""
_EPILOG = """\
Exit codes: 0 it is written · 1 it cannot be · 2 a mistake of yours

Examples:
  kimi-beam report out
  kimi-beam report out --gold gold.jsonl --html monday.html
  kimi-beam report out --no-texts --documents 500
  kimi-beam report out --json | jq '.fields[] | {field, filled, empty}'
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    page = parser.add_argument_group("the page")
    page.add_argument("--html", metavar="FILE.html", help="where to; FILE.json is beside it (default: in OUTPUT)")
    most = "how many documents the page shows at most, of more some of each kind (default: 10000); figures are of all"
    page.add_argument("--documents", type=option_values.count, default=10_000, metavar="N", help=most)
    page.add_argument("--no-texts", action="store_true", help="do not read the texts of rows again: rows alone")
    page.add_argument("--json", action="store_true", help="print the figures as one JSON object instead of writing")
    scored = parser.add_argument_group("the gold")
    gold = "JSON lines with what is right for each document, as for evaluate: fields are scored, errors are marked"
    scored.add_argument("--gold", metavar="GOLD.jsonl", help=gold)
    scored.add_argument("--gold-field", default="gold", metavar="KEY", help="the key of what is right (default: gold)")
    named = "the key of the document's id in the gold (default: id)"
    scored.add_argument("--gold-id-field", default="id", metavar="KEY", help=named)
    add_schema_of_rows(scored)
    add_reading_options(parser.add_argument_group("how documents are read again"))


def _load() -> RunCommand:
    from kimi_beam.commands.run_report import run

    return run


COMMAND = Command(
    name="report",
    summary="write a page that shows a run",
    add_arguments=_add_arguments,
    load=_load,
    description=_HELP,
    usage=_USAGE,
    epilog=_EPILOG,
)
