"""The command line: arguments to function calls, nothing else. Each command is imported when it is used.

Exit codes: 0 the job ran, whatever was dead-lettered; 1 the job failed; 2 the user's mistake, nothing was sent; 3 more
dead letters than `--max-dead-letters` allows, after everything is written; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from kimi_beam import __version__, console
from kimi_beam.emulator import command as emulate

_EXTRACT_USAGE = "kimi-beam extract INPUT… --schema FILE|module:Class --output DIR [options] [Beam options]"
_EXTRACT_HELP = """\
Extracts one row from each document and writes typed Parquet; what fails goes to a dead letter that says why.

INPUT is paths and globs on any filesystem that Beam knows: .txt and .md (one document each, its id the path), .jsonl
and .parquet (keys id and text; all others become metadata).
"""
_EXTRACT_EPILOG = """\
DIR receives extractions-*.parquet, dead-letters-*.jsonl and, last, summary.json.

Every other option is Beam's (--runner, --direct_num_workers, …). The default runner is FnApiRunner, in this process.

Credentials: CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN, as Cloudflare's own tools name them.

Exit codes: 0 the job ran · 1 it failed · 2 a mistake, nothing was sent · 3 past --max-dead-letters · 130 interrupted

Examples:
  kimi-beam extract 'in/*.txt' --schema schemas/receipt.json --output out --emulator
  kimi-beam extract docs.jsonl --schema schemas.invoice:Invoice --output gs://bucket/run1 --instructions @prompt.txt
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: The arguments without the program's name; None takes the process's own.

    Returns:
        The exit code.
    """
    parser = _parser()
    args, rest = parser.parse_known_args(None if argv is None else list(argv))
    if args.command == "emulate":
        if rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        return emulate.run(args)
    if args.command == "schema":
        if rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        from kimi_beam import schema_command  # late: it needs Arrow

        return schema_command.run(args)
    try:
        with contextlib.nullcontext() if args.verbose else console.hushed():
            # Late: Beam takes a second to import, and --help needs none of it; it also talks while it is imported.
            from kimi_beam import extract_command

            return extract_command.run(args, rest)
    except KeyboardInterrupt:
        console.say("interrupted: nothing was sent")
        return 130
    except BrokenPipeError:
        # Whoever read the result has seen enough. Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kimi-beam",
        description="Structured extraction at scale: documents to typed Parquet through Kimi on Cloudflare Workers AI.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kimi-beam {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    extract = commands.add_parser(
        "extract",
        help="documents to typed Parquet",
        usage=_EXTRACT_USAGE,
        description=_EXTRACT_HELP,
        epilog=_EXTRACT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_extract_arguments(extract)
    emulator = commands.add_parser(
        "emulate",
        help="the service on this machine, without a model behind it",
        description="Workers AI for Kimi on this machine: a rule-based stand-in, not a model. Prints its base URL.",
        allow_abbrev=False,
    )
    emulate.add_arguments(emulator)
    _add_schema_commands(commands.add_parser("schema", help="what a schema becomes", allow_abbrev=False))
    return parser


def _add_schema_commands(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="what each property became and why", allow_abbrev=False)
    show.add_argument("file", metavar="FILE|module:Class", help="JSON Schema file, or a class")
    show.add_argument("--sent", action="store_true", help="print what the service gets instead")
    told = "Compares the columns. Exit codes: 0 compatible or widening, 1 breaking, 2 a mistake."
    diff = actions.add_parser("diff", help="compatible, widening or breaking", description=told, allow_abbrev=False)
    diff.add_argument("old", metavar="OLD", help="JSON Schema file, class, or a Parquet file that was written")
    diff.add_argument("new", metavar="NEW", help="the same of the new schema")


def _add_extract_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--schema", required=True, metavar="FILE|module:Class", help="JSON Schema file, or a pydantic model")
    add("--output", required=True, metavar="DIR", help="directory for the result, on any filesystem that Beam knows")
    add("--instructions", metavar="TEXT|@FILE", help="what to tell the model (@FILE: read it from a file)")
    seen = "metadata that the model may see (default: none)"
    add("--prompt-metadata", type=_keys, default=[], metavar="KEY,…", help=seen)
    add("--model", metavar="ID", help="model id (default: @cf/moonshotai/kimi-k2.6)")
    add("--limit", type=_count, metavar="N", help="read only the first N documents")
    service = parser.add_mutually_exclusive_group()
    service.add_argument("--emulator", action="store_true", help="start a stand-in for the service: free, and not Kimi")
    service.add_argument("--base-url", metavar="URL", help="another service: its root before /accounts/…")
    add("--account-id", metavar="ID", help="Cloudflare's account id (default: CLOUDFLARE_ACCOUNT_ID)")
    where = "where the workers find the token (default: env:CLOUDFLARE_API_TOKEN)"
    add("--token-from", metavar="env:NAME|file:PATH", help=where)
    polls = "seconds between polls of a job (default: 1:60)"
    add("--poll-interval", type=_interval, default=(1.0, 60.0), metavar="MIN:MAX", help=polls)
    deadline = "seconds after which a job is given up (default: 86400)"
    add("--deadline", type=_positive, default=86_400.0, metavar="SECONDS", help=deadline)
    add("--overwrite", action="store_true", help="replace the finished run in DIR")
    add("--max-dead-letters", type=_bound, metavar="N|P%", help="exit 3 when there are more")
    add("--no-preflight", action="store_true", help="do not ask the service first whether it takes token and model")
    add("--preview", type=_count, default=0, metavar="N", help="print the first N rows as well")
    add("--verbose", action="store_true", help="show the workers' own logs and tracebacks")


# ------------------------------------------------------------------------------------------------ argument values


def _keys(text: str) -> list[str]:
    return [key for key in text.split(",") if key]


def _number(text: str, wanted: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None


def _count(text: str) -> int:
    number = _number(text, "a whole number")
    if number < 0 or number != int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(number)


def _positive(text: str) -> float:
    number = _number(text, "a number of seconds")
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def _interval(text: str) -> tuple[float, float]:
    first, colon, last = text.partition(":")
    wanted = "MIN:MAX in seconds"
    low, high = _number(first, wanted), _number(last if colon else first, wanted)
    if not 0 < low <= high < float("inf"):
        raise argparse.ArgumentTypeError("MIN:MAX in seconds, MIN above 0 and at most MAX")
    return low, high


def _bound(text: str) -> tuple[float, bool]:
    """(N, False) for N dead letters, (P, True) for P per cent of the documents."""
    wanted = "a number of dead letters, or a percentage such as 2.5%"
    percent = text.endswith("%")
    number = _number(text[:-1] if percent else text, wanted)
    if not 0 <= number < float("inf") or (not percent and number != int(number)):
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return number, percent


if __name__ == "__main__":
    sys.exit(main())
