"""The least that synchronous requests can cost: an aiohttp loop that asks and reads the answer's JSON.

Nothing is validated, written or repeated.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import aiohttp
import orjson

from .floor import MODEL, constant_parts


async def ask_all(path: Path, base_url: str, connections: int) -> int:
    """Asks for each document of a file; returns the number of answers."""
    before, after = constant_parts()
    end = after.removesuffix(b',"external_reference":') + b"}"
    url = f"{base_url}/accounts/{'0' * 32}/ai/run/{MODEL}"
    headers = {"authorization": "Bearer any", "content-type": "application/json"}
    answers = []
    with path.open("rb") as f:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections), headers=headers) as session:

            async def worker() -> None:
                for line in f:  # all workers share it
                    body = before + orjson.dumps("```\n" + orjson.loads(line)["text"] + "\n```") + end
                    async with session.post(url, data=body) as reply:
                        result = orjson.loads(await reply.read())["result"]
                    answers.append(orjson.loads(result["choices"][0]["message"]["content"]))

            await asyncio.gather(*(worker() for _ in range(connections)))
    return len(answers)


def main() -> None:
    """Runs it, and prints the number of rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("input", type=Path)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--connections", type=int, default=64)
    args = parser.parse_args()
    print(orjson.dumps({"rows": asyncio.run(ask_all(args.input, args.base_url, args.connections))}).decode())  # noqa: T201


if __name__ == "__main__":
    main()
