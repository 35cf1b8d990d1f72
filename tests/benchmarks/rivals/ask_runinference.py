"""Beam's RunInference with a remote model handler: AsyncOpenAI, 64 documents a batch; rows by WriteToParquet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.ml.inference.base import PredictionResult, RemoteModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from job import CONCURRENCY, MODEL, Invoice, arguments, documents, messages, report
from jsonschema import Draft202012Validator
from openai import AsyncOpenAI

SCHEMA = Invoice.model_json_schema()
COLUMNS = pa.schema(
    [
        ("number", pa.string()),
        ("vendor", pa.struct([("name", pa.string()), ("country", pa.string())])),
        ("invoice_date", pa.string()),
        ("currency", pa.string()),
        ("total", pa.float64()),
        ("paid", pa.bool_()),
        (
            "line_items",
            pa.list_(
                pa.struct(
                    [
                        ("sku", pa.string()),
                        ("description", pa.string()),
                        ("quantity", pa.int64()),
                        ("unit_price", pa.float64()),
                    ]
                )
            ),
        ),
    ]
)


class Model:
    """A client and its loop. A class of its own, for Beam keeps a weak reference to it."""

    def __init__(self, url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = AsyncOpenAI(base_url=url, api_key="any", max_retries=2)


class Handler(RemoteModelHandler):
    """A batch of texts, asked for all at once."""

    def __init__(self, url: str) -> None:
        super().__init__(namespace="invoices", num_retries=2, retry_filter=lambda error: True)
        self._url = url

    def create_client(self) -> Model:
        """One for each process."""
        return Model(self._url)

    def batch_elements_kwargs(self) -> dict[str, int]:
        """As many as shall be in flight."""
        return {"min_batch_size": CONCURRENCY, "max_batch_size": CONCURRENCY}

    def request(self, batch: Sequence[str], model: Model, inference_args: Any = None) -> list[PredictionResult]:
        """Asks for each text of the batch."""
        form = {"type": "json_schema", "json_schema": {"name": "Invoice", "strict": True, "schema": SCHEMA}}

        async def one(text: str) -> str | None:
            reply = await model.client.chat.completions.create(
                model=MODEL, messages=messages(text), response_format=form
            )
            return reply.choices[0].message.content

        async def many() -> list[str | None]:
            return await asyncio.gather(*map(one, batch))

        answers = model.loop.run_until_complete(many())
        return [PredictionResult(text, answer) for text, answer in zip(batch, answers, strict=True)]


class Validate(beam.DoFn):
    """Answers as rows."""

    def setup(self) -> None:
        """One validator for all."""
        self._validator = Draft202012Validator(SCHEMA)

    def process(self, result: PredictionResult) -> Iterator[dict[str, Any]]:
        """One row, or an exception."""
        row = json.loads(result.inference)
        self._validator.validate(row)
        yield row


def main() -> None:
    """Runs it."""
    args = arguments()
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        (
            pipeline
            | beam.io.ReadFromText(str(args.input))
            | beam.Map(lambda line: json.loads(line)["text"])
            | RunInference(Handler(args.openai_url))
            | beam.ParDo(Validate())
            | beam.io.WriteToParquet(str(args.directory / "rows"), COLUMNS, file_name_suffix=".parquet", num_shards=1)
        )
    rows = [row for path in args.directory.glob("rows*.parquet") for row in pq.read_table(path).to_pylist()]
    report(documents(args.input), (row["number"] for row in rows))


if __name__ == "__main__":
    main()
