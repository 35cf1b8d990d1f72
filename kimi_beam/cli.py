"""The command line ``kimi-beam``: turns arguments into calls of the functions in `commands`, and does nothing else.

Exit codes: 0 the job ran, whatever was dead-lettered; 1 the job failed; 2 the user's mistake, nothing was sent; 3 more
dead letters than `--max-dead-letters` allows, or stopped by `--stop-after`, after everything is written; 130
interrupted (Ctrl-C), 143 ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Iterator, Sequence

from kimi_beam import __version__
from kimi_beam.commands import console, option_values
from kimi_beam.commands import list_models as models_command
from kimi_beam.commands.extract_options import add_extract_options
from kimi_beam.commands.reading_options import add_reading_options
from kimi_beam.emulator import command as emulate

_EXTRACT_USAGE = "kimi-beam extract INPUT… --schema FILE|module:Class --output DIR [options] [Beam options]"
_EXTRACT_HELP = """\
Extracts one row from each document and writes typed Parquet; what fails goes to a dead letter that says why.

INPUT is paths, directories and globs on any filesystem that Beam knows, or - for standard input. A text, picture, PDF,
office file, web page or mail is one document, its id the path. A line of .jsonl, or a row of .csv, .tsv or .parquet, is
one by its keys id and text (or images); all others become metadata. Members of .zip and .tar are read by their own
kinds. Each may be compressed (.gz, .bz2, .xz, .zst). Hidden files (. and _) are passed over unless they are named.
"""
_EXTRACT_EPILOG = """\
DIR receives extractions-*.parquet, dead-letters-*.jsonl and, last, summary.json; _journal keeps what was paid for.

Every other option is Beam's (--runner, --direct_num_workers, …). The default runner is FnApiRunner, in this process.

Credentials: CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN, as Cloudflare's own tools name them.

Exit codes: 0 the job ran · 1 it failed · 2 a mistake, nothing was sent · 3 past --max-dead-letters, or stopped by
--stop-after · 130 interrupted (Ctrl-C) · 143 ended by SIGTERM

Examples:
  kimi-beam extract 'in/*.txt' --schema schemas/receipt.json --output out --emulator
  kimi-beam extract scans/ mails.zip --schema schemas/receipt.json --output out --skip-unknown
  kimi-beam extract letters.csv --id-field number --text-field letter --schema s.json --output out
  kimi-beam extract docs.jsonl --schema schemas.invoice:Invoice --output gs://bucket/run1 --instructions @prompt.txt
  kimi-beam extract docs.jsonl --schema s.json --output out --openai-url http://localhost:11434/v1 --model qwen3:8b
"""
_READ_USAGE = "kimi-beam read INPUT… [--output FILE.jsonl] [options] [Beam options]"
_READ_HELP = """\
Prints what the model would see of each document, one line of JSON each: look here first when an answer is odd.
Nothing is sent, so that it needs neither an account nor a schema.

INPUT is what extract takes: paths, directories and globs, or - for standard input.

A line holds the id; the text; the images, by type and size, and where each stands in the text; the metadata; the
hidden_text that was found, and how it is hidden; and the failure if it cannot be read, with its code and reason.
"""
_READ_EPILOG = """\
Exit codes: 0 it was read, whatever failed · 1 it cannot be written · 2 a mistake of yours

Examples:
  kimi-beam read invoice.pdf
  kimi-beam read in/ --limit 10 --skip-unknown
  kimi-beam read 'in/*.pdf' --output read.jsonl
  kimi-beam read in/ | jq -r 'select(.failure) | .failure.code' | sort | uniq -c
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


