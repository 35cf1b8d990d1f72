"""A client that is closed again, and a server whose tests write each byte themselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from kimi_beam.network.client import Client
from kimi_beam.service.workers_ai import WorkersAI

ACCOUNT = "0123456789abcdef0123456789abcdef"


@contextmanager
def client(base_url: str, token_from: str = "env:CLOUDFLARE_API_TOKEN", **changes: object) -> Iterator[Client]:
    opened = Client(WorkersAI(ACCOUNT, base_url=base_url, token_from=token_from), **changes)  # type: ignore[arg-type]
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def connections_served(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> Iterator[str]:
    """Serves each connection in a thread's event loop. Yields the URL; all connections are cut off at the end."""
    loop, opened = asyncio.new_event_loop(), list[asyncio.StreamWriter]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        await serve(reader, writer)

    listening = loop.run_until_complete(asyncio.start_server(connected, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:

        async def stop() -> None:
            listening.close()
            for writer in opened:
                writer.transport.abort()
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
