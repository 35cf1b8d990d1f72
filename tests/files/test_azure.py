"""Azure Blob Storage: whole runs against Azurite, Microsoft's emulator, which `make test-azure` installs."""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import ACCOUNT, RECEIPT, read_dataset, receipts

from kimi_beam import cli
from kimi_beam.emulator import Emulator
from kimi_beam.files.filesystems import FileSystems

AZURITE = os.environ.get("KIMI_BEAM_AZURITE")
pytestmark = [
    pytest.mark.skipif(not AZURITE, reason="needs Azurite: make test-azure"),
    # Beam's writer of Azure leaves its temporary file to the garbage collection.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROOT = "azfs://devstoreaccount1/documents"
# The account and the key that Azurite documents for everybody.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from azure.storage.blob import BlobServiceClient

    assert AZURITE
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(tmp_path / "azurite")]
    options += ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    server = subprocess.Popen([AZURITE, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    said = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={KEY}"
    said += f";BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", said)
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "token")
    try:
        _wait_for(port)
        with BlobServiceClient.from_connection_string(said) as service:
            container = service.create_container("documents")
            lines = [json.dumps({"id": d.id, "text": d.text}) for d in receipts(40)]
            container.upload_blob("in/docs.jsonl", "\n".join([*lines, '{"id": "empty", "text": ""}']))
            container.upload_blob("schema.json", json.dumps(RECEIPT))
            yield container
    finally:
        server.kill()
        server.wait()
        gc.collect()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def command(emulator: Emulator, inputs: str, output: str) -> list[str]:
    asked = ("--base-url", emulator.base_url, "--poll-interval", "0.05:0.2")
    return ["extract", inputs, "--schema", f"{ROOT}/schema.json", "--output", output, *asked]


def test_a_whole_run_and_its_repetition(container: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Emulator() as emulator:
        run = command(emulator, f"{ROOT}/in/*.jsonl", f"{ROOT}/out")
        assert cli.main(run) == 0
        paid = emulator.stats()["submits"]
        assert cli.main(run) == 2
        assert "holds a finished run" in capsys.readouterr().err
        assert cli.main([*run, "--overwrite"]) == 0
        assert emulator.stats()["submits"] == paid, "the journal was not read"
    names = [blob.name for blob in container.list_blobs(name_starts_with="out/")]
    assert not [name for name in names if ".staging-" in name or ".lease-" in name], "something is left"
    for name in names:
        if name.count("/") == 1:
            (tmp_path / name.removeprefix("out/")).write_bytes(container.download_blob(name).readall())
    outcome = read_dataset(tmp_path)
    assert outcome.ids == Counter([*(f"doc-{i}" for i in range(40)), "empty"])
    assert outcome.codes == {"empty_document": 1}


def test_looking_for_or_deleting_a_missing_blob_is_no_error(container: Any) -> None:
    assert not FileSystems.exists(f"{ROOT}/nothing")
    assert FileSystems.exists(f"{ROOT}/schema.json")
    FileSystems.delete([f"{ROOT}/nothing"])


@pytest.mark.parametrize("inputs", ["in/*.jsonl", "in.jsonl"])
def test_a_container_that_is_missing_is_named_before_anything_is_sent(
    container: Any, inputs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = "azfs://devstoreaccount1/missing"
    with Emulator() as emulator:
        for places in ((f"{ROOT}/in/*.jsonl", f"{missing}/out"), (f"{missing}/{inputs}", f"{ROOT}/out")):
            assert cli.main(command(emulator, *places)) == 2
            told = capsys.readouterr().err
            assert len(told.splitlines()) == 1
            assert f"the container {missing} does not exist" in told
        assert emulator.stats()["polls"] == 0
