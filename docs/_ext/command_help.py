"""Two directives that print the help of a program as its own argument parser makes it, when the site is built.

``{command-help}`` gives a section for each command of ``kimi-beam``; ``{program-help} NAME`` the help of
``pipelines/NAME.py``. Neither text is ever pasted, so that no page names an option that is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
from collections.abc import Iterator
from unittest import mock

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

WIDTH = "100"
"""Characters of a line: argparse asks the environment for it."""


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and then those of its commands and their commands, in the order in which they were added."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from commands(each)


def kimi_beam_commands() -> list[argparse.ArgumentParser]:
    """The parser of ``kimi-beam`` and those of its commands."""
    from kimi_beam import cli

    return list(commands(cli.make_parser()))


def help_of(parser: argparse.ArgumentParser) -> str:
    """What the parser prints for ``--help``, at a width that does not depend on who builds the site."""
    with mock.patch.dict(os.environ, COLUMNS=WIDTH):
        return parser.format_help()


def help_of_program(name: str) -> str:
    """What ``pipelines/NAME.py --help`` prints."""
    program = importlib.import_module(f"pipelines.{name}")
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, COLUMNS=WIDTH),
        mock.patch("sys.argv", [f"{name}.py"]),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        program.main(["--help"])
    return printed.getvalue()


class CommandHelp(Directive):
    """``{command-help}``: a section with the help of each command of ``kimi-beam``."""

    def run(self) -> list[nodes.Node]:
        """The sections."""
        made: list[nodes.Node] = []
        for parser in kimi_beam_commands():
            section = nodes.section(ids=[nodes.make_id(parser.prog)], names=[parser.prog])
            section += nodes.title("", "", nodes.literal("", parser.prog))
            text = help_of(parser)
            section += nodes.literal_block(text, text, language="text")
            self.state.document.note_implicit_target(section, section)
            made.append(section)
        return made


class ProgramHelp(Directive):
    """``{program-help} NAME``: the help of a program of ``pipelines``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The help as a literal block."""
        text = help_of_program(self.arguments[0])
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the directives."""
    app.add_directive("command-help", CommandHelp)
    app.add_directive("program-help", ProgramHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
