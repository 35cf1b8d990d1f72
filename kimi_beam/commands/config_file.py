"""``kimi-beam.toml``: the options of a run in a file, checked as strictly as those of the command line."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kimi_beam.commands import option_values
from kimi_beam.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "kimi-beam.toml"
"""The file that is read without being named, where it is in the working directory."""
INPUTS = "inputs"
"""The key of the inputs, which have no option."""
_OF_THE_COMMAND_LINE = ("help", "config", "dry-run", "json")
"""Options that say what the command line itself reads and prints, and whether it runs."""
_TABLES = ("extract", "beam")
_JOINED: Mapping[Any, str] = {option_values.interval: ":", option_values.dollars: ":", option_values.keys: ","}
"""Types of options whose values may be lists, and what stands between the items on the command line."""
_PLACE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+|gcp-secret:projects/.+", re.DOTALL)
_TOKEN = re.compile(r"(?i:bearer\s+\S+)|cf[a-z]{1,4}_[A-Za-z0-9_-]{20,}|sk-[A-Za-z0-9_-]{16,}|[A-Za-z0-9_-]{40}")
_SECRET_KEYS = re.compile(r"(?i)(?:^|[-_])(?:token|secret|password|api[-_]?key|key)$")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file says.

    Attributes:
        path: The file.
        options: The values by the names of the options, such as ``max-cost``, as `option_value` returns them.
        inputs: The inputs of a run that names none on the command line.
        beam: Options of Beam's, a word each, as on the command line.
    """

    path: str
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    beam: tuple[str, ...] = ()


def options_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The options of a command by their names without the dashes, those that say which file is read left out."""
    options = [action for action in parser._actions if action.option_strings]
    named = {action.option_strings[-1].removeprefix("--"): action for action in options}
    return {name: action for name, action in named.items() if name not in _OF_THE_COMMAND_LINE}


def find_config(named: str | None) -> str | None:
    """The path of the file to read: the named one, else the one of the working directory; None: there is none."""
    if named is not None:
        return named
    return FILE_NAME if Path(FILE_NAME).is_file() else None


def read_config(path: str, options: Mapping[str, argparse.Action]) -> ConfigFile:
    """Reads a file.

    Args:
        path: The file.
        options: The options of ``extract`` by their names.

    Raises:
        ConfigError: It cannot be read, is no TOML, or has an unknown key, a wrong value or a secret in it.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError(f"cannot read {path}: {e.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8, as TOML is") from None
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{path} is not TOML: {_without_values(str(e))}") from None
    for table, values in content.items():
        if table not in _TABLES:
            where = " (it belongs below [extract])" if table in options or table == INPUTS else ""
            raise ConfigError(f"{path}: unknown table or key {table!r}{where or _did_you_mean(table, _TABLES)}")
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {table} is a table: [{table}]")
    extract: dict[str, Any] = content.get("extract", {})
    known = [*options, INPUTS]
    for name, value in extract.items():
        at = f"{path}: [extract] {name}"
        _refuse_secrets(at, name, value, is_known=name in known)
        if name not in known:
            raise ConfigError(f"{path}: [extract] has no {name!r}{_did_you_mean(name, known)} (kimi-beam config show)")
    return ConfigFile(
        path,
        {
            name: option_value(f"{path}: [extract] {name}", value, options[name])
            for name, value in extract.items()
            if name != INPUTS
        },
        _inputs(path, extract.get(INPUTS, [])),
        tuple(_beam_words(path, content.get("beam", {}))),
    )


def option_value(at: str, value: Any, action: argparse.Action) -> Any:
    """A value as the command line's parser would have made it of its words.

    Args:
        at: Where the value stands, for messages.
        value: The value of the file, or the text of an environment variable.
        action: The option.

    Raises:
        ConfigError: The option takes no such value.
    """
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ConfigError(f"{at}: is true or false")
        return value
    kind: Any = action.type
    if isinstance(value, dict) and kind is option_values.pairs:
        return {str(key): _word(f"{at}.{key}", item) for key, item in value.items()}
    joint = _JOINED.get(kind)
    if isinstance(value, list) and kind is option_values.keys:
        return [_word(at, item) for item in value]
    if isinstance(value, list) and joint is not None:
        value = joint.join(_word(at, item) for item in value)
    word = _word(at, value)
    try:
        made = word if kind is None else kind(word)
    except (argparse.ArgumentTypeError, ValueError) as e:
        raise ConfigError(f"{at}: {e}") from None
    if action.choices is not None and made not in action.choices:
        raise ConfigError(f"{at}: {word!r} is none of {', '.join(map(str, action.choices))}")
    return made


def _word(at: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError(f"{at}: takes a text or a number")
    return str(value)


def _inputs(path: str, value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(item, str) and item for item in listed):
        raise ConfigError(f"{path}: [extract] {INPUTS} is a list of paths and globs")
    return tuple(listed)


def _beam_words(path: str, table: Mapping[str, Any]) -> Iterator[str]:
    """Beam's options as words, each with its value, so that none of them can be taken for an input."""
    for name, value in table.items():
        _refuse_secrets(f"{path}: [beam] {name}", name, value, is_known=False)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, bool):
                if item:
                    yield f"--{name}"
                continue
            yield f"--{name}={_word(f'{path}: [beam] {name}', item)}"


def _refuse_secrets(at: str, name: str, value: Any, *, is_known: bool) -> None:
    """Refuses what is, or looks like, a secret. The value is never repeated.

    Raises:
        ConfigError: There is one.
    """
    if name.endswith("-from"):
        if not isinstance(value, str) or not _PLACE.fullmatch(value):
            raise ConfigError(f"{at}: names a place, such as env:NAME or file:PATH, never the secret itself")
        return
    if not is_known and _SECRET_KEYS.search(name):
        raise ConfigError(f'{at}: a secret does not stand in this file: token-from = "env:NAME" names its place')
    for text in _texts(value):
        if _TOKEN.fullmatch(text.strip()) and not text.islower():
            raise ConfigError(f"{at}: looks like a token, and none stands in this file (token-from names its place)")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)


def _did_you_mean(name: str, known: list[str] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name.replace("_", "-").lower(), known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _without_values(message: str) -> str:
    """A message of the TOML parser without the text that it quotes, which may be a secret."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "…", message)
