"""The HTTP server of the emulator: routes and encoding. `service` decides what is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import Final, Literal
from uuid import uuid4

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from kimi_beam.emulator import markdown, replies
from kimi_beam.emulator.received import Call, Surface
from kimi_beam.emulator.replies import Reply
from kimi_beam.emulator.service import Service

NAME: Final = "kimi-beam-emulator"
BASE_PATH: Final = "/client/v4"
_AI: Final = BASE_PATH + "/accounts/{account}/ai"
_MESSAGES: Final = BASE_PATH + "/accounts/{account}/queues/{queue}/messages/"
_GATEWAY: Final = "/v1/{account}/{gateway}"
_MOST_BYTES: Final = 100_000_000  # larger bodies are refused to bound memory; 47 MB were seen accepted
_NOT_ALLOWED: Final = replies.failure(405, 7001, "Method not allowed for this route")


def application(service: Service) -> Starlette:
    """Make the ASGI application that offers a service.

    Under ``/client/v4`` it is the host of Workers AI and of Queues, under ``/v1/{account}/{gateway}`` the older one of
    AI Gateway [documented], and ``/v1`` alone is what a local OpenAI-compatible server offers. ``GET /stats``,
    ``GET /wrong_leaves`` and ``POST /reset`` are the emulator's own and need no token. To close a connection without a
    reply it needs the transport, which `running.Protocol` puts into the request's state.
    """

    def post(path: str, surface: Surface, *, wrapped: bool = False, compat: bool = False) -> Route:
        async def endpoint(request: Request) -> Response:
            body = await _body(request)
            if body is None:
                return _response(replies.failure(413, 3006, "AiError: AiError: Request is too large"))
            reply = await service.handle(_call(request, surface, body, wrapped=wrapped, compat=compat))
            if reply is None:
                await _hang_up(request)
                return Response()  # the connection is closed, so nobody reads this
            return _response(reply)

        return Route(path, endpoint, methods=["POST"])

    def messages(action: Literal["pull", "ack"]) -> Route:
        async def endpoint(request: Request) -> Response:
            path, body = request.path_params, await _body(request)
            reply = service.handle_messages(path["account"], path["queue"], action, body or b"", request.headers)
            if reply is None:
                await _hang_up(request)
                return Response()
            return _response(reply)

        return Route(_MESSAGES + action, endpoint, methods=["POST"])

    async def convert(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return _response(replies.failure(413, 3006, "AiError: AiError: Request is too large"))
        reply = await service.convert(request.path_params["account"], body, request.headers)
        if reply is None:
            await _hang_up(request)
            return Response()
        return _response(reply)

    def get(path: str, answer: Callable[[Request], Reply]) -> Route:
        async def endpoint(request: Request) -> Response:
            return _response(answer(request))

        return Route(path, endpoint, methods=["GET"])

    def look_up(page: str) -> Callable[[Request], Reply]:
        return lambda r: service.look_up(r.path_params["account"], page, r.query_params, r.headers)

    async def stats(_: Request) -> Response:
        return Response(orjson.dumps(service.stats()), media_type="application/json")

    async def wrong_leaves(_: Request) -> Response:
        found = [wrong._asdict() for wrong in service.wrong_leaves()]
        return Response(orjson.dumps(found), media_type="application/json")

    async def reset(_: Request) -> Response:
        service.reset()
        return Response(orjson.dumps(service.stats()), media_type="application/json")

    routes: list[BaseRoute] = [
        post(_AI + "/run", "run", wrapped=True),
        post(_AI + "/run/{model:path}", "run"),
        post(_AI + "/v1/chat/completions", "chat"),
        get(_AI + "/v1/models", lambda _: _NOT_ALLOWED),  # observed
        Route(_AI + "/tomarkdown", convert, methods=["POST"]),
        get(_AI + "/tomarkdown/supported", lambda _: replies.success(markdown.supported())),
        get(_AI + "/models/search", look_up("search")),
        get(_AI + "/models/schema", look_up("schema")),
        messages("pull"),
        messages("ack"),
        post("/v1/chat/completions", "openai"),
        get("/v1/models", lambda r: service.openai_models(r.headers)),
        post(_GATEWAY + "/workers-ai/v1/chat/completions", "chat"),
        post(_GATEWAY + "/workers-ai/{model:path}", "run"),
        post(_GATEWAY + "/compat/chat/completions", "chat", compat=True),
        Route("/stats", stats, methods=["GET"]),
        Route("/wrong_leaves", wrong_leaves, methods=["GET"]),
        Route("/reset", reset, methods=["POST"]),
    ]
    return Starlette(
        routes=routes,
        exception_handlers={
            404: _error(replies.failure(400, 7000, "No route for that URI")),
            405: _error(_NOT_ALLOWED),
        },
    )


class _Events(Response):
    """A reply in pieces, each of which is sent at its time."""

    def __init__(self, reply: Reply, headers: Mapping[str, str]) -> None:
        super().__init__(b"", reply.status, headers, reply.media_type)
        del self.headers["content-length"]
        self._reply = reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for number, piece in enumerate(self._reply.pieces):
            if number and self._reply.pause:
                await asyncio.sleep(self._reply.pause)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if self._reply.cut:
            await _hang_up(Request(scope, receive))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _call(request: Request, surface: Surface, body: bytes, *, wrapped: bool, compat: bool) -> Call:
    path = request.path_params
    return Call(
        surface=surface,
        body=body,
        headers=request.headers,
        account=path.get("account", ""),
        model=path.get("model"),
        queued=request.query_params.get("queueRequest", "").lower() == "true",
        gateway=path.get("gateway"),
        wrapped=wrapped,
        compat=compat,
    )


def _error(reply: Reply) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Answer in the envelope where Starlette would answer in plain text [observed: codes 7000, 7001]."""

    async def handler(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _response(reply)

    return handler


def _response(reply: Reply) -> Response:
    # The emulator's own name, as the real service says ``cloudflare`` here.
    headers = {"cf-ai-req-id": str(uuid4()), "server": NAME, "date": formatdate(usegmt=True), **reply.headers}
    return _Events(reply, headers) if reply.pieces else Response(reply.body, reply.status, headers, reply.media_type)


async def _body(request: Request) -> bytes | None:
    """Read the body; None if it is larger than `_MOST_BYTES`."""
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
    # Waits until the server has noticed, because it would otherwise try to send what this endpoint returns.
    while (await request.receive())["type"] != "http.disconnect":
        pass
