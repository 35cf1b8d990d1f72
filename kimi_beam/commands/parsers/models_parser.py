"""The command `models`: what is known of the models."""

from __future__ import annotations

import argparse

from kimi_beam.commands.parsers.declared_command import Command, RunCommand


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON, one object a line")


def _load() -> RunCommand:
    from kimi_beam.commands.list_models import run

    return lambda args, _: run(args)


COMMAND = Command(
    name="models",
    summary="list the known models",
    add_arguments=_add_arguments,
    load=_load,
    description="Lists the models of Workers AI that kimi_beam knows. Any other model works by its name.",
    takes_beam_options=False,
)
