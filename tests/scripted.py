"""An HTTP server whose replies a test writes, byte for byte where it likes; it remembers what it was asked."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from typing_extensions import Self


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Reply = bytes | None
"""A whole HTTP reply; None hangs up."""


def reply(body: Any, status: int = 200, **headers: str) -> bytes:
    """A reply that is well-formed but for what the headers say. Underscores in their names are hyphens."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {"content-type": "application/json", "content-length": str(len(content))}
    told.update({name.replace("_", "-"): value for name, value in headers.items()})
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + content


def error(code: int, status: int, message: str = "AiError: told so", **headers: str) -> bytes:
    """Cloudflare's envelope of an error."""
    told = {"result": None, "success": False, "errors": [{"code": code, "message": message}]}
    return reply(told, status, **headers)


def completion(content: Any = '{"company": "A", "total": 1}', **more: Any) -> dict[str, Any]:
    """A chat completion as the model answers it."""
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    finish = more.pop("finish_reason", "stop")
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    choices = [{"index": 0, "message": message, "finish_reason": finish}]
    return {"id": "x", "created": 1_780_000_000, "model": "m", "choices": choices, "usage": usage, **more}


def answered(content: Any = '{"company": "A", "total": 1}', **more: Any) -> bytes:
    """The reply of a synchronous run that went well."""
    return reply({"result": completion(content, **more), "success": True, "errors": [], "messages": []})


@dataclass
class Scripted:
    """The server.

    Attributes:
        answer: What to reply to a request; may be a coroutine function.
    """

    answer: Callable[[Asked], Reply | Awaitable[Reply]]
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._tasks: set[asyncio.Task[None]] = set()
        opening = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = opening.result()
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        pairs = (line.partition(":") for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        asked = Asked(method, path, headers, body, time.monotonic())
        self.asked.append(asked)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            said = self.answer(asked)
            raw = await said if inspect.isawaitable(said) else said
        finally:
            self.in_flight -= 1
        if raw is None:
            return False
        writer.write(raw)
        await writer.drain()
        # Whoever promised more bytes than it sent, or fewer, has nothing left to say on this connection.
        length = raw.partition(b"\r\n\r\n")
        return f"content-length: {len(length[2])}\r\n".encode() in length[0] + b"\r\n"
