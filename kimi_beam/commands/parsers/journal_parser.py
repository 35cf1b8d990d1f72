"""The command `journal`: the answers that were paid for, listed or cleaned up."""

from __future__ import annotations

import argparse

from kimi_beam.commands import option_values
from kimi_beam.commands.parsers.declared_command import Command, RunCommand
from kimi_beam.commands.parsers.shared_arguments import BEAM_OPTIONS_OF_STORES


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser(
        "ls",
        help="count its documents by state",
        description="Counts the documents of a journal by their last state: answered; in flight (submitted, and polled "
        "by the next run); doubtful (a run ended while it submitted them, so that it is unknown whether the service "
        "accepted them: --on-unknown-submit decides); unanswered (refused, given up or lost: asked for anew). "
        "Submitted again: documents that the service accepted more than once, so that each may have been paid twice. "
        f"{BEAM_OPTIONS_OF_STORES}",
        usage="kimi-beam journal ls DIR [Beam options]",
        allow_abbrev=False,
    )
    removed = actions.add_parser(
        "gc",
        help="remove old answers",
        description="Removes the files that are older than --ttl. Their answers are paid for again if they are needed. "
        f"{BEAM_OPTIONS_OF_STORES}",
        usage="kimi-beam journal gc DIR --ttl N[smhd] [options] [Beam options]",
        allow_abbrev=False,
    )
    listed.add_argument("--json", action="store_true", help="print one JSON object")
    removed.add_argument("--json", action="store_true", help="print one JSON object")
    removed.add_argument("--ttl", type=option_values.age, required=True, metavar="N[smhd]", help="age, such as 30d")
    removed.add_argument("--dry-run", action="store_true", help="print what would be removed")


def _load() -> RunCommand:
    from kimi_beam.commands.journal import run

    return run


COMMAND = Command(
    name="journal",
    summary="list or clean up a journal of paid answers",
    add_arguments=_add_arguments,
    load=_load,
    description="Lists or cleans up a journal: the answers that were paid for, and the requests in flight. A "
    "journal is as confidential as the answers in it.",
)
