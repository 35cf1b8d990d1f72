"""Reads the files that `--instructions @FILE`, `--examples` and `--glossary` name."""

from __future__ import annotations

from pathlib import Path

from kimi_beam.errors import ConfigError
from kimi_beam.request.guidance import Example
from kimi_beam.schema import jsontext


def instructions_of(value: str) -> str:
    """The value of `--instructions`: a text, or the content of the file if it is @FILE.

    Raises:
        ConfigError: The file cannot be read.
    """
    return _content(value[1:], "instructions") if value.startswith("@") else value


def examples_of(path: str) -> list[Example]:
    """The examples of a file of JSON lines, each with the keys ``text`` and ``answer``. Empty lines are passed over.

    Raises:
        ConfigError: The file cannot be read, or one of its lines is no example.
    """
    examples: list[Example] = []
    for number, line in enumerate(_content(path, "examples").split("\n"), 1):
        if not line.strip():
            continue
        try:
            read = jsontext.loads_unique(line.encode())
        except ValueError as e:
            raise ConfigError(f"--examples: line {number} of {path} is not JSON: {e}") from None
        if not isinstance(read, dict) or read.keys() != {"text", "answer"} or not isinstance(read["text"], str):
            keys = 'exactly the keys "text", a string, and "answer"'
            raise ConfigError(f"--examples: line {number} of {path} is no object with {keys}")
        examples.append(Example(read["text"], read["answer"]))
    if not examples:
        raise ConfigError(f"--examples: {path} holds no example")
    return examples


def glossary_of(path: str) -> dict[str, str]:
    """The terms of a file that holds one JSON object, with their meanings.

    Raises:
        ConfigError: The file cannot be read, or holds something else.
    """
    try:
        read = jsontext.loads_unique(_content(path, "glossary").encode())
    except ValueError as e:
        raise ConfigError(f"--glossary: {path} is not JSON: {e}") from None
    if not isinstance(read, dict) or not all(isinstance(meaning, str) for meaning in read.values()):
        raise ConfigError(f"--glossary: {path} is no JSON object with a string, the meaning, for each term")
    return read


def _content(path: str, what: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else e
        raise ConfigError(f"cannot read the {what} from {path}: {reason}") from None
