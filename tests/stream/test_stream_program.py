"""`pipelines/stream.py`: the mistakes that it refuses before it runs, and how it sets up Beam's connectors."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from apache_beam.io.kafka import ReadFromKafka
from conftest import ROOT
from harness import ACCOUNT

from pipelines import stream


def run(*options: object) -> None:
    stream.main(["--schema", str(ROOT / "schemas" / "receipt.json"), *map(str, options)])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "name one source"),
        (["--input", "in/*.txt", "--pubsub-subscription", "projects/project/subscriptions/s"], "name one source"),
        (["--kafka-topic", "receipts"], "Kafka needs both --kafka-brokers and --kafka-topic"),
        (["--kafka-brokers", "localhost:9092"], "Kafka needs both --kafka-brokers and --kafka-topic"),
        (["--input", "in/*.psd"], "in/*.psd names files that cannot be read"),
        (["--input", "in/*", "--max-seconds", "0"], "max_rows and max_seconds must be at least 1"),
        (["--input", "in/*", "--max-rows", "0"], "max_rows and max_seconds must be at least 1"),
        (["--pubsub-subscription", "projects/project/subscriptions/s", "--id-field", "n"], "leave the id field out"),
        (["--pubsub-subscription", "receipts"], "PubSub subscription must be in the form"),
        (["--input", "in/*", "--stop-after", "60"], "--stop-after is now --run-for"),
        (["--input", "in/*", "--stop_after=60"], "--stop-after is now --run-for"),
        (["--input", "in/*", "--runner", "FnApiRunner"], "FnApiRunner cannot write files of unbounded input"),
    ],
)
def test_a_mistake_is_said_in_one_line(
    options: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "t")
    with pytest.raises(SystemExit) as e:
        run("--output", tmp_path / "out", *options)
    assert e.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stream.py: ")
    assert said in line


def test_kafka_is_asked_for_each_records_place_and_keeps_the_groups_offsets() -> None:
    args = argparse.Namespace(
        kafka_brokers="a:9092,b:9092", kafka_topic="receipts", kafka_group="g", kafka_expansion="localhost:1"
    )
    read = stream._kafka(args)
    assert isinstance(read, ReadFromKafka)
    assert read._urn == ReadFromKafka.URN_WITH_METADATA
    assert read._expansion_service == "localhost:1"
    for word in (b"a:9092,b:9092", b"group.id", b"receipts", b"earliest", b"commit_offset_in_finalize"):
        assert word in read._payload
