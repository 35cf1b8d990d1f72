"""The command line ``kimi-beam``: turns arguments into calls of the functions in `commands`, and does nothing else.

Exit codes: 0 the job ran, whatever was dead-lettered; 1 the job failed; 2 the user's mistake, nothing was sent; 3 more
dead letters than `--max-dead-letters` allows, or stopped by `--stop-after` or `--max-cost`, after everything is
written; 130 interrupted (Ctrl-C), 143 ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from kimi_beam import __version__
from kimi_beam.commands import console
from kimi_beam.commands.parsers import (
    audit_parser,
    completion_parser,
    config_parser,
    diff_parser,
    doctor_parser,
    evaluate_parser,
    extract_parser,
    journal_parser,
    models_parser,
    read_parser,
    redrive_parser,
    report_parser,
    review_parser,
    schema_parser,
    show_parser,
)
from kimi_beam.commands.parsers.declared_command import Command
from kimi_beam.commands.settled_options import Settled, settle
from kimi_beam.emulator import command as emulate
from kimi_beam.errors import ConfigError

COMMANDS = {
    command.name: command
    for command in (
        extract_parser.COMMAND,
        read_parser.COMMAND,
        redrive_parser.COMMAND,
        show_parser.COMMAND,
        evaluate_parser.COMMAND,
        review_parser.COMMAND,
        report_parser.COMMAND,
        diff_parser.COMMAND,
        Command(
            name="emulate",
            summary="run an emulator of the service on this machine",
            add_arguments=emulate.add_arguments,
            load=lambda: lambda args, _: emulate.run(args, console.ENDED.keep),
            description="Workers AI for Kimi on this machine: a rule-based stand-in, not a model. Prints its base URL.",
            takes_beam_options=False,
        ),
        journal_parser.COMMAND,
        audit_parser.COMMAND,
        config_parser.COMMAND,
        doctor_parser.COMMAND,
        models_parser.COMMAND,
        schema_parser.COMMAND,
        completion_parser.COMMAND,
    )
}
"""The commands by name, in the order in which ``--help`` shows them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: The arguments without the program's name; None takes the process's own.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if "--json" not in words:
        return _main(words)
    console.ENDED.message = None
    code = 1
    try:
        code = _main(words)
    except SystemExit as e:  # argparse ends by itself
        code = e.code if isinstance(e.code, int) else 1
        raise
    except Exception as e:
        console.ENDED.keep(f"{type(e).__name__}: {e}")
        raise
    finally:
        if console.ENDED.message is not None:
            console.put_object(error={"exit_code": code, "message": console.ENDED.message})
            sys.stdout.flush()
    return code


def _main(words: list[str]) -> int:
    """`main` without what is printed of an error for programs."""
    try:
        settled = _settled(words)
    except ConfigError as e:
        return console.fail(e)
    parser = make_parser(settled)
    args, rest = parser.parse_known_args(words, argparse.Namespace(settled=settled, parser=parser))
    command = COMMANDS[args.command]
    if rest and not command.takes_beam_options:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        code = _run(command, args, [*(settled.beam if settled else ()), *rest])
        sys.stdout.flush()  # here, where a reader that closed the pipe is told apart from a failure
        return code
    except KeyboardInterrupt:
        console.ended("interrupted: nothing was sent" if command.asks_model else "interrupted")
        return 130
    except BrokenPipeError:
        # The reader of the pipe (`head`, say) has closed it. Python would report that again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(command: Command, args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Imports a command and runs it, without what Beam prints unless that is asked for."""
    if not command.takes_beam_options:
        return command.load()(args, rest)
    shows_logs = command.asks_model and args.verbose
    with contextlib.nullcontext() if shows_logs else console.hushed():
        with _importing():
            run = command.load()
        return run(args, rest)


def program() -> int:
    """`main` as a process of its own, without the garbage collection at its end.

    The system takes the memory back anyway, and that collection takes a seventh of a short run.
    """
    sys.excepthook = console.show_error
    code = main()
    gc.disable()
    gc.freeze()
    return code


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """Switches garbage collection off for imports, and leaves what they create out of later collections."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _settled(words: Sequence[str]) -> Settled | None:
    """What the environment and kimi-beam.toml say of the options of the command; None: it takes none of them.

    Raises:
        ConfigError: They have a mistake.
    """
    if {"-h", "--help"} & {*words}:
        return None
    if list(words[:2]) == ["config", "show"]:
        return settle(extract_parser.COMMAND.add_arguments, words[2:])
    command = COMMANDS.get(words[0]) if words else None
    if command is None or not command.reads_config:
        return None
    return settle(command.add_arguments, words[1:], is_redrive=command is redrive_parser.COMMAND)


def make_parser(settled: Settled | None = None) -> argparse.ArgumentParser:
    """The parser of the program, with one for each command.

    Args:
        settled: The defaults of commands that ask the model, where they are not those of the program.
    """
    parser = _Parser(
        prog="kimi-beam",
        description="Structured extraction at scale: documents to typed Parquet through Kimi on Cloudflare Workers AI.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kimi-beam {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS.values():
        own = command.add_to(commands)
        if settled is not None and command.reads_config:
            settled.apply_to(own)
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser whose errors programs can read too; those of the commands are of the same class."""

    def error(self, message: str) -> NoReturn:
        """Keeps the message, and ends as argparse does."""
        console.ENDED.keep(message)
        super().error(message)


if __name__ == "__main__":
    sys.exit(program())
