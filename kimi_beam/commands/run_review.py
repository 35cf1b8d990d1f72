"""`kimi-beam review`: writes what a person should look at first, and makes gold of what the person has corrected."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from kimi_beam.commands import console, search_path
from kimi_beam.commands.beam_options import take_options
from kimi_beam.commands.output_lines import output_lines
from kimi_beam.commands.own_reader import reader_of
from kimi_beam.commands.reading_options import reading_of
from kimi_beam.commands.redact_option import functions_of, redactor_of
from kimi_beam.errors import ConfigError, KimiBeamError
from kimi_beam.input.source_texts import source_texts
from kimi_beam.output.calibrate import read_calibration
from kimi_beam.output.corrected_gold import corrected_gold
from kimi_beam.output.review_queue import ReviewQueue, review_queue
from kimi_beam.output.review_quotes import with_quotes
from kimi_beam.schema import jsontext
from kimi_beam.service.workers_ai import WorkersAI


def run(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs the command.

    Args:
        args: The command's own arguments.
        rest: The outputs and Beam's options, in the order of the command line.

    Returns:
        The exit code: 0 done, 1 it cannot be done, 2 a mistake of the user's.
    """
    try:
        named = filter(None, (args.schema, args.reader, *functions_of(args.redact)))
        with search_path.for_references(*named):
            outputs, _ = take_options(rest, "review")
            if not outputs:
                raise ConfigError("name an OUTPUT (kimi-beam review --help)")
            if not args.quotes and args.redact:
                raise ConfigError("--redact hides values in quotes: say --quotes too")
            known = None if args.calibration is None else read_calibration(args.calibration)
            if args.corrections is None:
                queue = review_queue(outputs, top=args.top, schema=args.schema, calibration=known)
                _write_queue(_quoted(queue, args) if args.quotes else queue, args.output)
            else:
                _write_gold(outputs, args)
    except BrokenPipeError:
        raise  # the reader of the pipe has seen enough
    except (KimiBeamError, OSError) as e:
        return console.fail(e)
    return 0


def _quoted(queue: ReviewQueue, args: argparse.Namespace) -> ReviewQueue:
    reading = replace(reading_of(args), reader=reader_of(args.reader, WorkersAI.from_env))
    reading.options()  # a password that cannot be read is the user's mistake
    redactor = redactor_of(args.redact, None, keeps_originals=False)
    quoted = with_quotes(queue, lambda source, ids: source_texts(source, ids, reading), redactor)
    if quoted.unread:
        console.say(
            f"{quoted.unread} documents have no quotes: their files are not there any more, or give another text than "
            "the run has read; say the options that extract had (--text-field, --hidden-text, --encoding, …)"
        )
    return quoted.queue


def _write_queue(queue: ReviewQueue, path: str | None) -> None:
    with output_lines(path) as write:
        for line in queue.lines:
            write(jsontext.dumps_any(line.to_json()) + b"\n")
    more = f" of {len(queue.lines) + queue.left_off}" if queue.left_off else ""
    expected = f"about {queue.expected_errors:g} errors are expected in all"
    console.say(f"{len(queue.lines)}{more} values to review; {expected}")
    if queue.not_grounded:
        console.say(
            f"{queue.not_grounded} rows do not say where their values stand, which tells most: extract with --ground "
            "(with the same --journal nothing is paid for again)"
        )
    if queue.failed:
        codes = ", ".join(f"{count} {code}" for code, count in sorted(queue.failed.items()))
        console.say(f"not in the queue: {sum(queue.failed.values())} dead letters ({codes}); see kimi-beam redrive")


def _write_gold(outputs: Sequence[str], args: argparse.Namespace) -> None:
    documents = reviewed = values = 0
    with output_lines(args.output) as write:
        for one in corrected_gold(outputs, args.corrections, schema=args.schema):
            documents, reviewed, values = documents + 1, reviewed + one.reviewed, values + one.values
            write(jsontext.dumps_any(one.to_json()) + b"\n")
    console.say(f"gold of {documents} documents with {values} values: {reviewed} decided, the others as in the rows")
