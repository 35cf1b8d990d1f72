"""The command `completion`: a script by which a shell completes commands and options."""

from __future__ import annotations

import argparse

from kimi_beam.commands.parsers.declared_command import Command, RunCommand

SHELLS = ("bash", "zsh", "fish")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    parser.add_argument("--json", action="store_true", help="print the script in a JSON object")


def _load() -> RunCommand:
    from kimi_beam.commands.run_completion import run

    return lambda args, _: run(args)


COMMAND = Command(
    name="completion",
    summary="print a script for the completion of a shell",
    add_arguments=_add_arguments,
    load=_load,
    description="Prints a script by which bash, zsh or fish completes the commands and options of kimi-beam, and paths "
    "where an option takes them. It starts no Python at each TAB. Print it again after an upgrade. Needs the extra "
    "completion: pip install 'kimi-beam[completion]'.",
    epilog="Examples:\n"
    "  kimi-beam completion bash > ~/.local/share/bash-completion/completions/kimi-beam\n"
    "  kimi-beam completion zsh > ~/.zfunc/_kimi-beam\n"
    "  kimi-beam completion fish > ~/.config/fish/completions/kimi-beam.fish\n",
    takes_beam_options=False,
)
