"""The command `config`: the options that a run would have, and whence."""

from __future__ import annotations

import argparse

from kimi_beam.commands.extract_options import add_extract_options
from kimi_beam.commands.parsers.declared_command import Command, RunCommand


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser(
        "show",
        help="show the value of each option of extract, and whence it is",
        description="Shows what extract would run with here: of each option that has a value the value, and whether it "
        "is from the command line, an environment variable, kimi-beam.toml, or the default. The first of these counts. "
        "It takes the options of extract, as if they were given to it.",
        usage="kimi-beam config show [--json] [options of extract]",
        allow_abbrev=False,
    )
    show.add_argument("--json", action="store_true", help="print one JSON object")
    add_extract_options(show, reads_documents=True)
    for action in show._actions:
        action.required = False
    schema = actions.add_parser(
        "schema",
        help="print the JSON Schema of kimi-beam.toml",
        description="Prints the JSON Schema of kimi-beam.toml, which editors check and complete such a file by.",
        allow_abbrev=False,
    )
    schema.add_argument("--json", action="store_true", help="print a mistake as JSON too, as all else is")


def _load() -> RunCommand:
    from kimi_beam.commands.run_config import run

    return lambda args, _: run(args)


COMMAND = Command(
    name="config",
    summary="show the options of a run, and whence each is",
    add_arguments=_add_arguments,
    load=_load,
    takes_beam_options=False,
)
