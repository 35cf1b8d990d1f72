"""Logs one line for each request: the path, the sizes and the status, never the content of a document."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LONGEST_PATH: Final = 160
_BEGINNING: Final = 4096
"""How many bytes of a body are read to tell a poll from a submit."""


class AccessLog:
    """An ASGI application that passes requests on to another application and writes a line about each.

    A line holds the time, the method, the path, bytes in and out, the status and milliseconds. Headers, bodies and
    query parameters other than ``queueRequest`` are left out, because they hold tokens and documents.

    Args:
        application: The application that answers.
        write: Called with each line, without a line feed.
    """

    def __init__(self, application: ASGIApp, write: Callable[[str], None]) -> None:
        self._application, self._write = application, write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        began, beginning, came, left, status, is_cut = time.monotonic(), b"", 0, 0, 0, False

        async def received() -> Message:
            nonlocal beginning, came, is_cut
            message = await receive()
            is_cut = is_cut or message["type"] == "http.disconnect"
            body = message.get("body", b"")
            came += len(body)
            beginning += body[: max(0, _BEGINNING - len(beginning))]
            return message

        async def sent(message: Message) -> None:
            nonlocal left, status
            if not is_cut:  # a message after the connection was cut reaches nobody
                status = message.get("status", status)
                left += len(message.get("body", b""))
            await send(message)

        try:
            await self._application(scope, received, sent)
        finally:
            sent_back = f"{status}, {left} bytes" if status else "no reply"
            came_of_it = f"{sent_back}, and the connection was cut" if is_cut else sent_back
            took = round(1000 * (time.monotonic() - began))
            what = f"{scope['method']} {_path(scope, beginning)}"
            self._write(f"{time.strftime('%H:%M:%S')} {what}, {came} bytes: {came_of_it} in {took} ms")


def _path(scope: Scope, beginning: bytes) -> str:
    path: Any = scope["path"]
    shown = "".join(c if c.isprintable() and c != " " else "?" for c in str(path)[:_LONGEST_PATH])
    if b"queuerequest=true" not in scope.get("query_string", b"").lower():
        return shown
    is_poll = b'"request_id"' in beginning and b'"requests"' not in beginning
    return f"{shown} ({'poll' if is_poll else 'submit'})"
