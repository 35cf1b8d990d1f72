"""The floor: the same job as `kimi-beam extract`, written by hand and without Beam.

Documents from JSON lines, batches of the same limits, submit, poll, validate, typed Parquet; nothing else. It keeps no
journal, repeats nothing, knows one schema's columns by heart, and one answer that is not as expected ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import jsonschema_rs
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from httpx_aiohttp import AiohttpTransport

from .documents import INSTRUCTIONS, SCHEMA

MODEL = "@cf/moonshotai/kimi-k2.6"
MAX_ITEMS = 250
MAX_BYTES = 4_000_000
FIRST, FACTOR, CEILING = 1.0, 1.5, 60.0
_LINE = {"sku": pa.string(), "description": pa.string(), "quantity": pa.int64(), "unit_price": pa.float64()}
COLUMNS = pa.schema(
    {
        "_document_id": pa.string(),
        "number": pa.string(),
        "vendor": pa.struct({"name": pa.string(), "country": pa.string()}),  # type: ignore[arg-type]
        "invoice_date": pa.date32(),
        "currency": pa.dictionary(pa.int32(), pa.string()),
        "total": pa.float64(),
        "paid": pa.bool_(),
        "line_items": pa.list_(pa.struct(_LINE)),  # type: ignore[arg-type]
    }
)
_TEXTS = ("invoice_date", "currency")
_AS_READ = pa.struct([field.with_type(pa.string()) if field.name in _TEXTS else field for field in list(COLUMNS)[1:]])
_ROW_GROUP = 50_000


def constant_parts() -> tuple[bytes, bytes]:
    """The JSON of a request before and after its document: the system message with the schema, and the schema again."""
    system = f"{INSTRUCTIONS}\nAnswer with one JSON value that matches this schema:\n{orjson.dumps(SCHEMA).decode()}"
    request = {
        "max_completion_tokens": 1_000,
        "temperature": 0,
        "chat_template_kwargs": {"thinking": False},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "Invoice", "strict": True, "schema": SCHEMA},
        },
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": "\0"}],
    }
    before, _, after = orjson.dumps(request).partition(orjson.dumps("\0"))
    return before, after.removesuffix(b"}") + b',"external_reference":'


def batches(path: Path) -> Iterator[tuple[list[str], bytes]]:
    """The ids and the body of each submit."""
    before, after = constant_parts()
    ids: list[str] = []
    items: list[bytes] = []
    size = 0
    with path.open("rb") as f:
        for line in f:
            document = orjson.loads(line)
            text = "```\n" + document["text"] + "\n```"
            item = b"".join((before, orjson.dumps(text), after, b'"%d"}' % len(ids)))
            if ids and (len(ids) == MAX_ITEMS or size + len(item) > MAX_BYTES):
                yield ids, b'{"requests":[' + b",".join(items) + b"]}"
                ids, items, size = [], [], 0
                item = b"".join((before, orjson.dumps(text), after, b'"0"}'))
            ids.append(document["id"])
            items.append(item)
            size += len(item)
    if ids:
        yield ids, b'{"requests":[' + b",".join(items) + b"]}"


def rows(ids: list[str], results: list[dict[str, Any]], is_valid: Any) -> pa.RecordBatch:
    """The answers of a batch as typed columns, in the order of its documents."""
    found: list[Any] = [None] * len(ids)
    for result in results:
        choice = result["result"]["choices"][0]
        value = orjson.loads(choice["message"]["content"])
        if choice["finish_reason"] != "stop" or not is_valid(value):
            raise ValueError(f"no valid answer for {ids[int(result['external_reference'])]}")
        found[int(result["external_reference"])] = value
    columns = [pa.array(ids), *pa.array(found, _AS_READ).flatten()]  # type: ignore[attr-defined]
    typed = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(columns, COLUMNS, strict=True)
    ]
    return pa.RecordBatch.from_arrays(typed, schema=COLUMNS)


class Writer:
    """One Parquet file, in row groups of a size that is quick to read."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetWriter(path, COLUMNS, compression="zstd")
        self._held: list[pa.RecordBatch] = []
        self.rows = self._waiting = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self._held.append(batch)
        self.rows += batch.num_rows
        self._waiting += batch.num_rows
        if self._waiting >= _ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        self._file.write_table(pa.Table.from_batches(self._held, COLUMNS))
        self._held, self._waiting = [], 0

    def close(self) -> None:
        self.flush()
        self._file.close()


async def extract(path: Path, base_url: str, output: Path) -> int:
    """Extracts all documents of a file; returns how many rows were written."""
    is_valid = jsonschema_rs.validator_for(SCHEMA, validate_formats=True).is_valid
    url = f"{base_url}/accounts/{'0' * 32}/ai/run/{MODEL}?queueRequest=true"
    headers = {"authorization": "Bearer any", "content-type": "application/json"}
    transport = AiohttpTransport(client=aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32)))
    sending, room = asyncio.Semaphore(8), asyncio.Semaphore(128)
    writer = Writer(output)

    async def post(body: bytes) -> dict[str, Any]:
        reply = (await client.post(url, content=body)).raise_for_status()
        result: dict[str, Any] = orjson.loads(reply.content)["result"]
        return result

    async def one(ids: list[str], body: bytes) -> None:
        async with sending:
            ticket = orjson.dumps({"request_id": (await post(body))["request_id"]})
        del body
        wait, result = FIRST, {}
        while "results" not in result:
            await asyncio.sleep(wait)
            wait = min(CEILING, wait * FACTOR)
            result = await post(ticket)
        writer.add(rows(ids, result["results"], is_valid))
        room.release()

    async with httpx.AsyncClient(transport=transport, headers=headers, timeout=120) as client:
        jobs = []
        for ids, body in batches(path):
            await room.acquire()
            jobs.append(asyncio.create_task(one(ids, body)))
            await asyncio.sleep(0)  # let it be sent while the next is made
        await asyncio.gather(*jobs)
    writer.close()
    return writer.rows


def main() -> None:
    """Runs it, and prints the number of rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("input", type=Path)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    print(orjson.dumps({"rows": asyncio.run(extract(args.input, args.base_url, args.output))}).decode())  # noqa: T201


if __name__ == "__main__":
    main()
