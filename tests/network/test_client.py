"""The client against real sockets: what was certainly not sent, what may have been, and where the token is not."""

from __future__ import annotations

import asyncio
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from clients import ACCOUNT, client, connections_served
from patience import HANGS

from kimi_beam.errors import ConfigError
from kimi_beam.network import event_loop
from kimi_beam.network.client import Timeouts
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.wire.envelopes import HttpReply, NoReply

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def server(
    answer: Callable[[bytes], bytes | None], connections: list[object] | None = None
) -> Iterator[tuple[str, list[bytes]]]:
    """A socket that reads a request, sends what `answer` returns (None: nothing), and closes unless kept alive."""
    seen: list[bytes] = []
    connections = [] if connections is None else connections

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                )
                request = head + await reader.readexactly(length)
                seen.append(request)
                reply = await asyncio.to_thread(answer, request)
                if reply is None:
                    return
                writer.write(reply)
                await writer.drain()
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    with connections_served(serve) as url:
        yield url, seen


def unused_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def test_a_connection_that_is_refused_certainly_sent_nothing() -> None:
    with client(f"http://127.0.0.1:{unused_port()}") as c:
        (reply,) = c.submit([b"{}"])
    assert isinstance(reply, NoReply)
    assert not reply.sent, "a refused connection would count as an unknown submit, and documents be given up"


def test_a_host_that_does_not_resolve_certainly_got_nothing() -> None:
    with client("http://no-such-host.invalid") as c:
        (reply,) = c.submit([b"{}"])
    assert isinstance(reply, NoReply)
    assert not reply.sent


@pytest.mark.parametrize(
    "broken",
    [
        None,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"not http at all\r\n\r\n",
    ],
    ids=["closed", "cut", "bad gzip", "no http"],
)
def test_a_reply_that_breaks_off_may_have_been_accepted(broken: bytes | None) -> None:
    answered = []

    def answer(_: bytes) -> bytes | None:
        answered.append(True)
        return broken if len(answered) == 1 else None

    with server(answer) as (url, seen), client(url, timeouts=Timeouts(read=1.0)) as c:
        (reply,) = c.submit([b"{}"])
    assert isinstance(reply, NoReply)
    assert reply.sent, "the documents could be submitted, and paid for, again and again"
    assert len(seen) == 1, "the transport repeated a submit by itself"


def test_a_reply_that_never_comes_may_have_been_accepted() -> None:
    waiting = threading.Event()

    def answer(_: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\n"  # and then nothing more

    with server(answer) as (url, seen), client(url, timeouts=Timeouts(read=0.2)) as c:
        (reply,) = c.submit([b"{}"])
    waiting.set()
    assert isinstance(reply, NoReply)
    assert reply.sent
    assert len(seen) == 1


def test_each_submit_has_a_connection_of_its_own_and_polls_share_one() -> None:
    connections: list[object] = []
    with server(lambda _: OK, connections) as (url, _), client(url) as c:
        for _ in range(3):
            c.submit([b"{}"])
        assert len(connections) == 3, "a kept connection can go stale under a submit"
        for _ in range(3):
            list(c.poll(["r"]))
        assert len(connections) == 4


def test_the_wire_is_the_documented_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "t0ken")
    with server(lambda _: OK) as (url, seen), client(url + "/client/v4/") as c:
        list(c.poll(["6283595c"]))
    head, _, body = seen[0].partition(b"\r\n\r\n")
    target = f"POST /client/v4/accounts/{ACCOUNT}/ai/run/@cf/moonshotai/kimi-k2.6?queueRequest=true HTTP/1.1"
    assert head.splitlines()[0].decode() == target
    assert b"authorization: bearer t0ken" in head.lower()
    assert body == b'{"request_id":"6283595c"}'


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, 7_999_999])
def test_a_large_body_is_sent_whole_with_its_length_and_without_a_warning(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with server(lambda _: OK) as (url, seen), client(url) as c:
        assert [type(reply) for reply in c.submit([body, body])] == [HttpReply, HttpReply]
    for request in seen:
        head, _, sent = request.partition(b"\r\n\r\n")
        assert sent == body
        assert head.lower().count(b"content-length: %d" % size) == 1
        assert b"transfer-encoding" not in head.lower(), "Cloudflare's pages show a length"


def test_retry_after_and_status_come_through() -> None:
    reply = b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}"
    with server(lambda _: reply) as (url, _), client(url) as c:
        assert c.submit([b"{}"]) == [HttpReply(429, b"{}", "7")]


