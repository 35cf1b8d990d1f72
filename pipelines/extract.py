"""Documents to typed Parquet, as a program to copy and launch on any runner.

    python pipelines/extract.py --input 'in/*.txt' --schema schemas/receipt.json --output out --runner FnApiRunner

It does what ``kimi-beam extract`` does, without the checks and the talk: change the pipeline as you like. Credentials
are ``CLOUDFLARE_ACCOUNT_ID``, read here, and ``CLOUDFLARE_API_TOKEN``, read by the workers.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

import kimi_beam as kb


def main(argv: Sequence[str] | None = None) -> None:
    """Builds and runs the pipeline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, nargs="+", metavar="PATH", help="paths and globs")
    parser.add_argument("--schema", required=True, help="JSON Schema file, or module:Class of a pydantic model")
    parser.add_argument("--output", required=True, help="directory for the result")
    parser.add_argument("--instructions", default="Extract the fields of the schema from the document.")
    parser.add_argument("--base-url", help="another service than Cloudflare's")
    args, beam_args = parser.parse_known_args(argv)

    schema = kb.OutputSchema(args.schema)
    service = kb.WorkersAI.from_env(base_url=args.base_url)
    with beam.Pipeline(options=PipelineOptions(beam_args)) as pipeline:
        documents = pipeline | kb.ReadDocuments(args.input)
        results = documents | kb.Extract(schema, service=service, instructions=args.instructions)
        write = kb.WriteDataset(args.output, schema, model=service.model, documents=documents)
        (results.extractions, results.dead_letters) | write


if __name__ == "__main__":
    main()
