"""The command line: arguments to function calls, nothing else. Each command is imported when it is used.

Exit codes: 0 the job ran, whatever was dead-lettered; 1 the job failed; 2 the user's mistake, nothing was sent; 3 more
dead letters than `--max-dead-letters` allows, after everything is written; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Iterator, Sequence

from kimi_beam import __version__
from kimi_beam.commands import console
from kimi_beam.commands import models as models_command
from kimi_beam.emulator import command as emulate

_EXTRACT_USAGE = "kimi-beam extract INPUT… --schema FILE|module:Class --output DIR [options] [Beam options]"
_EXTRACT_HELP = """\
Extracts one row from each document and writes typed Parquet; what fails goes to a dead letter that says why.

INPUT is paths and globs on any filesystem that Beam knows: .txt and .md (one document each, its id the path), .jsonl
and .parquet (keys id and text, or images; all others become metadata), .png, .jpg, .webp and .gif.
"""
_EXTRACT_EPILOG = """\
DIR receives extractions-*.parquet, dead-letters-*.jsonl and, last, summary.json; _journal keeps what was paid for.

Every other option is Beam's (--runner, --direct_num_workers, …). The default runner is FnApiRunner, in this process.

Credentials: CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN, as Cloudflare's own tools name them.

Exit codes: 0 the job ran · 1 it failed · 2 a mistake, nothing was sent · 3 past --max-dead-letters · 130 interrupted

Examples:
  kimi-beam extract 'in/*.txt' --schema schemas/receipt.json --output out --emulator
  kimi-beam extract docs.jsonl --schema schemas.invoice:Invoice --output gs://bucket/run1 --instructions @prompt.txt
  kimi-beam extract docs.jsonl --schema s.json --output out --openai-url http://localhost:11434/v1 --model qwen3:8b
"""
_REDRIVE_USAGE = "kimi-beam redrive DEAD_LETTERS… --schema FILE|module:Class --output DIR [options] [Beam options]"
_REDRIVE_HELP = """\
Runs the documents of dead letters again: the retryable ones, or those that --code and --stage name. What fails again
goes to new dead letters; the others stay as they are, and are counted.

DEAD_LETTERS is directories that a run has written, paths and globs of their .jsonl (perhaps .gz, .bz2, .xz, .zst), or
- for standard input.
"""
_REDRIVE_EPILOG = """\
Name the same schema, instructions and service as before, or repaired ones: what is asked in the same way uses the
journal of that run and polls what it left in flight. A bad answer is asked for anew, once a round.

All other options, and the exit codes, are those of extract (kimi-beam extract --help).

