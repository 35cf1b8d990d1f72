"""`kimi-beam report`: writes the page that shows a run, and its figures as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kimi_beam.commands import console, search_path
from kimi_beam.commands.beam_options import take_options
from kimi_beam.commands.own_reader import reader_of
from kimi_beam.commands.reading_options import reading_of
from kimi_beam.commands.report_files import submitted_in, warn_of_differences, write_files
from kimi_beam.errors import ConfigError, KimiBeamError
from kimi_beam.input.fields import Reading
from kimi_beam.output.page.write_report import write_report
from kimi_beam.schema import jsontext
from kimi_beam.service.workers_ai import WorkersAI


def run(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs the command.

    Args:
        args: The command's own arguments.
        rest: The output and Beam's options, in the order of the command line.

    Returns:
        The exit code: 0 done, 1 it cannot be done, 2 a mistake of the user's.
    """
    try:
        with search_path.for_references(*filter(None, (args.schema, args.reader))):
            outputs, _ = take_options(rest, "report")
            if len(outputs) != 1:
                raise ConfigError("name one OUTPUT, the directory of a run (kimi-beam report --help)")
            scored: dict[str, Any] = {
                "gold": args.gold,
                "gold_field": args.gold_field,
                "gold_id_field": args.gold_id_field,
                "schema": args.schema,
            }
            if args.json:
                figures = write_report(outputs[0], None, submitted=submitted_in(outputs[0]), **scored)
                warn_of_differences(figures)
                console.put_json(jsontext.dumps_any(figures))
                return 0
            paths = write_files(outputs[0], args.html, documents=args.documents, reading=_reading(args), **scored)
    except BrokenPipeError:
        raise  # the reader of the pipe has seen enough
    except (KimiBeamError, OSError) as e:
        return console.fail(e)
    for path in paths:
        console.put(path)
    return 0


def _reading(args: argparse.Namespace) -> Reading | None:
    if args.no_texts:
        return None
    reading = replace(reading_of(args), reader=reader_of(args.reader, WorkersAI.from_env))
    reading.options()  # a password that cannot be read is the user's mistake
    return reading
