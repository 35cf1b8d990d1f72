"""Which value each option of a run has, and whence: command line, then environment, then ``kimi-beam.toml``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from kimi_beam.commands.config_file import INPUTS, ConfigFile, find_config, option_value, options_of, read_config
from kimi_beam.commands.extract_options import add_extract_options
from kimi_beam.errors import ConfigError
from kimi_beam.service.credentials import ACCOUNT_VARIABLE

COMMAND_LINE = "command line"
DEFAULT = "default"
_PREFIX = "KIMI_BEAM_"
_OF_THE_RUN = ("output", "overwrite", "limit", INPUTS)
"""What `redrive` does not take from the file: it has other inputs, and writes elsewhere."""
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Settled:
    """What the environment and the file say of a command's options.

    Attributes:
        values: The values by their names in the command's arguments. Those of the command line are not among them.
        sources: For each option by its name whence its value is: `COMMAND_LINE`, an environment variable, or a path.
        inputs: The inputs of the file.
        beam: Beam's options of the file.
        path: The file; None: there is none.
    """

    values: Mapping[str, Any]
    sources: Mapping[str, str]
    inputs: tuple[str, ...] = ()
    beam: tuple[str, ...] = ()
    path: str | None = None

    def apply_to(self, parser: argparse.ArgumentParser) -> None:
        """Makes the values the defaults of the command's parser, which then requires these options no longer."""
        for action in parser._actions:
            if action.dest in self.values:
                action.default = self.values[action.dest]
                action.required = False
        if self.inputs:
            parser.set_defaults(inputs=self.inputs)


def settle(
    add_arguments: Callable[[argparse.ArgumentParser], None], words: Sequence[str], *, is_redrive: bool = False
) -> Settled | None:
    """Reads the file and the environment for a command.

    Args:
        add_arguments: Declares the command's options.
        words: The words behind the command on the command line.
        is_redrive: Whether what belongs to one run alone, such as its output, is left out.

    Returns:
        None if the command line has a mistake, which the command's own parser tells better.

    Raises:
        ConfigError: The file or a variable has a mistake.
    """
    parser = _GivenParser(add_help=False, allow_abbrev=False)
    add_arguments(parser)
    for action in parser._actions:
        action.default, action.required = argparse.SUPPRESS, False
    parser._defaults.clear()
    try:
        given = vars(parser.parse_known_args(list(words))[0])
    except _MistakeError:
        return None
    options = options_of(parser)
    path = find_config(given.get("config"))
    config = _read(path, options, is_redrive=is_redrive) if path is not None else ConfigFile("")
    values: dict[str, Any] = {}
    sources = {name: COMMAND_LINE for name, action in options.items() if action.dest in given}
    rivals = _rivals(parser, options)
    from_file = {name: (config.path, value) for name, value in config.options.items()}
    for layer in (_environment(options), from_file):
        # What a rival in a layer above says goes before: `--emulator` before a `base-url` of the file.
        chosen = {name for name in sources if values.get(options[name].dest, True) is not False}
        taken = [name for name in layer if name not in sources and not rivals.get(name, set()) & chosen]
        _refuse_rivals({name: layer[name] for name in taken}, rivals)
        for name in taken:
            source, value = layer[name]
            values[options[name].dest] = value
            sources[name] = source
    return Settled(values, sources, config.inputs, config.beam, path)


def _read(path: str, options: Mapping[str, argparse.Action], *, is_redrive: bool) -> ConfigFile:
    if not is_redrive:
        return read_config(path, options)
    parser = argparse.ArgumentParser(add_help=False)
    add_extract_options(parser, reads_documents=True)
    whole = read_config(path, options_of(parser))
    kept = {name: value for name, value in whole.options.items() if name in options and name not in _OF_THE_RUN}
    return ConfigFile(path, kept, beam=whole.beam)


def _environment(options: Mapping[str, argparse.Action]) -> dict[str, tuple[str, Any]]:
    """For options that the environment sets, the variable and the value."""
    found: dict[str, tuple[str, Any]] = {}
    for name, action in options.items():
        variable = _PREFIX + name.upper().replace("-", "_")
        text = os.environ.get(variable, "")
        if not text and name == "account-id":
            variable, text = ACCOUNT_VARIABLE, os.environ.get(ACCOUNT_VARIABLE, "")
        if not text:
            continue
        if action.nargs == 0 and text.lower() not in _TRUTHS:
            raise ConfigError(f"the environment variable {variable}: is true or false")
        value = _TRUTHS[text.lower()] if action.nargs == 0 else text
        found[name] = (variable, option_value(f"the environment variable {variable}", value, action))
    return found


def _rivals(parser: argparse.ArgumentParser, options: Mapping[str, argparse.Action]) -> dict[str, set[str]]:
    """For each option that excludes others, the names of those."""
    names = {id(action): name for name, action in options.items()}
    found: dict[str, set[str]] = {}
    for group in parser._mutually_exclusive_groups:
        members = {names[id(action)] for action in group._group_actions if id(action) in names}
        for name in members:
            found[name] = members - {name}
    return found


def _refuse_rivals(layer: Mapping[str, tuple[str, Any]], rivals: Mapping[str, set[str]]) -> None:
    """Refuses two options of one file, or of the environment, of which a run can have one.

    Raises:
        ConfigError: There are two.
    """
    on = {name for name, (_, value) in layer.items() if value is not False}
    for name in sorted(on):
        if others := sorted(rivals.get(name, set()) & on):
            raise ConfigError(f"{layer[name][0]}: {name} and {others[0]} exclude each other")


class _MistakeError(Exception):
    """The command line has a mistake."""


class _GivenParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raises where argparse would print and exit."""
        raise _MistakeError(message)