_EVALUATE_USAGE = "kimi-beam evaluate OUTPUT… GOLD.jsonl [options] [Beam options]"
_EVALUATE_HELP = """\
Scores what extract has written against gold: precision, recall, F1 and whole documents, field by field, with the kinds
of errors. Each document of the gold counts: one with a dead letter, or with nothing, as one without any value.

OUTPUT is the directory of extract's --output; several are those of a run and of its redrives, in the order of time.
GOLD.jsonl has a line of JSON for each document, with its id and what is right for it, in the form of an answer.
{"$any": ["9.00", "9"]} in the place of a value accepts any of these.
"""
_EVALUATE_EPILOG = """\
Exit codes: 0 it was scored, whatever the score · 1 it cannot be · 2 a mistake of yours

Examples:
  kimi-beam evaluate out gold.jsonl
  kimi-beam evaluate out out-redriven gold.jsonl
  kimi-beam evaluate out invoices.jsonl --by language --json
  kimi-beam evaluate out-k2 gold.jsonl --compare out-k3
"""
_DIFF_USAGE = "kimi-beam diff OUTPUT1 OUTPUT2 [options] [Beam options]"
_DIFF_HELP = """\
Compares what two runs of extract have answered, without gold: another prompt, another model, another day.

Prints a line for each value that differs (id, JSON Pointer, changed|gone|new, the first value, the second), or for each
document that became a row in one run alone (id and both outcomes), separated by tabs; then the sums by field.
"""
_DIFF_EPILOG = """\
Exit codes, as diff has them: 0 the same answers · 1 they differ · 2 trouble

Examples:
  kimi-beam diff out-monday out-friday
  kimi-beam diff out-k2 out-k3 --brief
  kimi-beam diff out-k2 out-k3 | cut -f2 | sort | uniq -c
"""

_REVIEW_USAGE = "kimi-beam review OUTPUT… [--output FILE.jsonl] [options] [Beam options]"
_REVIEW_HELP = """\
Writes what a person should look at first: a line of JSON for each value of the rows, those first that are most likely
wrong, by where they stand in the document (extract --ground), conflicts, checks and repairs. No model is asked.

With --corrections it writes gold for evaluate instead. Put the key "correct" into lines of the queue: what is right, or
null if nothing is. Lines without it are undecided, and their values stand in the gold as they stand in the row.
"""
_REVIEW_EPILOG = """\
Exit codes: 0 it is written · 1 it cannot be · 2 a mistake of yours

Examples:
  kimi-beam review out --top 200 --output queue.jsonl
  kimi-beam review out --corrections queue.jsonl --output gold.jsonl
"""

_SCHEMA_OF_ROWS = "the schema of the rows, perhaps with other x-compare (default: the one that the rows' files have)"
_TAKES_BEAMS_OPTIONS = ("extract", "read", "redrive", "journal", "audit", "evaluate", "review", "diff")
_STORES = "Options of Beam's say how a filesystem is reached, as with extract: --s3_endpoint_url, --no_auth, …"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: The arguments without the program's name; None takes the process's own.

    Returns:
        The exit code.
    """
    parser = _parser()
    args, rest = parser.parse_known_args(None if argv is None else list(argv))
    if args.command not in _TAKES_BEAMS_OPTIONS and rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        code = _run(args, rest)
        sys.stdout.flush()  # here, where a reader that closed the pipe is told apart from a failure
        return code
    except KeyboardInterrupt:
        console.say("interrupted: nothing was sent" if args.command in ("extract", "redrive") else "interrupted")
        return 130
    except BrokenPipeError:
        # The reader of the pipe (`head`, say) has closed it. Python would report that again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Imports a command and runs it. Beam takes a second to import and prints warnings, so it is imported this late."""
    if args.command == "emulate":
        return emulate.run(args)
    if args.command == "models":
        return models_command.run(args)
    if args.command == "schema":
        from kimi_beam.commands import schema as schema_command  # it needs Arrow

        return schema_command.run(args)
    talks = args.command in ("extract", "redrive") and args.verbose
    with contextlib.nullcontext() if talks else console.hushed():
        if args.command == "journal":
            with _importing():
                from kimi_beam.commands import journal as journal_command
            return journal_command.run(args, rest)
        if args.command == "audit":
            with _importing():
                from kimi_beam.commands import audit as audit_command
            return audit_command.run(args, rest)
        if args.command == "read":
            with _importing():
                from kimi_beam.commands import run_read as read_command
            return read_command.run(args, rest)
        if args.command == "evaluate":
            with _importing():
                from kimi_beam.commands import run_evaluate as evaluate_command
            return evaluate_command.run(args, rest)
        if args.command == "review":
            with _importing():
                from kimi_beam.commands import run_review as review_command
            return review_command.run(args, rest)
        if args.command == "diff":
            with _importing():
                from kimi_beam.commands import run_diff as diff_command
            return diff_command.run(args, rest)
        with _importing():
            from kimi_beam.commands import run_extract as extract_command
        return extract_command.run(args, rest)


