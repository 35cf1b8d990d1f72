"""Runs dead letters again: a program to copy and launch on any runner.

    python pipelines/redrive.py --dead-letters out --schema schemas/receipt.json --output out2 --runner FnApiRunner

It does what ``kimi-beam redrive`` does, without the checks and the talk: change the pipeline as you like. Name the
journal of the run that wrote the dead letters: what it knows is not paid for again. Credentials are those of
``extract.py``. Every option that it does not know is Beam's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

import kimi_beam as kb
from kimi_beam.errors import UserError


def main(argv: Sequence[str] | None = None) -> None:
    """Builds and runs the pipeline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    letters = "directories of runs, paths and globs"
    add("--dead-letters", "--dead_letters", required=True, nargs="+", metavar="PATH", help=letters)
    add("--code", action="append", default=[], help="only these; repeatable (default: all that are retryable)")
    add("--stage", action="append", default=[], help="only these; repeatable")
    add("--schema", required=True, help="JSON Schema file, or module:Class of a pydantic model")
    add("--output", required=True, help="directory for the result")
    add(
        "--journal", required=True, metavar="DIR", help="where answers are kept: of the run that wrote the dead letters"
    )
    add("--instructions", default="Extract the fields of the schema from the document.")
    add("--account-id", "--account_id", help="Cloudflare's account id (default: CLOUDFLARE_ACCOUNT_ID)")
    place = "env:NAME, file:PATH or gcp-secret:projects/P/secrets/S/versions/N (default: env:CLOUDFLARE_API_TOKEN)"
    add("--token-from", "--token_from", default="env:CLOUDFLARE_API_TOKEN", metavar="PLACE", help=place)
    add("--base-url", "--base_url", help="another service than Cloudflare's")
    queue = "Cloudflare Queue that the model's batch events are sent to"
    add("--events-queue", "--events_queue", metavar="QUEUE_ID", help=queue)
    args, beam_args = parser.parse_known_args(argv)

    try:
        pipeline = beam.Pipeline(options=PipelineOptions(beam_args))
        schema = kb.OutputSchema(args.schema)
        service = kb.WorkersAI.from_env(account_id=args.account_id, token_from=args.token_from, base_url=args.base_url)
        read = pipeline | kb.ReadDeadLetters(args.dead_letters, codes=args.code, stages=args.stage)
        extract = kb.Extract(
            schema,
            service=service,
            instructions=args.instructions,
            journal=args.journal,
            events=args.events_queue,
            record_batches=True,  # faster, because no step but the writing of files needs single rows
        )
        results = read.documents | extract
        write = kb.WriteDataset(args.output, schema, model=service.model, documents=read.documents, left=read.left)
        (results.extractions, results.dead_letters) | write
    except UserError as e:  # a mistake, found before anything was sent
        print(f"redrive.py: {e}", file=sys.stderr)
        sys.exit(2)
    pipeline.run().wait_until_finish()


if __name__ == "__main__":
    main()
