"""Documents to typed Parquet, as a program to copy and launch on any runner.

    python pipelines/extract.py --input 'in/*.txt' --schema schemas/receipt.json --output out --runner FnApiRunner

It does what ``kimi-beam extract`` does, without the checks and the talk: change the pipeline as you like. Credentials
are ``CLOUDFLARE_ACCOUNT_ID`` (or ``--account-id``), read here, and the token, read by the workers where
``--token-from`` says. Every option that it does not know is Beam's.
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
    parser.add_argument("--input", required=True, nargs="+", metavar="PATH", help="paths and globs")
    parser.add_argument("--schema", required=True, help="JSON Schema file, or module:Class of a pydantic model")
    parser.add_argument("--output", required=True, help="directory for the result")
    parser.add_argument("--instructions", default="Extract the fields of the schema from the document.")
    parser.add_argument("--account-id", "--account_id", help="Cloudflare's account id (default: CLOUDFLARE_ACCOUNT_ID)")
    place = "env:NAME, file:PATH or gcp-secret:projects/P/secrets/S/versions/N (default: env:CLOUDFLARE_API_TOKEN)"
    parser.add_argument("--token-from", "--token_from", default="env:CLOUDFLARE_API_TOKEN", metavar="PLACE", help=place)
    parser.add_argument("--base-url", "--base_url", help="another service than Cloudflare's")
    parser.add_argument("--journal", metavar="DIR", help="where answers are kept (default: OUTPUT/_journal)")
    queue = "Cloudflare Queue that the model's batch events are sent to"
    parser.add_argument("--events-queue", "--events_queue", metavar="QUEUE_ID", help=queue)
    args, beam_args = parser.parse_known_args(argv)

    try:
        pipeline = beam.Pipeline(options=PipelineOptions(beam_args))
        schema = kb.OutputSchema(args.schema)
        service = kb.WorkersAI.from_env(account_id=args.account_id, token_from=args.token_from, base_url=args.base_url)
        documents = pipeline | kb.ReadDocuments(args.input)
        journal = args.journal or f"{args.output.rstrip('/')}/_journal"
        results = documents | kb.Extract(
            schema,
            service=service,
            instructions=args.instructions,
            journal=journal,
            events=args.events_queue,
            record_batches=True,  # faster, because no step but the writing of files needs single rows
        )
        write = kb.WriteDataset(args.output, schema, model=service.model, documents=documents)
        (results.extractions, results.dead_letters) | write
    except UserError as e:  # a mistake, found before anything was sent
        print(f"extract.py: {e}", file=sys.stderr)
        sys.exit(2)
    pipeline.run().wait_until_finish()


if __name__ == "__main__":
    main()
