"""Dataflow, up to the submission: Beam's own runner translates and stages the job, into a bucket on this machine.

No account is needed: the runner writes a template, which is what it would submit otherwise.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import google.auth
import pytest
from apache_beam.internal import pickler
from apache_beam.io.gcp import pubsub
from apache_beam.portability.api import beam_runner_api_pb2 as proto
from conftest import ROOT
from flink_cluster import free_ports
from gcp_storage_emulator.server import create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage  # type: ignore[attr-defined]

from kimi_beam import cli
from pipelines import extract, stream

SECRET = "gcp-secret:projects/p/secrets/cloudflare/versions/3"
DATAFLOW = (
    *("--runner", "DataflowRunner", "--project", "kimi-beam-test", "--region", "europe-west1", "--no_auth"),
    *("--temp_location", "gs://bucket/tmp", "--staging_location", "gs://bucket/staging", "--max_num_workers", "3"),
)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[storage.Bucket]:
    (port,) = free_ports(1)
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="bucket")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "the-token-itself")
    # Beam looks for credentials for a quarter of a minute where there are none.
    monkeypatch.setattr(google.auth, "default", lambda **_: (AnonymousCredentials(), None))  # type: ignore[no-untyped-call]
    client = storage.Client.create_anonymous_client()
    bucket = client.bucket("bucket")
    bucket.blob("in/a.txt").upload_from_string("COMPANY: A Ltd\nTOTAL: 1.00")
    bucket.blob("receipt.json").upload_from_filename(ROOT / "schemas" / "receipt.json")
    yield bucket
    client.close()
    server.stop()


def launch(*options: str) -> None:
    extract.main(["--input=gs://bucket/in/*.txt", "--schema=gs://bucket/receipt.json", *DATAFLOW, *options])


def staged(bucket: storage.Bucket, name: str) -> bytes:
    (blob,) = (blob for blob in bucket.list_blobs(prefix="staging/") if blob.name.endswith(f"/{name}"))
    content: bytes = blob.download_as_bytes()
    return content


def steps(pipeline: proto.Pipeline) -> dict[str, proto.ParDoPayload]:
    found = {}
    for transform in pipeline.components.transforms.values():
        if transform.spec.urn == "beam:transform:pardo:v1":
            found[transform.unique_name] = proto.ParDoPayload.FromString(transform.spec.payload)
    return found


@pytest.mark.parametrize("place", [SECRET, "file:/secrets/cloudflare"])
def test_the_program_becomes_a_job_that_workers_elsewhere_can_run(bucket: storage.Bucket, place: str) -> None:
    package = ("--setup_file", str(ROOT / "setup.py"))
    launch(*package, "--output=gs://bucket/out", "--token-from", place, "--template_location=gs://bucket/job.json")

    job = json.loads(bucket.blob("job.json").download_as_bytes())
    assert job["type"] == "JOB_TYPE_BATCH"
    (pool,) = job["environment"]["workerPools"]
    assert "workflow.tar.gz" in {package["name"] for package in pool["packages"]}, "the workers would lack kimi_beam"
    everything = [job["environment"], *(blob.download_as_bytes() for blob in bucket.list_blobs(prefix="staging/"))]
    assert "the-token-itself" not in repr(everything), "the token travels with the job"

    pipeline = proto.Pipeline.FromString(staged(bucket, "pipeline.pb"))
    (environment,) = pipeline.components.environments.values()
    assert environment.urn == "beam:env:docker:v1"
    by_name = steps(pipeline)
    dispatch = by_name["Extract/Dispatch"]
    assert {"waiting", "held", "jobs", "layout", "checked"} <= set(dispatch.state_specs)
    (timer,) = dispatch.timer_family_specs.values()
    assert timer.time_domain == proto.TimeDomain.EVENT_TIME, "a real-time timer outlives no batch"
    # What the workers will unpickle.
    packing = next(name for name in by_name if name.startswith("Extract/MakeBatches/"))
    for name in (packing, "Extract/Dispatch", "Extract/Settle/ParDo(Settle)", "WriteDataset/Commit"):
        (dofn, *_) = pickler.loads(by_name[name].do_fn.payload)
        assert dofn is not None
    (make_batches, *_) = pickler.loads(by_name[packing].do_fn.payload)
    assert make_batches._shards == 12, "4 shards for each of the most workers there may be"
    (dofn, *_) = pickler.loads(dispatch.do_fn.payload)
    assert dofn._settings.service.token_from == place


def test_messages_of_pubsub_become_a_streaming_job(bucket: storage.Bucket) -> None:
    stream.main(
        [
            *("--pubsub-subscription=projects/project/subscriptions/receipts", "--message=json", "--id-field=order"),
            f"--events-queue={'f1' * 16}",
            *("--schema=gs://bucket/receipt.json", "--output=gs://bucket/out", *DATAFLOW, "--token-from", SECRET),
            *("--setup_file", str(ROOT / "setup.py"), "--template_location=gs://bucket/job.json"),
        ]
    )
    job = json.loads(bucket.blob("job.json").download_as_bytes())
    assert job["type"] == "JOB_TYPE_STREAMING"
    pipeline = proto.Pipeline.FromString(staged(bucket, "pipeline.pb"))
    by_urn = {transform.spec.urn: transform for transform in pipeline.components.transforms.values()}
    read = proto.PubSubReadPayload.FromString(by_urn["beam:transform:pubsub_read:v1"].spec.payload)
    assert (read.subscription, read.with_attributes) == ("projects/project/subscriptions/receipts", True)
    by_name = steps(pipeline)
    dispatch = by_name["Extract/Dispatch"]
    domains = {timer.time_domain for timer in dispatch.timer_family_specs.values()}
    assert domains == {proto.TimeDomain.EVENT_TIME, proto.TimeDomain.PROCESSING_TIME}
    collect = by_name["WriteStream/Extractions/Parts/Collect"]
    assert set(collect.state_specs) == {"waiting", "size"}
    (decode, args, *_) = pickler.loads(by_name["Read/Decode"].do_fn.payload)
    message = pubsub.PubsubMessage(b'{"order": 7, "text": "TOTAL: 1.00"}', {}, "m")
    (document,) = decode.process(message, *args)
    assert (document.id, document.text) == ("7", "TOTAL: 1.00")
    (dofn, *_) = pickler.loads(dispatch.do_fn.payload)
    assert dofn._settings.events.queue == "f1" * 16
    kinds = "Extractions", "DeadLetters", "Documents"
    for name in (
        "Extract/KeepArrival",
        *(f"WriteStream/{kind}/Parts/Collect" for kind in kinds),
        "WriteStream/Summarise",
    ):
        (dofn, *_) = pickler.loads(by_name[name].do_fn.payload)
        assert dofn is not None


def test_the_template_has_the_parameters_that_the_program_takes(bucket: storage.Bucket) -> None:
    told = json.loads((ROOT / "pipelines" / "flex-template" / "metadata.json").read_text())["parameters"]
    values = {
        "input": "gs://bucket/in/*.txt",
        "schema": "gs://bucket/receipt.json",
        "output": "gs://bucket/out",
        "account_id": "f" * 32,
        "token_from": SECRET,
        "events_queue": "f1" * 16,
        "instructions": "Read the receipt.",
    }
    assert [parameter["name"] for parameter in told] == list(values)
    for parameter in told:
        assert all(re.match(pattern, values[parameter["name"]]) for pattern in parameter.get("regexes", []))
    # As its launcher passes them.
    given = [f"--{name}={value}" for name, value in values.items()]
    extract.main([*given, *DATAFLOW, f"--setup_file={ROOT / 'setup.py'}", "--template_location=gs://bucket/job.json"])
    dispatch = steps(proto.Pipeline.FromString(staged(bucket, "pipeline.pb")))["Extract/Dispatch"]
    (dofn, *_) = pickler.loads(dispatch.do_fn.payload)
    assert (dofn._settings.service.account_id, dofn._settings.service.token_from) == ("f" * 32, SECRET)
    assert dofn._settings.prompt.instructions == "Read the receipt."
    assert dofn._settings.events.queue == "f1" * 16


@pytest.mark.parametrize("options", [[], ["--token-from=env:CLOUDFLARE_API_TOKEN"]])
def test_a_token_in_this_machines_environment_is_refused(
    bucket: storage.Bucket, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as e:
        launch("--output=gs://bucket/out", *options)
    assert e.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "environment variable of this machine" in line
    assert "gcp-secret:projects/P/secrets/S/versions/N" in line


def test_an_output_on_this_machine_is_refused(
    bucket: storage.Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as e:
        launch(f"--output={tmp_path}/out", "--token-from", SECRET)
    assert e.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "on this machine, where Dataflow's workers cannot write" in line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--emulator"], "--emulator runs on this machine"),
        ([], "--token-from env: is an environment variable of this machine"),
        (["--token-from=env:ANOTHER"], "--token-from env: is an environment variable of this machine"),
        (
            ["--token-from", SECRET, "--gateway=g", "--gateway-token-from=env:GATEWAY"],
            "--gateway-token-from env: is an environment variable of this machine",
        ),
    ],
)
def test_the_command_refuses_what_workers_elsewhere_cannot_reach(
    options: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "t")
    monkeypatch.setenv("ANOTHER", "t")
    monkeypatch.setenv("GATEWAY", "t")
    (tmp_path / "a.txt").write_text("a")
    command = ["extract", f"{tmp_path}/a.txt", "--schema", str(ROOT / "schemas" / "receipt.json")]
    assert cli.main([*command, "--output", f"{tmp_path}/out", *DATAFLOW, *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_the_package_that_beam_builds_for_the_workers_is_whole(tmp_path: Path) -> None:
    command = [sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # type: ignore[arg-type]
    (archive,) = tmp_path.glob("kimi*beam-*.tar.gz")
    venv.create(tmp_path / "worker", with_pip=True)
    python = tmp_path / "worker" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", archive]
    subprocess.run(install, check=True, cwd=tmp_path, capture_output=True)  # type: ignore[arg-type]
    where = subprocess.check_output([python, "-c", "import kimi_beam; print(kimi_beam.__file__)"], cwd=tmp_path)
    installed = Path(where.decode().strip()).parent
    assert installed.is_relative_to(tmp_path)

    def modules(package: Path) -> set[str]:
        return {str(path.relative_to(package)) for path in package.rglob("*.py")}

    assert modules(installed) == modules(ROOT / "kimi_beam")
    assert (installed / "py.typed").exists()
