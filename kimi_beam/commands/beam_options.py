"""Separates Beam's options on a command line, such as the runner and a store's credentials, from the inputs."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from typing import NoReturn

from apache_beam.options.pipeline_options import PipelineOptions

from kimi_beam.errors import ConfigError
from kimi_beam.files.filesystems import FileSystems

_KNOWS_ALL_OPTIONS = ("", "FnApiRunner", "DirectRunner", "BundleBasedDirectRunner", "PrismRunner")
"""Runners all of whose options are declared in Python. Other runners pass unknown options on to a job server."""


def take_options(rest: Sequence[str], command: str) -> tuple[list[str], list[str]]:
    """Separates a command's inputs from Beam's options, and sets the options, such as credentials, for filesystems.

    Args:
        rest: The words that the command's own parser does not know, in the order of the command line.
        command: The name of the command, for the hint at its ``--help``.

    Returns:
        The inputs, and the options with their values.

    Raises:
        ConfigError: An option is unknown, and the runner would ignore it.
    """
    inputs, options = _split(rest, command)
    FileSystems.set_options(PipelineOptions(options))
    return inputs, options


def directory_among(rest: Sequence[str], command: str) -> str:
    """The directory that a command takes. Beam's options are set for filesystems, as by `take_options`.

    Args:
        rest: The words that the command's own parser does not know, in the order of the command line.
        command: The name of the command, for the hint at its ``--help``.

    Raises:
        ConfigError: There is no directory, or more than one, or an unknown option.
    """
    inputs, _ = take_options(rest, command)
    if len(inputs) != 1:
        fault = f"more than one directory: {' '.join(inputs)}" if inputs else "no directory"
        raise ConfigError(f"{fault}; name one DIR (kimi-beam {command} --help)")
    return inputs[0]


def _split(rest: Sequence[str], command: str) -> tuple[list[str], list[str]]:
    """Separates inputs from Beam's options, which may stand in any order.

    Beam 2.77 has no public way to learn which words are options with their values: its own parser drops what it does
    not know, inputs and misspelt options alike. So the options are declared on a parser of our own, by the private
    method that Beam's parser calls on each class of options (`PipelineOptions.get_all_options`). A Beam that declares
    them otherwise fails ``tests/commands/test_beam_options.py``.

    Args:
        rest: The words that the command's own parser does not know, in the order of the command line.
        command: The name of the command, for the hint at its ``--help``.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    for declared in PipelineOptions.__subclasses__():
        # Two libraries may declare the same option. The first declaration counts, as in Beam's own parser.
        with contextlib.suppress(argparse.ArgumentError):
            declared._add_argparse_args(parser)
    _, undeclared = parser.parse_known_args(list(rest))
    inputs = [word for word in undeclared if not word.startswith("-") or word == "-"]
    unknown = [word for word in undeclared if word.startswith("-") and word != "-"]
    waiting, options = list(inputs), []
    for word in rest:
        if waiting and word == waiting[0]:
            waiting.pop(0)
        else:
            options.append(word)
    runner = str(PipelineOptions(options).get_all_options().get("runner") or "")
    if unknown and runner in _KNOWS_ALL_OPTIONS:
        raise ConfigError(f"unknown option {unknown[0]} (kimi-beam {command} --help)")
    return inputs, options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raises where argparse would print and exit."""
        raise ConfigError(message)
