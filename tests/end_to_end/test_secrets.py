"""The token is nowhere but in the header of a request: not in the pipeline, the output, a log, a repr or an error."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from harness import ACCOUNT, QUICK, RECEIPT, receipts

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.errors import AccountError

TOKEN = "t0ken-of-mine"


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)


def build(pipeline: beam.Pipeline, base_url: str, directory: Path) -> None:
    documents = pipeline | beam.Create([*receipts(3), kb.Document("empty", "")])
    where = kb.WorkersAI(ACCOUNT, base_url=base_url)
    results = documents | kb.Extract(RECEIPT, service=where, polling=QUICK)
    (results.extractions, results.dead_letters) | kb.WriteDataset(str(directory), RECEIPT, model=where.model)


def test_the_token_does_not_travel_with_the_pipeline(tmp_path: Path) -> None:
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
    build(pipeline, "http://127.0.0.1:9", tmp_path)
    proto, _ = pipeline.to_runner_api(return_context=True)
    assert TOKEN.encode() not in proto.SerializeToString()
    assert TOKEN.encode() not in pickle.dumps(kb.WorkersAI(ACCOUNT))


def test_the_token_is_not_in_what_a_run_leaves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        Emulator(token=TOKEN, faults="error_502_bare=0.3,error_500=0.3") as emulator,
        beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline,
    ):
        build(pipeline, emulator.base_url, tmp_path)
    files = list(tmp_path.iterdir())
    assert len(files) == 3
    for path in files:
        assert TOKEN.encode() not in path.read_bytes(), path.name
    assert TOKEN not in caplog.text


def test_the_token_is_not_in_the_error_that_turns_it_away(tmp_path: Path) -> None:
    with Emulator(token="another") as emulator:
        pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
        build(pipeline, emulator.base_url, tmp_path)
        with pytest.raises(Exception, match="turned @cf/moonshotai/kimi") as e:
            pipeline.run().wait_until_finish()
    assert TOKEN not in str(e.value)
    told = pickle.loads(pickle.dumps(AccountError("no", code=10000, status=401)))
    assert (str(told), told.code, told.status) == ("no", 10000, 401)