def test_a_rotated_token_is_read_again_after_a_401_and_a_revoked_one_asked_once(tmp_path: Path) -> None:
    place = tmp_path / "token"
    place.write_text("old\n")
    refused = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"

    def answer(request: bytes) -> bytes:
        return OK if b"Bearer new" in request else refused

    with server(answer) as (url, seen), client(url, token_from=f"file:{place}") as c:
        assert [r.status for r in c.submit([b"{}"])] == [401]  # type: ignore[union-attr]
        assert len(seen) == 1, "the same refused token was sent again"
        place.write_text("new\n")
        assert [r.status for r in c.submit([b"{}", b"{}"])] == [200, 200]  # type: ignore[union-attr]
        assert [r.status for _, r in c.poll(["r"])] == [200]  # type: ignore[union-attr]


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(lambda _: OK) as (proxy, seen):
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.delenv("no_proxy", raising=False)
        with client("http://only-the-proxy-knows.invalid") as c:
            (reply,) = c.submit([b"{}"])
    assert isinstance(reply, HttpReply)
    assert seen[0].startswith(b"POST http://only-the-proxy-knows.invalid/accounts/")


def test_many_polls_run_at_once_and_each_reply_is_its_jobs() -> None:
    def answer(request: bytes) -> bytes:
        body = request.partition(b"\r\n\r\n")[2]
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    with server(answer) as (url, _), client(url) as c:
        replies = dict(c.poll([str(i) for i in range(100)]))
    assert len(replies) == 100
    assert all(r.body == b'{"request_id":"%d"}' % i for i, r in replies.items())  # type: ignore[union-attr]


def test_a_polls_reply_is_there_while_another_is_still_waited_for() -> None:
    heard = threading.Event()

    def answer(request: bytes) -> bytes:
        if request.endswith(b'"slow"}'):
            assert heard.wait(HANGS), "the quick reply was kept back until the slow one came"
        return OK

    with server(answer) as (url, _), client(url) as c:
        replies = c.poll(["slow", "quick"])
        assert next(replies)[0] == 1
        heard.set()
        assert [index for index, _ in replies] == [0]


async def _open_tasks() -> int:
    """Tasks on the loop beside this one, once those that were cancelled have had the time to end."""
    for _ in range(1_000):
        if len(asyncio.all_tasks()) == 1:
            break
        await asyncio.sleep(0.001)
    return len(asyncio.all_tasks()) - 1


def test_polls_that_nobody_reads_any_more_are_let_go() -> None:
    gone = threading.Event()

    def answer(request: bytes) -> bytes:
        if request.endswith(b'"slow"}'):
            gone.wait(HANGS)
        return OK

    with server(answer) as (url, _), client(url) as c:
        replies = c.poll(["slow", "quick"])
        next(replies)
        replies.close()  # type: ignore[attr-defined]  # as when a bundle fails
        still_open = event_loop.run(_open_tasks())
        gone.set()
        assert not still_open, "a poll that nobody waits for keeps its connection"
        assert [r.status for _, r in c.poll(["r"])] == [200]  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------------------ WorkersAI


@pytest.mark.parametrize(
    "settings",
    [
        {"account_id": ""},
        {"account_id": "a/../b"},
        {"account_id": ACCOUNT, "model": "a b"},
        {"account_id": ACCOUNT, "model": "a/../../zones"},
        {"account_id": ACCOUNT, "model": ""},
        {"account_id": ACCOUNT, "base_url": "ftp://x"},
        {"account_id": ACCOUNT, "base_url": "https://user:secret@host/v4"},
        {"account_id": ACCOUNT, "token_from": "s3cret-token-itself"},
        {"account_id": ACCOUNT, "token_from": "raw:s3cret"},
    ],
)
def test_settings_that_cannot_work_are_refused_without_repeating_a_secret(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as e:
        WorkersAI(**settings)  # type: ignore[arg-type]
    assert "s3cret" not in str(e.value)
    assert "secret@" not in str(e.value)


def test_without_credentials_the_error_names_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDFLARE_ACCOUNT_ID", raising=False)
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN"):
        WorkersAI.from_env()
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    with pytest.raises(ConfigError, match="CLOUDFLARE_API_TOKEN is not set"):
        WorkersAI.from_env()
    assert WorkersAI.from_env(base_url="http://127.0.0.1:1").read_token() == "none"


def test_the_token_is_in_no_repr_and_no_pickle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "t0ken-of-mine")
    service = WorkersAI.from_env()
    assert service.read_token() == "t0ken-of-mine"
    assert "t0ken-of-mine" not in repr(service)
    assert b"t0ken-of-mine" not in pickle.dumps(service)
    assert pickle.loads(pickle.dumps(service)) == service


def test_beams_secrets_are_taken_unless_they_are_raw() -> None:
    from apache_beam.utils.secret import GcpSecret, RawSecret

    named = GcpSecret("projects/p/secrets/s/versions/1")
    assert WorkersAI(ACCOUNT, token_from=named).token_from is named
    with pytest.raises(ConfigError, match="raw secret would travel"):
        WorkersAI(ACCOUNT, token_from=RawSecret("s3cret"))
