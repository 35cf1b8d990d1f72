"""A command as the command line knows it before it is run."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

RunCommand: TypeAlias = Callable[[argparse.Namespace, Sequence[str]], int]
"""Runs a command by its arguments, and by those that may be Beam's. Returns the exit code."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of ``kimi-beam``.

    Attributes:
        name: What the user types.
        summary: What it does, in a line of ``kimi-beam --help``.
        add_arguments: Declares its arguments on its parser.
        load: Imports what runs it. Beam takes a second to import and prints warnings, so it is imported this late.
        description: What its own ``--help`` says first.
        usage: How it is called; None: as argparse puts it.
        epilog: What its ``--help`` says last. With one, description and epilog are printed as they are written.
        takes_beam_options: Whether it imports Beam, and takes options of Beam's beside its own.
        asks_model: Whether it sends documents to the model.
        reads_config: Whether it takes options from the environment and ``kimi-beam.toml`` too.
    """

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    load: Callable[[], RunCommand]
    description: str | None = None
    usage: str | None = None
    epilog: str | None = None
    takes_beam_options: bool = True
    asks_model: bool = False
    reads_config: bool = False

    def add_to(self, commands: argparse._SubParsersAction[Any]) -> argparse.ArgumentParser:
        """Makes its parser, one among those of the other commands."""
        formatter = argparse.HelpFormatter if self.epilog is None else argparse.RawDescriptionHelpFormatter
        parser: argparse.ArgumentParser = commands.add_parser(
            self.name,
            help=self.summary,
            usage=self.usage,
            description=self.description,
            epilog=self.epilog,
            formatter_class=formatter,
            allow_abbrev=False,
        )
        self.add_arguments(parser)
        return parser
