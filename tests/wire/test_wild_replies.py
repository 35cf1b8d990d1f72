"""A service that sends random replies: nothing crashes, and each document leaves once, as a row or a dead letter."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness import receipts, run_extract, service
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patience import HANGS
from scripted import Asked, Scripted, answered, completion, reply

import kimi_beam as kb

QUICK = kb.Polling(first=0.002, factor=1.5, ceiling=0.01, deadline=0.25)

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.sampled_from([1e308, -1, 0, 10**400, "1e999", "\ud800", "\0", "", "x" * 300]),
    st.text(max_size=8),
)
_keys = st.sampled_from(
    [
        *("result", "success", "errors", "messages", "status", "request_id", "results", "responses", "index", "id"),
        *("external_reference", "choices", "message", "content", "finish_reason", "usage", "prompt_tokens"),
        *("prompt_tokens_details", "cached_tokens", "completion_tokens", "tool_calls", "function", "name", "arguments"),
        *("code", "error", "delta", "response", "created", "model", "refusal", "reasoning_content", "type"),
    ]
)
_json = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_keys, inner, max_size=5)),
    max_leaves=12,
)
_shaped = st.one_of(
    st.fixed_dictionaries({"result": _json, "success": st.sampled_from([True, False, None, "x"])}),
    st.fixed_dictionaries({"success": st.just(False), "errors": _json}),
    st.fixed_dictionaries({"result": st.fixed_dictionaries({"choices": st.lists(_json, max_size=2), "usage": _json})}),
    st.fixed_dictionaries({"choices": st.lists(st.fixed_dictionaries({"message": _json, "finish_reason": _json}))}),
    st.fixed_dictionaries({"result": st.fixed_dictionaries({"results": st.lists(_json, max_size=4)})}),
    st.fixed_dictionaries({"result": st.fixed_dictionaries({"status": _json, "request_id": _json})}),
    st.fixed_dictionaries({"error": _json}),
)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


_depths = st.sampled_from([50, 1_000, 100_000])
_plain = st.one_of(
    _json.map(encoded),
    _shaped.map(encoded),
    st.binary(max_size=40),
    _depths.map(lambda n: b"[" * n),
    _depths.map(lambda n: b'{"result":' * n + b"1" + b"}" * n),
    _depths.map(lambda n: b'{"result":{"choices":[{"message":{"content":' + b"[" * n + b"]" * n + b"}}]}}"),
    st.just(b'{"result": {"choices": [{"message": {"content": "\xff\xfe"}}]}}'),
    st.just(b'{"result": {"response": ' + b"9" * 5000 + b"}}"),
    st.sampled_from([b"", b"\xef\xbb\xbf{}", b"null", b"<html>", b"{} {}"]),
)


def stream(events: list[bytes], tail: bytes) -> bytes:
    return b"".join(b"data: " + event.replace(b"\n", b" ") + b"\n\n" for event in events) + tail


_chunks = st.one_of(
    _shaped.map(encoded),
    st.fixed_dictionaries({"choices": st.lists(st.fixed_dictionaries({"delta": _json}), max_size=2)}).map(encoded),
    st.fixed_dictionaries({"response": _json}).map(encoded),
    st.binary(max_size=20),
)
_streams = st.builds(
    stream,
    st.lists(_chunks, max_size=4),
    st.sampled_from([b"", b"data: [DONE]\n\n", b"data: [DO", b": ping\n\n", b"event: x\r\rdata:\r\n\r\n"]),
)
# No redirects: those end the run, as the URL is wrong (test_redirects).
_statuses = st.sampled_from([200, 200, 200, 200, 201, 204, 400, 404, 408, 413, 422, 429, 500, 502, 524])
_waits = st.sampled_from(
    ["0", "-1", "nan", "inf", "0.01", "soon", "99999999999999999999", "Mon, 01 Jan 2001 00:00:00 GMT"]
)


@st.composite
def _replies(draw: st.DrawFn) -> bytes | None:
    """A whole HTTP reply, often broken as HTTP too."""
    is_stream = draw(st.booleans())
    body = draw(_streams if is_stream else _plain)
    headers = {"content_type": "text/event-stream" if is_stream else "application/json"}
    if draw(st.integers(0, 5)) == 0:
        headers["retry_after"] = draw(_waits)
    if draw(st.integers(0, 9)) == 0:
        headers["ratelimit"] = draw(st.sampled_from(['"a";r=0;t=0', '"a";r=0;t=999999', "r=;t=", "\xff", ";r=0;t=1e9"]))
    status = draw(_statuses)
    how = draw(st.sampled_from(["plain"] * 6 + ["gzip", "cut gzip", "no gzip", "longer", "shorter", "hang up", "http"]))
    if how == "hang up":
        return None
    if how == "http":
        return draw(st.sampled_from([b"HTTP/1.1 \r\n\r\n", b"\0" * 20, b"HTTP/1.1 200 OK\r\nx\r\n\r\n", b"\r\n"]))
    if "gzip" in how:
        headers["content_encoding"] = "gzip"
        body = {"gzip": gzip.compress(body), "cut gzip": gzip.compress(body + b"x" * 99)[:-9], "no gzip": body}[how]
    if how in ("longer", "shorter"):
        headers["content_length"] = str(max(0, len(body) + (7 if how == "longer" else -7)))
    return reply(body, status, **headers)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    said=st.lists(_replies(), min_size=1, max_size=6),
    then=st.sampled_from(["good", "again"]),
    api=st.sampled_from(["run", "chat", "openai", "batch"]),
    form=st.sampled_from(["schema", "prompt", "tool"]),
    tools=st.booleans(),
)
def test_whatever_the_service_says_each_document_leaves_once(
    said: list[bytes | None], then: str, api: Any, form: Any, tools: bool
) -> None:
    count = iter(range(10**9))

    def answer(_: Asked) -> bytes | None:
        number = next(count)
        if number >= len(said) and then == "good":
            return answered()
        return said[number % len(said)]

    documents = receipts(6)
    with Scripted(answer) as server, tempfile.TemporaryDirectory() as directory:
        where = kb.WorkersAI(model="m", openai_url=server.url) if api == "openai" else service(server.url, api=api)
        more = {"tools": [helper]} if tools and api != "batch" else {}
        try:
            outcome = run_extract(
                documents,
                "",
                Path(directory),
                where=where,
                structured_output=form,
                polling=QUICK,
                **more,  # type: ignore[arg-type]
            )
        except Exception as e:
            if "Workers AI turned" in str(e) or f"{server.url} turned" in str(e):
                return  # trouble with the account, in the service's own words, ends a bounded job
            raise
    assert outcome.ids == Counter(d.id for d in documents), "a document was lost or doubled"
    for letter in outcome.letters:
        assert letter["code"]
        assert letter["stage"] != "read"
        assert "\n" not in letter["message"]
        assert len(letter["message"]) < 2_000
    spent = outcome.summary["usage"]
    assert 0 <= spent["cached_tokens"] <= spent["prompt_tokens"]


def helper(word: str = "") -> str:
    """Helps."""
    return word


def queue(done: list[bytes]) -> Any:
    """A queue that takes every submit, and answers all polls of a job with the same reply, each job with the next."""
    jobs = itertools.count()

    def answer(asked: Asked) -> bytes:
        if b'"request_id"' not in asked.body:
            return reply({"result": {"status": "queued", "request_id": str(next(jobs))}, "success": True})
        return done[int(asked.json["request_id"]) % len(done)]

    return answer


@st.composite
def _finished_jobs(draw: st.DrawFn) -> bytes:
    items = draw(st.lists(_json, max_size=6))
    if draw(st.booleans()):
        items = [*items, {"index": 0, "result": completion()}]
    return encoded({"result": {"results": items, "usage": draw(_json)}, "success": True})


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(done=st.lists(_finished_jobs(), min_size=4, max_size=4))
def test_whatever_stands_in_a_finished_job_each_document_leaves_once(done: list[bytes]) -> None:
    documents = receipts(4 * len(done))
    with Scripted(queue([reply(body) for body in done])) as server, tempfile.TemporaryDirectory() as directory:
        packed = kb.Batching(max_items=4)
        outcome = run_extract(documents, server.url, Path(directory), batching=packed, polling=QUICK)
    assert outcome.ids == Counter(d.id for d in documents)


HUGE = b'{"result":{"choices":[{"message":{"content":"' + b"x" * (1 << 20) + b'"}}]}}'


BROKEN = (
    gzip.compress(HUGE)[:-20],
    reply(gzip.compress(HUGE)[:-20], content_encoding="gzip"),
    reply(b"not gzip", content_encoding="gzip"),
    reply(b"data: {", content_type="text/event-stream"),
    reply(b"data: [DONE]\n\n", content_type="text/event-stream"),
    reply(HUGE),
    reply(b"", 204),
    reply(b"{}", content_length="1000000"),
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}",
    b"HTTP/1.1 100 Continue\r\n\r\n",
)


def number_of_document(asked: Asked) -> int:
    found = re.search(rb"Shop (\d+) Ltd", asked.body)
    assert found
    return int(found[1])


@pytest.mark.parametrize("form", ["schema", "prompt"])
def test_a_broken_reply_to_a_run_is_a_dead_letter_after_at_most_two_requests_that_may_be_paid(
    form: Any, tmp_path: Path
) -> None:
    documents = receipts(2 * len(BROKEN))
    with Scripted(lambda asked: BROKEN[number_of_document(asked) // 2]) as server:
        where = service(server.url, api="run")
        patient = replace(QUICK, deadline=HANGS)  # a document that is late is never asked for, which proves nothing
        outcome = run_extract(documents, "", tmp_path, where=where, structured_output=form, polling=patient)
        times = Counter(map(number_of_document, server.asked))
    assert max(times.values()) <= 2, {n: BROKEN[n // 2][:40] for n, count in times.items() if count > 2}
    assert times.keys() == set(range(len(documents)))
    assert outcome.ids == Counter(d.id for d in documents)
    assert len(outcome.letters) == len(documents)
