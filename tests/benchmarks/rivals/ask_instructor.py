"""instructor: AsyncOpenAI with 64 calls at once, JSON schema mode, two retries; rows to Parquet."""

from __future__ import annotations

import asyncio

import instructor
import pyarrow as pa
import pyarrow.parquet as pq
from job import CONCURRENCY, MODEL, Invoice, arguments, documents, messages, report
from openai import AsyncOpenAI


async def main() -> None:
    """Runs it."""
    args = arguments()
    given = documents(args.input)
    client = instructor.from_openai(
        AsyncOpenAI(base_url=args.openai_url, api_key="any"), mode=instructor.Mode.JSON_SCHEMA
    )
    limit = asyncio.Semaphore(CONCURRENCY)

    async def one(text: str) -> Invoice:
        async with limit:
            return await client.chat.completions.create(
                model=MODEL, messages=messages(text), response_model=Invoice, max_retries=2
            )

    found = await asyncio.gather(*(one(document["text"]) for document in given))
    pq.write_table(pa.Table.from_pylist([invoice.model_dump() for invoice in found]), args.directory / "rows.parquet")
    report(given, (invoice.number for invoice in found))


asyncio.run(main())
