"""A way to a service that can be shut for a while: connections are refused and cut, or somebody else answers."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from scripted import Asked, Reply, Scripted


class Door(Scripted):
    """Hands requests on to a service.

    Args:
        base_url: The service's.

    Attributes:
        says: What is answered in its place; None: what it answers.
        cut: Submits that reached the service and whose replies did not come back.
    """

    def __init__(self, base_url: str) -> None:
        super().__init__(self._hand_on)
        self._to = urlsplit(base_url)
        self.says: bytes | None = None
        self.cut = 0

    @property
    def base_url(self) -> str:
        return self.url + self._to.path

    def shut(self) -> None:
        """From now on connections are refused, and those that stand are cut."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()

    def open(self) -> None:
        """As before."""
        opening = asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._server = asyncio.run_coroutine_threadsafe(opening, self._loop).result()

    async def _hand_on(self, asked: Asked) -> Reply:
        if self.says is not None:
            return self.says
        headers = {**asked.headers, "connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        reader, writer = await asyncio.open_connection(self._to.hostname, self._to.port)
        try:
            writer.write(f"{asked.method} {asked.path} HTTP/1.1\r\n{head}\r\n".encode() + asked.body)
            return await reader.read() or None
        except asyncio.CancelledError:
            self.cut += b'"requests"' in asked.body
            raise
        finally:
            writer.transport.abort()
