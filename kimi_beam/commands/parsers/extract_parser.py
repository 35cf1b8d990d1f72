"""The command `extract`: documents to rows and dead letters."""

from __future__ import annotations

import argparse

from kimi_beam.commands.extract_options import add_dry_run_options, add_extract_options
from kimi_beam.commands.parsers.declared_command import Command, RunCommand

_USAGE = "kimi-beam extract INPUT… --schema FILE|module:Class --output DIR [options] [Beam options]"
_HELP = """\
Extracts one row from each document and writes typed Parquet; what fails goes to a dead letter that says why.

INPUT is paths, directories and globs on any filesystem that Beam knows, or - for standard input. A text, picture, PDF,
office file, web page or mail is one document, its id the path. A line of .jsonl, or a row of .csv, .tsv or .parquet, is
one by its keys id and text (or images); all others become metadata. Members of .zip and .tar are read by their own
kinds. Each may be compressed (.gz, .bz2, .xz, .zst). Hidden files (. and _) are passed over unless they are named.
"""
_EPILOG = """\
DIR receives extractions-*.parquet, dead-letters-*.jsonl and, last, summary.json; _journal keeps what was paid for.

Every other option is Beam's (--runner, --direct_num_workers, …). The default runner is FnApiRunner, in this process.

Credentials: CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN, as Cloudflare's own tools name them.

Exit codes: 0 the job ran · 1 it failed · 2 a mistake, nothing was sent · 3 past --max-dead-letters, or stopped by
--stop-after or --max-cost · 130 interrupted (Ctrl-C) · 143 ended by SIGTERM

Examples:
  kimi-beam extract 'in/*.txt' --schema schemas/receipt.json --output out --emulator
  kimi-beam extract scans/ mails.zip --schema schemas/receipt.json --output out --skip-unknown
  kimi-beam extract letters.csv --id-field number --text-field letter --schema s.json --output out
  kimi-beam extract docs.jsonl --schema schemas.invoice:Invoice --output gs://bucket/run1 --instructions @prompt.txt
  kimi-beam extract docs.jsonl --schema s.json --output out --openai-url http://localhost:11434/v1 --model qwen3:8b
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_extract_options(parser, reads_documents=True)
    add_dry_run_options(parser)


def _load() -> RunCommand:
    from kimi_beam.commands.run_extract import run

    return run


COMMAND = Command(
    name="extract",
    summary="documents to typed Parquet",
    add_arguments=_add_arguments,
    load=_load,
    description=_HELP,
    usage=_USAGE,
    epilog=_EPILOG,
    asks_model=True,
    reads_config=True,
)
