"""The command `schema`: the columns of one schema, or what changes between two."""

from __future__ import annotations

import argparse

from kimi_beam.commands import option_values
from kimi_beam.commands.parsers.declared_command import Command, RunCommand


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="show the column of each property, with the reason", allow_abbrev=False)
    show.add_argument("file", metavar="FILE|module:Class", help="JSON Schema file, or a class")
    formats = "columns as extract --formats makes them: local has date-times and times without an offset"
    show.add_argument("--formats", type=option_values.formats, default=True, metavar="strict|local|off", help=formats)
    show.add_argument("--sent", action="store_true", help="print the schema that the service gets instead")
    show.add_argument("--json", action="store_true", help="print one JSON object")
    compares = "Compares the columns. Exit codes: 0 compatible or widening, 1 breaking, 2 a mistake."
    diff = actions.add_parser(
        "diff", help="compare two schemas: compatible, widening or breaking", description=compares, allow_abbrev=False
    )
    diff.add_argument("--json", action="store_true", help="print one JSON object")
    diff.add_argument("old", metavar="OLD", help="JSON Schema file, class, or a Parquet file that was written")
    diff.add_argument("new", metavar="NEW", help="the same for the new schema")


def _load() -> RunCommand:
    from kimi_beam.commands.schema import run

    return lambda args, _: run(args)


COMMAND = Command(
    name="schema",
    summary="show or compare the columns of schemas",
    add_arguments=_add_arguments,
    load=_load,
    takes_beam_options=False,
)