Examples:
  kimi-beam redrive out --schema schemas/receipt.json --output out2
  kimi-beam redrive out --schema repaired.json --output out2 --code schema_violation --code truncated
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
    if args.command not in ("extract", "redrive") and rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if args.command == "emulate":
        return emulate.run(args)
    if args.command == "models":
        return models_command.run(args)
    if args.command == "journal":
        with console.hushed():
            with _importing():
                from kimi_beam.commands import journal as journal_command
            return journal_command.run(args)
    if args.command == "schema":
        from kimi_beam.commands import schema as schema_command  # late: it needs Arrow

        return schema_command.run(args)
    try:
        if args.command == "audit":
            with console.hushed():
                with _importing():
                    from kimi_beam.commands import audit as audit_command
                return audit_command.run(args)
        with contextlib.nullcontext() if args.verbose else console.hushed():
            with _importing():
                # Late: Beam takes a second to import, and --help needs none of it; it also talks while it is imported.
                from kimi_beam.commands import extract as extract_command
            return extract_command.run(args, rest)
    except KeyboardInterrupt:
        console.say("interrupted: nothing was sent")
        return 130
    except BrokenPipeError:
        # Whoever read the result has seen enough. Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def program() -> int:
    """`main` as a process of its own: what it leaves goes back to the system whole.

    Python would look through all of it for garbage once more, which takes a seventh of a short run.
    """
    code = main()
    gc.disable()
    gc.freeze()
    return code


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """Has Python not look for garbage meanwhile, nor later in what was made: an import's results stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


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
    _add_reading_arguments(extract.add_argument_group("the input"))
    _add_extract_arguments(extract)
    redrive = commands.add_parser(
        "redrive",
        help="dead letters once more",
        usage=_REDRIVE_USAGE,
        description=_REDRIVE_HELP,
        epilog=_REDRIVE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    chosen = redrive.add_argument_group("the dead letters")
    named = "run those with this {} again, retryable or not; repeatable (default: all that are retryable)"
    chosen.add_argument("--code", action="append", default=[], metavar="CODE", help=named.format("code"))
    chosen.add_argument("--stage", action="append", default=[], metavar="STAGE", help=named.format("stage"))
    _add_extract_arguments(redrive)
    emulator = commands.add_parser(
        "emulate",
        help="the service on this machine, without a model behind it",
        description="Workers AI for Kimi on this machine: a rule-based stand-in, not a model. Prints its base URL.",
        allow_abbrev=False,
    )
    emulate.add_arguments(emulator)
    journal = commands.add_parser(
        "journal",
        help="the answers that are kept",
        description="Looks after a journal: the answers that were paid for, and what is in flight. It holds what the "
        "documents said, as far as the answers do.",
        allow_abbrev=False,
    )
    _add_journal_arguments(journal)
    audit = commands.add_parser(
        "audit",
        help="what has become of a stream's documents",
        description="Holds the rows and dead letters that a stream has written against the documents that came in, and "
        "names those that have not left, or twice. Exit codes: 0 each has left once, 1 not, 2 a mistake.",
        allow_abbrev=False,
    )
    _add_audit_arguments(audit)
    models = commands.add_parser(
        "models",
        help="what is known of the models",
        description="Lists the models of Workers AI that are known here. Any other works by its name.",
        allow_abbrev=False,
    )
    models.add_argument("--json", action="store_true", help="as JSON, one object a line")
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


def _add_reading_arguments(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--id-field", default="id", metavar="KEY", help="key or column that holds the id (id)")
    add("--text-field", default="text", metavar="KEY", help="key or column that holds the text (text)")
    bound = "bytes of a line, a file or a row at most, uncompressed; what is larger is a dead letter (33554432)"
    add("--max-document-bytes", type=_at_least_one, default=32 << 20, metavar="N", help=bound)


def _add_extract_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--schema", required=True, metavar="FILE|module:Class", help="JSON Schema file, or a pydantic model")
    add("--output", required=True, metavar="DIR", help="directory for the result, on any filesystem that Beam knows")
    add("--instructions", metavar="TEXT|@FILE", help="what to tell the model (@FILE: read it from a file)")
    seen = "metadata that the model may see (default: none)"
    add("--prompt-metadata", type=_keys, default=[], metavar="KEY,…", help=seen)
    add("--limit", type=_count, metavar="N", help="read only the first N documents")
    polls = "seconds between polls of a job (default: 1:60)"
    add("--poll-interval", type=_interval, default=(1.0, 60.0), metavar="MIN:MAX", help=polls)
    deadline = "seconds after which a job is given up (default: 86400)"
    add("--deadline", type=_positive, default=86_400.0, metavar="SECONDS", help=deadline)
    late = "a job that is not done by then: give it up (default), or submit it again, once; both may be billed"
    add("--on-deadline", choices=("resubmit", "dead-letter"), default="dead-letter", help=late)
    add("--overwrite", action="store_true", help="replace the finished run in DIR; the journal stays")
    kept = parser.add_mutually_exclusive_group()
    where = "where answers are kept, so that none is paid for again (default: OUTPUT/_journal; none with --emulator)"
    kept.add_argument("--journal", metavar="DIR", help=where)
    kept.add_argument("--no-journal", action="store_true", help="keep no answers: what is repeated is paid for again")
    age = "forget answers that are older, such as 30d, before the run begins (default: keep all)"
    add("--journal-ttl", type=_age, metavar="N[smhd]", help=age)
    doubt = "documents that may have been submitted, nobody knows: submit them again (default), or give them up"
    add("--on-unknown-submit", choices=("resubmit", "dead-letter"), default="resubmit", help=doubt)
    add("--max-dead-letters", type=_bound, metavar="N|P%", help="exit 3 when there are more")
    add("--no-preflight", action="store_true", help="do not ask the service first whether it takes token and model")
    add("--preview", type=_count, default=0, metavar="N", help="print the first N rows as well")
    add("--verbose", action="store_true", help="show the workers' own logs and tracebacks")
    _add_service_arguments(parser.add_argument_group("the service"))
    _add_answer_arguments(parser.add_argument_group("the answer"))


def _add_service_arguments(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model", metavar="ID", help="model id (default: @cf/moonshotai/kimi-k2.6; see: kimi-beam models)")
    how = "batch: the queue (default); run: one request at a time; chat: the same by OpenAI's protocol"
    add("--api", choices=("batch", "run", "chat"), help=how)
    where = group.add_mutually_exclusive_group()
    where.add_argument("--emulator", action="store_true", help="start a stand-in for the service: free, and not Kimi")
    where.add_argument("--base-url", metavar="URL", help="another service: its root before /accounts/…")
    openai = "another server that speaks OpenAI's protocol: its root before /chat/completions"
    where.add_argument("--openai-url", metavar="URL", help=openai)
    add("--account-id", metavar="ID", help="Cloudflare's account id (default: CLOUDFLARE_ACCOUNT_ID)")
    place = "where the workers find the token (default: env:CLOUDFLARE_API_TOKEN)"
    add("--token-from", metavar="env:NAME|file:PATH|gcp-secret:projects/P/secrets/S/versions/N", help=place)
    queue = "a Cloudflare Queue that the model's batch events are sent to: answers are fetched when they are there"
    add("--events-queue", metavar="QUEUE_ID", help=queue)
    add("--fallback-api", choices=("run",), help="ask synchronously where the model has no batch queue")
    add("--max-concurrency", type=_at_least_one, default=64, metavar="N", help="synchronous requests at once (64)")
    in_flight = "jobs of the queue at once, a shard (128)"
    add("--max-in-flight", type=_at_least_one, default=128, metavar="N", help=in_flight)
    pace = (
        "synchronous requests, or submits, a minute of the whole job; 0: no limit "
        "(default: on Cloudflare's hosts 20, of the queue 100; elsewhere none)"
    )
    add("--requests-per-minute", type=_count, metavar="N", help=pace)
    add("--gateway", metavar="ID", help="AI Gateway of the account that everything goes through")
    older = "the older form, in which the gateway stands in the URL: its root (https://gateway.ai.cloudflare.com/v1)"
    add("--gateway-url", metavar="URL", help=older)
    add("--gateway-metadata", type=_pairs, metavar="KEY=VALUE,…", help="shown in the gateway's log; at most 5")
    add("--gateway-cache-ttl", type=_count, metavar="SECONDS", help="how long equal synchronous requests are cached")
    add("--gateway-skip-cache", action="store_true", help="keep synchronous requests from the gateway's cache")
    add("--gateway-token-from", metavar="env:NAME|file:PATH", help="where the token of an authenticated gateway is")
    add("--price", type=_dollars, metavar="PROMPT:CACHED:COMPLETION", help="dollars a million tokens, for the summary")


def _add_answer_arguments(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    form = (
        "how the shape is asked for: OpenAI's form (default), the bare schema, in the prompt alone, a forced tool call"
    )
    add("--structured-output", choices=("schema", "bare", "prompt", "tool"), default="schema", help=form)
    add("--thinking", action="store_true", help="let the model think first; billed as answer")
    bound = "tokens of an answer at most (default: read off the schema)"
    add("--max-completion-tokens", type=_at_least_one, metavar="N", help=bound)


def _add_journal_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    shown = actions.add_parser("ls", help="what it holds", description="Prints how many documents stand how.")
    shown.add_argument("directory", metavar="DIR")
    removed = actions.add_parser(
        "gc",
        help="forget what is old",
        description="Removes the files that are older than --ttl. What they held is paid for again when it is asked.",
    )
    removed.add_argument("directory", metavar="DIR")
    removed.add_argument("--ttl", type=_age, required=True, metavar="N[smhd]", help="age, such as 30d")
    removed.add_argument("--dry-run", action="store_true", help="print what would be removed")


def _add_audit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="what the stream was told to write to (--output)")
    young = "what was read less than that ago is taken to be in flight, such as 25h (default: none is)"
    parser.add_argument("--older-than", type=_age, default=0.0, metavar="N[smhd]", help=young)
    files = "what the stream was told to read: names the files that no document came from, too"
    parser.add_argument("--input", nargs="+", default=[], metavar="PATH", help=files)


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
    if number < 0 or not number.is_integer():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(number)


def _at_least_one(text: str) -> int:
    number = _count(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _pairs(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    if not all(key and equals for key, equals, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE,…")
    return {key: value for key, _, value in pairs}


def _dollars(text: str) -> tuple[float, float, float]:
    numbers = [_number(part, "PROMPT:CACHED:COMPLETION in dollars a million tokens") for part in text.split(":")]
    if len(numbers) != 3 or not all(0 <= number < float("inf") for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not PROMPT:CACHED:COMPLETION in dollars a million tokens")
    return numbers[0], numbers[1], numbers[2]


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def _age(text: str) -> float:
    """Seconds of ``90``, ``15m``, ``12h`` or ``30d``."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    seconds = _number(number, "an age such as 90s, 15m, 12h or 30d") * _UNITS[unit]
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError("must be 0 or more")
    return seconds


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
    sys.exit(program())
