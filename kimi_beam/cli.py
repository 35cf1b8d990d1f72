"""The command line: arguments to function calls, results to exit codes, nothing else.

Exit codes: 0 the job ran, whatever was dead-lettered; 1 the job failed; 2 the user's mistake, nothing was sent; 3 more
dead letters than `--max-dead-letters` allows, after everything is written; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from kimi_beam import __version__
from kimi_beam.emulator import command as emulate

if TYPE_CHECKING:
    from kimi_beam.client import WorkersAI
    from kimi_beam.job import Job

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
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    known, rest = parser.parse_known_args(arguments)
    if known.command == "emulate":
        if rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        return emulate.run(known)
    return _extract(known, rest)


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
    return parser


def _add_extract_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--schema", required=True, metavar="FILE|module:Class", help="JSON Schema file, or a pydantic model")
    add("--output", required=True, metavar="DIR", help="directory for the result, on any filesystem that Beam knows")
    add("--instructions", metavar="TEXT|@FILE", help="what to tell the model (@FILE: read it from a file)")
    add("--prompt-metadata", metavar="KEY,…", default="", help="metadata that the model may see (default: none)")
    add("--model", metavar="ID", help="model id (default: @cf/moonshotai/kimi-k2.6)")
    add("--limit", type=_count, metavar="N", help="read only the first N documents")
    service = parser.add_mutually_exclusive_group()
    service.add_argument("--emulator", action="store_true", help="start a stand-in for the service: free, and not Kimi")
    service.add_argument("--base-url", metavar="URL", help="another service: its root before /accounts/…")
    add("--account-id", metavar="ID", help="Cloudflare's account id (default: CLOUDFLARE_ACCOUNT_ID)")
    add("--token-from", metavar="env:NAME|file:PATH", help="where the workers find the token (default: "
        "env:CLOUDFLARE_API_TOKEN)")  # fmt: skip
    add("--poll-interval", type=_interval, metavar="MIN:MAX", help="seconds between polls of a job (default: 1:60)")
    add("--overwrite", action="store_true", help="replace the finished run in DIR")
    add("--max-dead-letters", type=_bound, metavar="N|P%", help="exit 3 when there are more")
    add("--no-preflight", action="store_true", help="do not ask the service first whether it takes token and model")
    add("--preview", type=_count, default=0, metavar="N", help="print the first N rows as well")
    add("--verbose", action="store_true", help="show the workers' own logs and tracebacks")


# ------------------------------------------------------------------------------------------------ extract


def _extract(args: argparse.Namespace, rest: Sequence[str]) -> int:
    from kimi_beam.errors import KimiBeamError, UserError

    _quiet(verbose=args.verbose)
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - module:Class is looked up where the user stands
    try:
        with contextlib.ExitStack() as stack:
            inputs, options = _split(rest)
            job = _job(args, inputs, stack)
            if not args.no_preflight:
                _preflight(job.service)
            stack.enter_context(_progress())
            from kimi_beam import job as jobs

            summary = jobs.run(job, options)
    except UserError as e:
        return _fail(str(e), 2)
    except KimiBeamError as e:
        return _fail(str(e), 1)
    except KeyboardInterrupt:
        _interrupted(args.output)
    except Exception as e:
        if args.verbose:
            raise
        return _fail(_job_failed(e), 1)
    _print_summary(summary, args)
    if args.max_dead_letters is not None and _exceeds(summary, args.max_dead_letters):
        failed = sum(summary["dead_letters"].values())
        return _fail(f"{failed} of {summary['documents']} documents are dead letters: past --max-dead-letters", 3)
    return 0


def _job(args: argparse.Namespace, inputs: Sequence[str], stack: contextlib.ExitStack) -> Job:
    """Turns arguments into values; everything that can be wrong without asking the service is found here."""
    from kimi_beam.errors import ConfigError
    from kimi_beam.io.dataset import check_output
    from kimi_beam.io.documents import check_input
    from kimi_beam.job import Job
    from kimi_beam.polling import Polling
    from kimi_beam.prompting import DEFAULT_INSTRUCTIONS
    from kimi_beam.schema import OutputSchema

    if not inputs:
        raise ConfigError(f"no input\nusage: {_EXTRACT_USAGE}")
    schema = OutputSchema(args.schema)
    check_input(inputs)
    check_output(args.output, overwrite=args.overwrite)
    return Job(
        inputs=inputs,
        schema=schema,
        service=_service(args, stack),
        output=args.output,
        instructions=_text(args.instructions) if args.instructions else DEFAULT_INSTRUCTIONS,
        prompt_metadata=[key for key in args.prompt_metadata.split(",") if key],
        limit=args.limit,
        polling=Polling(first=args.poll_interval[0], ceiling=args.poll_interval[1])
        if args.poll_interval
        else Polling(),
        overwrite=args.overwrite,
    )


def _service(args: argparse.Namespace, stack: contextlib.ExitStack) -> WorkersAI:
    from kimi_beam.client import DEFAULT_MODEL, WorkersAI
    from kimi_beam.credentials import TOKEN_VARIABLE

    base_url, token_from = args.base_url, args.token_from or f"env:{TOKEN_VARIABLE}"
    if args.emulator:
        from kimi_beam.emulator import Emulator

        emulator = stack.enter_context(Emulator())
        base_url = emulator.base_url
        _say(f"a rule-based stand-in answers at {base_url}: this is not Kimi, and nothing is paid for")
    return WorkersAI.from_env(
        model=args.model or DEFAULT_MODEL, account_id=args.account_id, token_from=token_from, base_url=base_url
    )


def _preflight(service: WorkersAI) -> None:
    from kimi_beam.preflight import check_service

    doubt = check_service(service)
    if doubt:
        _say(f"{doubt}; going on")


def _split(rest: Sequence[str]) -> tuple[list[str], list[str]]:
    """Parts what argparse left over into inputs and Beam's options.

    Raises:
        ConfigError: An option that neither kimi-beam nor Beam knows, for a runner that would ignore it.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    from kimi_beam.errors import ConfigError

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    parser.error = _refuse  # type: ignore[method-assign]  # argparse would exit by itself
    for part in PipelineOptions.__subclasses__():
        # Another library may have declared an option twice; Beam's own parser lets the first stand.
        with contextlib.suppress(argparse.ArgumentError):
            part._add_argparse_args(parser)
    _, left = parser.parse_known_args(list(rest))
    inputs = [word for word in left if not word.startswith("-")]
    unknown = [word for word in left if word.startswith("-")]
    options = _without(rest, inputs)
    runner = str(PipelineOptions(options).get_all_options().get("runner") or "")
    if unknown and runner in ("", "FnApiRunner", "DirectRunner", "BundleBasedDirectRunner"):
        raise ConfigError(f"unknown option {unknown[0]}: see kimi-beam extract --help")
    return inputs, options


