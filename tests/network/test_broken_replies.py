"""Replies whose body is a whole answer although their framing is not: what was paid for is in hand, and is taken."""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from clients import client, connections_served
from harness import receipts, run_extract, service
from scripted import Asked, Scripted, completion, reply

from kimi_beam.network.client import Timeouts
from kimi_beam.wire.completions import Answered, decode_run
from kimi_beam.wire.envelopes import HttpReply, NoReply
from kimi_beam.wire.protocol import Accepted, Done, decode_poll, decode_submit

TICKET = b'{"result":{"request_id":"r-1","status":"queued"},"success":true,"errors":[]}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def longer(body: bytes, more: int = 9) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body) + more, body)


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def packed(body: bytes, encoding: bytes = b"gzip", more: int = 9) -> bytes:
    return HEAD + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s" % (encoding, len(body) + more, body)


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GZIPPED = gzip.compress(TICKET)
BROKEN = {
    "content-length is longer": longer(TICKET),
    "content-length is far longer": longer(TICKET, 1 << 20),
    "with a line end after it": longer(TICKET + b"\r\n"),
    "chunked without an end": CHUNKED + chunk(TICKET),
    "chunked in the middle of a chunk's end": CHUNKED + b"%x\r\n%s" % (len(TICKET), TICKET),
    "a chunk that promises more": CHUNKED + b"%x\r\n%s" % (len(TICKET) + 5, TICKET),
    "gzip and a longer content-length": packed(GZIPPED),
    "gzip without its trailer": packed(GZIPPED[:-8]),
    "gzip with a wrong checksum": packed(GZIPPED[:-8] + b"\0" * 8, more=0),
    "deflate": packed(zlib.compress(TICKET), b"deflate"),
    "said to be gzip and is plain": packed(TICKET, more=0),
    "after a mark of UTF-8": longer(b"\xef\xbb\xbf" + TICKET),
    "after a mark, and all is there": longer(b"\xef\xbb\xbf" + TICKET, 0),
    "before a proxy's own words": longer(TICKET + b"\n<!-- by proxy -->", 0),
    "sent twice": longer(TICKET + TICKET, 0),
}


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kimi_beam.network.http_replies._PATIENCE", 0.2)


@contextmanager
def raw_server(said: Callable[[bytes], bytes], then: str) -> Iterator[tuple[str, list[bytes]]]:
    """Reads a request, sends some bytes, and then closes the connection, resets it, or holds it open."""
    seen = list[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        sizes = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        body = await reader.readexactly(int(sizes[0]))
        seen.append(body)
        writer.write(said(body))
        await writer.drain()
        if then == "close":
            writer.close()
        elif then == "reset":
            await asyncio.sleep(0.05)  # what is reset at once may overtake what was sent
            writer.get_extra_info("socket").setsockopt(1, 13, struct.pack("ii", 1, 0))
            writer.transport.abort()

    with connections_served(serve) as url:
        yield url, seen


@pytest.mark.parametrize("then", ["close", "reset", "hold"])
@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN)
def test_a_submit_reply_with_a_complete_ticket_in_its_json_is_a_ticket(said: bytes, then: str) -> None:
    with raw_server(lambda _: said, then) as (url, seen), client(url, timeouts=Timeouts(read=10.0)) as c:
        (came,) = c.submit([b'{"requests":[]}'])
    assert decode_submit(came, 0.0) == Accepted("r-1"), "the ticket was in hand, and all is paid for twice"
    assert len(seen) == 1


@pytest.mark.parametrize("then", ["close", "reset"])
def test_a_ticket_before_words_that_break_off_is_a_ticket(then: str) -> None:
    said = longer(TICKET + b"\n<!-- by pro", 500)
    with raw_server(lambda _: said, then) as (url, _), client(url) as c:
        (came,) = c.submit([b'{"requests":[]}'])
    assert decode_submit(came, 0.0) == Accepted("r-1")


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize(
    "said",
    [
        longer(TICKET[:-1]),
        longer(b'{"result":{"request_id":"r-1"}'),
        CHUNKED + chunk(TICKET[:40]),
        longer(b""),
        longer(b"123"),
        packed(GZIPPED[:30]),
    ],
)
def test_an_incomplete_reply_says_nothing(said: bytes, then: str) -> None:
    with raw_server(lambda _: said, then) as (url, _), client(url) as c:
        (came,) = c.submit([b"{}"])
    assert isinstance(came, NoReply)
    assert came.sent


def test_a_complete_refusal_in_a_broken_reply_is_a_refusal() -> None:
    refusal = b'{"success":false,"errors":[{"code":3040,"message":"AiError: full"}]}'
    said = b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 999\r\n\r\n" + refusal
    with raw_server(lambda _: said, "close") as (url, _), client(url) as c:
        assert c.submit([b"{}"]) == [HttpReply(429, refusal, "7")]


def test_a_poll_reply_with_complete_json_has_the_answers() -> None:
    job = json.dumps({"result": {"results": [{"result": completion(), "external_reference": "a"}] * 400}}).encode()
    with raw_server(lambda _: longer(job), "close") as (url, _), client(url) as c:
        ((_, came),) = c.poll(["r-1"])
    found = decode_poll(came, 0.0)
    assert isinstance(found, Done)
    assert len(found.items) == 400


def test_a_stream_that_came_to_its_end_is_an_answer_and_one_that_did_not_tells_what_it_cost() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    begun = (
        b"data: %s\n\n"
        % json.dumps({"choices": [{"index": 0, "delta": {"content": '{"a":1}'}}], "usage": usage}).encode()
    )
    ended = begun + b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    def asked(said: bytes, then: str) -> Any:
        with raw_server(lambda _: head + chunk(said), then) as (url, _), client(url) as c:
            from kimi_beam.network import event_loop

            return decode_run(event_loop.run(c.ask(b"{}", 60.0)), 0.0)

    for then in ("close", "reset", "hold"):
        assert isinstance(asked(ended, then), Answered), f"an answer that was paid for is asked for again ({then})"
    cut = asked(begun + b'data: {"choices":[{"ind', "close")
    assert cut.usage is not None, "tokens that are known to be spent are not counted"


@pytest.mark.parametrize("api", ["batch", "run", "chat"])
def test_replies_that_promise_more_than_they_hold_cost_no_document(api: Any, tmp_path: Path) -> None:
    jobs: dict[str, list[Any]] = {}

    def script(asked: Asked) -> bytes:
        wanted = asked.json
        if "request_id" in wanted:
            names = [request["external_reference"] for request in jobs[wanted["request_id"]]]
            items = [{"external_reference": name, "result": completion()} for name in names]
            told: Any = {"results": items}
        elif "requests" in wanted:
            told = {"request_id": f"r-{len(jobs)}", "status": "queued"}
            jobs[told["request_id"]] = wanted["requests"]
        else:
            told = completion()
        body = json.dumps({"result": told, "success": True}).encode()
        return reply(body, content_length=str(len(body) + 100))

    with Scripted(script) as server:
        outcome = run_extract(receipts(20), "", tmp_path, where=service(server.url, api=api))
    assert (len(outcome.rows), len(outcome.letters)) == (20, 0)
    paid = sum(len(asked.json.get("requests", [0])) for asked in server.asked if "request_id" not in asked.json)
    assert paid == 20, "documents were paid for twice"
