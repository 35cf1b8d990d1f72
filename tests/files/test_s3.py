"""S3: objects as files, and whole runs against a server that refuses the requests that AWS refuses."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_processes import Program
from harness import ACCOUNT, RECEIPT, Outcome, read_dataset, receipts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patience import HANGS
from s3_server import Keys, S3Server, s3_server

from kimi_beam import cli
from kimi_beam.emulator import Emulator
from kimi_beam.errors import InputError
from kimi_beam.files import s3, whole_files
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import find, listing
from kimi_beam.input.check_input import check_input
from kimi_beam.input.fields import Reading
from kimi_beam.input.file_parts import find_parts
from kimi_beam.input.read_parts import read_part
from kimi_beam.journal.files import Journal
from kimi_beam.journal.records import Submission

BUCKET = "documents"
NOBODY = Keys("AKIANOBODY0000000000", "nothing")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        for name in (BUCKET, "elsewhere"):
            running.client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        yield running


def use(server: S3Server, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has this process find these keys, as if it had just begun."""
    for name, value in keys.environment(server.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3, "_clients", {})


@pytest.fixture
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The server with an empty bucket; nothing may leave an upload open in it."""
    use(server, server.keys, monkeypatch)
    FileSystems.set_options(None)
    for name in server.objects(BUCKET):
        server.client.delete_object(Bucket=BUCKET, Key=name)
    yield server
    assert server.open_uploads(BUCKET) == []


def put(server: S3Server, key: str, content: bytes) -> str:
    server.client.put_object(Bucket=BUCKET, Key=key, Body=content)
    return f"s3://{BUCKET}/{key}"


def written(path: str, content: bytes, piece: int = 1 << 20) -> None:
    with FileSystems.create(path) as f:
        for start in range(0, len(content), piece):
            f.write(content[start : start + piece])


# ------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("size", [0, 1, 5_000_000, 16 * 1024**2, 40_000_000])
def test_a_file_of_any_size_comes_back(bucket: S3Server, size: int) -> None:
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    path = f"s3://{BUCKET}/a file/é.bin"
    written(path, content, piece=999_999)
    assert [(f.path, f.size) for f in find(path)] == [(path, size)]
    with FileSystems.open(path) as f:
        assert f.read() == content


def test_a_file_that_is_not_written_to_its_end_does_not_appear(bucket: S3Server) -> None:
    for size in (10, 40_000_000):
        path = put(bucket, "kept.txt", b"earlier")
        with contextlib.suppress(EOFError), FileSystems.create(path) as f:
            f.write(bytes(size))
            raise EOFError
        left = FileSystems.get_filesystem(path).create(path)
        left.write(bytes(size))
        del left
        assert bucket.objects(BUCKET) == {"kept.txt": b"earlier"}


def test_an_upload_that_a_killed_process_left_open_is_given_up_when_it_is_old(bucket: S3Server) -> None:
    for key in ("out/.staging-x/part.parquet", "out/of-somebody-else.bin"):
        bucket.client.create_multipart_upload(Bucket=BUCKET, Key=key)
    (began, *_) = (u["Initiated"].timestamp() for u in bucket.client.list_multipart_uploads(Bucket=BUCKET)["Uploads"])
    whole_files.remove_abandoned(f"s3://{BUCKET}/out", began + 80_000)
    assert len(bucket.open_uploads(BUCKET)) == 2, "it may be at work"
    whole_files.remove_abandoned(f"s3://{BUCKET}/out", began + 90_000)
    assert bucket.open_uploads(BUCKET) == ["out/of-somebody-else.bin"]
    FileSystems.abort_uploads(f"s3://{BUCKET}/out", time.time() + 90_000)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 3000), st.lists(st.tuples(st.integers(0, 2), st.integers(-3000, 3000), st.integers(0, 2000))))
def test_it_is_read_as_a_local_file_is(bucket: S3Server, size: int, moves: list[tuple[int, int, int]]) -> None:
    content = os.urandom(size)
    path, local = put(bucket, "some.bin", content), io.BytesIO(content)
    with pytest.MonkeyPatch.context() as patch, FileSystems.open(path) as f:
        patch.setattr("kimi_beam.files.s3_files._FIRST", 500)
        for whence, offset, count in moves:
            start = {0: 0, 1: local.tell(), 2: size}[whence]
            if start + offset >= 0:
                assert f.seek(offset, whence) == local.seek(offset, whence)
            assert f.read(count) == local.read(count)


def test_a_file_that_is_replaced_while_it_is_read_is_not_mixed(bucket: S3Server) -> None:
    path = put(bucket, "large.bin", bytes(20_000_000))
    with FileSystems.open(path) as f:
        f.read(10)
        put(bucket, "large.bin", b"\1" * 20_000_000)
        f.seek(15_000_000)
        with pytest.raises(OSError, match=f"{path} was replaced while it was read"):
            f.read(10)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a/*", ["a/1.txt", "a/2.md"]),
        ("a/*.txt", ["a/1.txt"]),
        ("a/**", ["a/1.txt", "a/2.md", "a/b/3.txt"]),
        ("a/*/*.txt", ["a/b/3.txt"]),
        ("*/1.txt", ["a/1.txt"]),
        ("a/[12].*", ["a/1.txt", "a/2.md"]),
        ("a/?.txt", ["a/1.txt"]),
        ("a/1.txt", ["a/1.txt"]),
        ("a/1", []),
        ("a", []),
        ("a/", ["a/1.txt", "a/2.md"]),
        ("nothing/*", []),
    ],
)
def test_patterns_on_s3_match_as_on_other_filesystems(bucket: S3Server, pattern: str, found: list[str]) -> None:
    for key in ("a/1.txt", "a/2.md", "a/b/3.txt", "ab/4.md"):
        put(bucket, key, b"x")
    assert [f.path.removeprefix(f"s3://{BUCKET}/") for f in find(f"s3://{BUCKET}/{pattern}")] == found


def test_more_files_than_a_page_are_listed_and_deleted_and_only_where_they_are_asked_for(bucket: S3Server) -> None:
    """A lease and the parts of an output stand beside its journal, which may have thousands of files."""
    paths = [put(bucket, f"out/_journal/{i:04d}", b"") for i in range(1_010)]
    summary = put(bucket, "out/summary.json", b"{}")
    assert [f.path for f in find(f"s3://{BUCKET}/out/_journal/*")] == paths
    before = bucket.requests()
    assert [f.path for f in listing(f"s3://{BUCKET}/out")] == [summary]
    assert bucket.requests() - before == {"GET": 1}
    FileSystems.delete([*paths, summary])
    assert bucket.objects(BUCKET) == {}


# ------------------------------------------------------------------------------------------------ requests


def test_a_file_costs_one_request_to_read_or_write_and_a_process_has_one_client(bucket: S3Server) -> None:
    path = f"s3://{BUCKET}/file.txt"
    before = bucket.requests()
    for i in range(20):
        whole_files.write_whole(path, b"x" * i)
        with FileSystems.open(path) as f:
            assert len(f.read()) == i
    # An empty object has no range: the first one is told so.
    assert bucket.requests() - before == {"PUT": 20, "GET": 20}
    assert len(s3._clients) == 1


def test_a_journal_costs_a_request_a_file_and_several_are_read_at_once(bucket: S3Server) -> None:
    directory, keys = f"s3://{BUCKET}/journal", [bytes([i]) * 16 for i in range(40)]
    before = bucket.requests()
    writing = Journal(directory)
    for i, key in enumerate(keys):
        writing.write_submissions([Submission(f"batch-{i}", 0, (key,), 1.0, f"request-{i}")])
    assert (bucket.requests() - before)["PUT"] == len(keys)
    assert bucket.requests().total() - before.total() == len(keys), "a file is written by one request"

    at_once, before = threading.Barrier(8), bucket.requests()
    client = s3.S3(None).client

    def wait(**_: object) -> None:
        at_once.wait(timeout=HANGS)

    client.meta.events.register("before-call.s3.GetObject", wait)
    try:
        reading = Journal(directory)
        reading.refresh()
    finally:
        client.meta.events.unregister("before-call.s3.GetObject", wait)
    assert bucket.requests() - before == {"GET": len(keys) + 1}, "a listing, and a request a file"
    found = [entry and reading.submission(entry).request_id for entry in reading.look_up(keys)]
    assert found == [f"request-{i}" for i in range(len(keys))]

    before = bucket.requests()
    reading.refresh()
    assert bucket.requests() - before == {"GET": 1}


# ------------------------------------------------------------------------------------------------ runs


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "token")
    with Emulator() as running:
        yield running


@pytest.fixture
def inputs(bucket: S3Server) -> list[str]:
    """40 documents of two kinds, and one that has no text."""
    documents = receipts(40)
    lines = [json.dumps({"id": d.id, "text": d.text}) for d in documents[:30]]
    put(bucket, "in/docs.jsonl", "\n".join([*lines, '{"id": "empty", "text": ""}']).encode())
    for document in documents[30:]:
        assert document.text is not None
        put(bucket, f"in/{document.id}.txt", document.text.encode())
    put(bucket, "schema.json", json.dumps(RECEIPT).encode())
    return [f"s3://{BUCKET}/in/*"]


def command(name: str, inputs: list[str], emulator: Emulator, output: str, *more: str) -> list[str]:
    schema = ("--schema", f"s3://{BUCKET}/schema.json")
    asked = ("--base-url", emulator.base_url, "--poll-interval", "0.05:0.2")
    return [name, *inputs, *schema, "--output", output, *asked, *more]


def read_run(server: S3Server, prefix: str, directory: Path) -> Outcome:
    """What a run left, by way of a directory of this machine."""
    found = {key.removeprefix(f"{prefix}/"): value for key, value in server.objects(BUCKET, f"{prefix}/").items()}
    assert not [key for key in found if ".staging-" in key or ".lease-" in key], "something is left"
    copy = directory / prefix.replace("/", "-")
    copy.mkdir(exist_ok=True)
    for name, content in found.items():
        if "/" not in name:
            (copy / name).write_bytes(content)
    return read_dataset(copy)


NAMES = [*(f"doc-{i}" for i in range(30)), *(f"s3://{BUCKET}/in/doc-{i}.txt" for i in range(30, 40))]
EVERYTHING = Counter([*NAMES, "empty"])


def test_a_whole_run_its_repetition_and_its_redrive(
    bucket: S3Server, inputs: list[str], emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = f"s3://{BUCKET}/out/run 1"
    assert cli.main(command("extract", inputs, emulator, out)) == 0
    first = read_run(bucket, "out/run 1", tmp_path)
    assert first.ids == EVERYTHING
    assert first.codes == {"empty_document": 1}
    assert (first.summary["extractions"], first.summary["journal"]) == (40, f"{out}/_journal")
    assert bucket.objects(BUCKET, "out/run 1/_journal/")

    paid = emulator.stats()
    capsys.readouterr()
    assert cli.main(command("extract", inputs, emulator, out)) == 2
    assert "holds a finished run" in capsys.readouterr().err
    assert cli.main(command("extract", inputs, emulator, out, "--overwrite")) == 0
    assert read_run(bucket, "out/run 1", tmp_path).ids == EVERYTHING
    assert emulator.stats()["submits"] == paid["submits"], "the journal was not read"

    assert cli.main(command("redrive", [out], emulator, f"s3://{BUCKET}/out/run2", "--code", "empty_document")) == 0
    again = read_run(bucket, "out/run2", tmp_path)
    assert (again.ids, again.codes) == (Counter(["empty"]), {"empty_document": 1})
    assert again.summary["journal"] == f"{out}/_journal"
    assert cli.main(["journal", "ls", f"{out}/_journal"]) == 0
    assert "answered" in capsys.readouterr().out


def test_a_run_without_a_dead_letter_writes_an_empty_file_of_them(
    bucket: S3Server, inputs: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    only = [f"s3://{BUCKET}/in/*.txt"]
    assert cli.main(command("extract", only, emulator, f"s3://{BUCKET}/clean", "--no-journal")) == 0
    assert bucket.objects(BUCKET, "clean/")["clean/dead-letters-00000-of-00001.jsonl"] == b""
    assert read_run(bucket, "clean", tmp_path).summary["extractions"] == 10


def test_the_options_of_beam_outrank_the_environment(
    bucket: S3Server,
    inputs: list[str],
    emulator: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keys = bucket.keys
    use(bucket, NOBODY, monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    where = ("--s3_endpoint_url", bucket.url, "--s3_region_name", "eu-central-1")
    who = ("--s3_access_key_id", keys.access, "--s3_secret_access_key", keys.secret)
    assert cli.main(command("extract", inputs, emulator, f"s3://{BUCKET}/by-options", *where, *who)) == 0
    assert read_run(bucket, "by-options", tmp_path).ids == EVERYTHING
    journal = f"s3://{BUCKET}/by-options/_journal"
    capsys.readouterr()
    assert cli.main(["journal", "ls", *where, *who, journal]) == 0
    assert f"documents               {len(EVERYTHING) - 1} " in capsys.readouterr().out
    assert cli.main(["journal", "gc", journal, *where, "--ttl", "30d", "--dry-run", *who]) == 0
    assert cli.main(["audit", *where, *who, f"s3://{BUCKET}/by-options"]) == 2
    assert "cannot look for" not in capsys.readouterr().err, "the bucket was not reached"


@pytest.mark.parametrize("moment", [0, 1])
def test_killed_and_started_again_it_pays_for_nothing_twice_and_a_second_at_once_is_refused(
    bucket: S3Server, inputs: list[str], moment: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch, Emulator(latency=6.0) as emulator:
        patch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
        patch.setenv("CLOUDFLARE_API_TOKEN", "token")
        words = command("extract", inputs, emulator, f"s3://{BUCKET}/killed")
        first = Program(words, tmp_path)
        _wait_for(lambda: emulator.stats()["polls"] >= 2 + 4 * moment)
        assert cli.main(words) == 2
        assert f"another run (process {first.process.pid} on" in capsys.readouterr().err
        first.kill()
        assert "killed/summary.json" not in bucket.objects(BUCKET), "it was done before it was killed"
        assert cli.main(words) == 0
        outcome = read_run(bucket, "killed", tmp_path)
        assert outcome.ids == EVERYTHING
        assert outcome.summary["resubmits"] == 0
        assert emulator.stats()["paid_twice"] == 0


def _wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ------------------------------------------------------------------------------------------------ mistakes

MISSING, READ_ONLY, WRONG = "does not exist", "refuses it (AccessDenied)", "does not accept the keys"


@pytest.mark.parametrize(
    ("keys", "words", "told"),
    [
        ("owner", {"output": "s3://missing-bucket/out"}, ("s3://missing-bucket", MISSING)),
        ("owner", {"input": "s3://missing-bucket/in/*"}, ("s3://missing-bucket", MISSING)),
        ("owner", {"input": "s3://missing-bucket/in.jsonl"}, ("s3://missing-bucket", MISSING)),
        ("owner", {"input": f"s3://{BUCKET}/nothing/*"}, (f"no file matches s3://{BUCKET}/nothing/*",)),
        ("owner", {"schema": "s3://missing-bucket/schema.json"}, ("s3://missing-bucket", MISSING)),
        ("owner", {"schema": f"s3://{BUCKET}/no-schema.json"}, (f"s3://{BUCKET}/no-schema.json", "not there")),
        ("owner", {"journal": "s3://missing-bucket/journal"}, ("s3://missing-bucket", MISSING)),
        ("owner", {"output": "s3://Not_A_Bucket!/out"}, ("s3://Not_A_Bucket!",)),
        ("owner", {"output": "s3:///out"}, ("names no bucket",)),
        ("reader", {}, (f"s3://{BUCKET}", READ_ONLY)),
        ("reader", {"output": "here", "journal": f"s3://{BUCKET}/j"}, (f"s3://{BUCKET}", READ_ONLY)),
        ("nobody", {"input": "here"}, (f"s3://{BUCKET}", WRONG)),
        ("nobody", {"output": "here", "schema": "here"}, (f"s3://{BUCKET}", WRONG)),
        ("wrong secret", {"input": "here", "schema": "here"}, (f"s3://{BUCKET}", WRONG)),
        ("nowhere", {"input": "here", "schema": "here"}, (f"s3://{BUCKET}", "cannot be reached", "http://127.0.0.1:9")),
        ("none", {"input": "here", "schema": "here"}, (f"s3://{BUCKET}", "no keys")),
    ],
)
def test_a_bucket_that_cannot_be_used_is_the_users_mistake_before_anything_is_sent(
    bucket: S3Server,
    inputs: list[str],
    emulator: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    keys: str,
    words: dict[str, str],
    told: tuple[str, ...],
) -> None:
    here = {"input": tmp_path / "a.txt", "schema": tmp_path / "schema.json", "output": tmp_path / "out"}
    here["input"].write_text("TOTAL: 1.00")
    here["schema"].write_text(json.dumps(RECEIPT))
    usual = {"input": inputs[0], "schema": f"s3://{BUCKET}/schema.json", "output": f"s3://{BUCKET}/refused"}
    given = {
        **usual,
        **{name: str(here[name]) if value == "here" else value for name, value in words.items()},
    }
    who = {"owner": bucket.keys, "reader": bucket.reader, "wrong secret": Keys(bucket.keys.access, "wrong")}
    use(bucket, who.get(keys, NOBODY), monkeypatch)
    if keys == "nowhere":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    if keys == "none":
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    before = bucket.objects(BUCKET)
    capsys.readouterr()
    code = cli.main(
        [
            *("extract", given["input"], "--schema", given["schema"], "--output", given["output"]),
            *("--base-url", emulator.base_url),
            *(("--journal", given["journal"]) if "journal" in given else ()),
        ]
    )
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), err
    assert len(err.splitlines()) == 1, err
    assert all(word in err for word in told), err
    assert bucket.keys.secret not in err
    assert [emulator.stats()[kind] for kind in ("submits", "polls", "runs")] == [0, 0, 0], "something was sent"
    assert bucket.objects(BUCKET) == before, "something is left"


# ------------------------------------------------------------------------------------------------ kinds


def test_kinds_are_told_by_content_when_an_object_is_read_and_not_before(bucket: S3Server, tmp_path: Path) -> None:
    def archive(line_id: str) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as opened:
            opened.writestr("a.txt", "Total: 3.10")
            opened.writestr("b.jsonl", json.dumps({"id": line_id, "text": "Total: 3.10"}))
        return out.getvalue()

    for key, content in (
        ("in/README", b"Total: 3.10"),
        ("in/archive", archive("b")),
        ("in/archive.zip", archive("c")),
        ("in/rows.csv.gz", gzip.compress(b"id,text\nd,Total: 3.10\n")),
        ("in/noise", b"\0\1\2" * 999),
    ):
        put(bucket, key, content)
    costs = []
    for _ in range(3):
        before = bucket.requests().total()
        patterns = check_input([f"s3://{BUCKET}/in"])
        costs.append(bucket.requests().total() - before)
        put(bucket, f"in/more-{len(costs)}", b"Total: 3.10")
    assert costs[1] == costs[2], "each object costs a request before anything is read"
    for number in range(1, 4):
        bucket.client.delete_object(Bucket=BUCKET, Key=f"in/more-{number}")
    for skip_unknown, unknown in ((False, {f"s3://{BUCKET}/in/noise": "unknown_kind"}), (True, {})):
        reading = Reading(skip_unknown=skip_unknown)
        found = [one for part in find_parts(patterns) for one in read_part(part, reading)]
        assert {one.id: one.failure and one.failure.code for one in found} == {
            f"s3://{BUCKET}/in/README": None,
            f"s3://{BUCKET}/in/archive!/a.txt": None,
            f"s3://{BUCKET}/in/archive.zip!/a.txt": None,
            "b": None,
            "c": None,
            "d": None,
            **unknown,
        }
    put(bucket, "in/run.log", b"x")
    with pytest.raises(InputError, match=r"in/run\.log of 6 files match .* cannot be read"):
        check_input([f"s3://{BUCKET}/in"])
