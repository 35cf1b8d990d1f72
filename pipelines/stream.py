"""A stream of documents to typed Parquet by event time, as a program to copy and launch on a runner for streams.

    python pipelines/stream.py --input 'in/*.txt' --schema schemas/receipt.json --output out --runner PrismRunner

It reads files as they appear, or with ``--kafka-topic`` or ``--pubsub-subscription`` messages, until it is stopped.
Credentials are ``CLOUDFLARE_ACCOUNT_ID`` (or ``--account-id``), read here, and the token, read by the workers where
``--token-from`` says. Every option that it does not know is Beam's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

import kimi_beam as kb
from kimi_beam.errors import ConfigError, UserError
from kimi_beam.stream.read_messages import MessageFormat, from_kafka, from_pubsub


def main(argv: Sequence[str] | None = None) -> None:
    """Builds and runs the pipeline."""
    args, beam_args = _parser().parse_known_args(argv)
    try:
        if any(word.replace("_", "-").startswith("--stop-after") for word in beam_args):
            # Beam would ignore the old name of the option with a warning, and the program would run for ever.
            raise ConfigError("--stop-after is now --run-for, in seconds")
        options = PipelineOptions(beam_args)
        options.view_as(StandardOptions).streaming = True
        pipeline = beam.Pipeline(options=options)
        schema = kb.OutputSchema(args.schema)
        service = kb.WorkersAI.from_env(account_id=args.account_id, token_from=args.token_from, base_url=args.base_url)
        documents = pipeline | "Read" >> _source(args)
        # The steps have fixed names, because a job that is updated finds its state by them.
        results = documents | "Extract" >> kb.Extract(
            schema,
            service=service,
            instructions=args.instructions,
            batching=kb.Batching(max_wait=args.max_wait),
            journal=args.journal or f"{args.output.rstrip('/')}/_journal",
            events=args.events_queue,
        )
        rolling = kb.Rolling(args.partition, args.max_rows, args.max_seconds)
        write = kb.WriteStream(args.output, schema, model=service.model, rolling=rolling, documents=documents)
        (results.extractions, results.dead_letters) | "WriteStream" >> write
    except UserError as e:  # a mistake, found before anything was sent
        print(f"stream.py: {e}", file=sys.stderr)
        sys.exit(2)
    pipeline.run().wait_until_finish()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--input", nargs="+", metavar="PATH", help="paths and globs of files that appear")
    add("--interval", type=float, default=10.0, metavar="S", help="seconds between two looks for files (10)")
    add(
        "--quiet",
        type=float,
        default=2.0,
        metavar="S",
        help="a file is whole when it was not changed for S s (2)",
    )
    add(
        "--run-for",
        "--run_for",
        type=float,
        metavar="S",
        help="look for files for S seconds, finish what was found, and end",
    )
    add("--kafka-brokers", "--kafka_brokers", metavar="HOST:PORT,…", help="read from Kafka")
    add("--kafka-topic", "--kafka_topic", metavar="TOPIC")
    add(
        "--kafka-group",
        "--kafka_group",
        default="kimi_beam",
        metavar="ID",
        help="consumer group (kimi_beam)",
    )
    add(
        "--kafka-expansion",
        "--kafka_expansion",
        metavar="HOST:PORT",
        help="Beam's Java service (or it is started)",
    )
    add("--pubsub-subscription", "--pubsub_subscription", metavar="projects/P/…", help="read from Pub/Sub")
    add("--message", choices=["text", "json"], default="text", help="what a message is: the text, or {id, text, …}")
    add("--id-field", "--id_field", metavar="KEY", help="of a line or a JSON message (id; else the message's own)")
    add("--text-field", "--text_field", metavar="KEY", help="of a line or a JSON message (text)")
    add("--schema", required=True, help="JSON Schema file, or module:Class of a pydantic model")
    add("--output", required=True, help="directory for the result")
    add("--partition", choices=["hour", "day"], default="hour", help="of event time, that a directory holds (hour)")
    add("--max-rows", "--max_rows", type=int, default=50_000, metavar="N", help="a file is closed at N rows (50000)")
    add("--max-seconds", "--max_seconds", type=float, default=60.0, metavar="S", help="or when its first is S old (60)")
    add(
        "--max-wait",
        "--max_wait",
        type=float,
        default=5.0,
        metavar="S",
        help="a document waits so long for company (5)",
    )
    add("--instructions", default="Extract the fields of the schema from the document.")
    add("--account-id", "--account_id", help="Cloudflare's account id (default: CLOUDFLARE_ACCOUNT_ID)")
    place = "env:NAME, file:PATH or gcp-secret:projects/P/secrets/S/versions/N (default: env:CLOUDFLARE_API_TOKEN)"
    add("--token-from", "--token_from", default="env:CLOUDFLARE_API_TOKEN", metavar="PLACE", help=place)
    add("--base-url", "--base_url", help="another service than Cloudflare's")
    add("--journal", metavar="DIR", help="where answers are kept (default: OUTPUT/_journal)")
    queue = "Cloudflare Queue that the model's batch events are sent to"
    add("--events-queue", "--events_queue", metavar="QUEUE_ID", help=queue)
    return parser


def _source(args: argparse.Namespace) -> beam.PTransform:
    """``PBegin -> PCollection[Document]``, as the options say."""
    sources = [args.input, args.kafka_brokers or args.kafka_topic, args.pubsub_subscription]
    if sum(map(bool, sources)) != 1:
        raise ConfigError("name one source: --input, --kafka-brokers with --kafka-topic, or --pubsub-subscription")
    if args.input:
        until = None if args.run_for is None else time.time() + args.run_for
        return kb.ReadContinuously(
            args.input,
            interval=args.interval,
            quiet=args.quiet,
            until=until,
            id_field=args.id_field or "id",
            text_field=args.text_field or "text",
        )
    message = MessageFormat(args.message, args.id_field, args.text_field)
    if args.pubsub_subscription:
        return _Messages(_pubsub(args.pubsub_subscription), from_pubsub, message)
    if not (args.kafka_brokers and args.kafka_topic):
        raise ConfigError("Kafka needs both --kafka-brokers and --kafka-topic")
    return _Messages(_kafka(args), from_kafka, message)


def _pubsub(subscription: str) -> beam.PTransform:
    from apache_beam.io.gcp.pubsub import ReadFromPubSub

    try:
        return ReadFromPubSub(subscription=subscription, with_attributes=True)
    except ValueError as e:
        raise ConfigError(str(e)) from None


def _kafka(args: argparse.Namespace) -> beam.PTransform:
    from apache_beam.io.kafka import ReadFromKafka

    config = {"bootstrap.servers": args.kafka_brokers, "group.id": args.kafka_group, "auto.offset.reset": "earliest"}
    return ReadFromKafka(
        config,
        [args.kafka_topic],
        with_metadata=True,  # partition and offset of each record, by which a repeated one is recognised
        commit_offset_in_finalize=True,
        expansion_service=args.kafka_expansion,
    )


class _Messages(beam.PTransform):
    def __init__(self, read: beam.PTransform, decode: Any, message: MessageFormat) -> None:
        super().__init__()
        self._read, self._decode, self._message = read, decode, message

    def expand(self, pipeline: Any) -> beam.PCollection:
        decode = beam.Map(self._decode, self._message).with_output_types(kb.Document)
        return pipeline | "Messages" >> self._read | "Decode" >> decode


if __name__ == "__main__":
    main()
