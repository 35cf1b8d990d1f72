"""Google Cloud Storage: whole runs against an emulator of it, and the errors for buckets that cannot be used."""

from __future__ import annotations

import gc
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import google.auth
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from gcp_storage_emulator.server import create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage  # type: ignore[attr-defined]
from google.cloud.storage.exceptions import InvalidResponse
from harness import ACCOUNT, RECEIPT, Outcome, read_dataset, receipts

from kimi_beam import cli
from kimi_beam.emulator import Emulator
from kimi_beam.files.filesystems import FileSystems

PROGRAM = """
import google.auth
from google.auth.credentials import AnonymousCredentials

google.auth.default = lambda **_: (AnonymousCredentials(), None)  # or they are looked for during half a minute

from kimi_beam import cli

cli.program()
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "token")
    monkeypatch.setattr(google.auth, "default", lambda **_: (AnonymousCredentials(), None))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[storage.Bucket]:
    """40 documents, one that has no text, and a schema."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="documents")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    client = storage.Client.create_anonymous_client()
    bucket = client.bucket("documents")
    lines = [json.dumps({"id": d.id, "text": d.text}) for d in receipts(40)]
    bucket.blob("in/docs.jsonl").upload_from_string("\n".join([*lines, '{"id": "empty", "text": ""}']))
    bucket.blob("schema.json").upload_from_string(json.dumps(RECEIPT))
    yield bucket
    client.close()
    server.stop()


EVERYTHING = Counter([*(f"doc-{i}" for i in range(40)), "empty"])


def command(name: str, inputs: str, emulator: Emulator, output: str, *more: str) -> list[str]:
    asked = ("--base-url", emulator.base_url, "--poll-interval", "0.05:0.2")
    return [name, inputs, "--schema", "gs://documents/schema.json", "--output", output, *asked, "--no_auth", *more]


def read_run(bucket: storage.Bucket, prefix: str, directory: Path) -> Outcome:
    copy = directory / prefix
    copy.mkdir(exist_ok=True)
    for blob in bucket.list_blobs(prefix=f"{prefix}/"):
        name = blob.name.removeprefix(f"{prefix}/")
        assert not name.startswith((".staging-", ".lease-")), "something is left"
        if "/" not in name:
            (copy / name).write_bytes(blob.download_as_bytes())
    return read_dataset(copy)


def test_a_whole_run_its_repetition_and_its_redrive(
    bucket: storage.Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator() as emulator:
        run = command("extract", "gs://documents/in/*.jsonl", emulator, "gs://documents/out")
        assert cli.main(run) == 0
        outcome = read_run(bucket, "out", tmp_path)
        assert (outcome.ids, outcome.codes) == (EVERYTHING, {"empty_document": 1})
        paid = emulator.stats()["submits"]
        assert cli.main(run) == 2
        assert "holds a finished run" in capsys.readouterr().err
        assert cli.main([*run, "--overwrite"]) == 0
        assert read_run(bucket, "out", tmp_path).ids == EVERYTHING
        assert emulator.stats()["submits"] == paid, "the journal was not read"
        redrive = command("redrive", "gs://documents/out", emulator, "gs://documents/again", "--code", "empty_document")
        assert cli.main(redrive) == 0
        assert read_run(bucket, "again", tmp_path).ids == Counter(["empty"])


def test_killed_and_started_again_it_pays_for_nothing_twice_and_a_second_at_once_is_refused(
    bucket: storage.Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(latency=6.0) as emulator:
        words = command("extract", "gs://documents/in/*.jsonl", emulator, "gs://documents/killed")
        program = [sys.executable, "-c", PROGRAM, *words]
        with (tmp_path / "log").open("wb") as log, subprocess.Popen(program, stdout=log, stderr=log) as first:
            _wait_for(lambda: emulator.stats()["polls"] >= 2)
            assert cli.main(words) == 2
            assert f"another run (process {first.pid} on" in capsys.readouterr().err
            first.send_signal(signal.SIGKILL)
        assert cli.main(words) == 0
        assert read_run(bucket, "killed", tmp_path).ids == EVERYTHING
        assert emulator.stats()["paid_twice"] == 0


def _wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ------------------------------------------------------------------------------------------------ mistakes


def refused(words: list[str], emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> str:
    """Runs what is the user's mistake; returns the one line that says so."""
    capsys.readouterr()
    code = cli.main(words)
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), err
    assert len(err.splitlines()) == 1, err
    assert [emulator.stats()[kind] for kind in ("submits", "polls", "runs")] == [0, 0, 0], "something was sent"
    return err


@pytest.mark.parametrize(
    ("inputs", "output", "more"),
    [
        ("gs://documents/in/*", "gs://missing-bucket/out", ()),
        ("gs://missing-bucket/in/*", "gs://documents/out", ()),
        ("gs://missing-bucket/in.jsonl", "gs://documents/out", ()),
        ("gs://documents/in/*", "gs://documents/out", ("--journal", "gs://missing-bucket/journal")),
    ],
)
def test_a_bucket_that_is_missing_is_named_before_anything_is_sent(
    bucket: storage.Bucket, inputs: str, output: str, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator() as emulator:
        told = refused(command("extract", inputs, emulator, output, *more), emulator, capsys)
    assert "the bucket gs://missing-bucket does not exist" in told


class _ReadOnly(BaseHTTPRequestHandler):
    """A bucket with nothing in it that takes nothing, as Google's API says so."""

    def do_GET(self) -> None:
        if "/o?" in self.path or self.path.endswith("/o"):
            self._answer(200, {"kind": "storage#objects"})
        else:
            self._answer(404, {"error": {"code": 404, "message": "No such object"}})

    posts = 0

    def do_POST(self) -> None:
        type(self).posts += 1
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(403, {"error": {"code": 403, "message": "no storage.objects.create access"}})

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_a_bucket_that_takes_nothing_is_named_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs.jsonl").write_text('{"id": "a", "text": "TOTAL: 1.00"}')
    (tmp_path / "schema.json").write_text(json.dumps(RECEIPT))
    with ThreadingHTTPServer(("127.0.0.1", 0), _ReadOnly) as server, Emulator() as emulator:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        words = ["extract", str(tmp_path / "docs.jsonl"), "--schema", str(tmp_path / "schema.json"), "--no_auth"]
        words += ["--output", "gs://read-only/out", "--base-url", emulator.base_url]
        told = refused(words, emulator, capsys)
        server.shutdown()
    assert "the bucket gs://read-only refuses access (403)" in told


@pytest.mark.parametrize("fails", ["in the block", "at its end"])
def test_a_failed_file_is_not_uploaded_again_when_it_is_garbage_collected(
    fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its server may have gone by then, and Google's client tries for minutes."""
    monkeypatch.setattr(_ReadOnly, "posts", 0)
    with ThreadingHTTPServer(("127.0.0.1", 0), _ReadOnly) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        FileSystems.set_options(PipelineOptions(["--no_auth"]))
        files: list[Any] = []

        def write() -> None:
            with FileSystems.create("gs://read-only/a") as f:
                files.append(f)
                f.write(b"x")
                if fails == "in the block":
                    raise KeyError

        with pytest.raises((InvalidResponse, KeyError)):
            write()
        tried = _ReadOnly.posts
        assert tried == (fails == "at its end")
        is_closed = files.pop().closed
        gc.collect()
        assert (is_closed, _ReadOnly.posts) == (True, tried)
        server.shutdown()
