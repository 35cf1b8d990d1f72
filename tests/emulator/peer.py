"""A plain HTTP client for the emulator's tests, with the requests and checks that they share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import orjson
from patience import HANGS

from kimi_beam.emulator import Emulator

K2_6 = "@cf/moonshotai/kimi-k2.6"
SCHEMA = {
    "type": "object",
    "properties": {"company": {"type": "string"}, "total": {"type": "string"}},
    "required": ["company", "total"],
    "additionalProperties": False,
}
FORM_A = {"type": "json_schema", "json_schema": {"name": "receipt", "schema": SCHEMA, "strict": True}}
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
SIGNED = f"{K2_6} (emulator: rule-based, not Kimi)"
NOTE = "rule-based stand-in, not a model"
OK = {"success": True, "errors": [], "messages": []}


class Clock:
    def __init__(self) -> None:
        self.now = 1_784_180_000.25

    def __call__(self) -> float:
        return self.now


class Peer:
    def __init__(self, emulator: Emulator, clock: Clock, http: httpx.Client) -> None:
        self.emulator, self.clock, self.http = emulator, clock, http

    def post(
        self, body: object, query: str = "?queueRequest=true", model: str = K2_6, **options: Any
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        url = f"{self.emulator.base_url}/accounts/{'a' * 32}/ai/run/{model}{query}"
        headers = {"Authorization": "Bearer secret", "Content-Type": "application/json", **options.pop("headers", {})}
        return self.http.post(url, content=content, headers=headers, **options)

    def submit(self, *items: object, **options: Any) -> str:
        reply = self.post({"requests": list(items)}, **options)
        assert reply.status_code == 200, reply.text
        return str(reply.json()["result"]["request_id"])

    def poll(self, request_id: str, **options: Any) -> httpx.Response:
        return self.post({"request_id": request_id}, **options)

    def run(self, text: object = "Corner Cafe\nTotal: 9.00", model: str = K2_6, **body: Any) -> httpx.Response:
        headers = body.pop("headers", {})
        messages = body.pop("messages", [{"role": "user", "content": text}])
        return self.post({"messages": messages, **body}, query="", model=model, headers=headers)

    def chat(self, url: str = "", **body: Any) -> httpx.Response:
        headers = {"Authorization": "Bearer secret", **body.pop("headers", {})}
        body = {"model": K2_6, "messages": [{"role": "user", "content": "Corner Cafe\nTotal: 9.00"}], **body}
        url = url or f"{self.emulator.base_url}/accounts/{'a' * 32}/ai/v1"
        return self.http.post(f"{url}/chat/completions", json=body, headers=headers)

    def results(self, request_id: str) -> list[dict[str, Any]]:
        return list(self.poll(request_id).json()["result"]["results"])


@contextmanager
def serving(**options: Any) -> Iterator[Peer]:
    clock = Clock()
    with Emulator(clock=clock, **options) as emulator, httpx.Client(trust_env=False, timeout=HANGS) as http:
        yield Peer(emulator, clock, http)


def item(text: str = "Corner Cafe\nTotal: 9.00", reference: str | None = None, **more: Any) -> dict[str, Any]:
    value = {"messages": [{"role": "user", "content": text}], "response_format": FORM_A, **more}
    return value if reference is None else {**value, "external_reference": reference}


def failure(code: int, message: str) -> dict[str, Any]:
    return {"errors": [{"message": message, "code": code}], "success": False, "result": {}, "messages": []}


def content(part: dict[str, Any]) -> Any:
    return part["result"]["choices"][0]["message"]["content"]


def message(reply: httpx.Response) -> dict[str, Any]:
    """The message of a synchronous reply, enveloped or not."""
    value = reply.json()
    assert reply.status_code == 200, value
    found: dict[str, Any] = value.get("result", value)["choices"][0]["message"]
    return found


def refusal(reply: httpx.Response) -> tuple[int, int]:
    """HTTP status and internal code of a failure in Cloudflare's envelope."""
    value = reply.json()
    assert (value["success"], value["result"], value["messages"]) == (False, {}, [])
    (error,) = value["errors"]
    return reply.status_code, error["code"]


def events(reply: httpx.Response) -> list[Any]:
    """The events of a stream, each parsed but the last, which must be the end."""
    assert reply.headers["content-type"].startswith("text/event-stream")
    parts = reply.text.split("\n\n")
    assert parts.pop() == ""
    assert all(part.startswith("data: ") for part in parts)
    assert parts.pop() == "data: [DONE]"
    return [json.loads(part.removeprefix("data: ")) for part in parts]