def _without(words: Sequence[str], inputs: Sequence[str]) -> list[str]:
    """The words without the inputs, which stand among them in the same order."""
    # From the end: an option's value may be spelled like an input, and inputs usually come first or last together.
    waiting, kept = list(inputs), []
    for word in words:
        if waiting and word == waiting[0]:
            waiting.pop(0)
        else:
            kept.append(word)
    return kept


def _refuse(message: str) -> NoReturn:
    from kimi_beam.errors import ConfigError

    raise ConfigError(message)


# ------------------------------------------------------------------------------------------------ talk


def _say(line: str) -> None:
    sys.stderr.write(f"kimi-beam: {line}\n")
    sys.stderr.flush()


def _fail(message: str, code: int) -> int:
    _say(message)
    return code


def _quiet(*, verbose: bool) -> None:
    """Keeps Beam's own logs and tracebacks off the screen unless they are asked for."""
    import logging
    import warnings

    if verbose:
        logging.basicConfig(level=logging.INFO)
        return
    logging.basicConfig(level=logging.CRITICAL)
    logging.getLogger().setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")


@contextlib.contextmanager
def _progress(every: float = 5.0) -> Iterator[None]:
    """Says on stderr every few seconds how far an in-process runner is."""
    from kimi_beam.progress import PROGRESS

    done = threading.Event()

    def report() -> None:
        last = None
        while not done.wait(every):
            now = PROGRESS.snapshot()
            if now != last and now["documents"]:
                _say(f"{now['documents']} documents in, {now['settled']} settled, {now['in_flight']} batches in flight")
            last = now

    thread = threading.Thread(target=report, name="kimi_beam-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _interrupted(output: str) -> NoReturn:
    from kimi_beam.progress import PROGRESS

    count = PROGRESS.in_flight
    batches = "1 batch is" if count == 1 else f"{count} batches are"
    _say(f"interrupted: {batches} in flight, submitted and not collected; nothing was written to {output}")
    sys.stdout.flush()
    # Worker threads may be waiting for the service; nothing of theirs is to be kept.
    os._exit(130)


def _job_failed(error: Exception) -> str:
    """What a runner raised, without the tracebacks of its workers: the error itself stands in the last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    ours = [line.partition(": ")[2] for line in lines if line.startswith("kimi_beam.errors.")]
    said = (ours or lines)[-1].partition(" [while running")[0][:500]
    hint = "" if ours else "\n(--verbose shows the workers' own words)"
    return f"the job failed: {said}{hint}"


def _print_summary(summary: dict[str, Any], args: argparse.Namespace) -> None:
    from kimi_beam.io.dataset import parts

    usage, cost = summary["usage"], summary["cost_usd"]
    price = "unknown for this model" if cost is None else f"${cost:.4f}"
    if args.emulator:
        price += " had Kimi answered (the stand-in is free)"
    lines = [
        ("documents", f"{summary['documents']}"),
        ("extractions", f"{summary['extractions']}"),
        ("dead letters", f"{sum(summary['dead_letters'].values())}"),
        *((f"  {code}", f"{count}") for code, count in summary["dead_letters"].items()),
        (
            "tokens",
            f"{usage['prompt_tokens']} prompt ({usage['cached_tokens']} cached), "
            f"{usage['completion_tokens']} completion",
        ),
        ("cost", price),
        *(
            ("written", path)
            for kind in ("extractions", "dead-letters", "summary")
            for path in parts(args.output, kind)
        ),
    ]
    for name, value in lines:
        print(f"{name:<20}{value}")
    if args.preview:
        _print_rows(parts(args.output, "extractions"), args.preview)


def _print_rows(paths: Sequence[str], count: int) -> None:
    from kimi_beam.io.parquet import first_rows

    rows = first_rows(paths, count)
    names = [name for name in (rows[0] if rows else ()) if name not in ("_additional", "_metadata", "_provenance")]
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    print()
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = f"[{len(value)}]" if isinstance(value, list) else str(value)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= 34 else f"{text[:33]}…"


# ------------------------------------------------------------------------------------------------ argument values


def _text(value: str) -> str:
    """TEXT, or the content of @FILE."""
    if not value.startswith("@"):
        return value
    from pathlib import Path

    from kimi_beam.errors import ConfigError

    try:
        return Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"cannot read the instructions from {value[1:]}: {e}") from None


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number


def _interval(text: str) -> tuple[float, float]:
    first, colon, last = text.partition(":")
    low, high = float(first), float(last if colon else first)
    if not 0 < low <= high < float("inf"):
        raise argparse.ArgumentTypeError("MIN:MAX in seconds, MIN above 0 and at most MAX")
    return low, high


def _bound(text: str) -> tuple[float, bool]:
    percent = text.endswith("%")
    number = float(text[:-1] if percent else text)
    if not 0 <= number < float("inf") or (not percent and number != int(number)):
        raise argparse.ArgumentTypeError("a number of dead letters, or a percentage such as 2.5%")
    return number, percent


def _exceeds(summary: dict[str, Any], bound: tuple[float, bool]) -> bool:
    number, percent = bound
    failed = sum(summary["dead_letters"].values())
    if percent:
        return bool(failed * 100 > number * summary["documents"])
    return bool(failed > number)


if __name__ == "__main__":
    sys.exit(main())
