"""A pipeline of a user's own: documents are made by `beam.Map`, not by `ReadDocuments`; the rest is the plugin's."""

from __future__ import annotations

import argparse

import apache_beam as beam
import orjson
from apache_beam.options.pipeline_options import PipelineOptions

import kimi_beam as kb


def document(line: str) -> kb.Document:
    """A line as a document."""
    fields = orjson.loads(line)
    return kb.Document(fields["id"], fields["text"])


def main() -> None:
    """Builds and runs it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("--schema", required=True)
    parser.add_argument("--instructions", required=True)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--output", required=True)
    args, options = parser.parse_known_args()
    service = kb.WorkersAI.from_env(base_url=args.base_url)
    extract = kb.Extract(
        args.schema,
        service=service,
        instructions=args.instructions,
        journal=f"{args.output}/_journal",
        record_batches=True,
    )
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", *options])) as pipeline:
        documents = pipeline | beam.io.ReadFromText(args.input) | beam.Map(document).with_output_types(kb.Document)
        results = documents | extract
        write = kb.WriteDataset(args.output, args.schema, model=service.model, documents=documents)
        (results.extractions, results.dead_letters) | write


if __name__ == "__main__":
    main()
