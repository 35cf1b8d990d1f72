"""`kimi-beam completion`: prints a script by which a shell completes commands and options."""

from __future__ import annotations

import argparse

from kimi_beam.commands import console
from kimi_beam.errors import ConfigError

_PATHS = ("FILE", "DIR", "PATH", "OUTPUT")
"""What the metavar of an option begins with where it takes a path."""


def run(args: argparse.Namespace) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 done, 2 the extra is not installed.
    """
    try:
        import shtab
    except ImportError:
        return console.fail(ConfigError("completion needs the extra: pip install 'kimi-beam[completion]'"))
    whole: argparse.ArgumentParser = args.parser
    for parser in (whole, *_commands(whole)):
        for action in parser._actions:
            if isinstance(action.metavar, str) and action.metavar.startswith(_PATHS):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    script = shtab.complete(whole, args.shell)
    if args.json:
        console.put_object(shell=args.shell, script=script)
    else:
        print(script)
    return 0


def _commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parsers of the commands of a parser, and of their own commands."""
    found: list[argparse.ArgumentParser] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                found += [each, *_commands(each)]
    return found
