"""TLS as it stands in offices: authorities of one's own, wrong ports, wrong hosts; told before anything is sent."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from harness import receipts, run_extract, service
from running_cli import SCHEMA, run
from scripted import Asked, Scripted, error, reply

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.network.client import Client
from kimi_beam.wire.envelopes import HttpReply, NoReply

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
ACCOUNT = "0123456789abcdef0123456789abcdef"
GONE = error(5504, 404)


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "a-token-of-mine-1")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@contextmanager
def tls_server(authority: trustme.CA, host: str = "127.0.0.1", said: bytes = GONE) -> Iterator[tuple[int, list[bytes]]]:
    """A server that speaks TLS alone, by a certificate for a host; the heads of the requests that it could read."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    loop, seen = asyncio.new_event_loop(), list[bytes]()
    opened: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(x.split(b":")[1]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length")
                )
                await reader.readexactly(length)
                seen.append(head)
                writer.write(said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    loop.set_exception_handler(lambda *_: None)  # handshakes that fail are what is tested
    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:

        async def stop() -> None:
            server.close()
            for writer in opened:
                writer.transport.abort()
            await asyncio.sleep(0.05)

        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def submit(base_url: str) -> Any:
    client = Client(kb.WorkersAI(ACCOUNT, base_url=base_url))
    try:
        (came,) = client.submit([b"{}"])
    finally:
        client.close()
    return came


def extract(base_url: str, tmp_path: Path, *more: str, capsys: Any) -> tuple[int, str]:
    (tmp_path / "a.txt").write_text("TOTAL: 1")
    flags = ("--base-url", base_url, "--poll-interval", "0.05:0.2", *more)
    command = ("extract", tmp_path / "a.txt", "--schema", SCHEMA, "--output", tmp_path / "out", *flags)
    code, _, err = run(*command, capsys=capsys)
    return code, err


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("as_directory", [False, True])
def test_an_authority_that_the_environment_names_is_trusted(
    variable: str, as_directory: bool, authority: trustme.CA, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable == "SSL_CERT_DIR" or as_directory:
        import subprocess

        directory = bundle.parent / "authorities"
        directory.mkdir()
        told = subprocess.run(
            ["openssl", "x509", "-hash", "-noout", "-in", bundle], capture_output=True, text=True, check=False
        )
        if told.returncode:
            pytest.skip("no openssl to name a certificate's file by its hash")
        (directory / f"{told.stdout.strip()}.0").write_bytes(bundle.read_bytes())
        bundle = directory
    monkeypatch.setenv(variable, str(bundle))
    with tls_server(authority) as (port, seen):
        came = submit(f"https://127.0.0.1:{port}")
    assert isinstance(came, HttpReply), came
    assert len(seen) == 1


def test_an_authority_that_nobody_names_is_not_trusted_and_nothing_is_sent(authority: trustme.CA) -> None:
    with tls_server(authority) as (port, seen):
        came = submit(f"https://127.0.0.1:{port}")
    assert isinstance(came, NoReply)
    assert not came.sent
    assert seen == []


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nxx\n"])
def test_a_variable_that_names_no_certificates_is_an_error_that_names_it(
    variable: str,
    content: bytes | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "certificates.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(variable, str(path))
    for more in ((), ("--no-preflight",)):
        code, err = extract("https://127.0.0.1:9/v4", tmp_path, *more, capsys=capsys)
        assert code == 2
        assert f"{variable}: " in err
        assert str(path) in err
        assert len(err.strip().splitlines()) == 1, err


def test_a_variable_that_is_not_needed_hinders_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, str(tmp_path / "nowhere.pem"))
    with Emulator() as emulator:
        assert len(run_extract(receipts(3), "", tmp_path, where=service(emulator.base_url)).rows) == 3


# ------------------------------------------------------------------------------------------------ preflights


def test_http_at_a_port_that_speaks_tls_ends_before_anything_is_sent(
    authority: trustme.CA, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tls_server(authority) as (port, seen):
        code, err = extract(f"http://127.0.0.1:{port}/v4", tmp_path, capsys=capsys)
    assert (code, seen) == (2, []), err
    assert f"cannot reach http://127.0.0.1:{port}/v4" in err
    assert "(https)?" in err
    assert "--no-preflight" in err


def test_a_server_that_answers_by_an_alert_of_tls_has_read_nothing() -> None:
    with Scripted(lambda _: b"\x15\x03\x01\x00\x02\x02\x46") as server:
        came = submit(server.url)
    assert isinstance(came, NoReply)
    assert not came.sent, "documents would be given up as perhaps submitted"


def test_https_at_a_port_that_speaks_http_ends_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator() as emulator:
        code, err = extract(emulator.base_url.replace("http:", "https:"), tmp_path, capsys=capsys)
        assert emulator.stats()["documents"] == 0
    assert code == 2
    assert "does not speak TLS" in err


@pytest.mark.parametrize(
    ("host", "trusted", "told"),
    [("127.0.0.1", False, "SSL_CERT_FILE"), ("other.example", True, "another host's")],
)
def test_a_certificate_that_is_not_good_ends_before_anything_is_sent(
    host: str,
    trusted: bool,
    told: str,
    authority: trustme.CA,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with tls_server(authority, host) as (port, seen):
        code, err = extract(f"https://127.0.0.1:{port}/v4", tmp_path, capsys=capsys)
    assert (code, seen) == (2, [])
    assert told in err


@pytest.mark.parametrize(
    "said",
    [
        None,
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 52\r\n\r\nThe plain HTTP request was sent to HTTPS port, nginx.",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n<html>log in</html> ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n[1,2,3]",
        reply({"detail": "Not Found"}, 404),
        reply({"detail": "no"}, 422),
    ],
)
def test_a_server_that_is_another_ones_ends_the_run_before_anything_is_sent(
    said: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Scripted(lambda _: said) as server:
        code, err = extract(server.url, tmp_path, capsys=capsys)
        assert all(b"requests" not in asked.body for asked in server.asked)
    assert code == 2, err
    assert len(err.strip().splitlines()) == 1


def test_trouble_that_passes_is_left_to_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def script(asked: Asked) -> bytes:
        if "requests" in asked.json:
            return error(3003, 400)
        return reply(b"<html>bad gateway</html>", 502)

    with Scripted(script) as server:
        code, err = extract(server.url, tmp_path, capsys=capsys)
    assert code == 0, err
    assert "could not make sure" in err


# ------------------------------------------------------------------------------------------------ a real proxy


@contextmanager
def proxy(to: int) -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that makes tunnels to a port of this machine, whatever host is named; all bytes that it could read."""
    loop, read = asyncio.new_event_loop(), list[bytes]()
    ends: list[asyncio.StreamWriter] = []

    async def pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            read.append(data)
            target.write(data)
            await target.drain()
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read.append(await reader.readuntil(b"\r\n\r\n"))
        far_reader, far = await asyncio.open_connection("127.0.0.1", to)
        ends.extend((writer, far))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pipe(reader, far), pipe(far_reader, writer), return_exceptions=True)

    listening = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}", read
    finally:

        async def stop() -> None:
            listening.close()
            for end in ends:
                end.transport.abort()
            await asyncio.sleep(0.05)

        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY", "all_proxy"])
def test_through_a_proxy_a_token_goes_inside_tls_alone(
    variable: str, authority: trustme.CA, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    monkeypatch.setenv("MINE", "a-token-of-mine-1")
    with tls_server(authority, "kimi.example.com") as (port, seen), proxy(port) as (address, read):
        monkeypatch.setenv(variable, f"http://{address}")
        client = Client(kb.WorkersAI(ACCOUNT, base_url="https://kimi.example.com", token_from="env:MINE"))
        try:
            (came,) = client.submit([b"{}"])
        finally:
            client.close()
    assert isinstance(came, HttpReply), came
    assert read[0].startswith(b"CONNECT kimi.example.com:443 ")
    assert b"a-token-of-mine-1" in seen[0]
    assert b"a-token-of-mine-1" not in b"".join(read), "the proxy could read the token"
