"""The JSON Schema of ``kimi-beam.toml``, made of the options that the command line has."""

from __future__ import annotations

import argparse
from typing import Any

from kimi_beam.commands import option_values
from kimi_beam.commands.config_file import INPUTS, options_of
from kimi_beam.commands.extract_options import add_extract_options

_TEXTS: dict[str, Any] = {"type": ["string", "array"], "items": {"type": "string"}}
_VALUES: dict[Any, dict[str, Any]] = {
    option_values.keys: _TEXTS,
    option_values.pairs: {"type": ["string", "object"], "additionalProperties": {"type": ["string", "number"]}},
    option_values.count: {"type": ["integer", "string"], "minimum": 0},
    option_values.at_least_one: {"type": ["integer", "string"], "minimum": 1},
    option_values.positive: {"type": ["number", "string"], "exclusiveMinimum": 0},
    option_values.budget: {"type": ["number", "string"], "exclusiveMinimum": 0},
    option_values.bound: {"type": ["integer", "string"], "minimum": 0},
    option_values.age: {"type": ["number", "string"], "minimum": 0},
    option_values.interval: {"type": ["number", "string", "array"], "items": {"type": "number"}},
    option_values.dollars: {"type": ["string", "array"], "items": {"type": "number"}},
    option_values.formats: {"enum": ["strict", "local", "off"]},
}
"""What a file may hold for options of each type."""


def config_schema() -> dict[str, Any]:
    """The schema."""
    parser = argparse.ArgumentParser(add_help=False)
    add_extract_options(parser, reads_documents=True)
    properties = {name: _property(name, action) for name, action in options_of(parser).items()}
    inputs = {**_TEXTS, "description": "paths, directories and globs, where the command line names none"}
    beams = {"type": ["string", "number", "boolean", "array"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kimi-beam.toml",
        "description": "The options of kimi-beam extract, and of redrive, in a file.",
        "type": "object",
        "properties": {
            "extract": {
                "description": "Options of kimi-beam extract, by their names without the dashes.",
                "type": "object",
                "properties": {INPUTS: inputs, **properties},
                "additionalProperties": False,
            },
            "beam": {
                "description": "Options of Beam's, such as runner, by their names without the dashes.",
                "type": "object",
                "additionalProperties": beams,
            },
        },
        "additionalProperties": False,
    }


def _property(name: str, action: argparse.Action) -> dict[str, Any]:
    description = (action.help or "").replace("%%", "%")
    if action.nargs == 0:
        return {"type": "boolean", "description": description}
    if action.choices is not None:
        return {"enum": list(action.choices), "description": description}
    if name.endswith("-from"):
        return {"type": "string", "pattern": "^(env|file|gcp-secret):", "description": description}
    return {**_VALUES.get(action.type, {"type": "string"}), "description": description}