def program() -> int:
    """`main` as a process of its own, without the garbage collection at its end.

    The system takes the memory back anyway, and that collection takes a seventh of a short run.
    """
    sys.excepthook = console.show_error
    code = main()
    gc.disable()
    gc.freeze()
    return code


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """Switches garbage collection off for imports, and leaves what they create out of later collections."""
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

    def add_run(name: str, short: str, usage: str, description: str, epilog: str) -> argparse.ArgumentParser:
        """A command whose help is printed as it is written here."""
        return commands.add_parser(
            name,
            help=short,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    extract = add_run("extract", "documents to typed Parquet", _EXTRACT_USAGE, _EXTRACT_HELP, _EXTRACT_EPILOG)
    add_extract_options(extract, reads_documents=True)
    read = add_run("read", "what the model would see of each document", _READ_USAGE, _READ_HELP, _READ_EPILOG)
    shown = read.add_argument_group("what is printed")
    written = "the file for the lines, which appears whole or not at all (default: standard output)"
    shown.add_argument("--output", metavar="FILE.jsonl", help=written)
    first = "stop after N documents, the first by path and position"
    shown.add_argument("--limit", type=option_values.count, metavar="N", help=first)
    shown.add_argument("--images", action="store_true", help="print images whole, as data URIs")
    add_reading_options(read.add_argument_group("how documents are read"))
    redrive = add_run(
        "redrive", "run the documents of dead letters again", _REDRIVE_USAGE, _REDRIVE_HELP, _REDRIVE_EPILOG
    )
    chosen = redrive.add_argument_group("the dead letters")
    named = "run those with this {} again, retryable or not; repeatable (default: all that are retryable)"
    chosen.add_argument("--code", action="append", default=[], metavar="CODE", help=named.format("code"))
    chosen.add_argument("--stage", action="append", default=[], metavar="STAGE", help=named.format("stage"))
    add_extract_options(redrive, reads_documents=False)
    _add_evaluate_arguments(
        add_run("evaluate", "score an output against gold", _EVALUATE_USAGE, _EVALUATE_HELP, _EVALUATE_EPILOG)
    )
    _add_review_arguments(
        add_run("review", "list the values that are most likely wrong", _REVIEW_USAGE, _REVIEW_HELP, _REVIEW_EPILOG)
    )
    _add_diff_arguments(add_run("diff", "compare the answers of two runs", _DIFF_USAGE, _DIFF_HELP, _DIFF_EPILOG))
    emulator = commands.add_parser(
        "emulate",
        help="run an emulator of the service on this machine",
        description="Workers AI for Kimi on this machine: a rule-based stand-in, not a model. Prints its base URL.",
        allow_abbrev=False,
    )
    emulate.add_arguments(emulator)
    journal = commands.add_parser(
        "journal",
        help="list or clean up a journal of paid answers",
        description="Lists or cleans up a journal: the answers that were paid for, and the requests in flight. A "
        "journal is as confidential as the answers in it.",
        allow_abbrev=False,
    )
    _add_journal_arguments(journal)
    audit = commands.add_parser(
        "audit",
        help="check that each document of a stream has left once",
        description="Compares the rows and dead letters that a stream has written with the documents that came in, and "
        "names documents that have not left, or have left twice. Exit codes: 0 each has left once, 1 not, 2 a mistake. "
        f"DIR is the stream's --output. {_STORES}",
        usage="kimi-beam audit DIR [options] [Beam options]",
        allow_abbrev=False,
    )
    _add_audit_arguments(audit)
    models = commands.add_parser(
        "models",
        help="list the known models",
        description="Lists the models of Workers AI that kimi_beam knows. Any other model works by its name.",
        allow_abbrev=False,
    )
    models.add_argument("--json", action="store_true", help="as JSON, one object a line")
    _add_schema_commands(
        commands.add_parser("schema", help="show or compare the columns of schemas", allow_abbrev=False)
    )
    return parser


def _add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    in_gold = parser.add_argument_group("the gold")
    in_gold.add_argument("--gold-field", default="gold", metavar="KEY", help="the key of what is right (default: gold)")
    in_gold.add_argument("--id-field", default="id", metavar="KEY", help="the key of the document's id (default: id)")
    scored = parser.add_argument_group("what is scored")
    other = "another output, scored against the same gold; the difference has an interval by the paired bootstrap"
    scored.add_argument("--compare", metavar="OUTPUT2", help=other)
    slices = "score the documents of each value of this key by themselves too; the gold's lines or the metadata have it"
    scored.add_argument("--by", metavar="METADATA", help=slices)
    scored.add_argument("--schema", metavar="FILE|module:Class", help=_SCHEMA_OF_ROWS)
    scored.add_argument("--seed", type=int, default=0, metavar="N", help="the seed of the bootstrap (default: 0)")
    lines = "first a line for each wrong value, with tabs: id, JSON Pointer, error, the gold's value, the answer's"
    parser.add_argument("--wrong", action="store_true", help=lines)
    fitted = "write how likely values are wrong by their signals, for review --calibration"
    parser.add_argument("--calibrate", metavar="FILE.json", help=fitted)
    parser.add_argument("--json", action="store_true", help="print the score as one JSON object")


def _add_review_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", metavar="FILE.jsonl", help="where to (default: standard output)")
    parser.add_argument("--top", type=option_values.at_least_one, metavar="N", help="the first N lines (default: all)")
    corrected = "lines of the queue with the key correct: write gold for evaluate instead of a queue"
    parser.add_argument("--corrections", metavar="FILE.jsonl", help=corrected)
    fitted = "what evaluate --calibrate has written: expected errors are probabilities"
    parser.add_argument("--calibration", metavar="FILE.json", help=fitted)
    parser.add_argument("--schema", metavar="FILE|module:Class", help=_SCHEMA_OF_ROWS)


def _add_diff_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--brief", action="store_true", help="print the sums alone")
    parser.add_argument("--schema", metavar="FILE|module:Class", help=_SCHEMA_OF_ROWS)
    parser.add_argument("--json", action="store_true", help="print JSON, a line for each document and one for the sums")


def _add_schema_commands(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="show the column of each property, with the reason", allow_abbrev=False)
    show.add_argument("file", metavar="FILE|module:Class", help="JSON Schema file, or a class")
    formats = "columns as extract --formats makes them: local has date-times and times without an offset"
    show.add_argument("--formats", type=option_values.formats, default=True, metavar="strict|local|off", help=formats)
    show.add_argument("--sent", action="store_true", help="print the schema that the service gets instead")
    compares = "Compares the columns. Exit codes: 0 compatible or widening, 1 breaking, 2 a mistake."
    diff = actions.add_parser(
        "diff", help="compare two schemas: compatible, widening or breaking", description=compares, allow_abbrev=False
    )
    diff.add_argument("old", metavar="OLD", help="JSON Schema file, class, or a Parquet file that was written")
    diff.add_argument("new", metavar="NEW", help="the same for the new schema")


def _add_journal_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser(
        "ls",
        help="count its documents by state",
        description="Counts the documents of a journal by their last state: answered; in flight (submitted, and polled "
        "by the next run); doubtful (a run ended while it submitted them, so that it is unknown whether the service "
        "accepted them: --on-unknown-submit decides); unanswered (refused, given up or lost: asked for anew). "
        "Submitted again: documents that the service accepted more than once, so that each may have been paid twice. "
        f"{_STORES}",
        usage="kimi-beam journal ls DIR [Beam options]",
        allow_abbrev=False,
    )
    removed = actions.add_parser(
        "gc",
        help="remove old answers",
        description="Removes the files that are older than --ttl. Their answers are paid for again if they are needed. "
        f"{_STORES}",
        usage="kimi-beam journal gc DIR --ttl N[smhd] [options] [Beam options]",
        allow_abbrev=False,
    )
    removed.add_argument("--ttl", type=option_values.age, required=True, metavar="N[smhd]", help="age, such as 30d")
    removed.add_argument("--dry-run", action="store_true", help="print what would be removed")


def _add_audit_arguments(parser: argparse.ArgumentParser) -> None:
    young = "documents that were read less than this long ago count as in flight, such as 25h (default: none do)"
    parser.add_argument("--older-than", type=option_values.age, default=0.0, metavar="N[smhd]", help=young)
    files = "the files of the stream (its --input), to also name those that no document came from"
    parser.add_argument("--input", nargs="+", default=[], metavar="PATH", help=files)


if __name__ == "__main__":
    sys.exit(program())
