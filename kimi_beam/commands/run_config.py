"""`kimi-beam config`: shows the options of a run and whence they are, or the JSON Schema of ``kimi-beam.toml``."""

from __future__ import annotations

import argparse
import json

from kimi_beam.commands import console
from kimi_beam.commands.config_file import INPUTS, options_of
from kimi_beam.commands.config_schema import config_schema
from kimi_beam.commands.extract_options import add_extract_options
from kimi_beam.commands.settled_options import DEFAULT, Settled
from kimi_beam.commands.text_tables import text_table


def run(args: argparse.Namespace) -> int:
    """Runs the command.

    Returns:
        The exit code, 0: the command line has refused a file with a mistake before.
    """
    if args.action == "schema":
        print(json.dumps(config_schema(), indent=2, ensure_ascii=False))
        return 0
    parser = argparse.ArgumentParser(add_help=False)
    add_extract_options(parser, reads_documents=True)
    options = options_of(parser)
    settled: Settled = args.settled
    values = {**vars(args), **settled.values}
    shown = {
        name: (values[action.dest], settled.sources.get(name, DEFAULT))
        for name, action in options.items()
        if name in settled.sources or values[action.dest] not in (None, False, [])
    }
    if settled.inputs:
        shown = {INPUTS: (list(settled.inputs), settled.path or ""), **shown}
    if args.json:
        facts = {name: {"value": value, "from": source} for name, (value, source) in shown.items()}
        whole = {"version": 1, "file": settled.path, "options": facts, "beam": settled.beam}
        console.put_json(json.dumps(whole, ensure_ascii=False).encode())
        return 0
    rows = [[name, _text(value), source] for name, (value, source) in shown.items()]
    rows += [["[beam]", word, settled.path or ""] for word in settled.beam]
    for line in text_table(rows):
        console.put(line)
    return 0


def _text(value: object) -> str:
    """A value as one would write it in the file."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
