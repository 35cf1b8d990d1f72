"""The command `audit`: whether each document of a stream has left once."""

from __future__ import annotations

import argparse

from kimi_beam.commands import option_values
from kimi_beam.commands.parsers.declared_command import Command, RunCommand
from kimi_beam.commands.parsers.shared_arguments import BEAM_OPTIONS_OF_STORES


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    young = "documents that were read less than this long ago count as in flight, such as 25h (default: none do)"
    parser.add_argument("--older-than", type=option_values.age, default=0.0, metavar="N[smhd]", help=young)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    files = "the files of the stream (its --input), to also name those that no document came from"
    parser.add_argument("--input", nargs="+", default=[], metavar="PATH", help=files)


def _load() -> RunCommand:
    from kimi_beam.commands.audit import run

    return run


COMMAND = Command(
    name="audit",
    summary="check that each document of a stream has left once",
    add_arguments=_add_arguments,
    load=_load,
    description="Compares the rows and dead letters that a stream has written with the documents that came in, and "
    "names documents that have not left, or have left twice. Exit codes: 0 each has left once, 1 not, 2 a mistake. "
    f"DIR is the stream's --output. {BEAM_OPTIONS_OF_STORES}",
    usage="kimi-beam audit DIR [options] [Beam options]",
)
