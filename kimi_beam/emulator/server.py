"""The HTTP side: routes and encoding, nothing that decides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import uuid4

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kimi_beam.emulator import replies
from kimi_beam.emulator.replies import Reply
from kimi_beam.emulator.service import Service

BASE_PATH: Final = "/client/v4"
_MOST_BYTES: Final = 100_000_000  # far beyond what was seen accepted; more is refused, so that memory stays bounded


def application(service: Service) -> Starlette:
    """Make the ASGI application that offers a service.

    ``POST /client/v4/accounts/{account}/ai/run/{model}`` is Workers AI [documented]; ``GET /stats`` and ``POST /reset``
    are the emulator's own and need no token. To close a connection without a reply it needs the transport, which
    `running.Protocol` puts into the request's state.
    """

    async def run(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return _response(replies.failure(413, 3006, "AiError: AiError: Request is too large"))
        account, model = request.path_params["account"], request.path_params["model"]
        queued = request.query_params.get("queueRequest", "").lower() == "true"
        reply = await service.handle(account, model, queued, request.headers, body)
        if reply is None:
            await _hang_up(request)
            return Response()  # nobody is there to read it
        return _response(reply)

    async def stats(_: Request) -> Response:
        return Response(orjson.dumps(service.stats()), media_type="application/json")

    async def reset(_: Request) -> Response:
        service.reset()
        return Response(orjson.dumps(service.stats()), media_type="application/json")

    return Starlette(
        routes=[
            Route(BASE_PATH + "/accounts/{account}/ai/run/{model:path}", run, methods=["POST"]),
            Route("/stats", stats, methods=["GET"]),
            Route("/reset", reset, methods=["POST"]),
        ],
        exception_handlers={
            404: _error(replies.failure(400, 7000, "No route for that URI")),
            405: _error(replies.failure(405, 7001, "Method not allowed for this route")),
        },
    )


def _error(reply: Reply) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Answer in the envelope where Starlette would answer in plain text [observed: codes 7000, 7001]."""

    async def handler(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _response(reply)

    return handler


def _response(reply: Reply) -> Response:
    headers = {"cf-ai-req-id": str(uuid4()), **reply.headers}
    return Response(reply.body, reply.status, headers, reply.media_type)


async def _body(request: Request) -> bytes | None:
    """Read the body; None when it is larger than anything the service takes."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= _MOST_BYTES:
            chunks.append(chunk)
    return b"".join(chunks) if size <= _MOST_BYTES else None


async def _hang_up(request: Request) -> None:
    """Close the connection as a broken network does, so that the client sees no reply at all."""
    transport = request.state.transport
    assert isinstance(transport, asyncio.Transport)
    transport.abort()
    # Until the server has noticed, it would still try to send what this endpoint returns.
    while (await request.receive())["type"] != "http.disconnect":
        pass
