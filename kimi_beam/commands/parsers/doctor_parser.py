"""The command `doctor`: whether a run could start here."""

from __future__ import annotations

import argparse

from kimi_beam.commands.extract_options import add_extract_options
from kimi_beam.commands.parsers.declared_command import Command, RunCommand


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_extract_options(parser, reads_documents=True)
    parser.set_defaults(dry_run=False)  # the service is to be one that is asked
    for action in parser._actions:
        action.required = False


def _load() -> RunCommand:
    from kimi_beam.commands.run_doctor import run

    return lambda args, _: run(args)


COMMAND = Command(
    name="doctor",
    summary="check whether a run could start here",
    add_arguments=_add_arguments,
    load=_load,
    description="Checks versions, output, journal, token, account, plan, model, queue, gateway and clock, with the "
    "options that extract would have here (kimi-beam.toml, environment, command line). A line each: ok, warn or fail, "
    "what was found, and what to do. One question is sent, which costs nothing. Exit codes: 0 nothing fails, 1 "
    "something does, 2 a mistake of yours.",
    usage="kimi-beam doctor [--json] [options of extract]",
    takes_beam_options=False,
    reads_config=True,
)
