"""Timers of several steps in one pipeline: how Beam's FnApiRunner mixes them up, and that it loses no document."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2 as proto
from apache_beam.transforms.userstate import get_dofn_specs
from harness import RECEIPT, receipts, service
from several_extracts import SHAPES, Built, UserStep, check_shape, holding_step

import kimi_beam as kb
from kimi_beam.beam_extensions.timer_names import with_own_timers


def _beside_each_other(timers: tuple[str, str], directory: Path) -> Counter[str]:
    """Gives one element to two steps with a timer each, in plain Beam, and reads what they gave from files."""
    with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        element = pipeline | beam.Create([("key", "value")], reshuffle=False).with_output_types(tuple[str, str])
        for name, timer in zip("AB", timers, strict=True):
            given = element | name >> beam.ParDo(holding_step(timer)()).with_output_types(str)
            given | f"Write{name}" >> beam.io.WriteToText(str(directory / name), shard_name_template="")
    return Counter({name: len((directory / name).read_text().splitlines()) for name in "AB"})


def test_fnapirunner_loses_timers_of_steps_that_call_them_the_same(tmp_path: Path) -> None:
    """If this fails, Beam has mended it: `timer_names` can go, once that Beam is the oldest that is supported."""
    assert sum(_beside_each_other(("drain", "drain"), tmp_path).values()) == 1


def test_fnapirunner_keeps_timers_apart_that_have_names_of_their_own(tmp_path: Path) -> None:
    assert _beside_each_other(("drain-a", "drain-b"), tmp_path) == {"A": 1, "B": 1}


@pytest.mark.parametrize("shape", SHAPES)
def test_each_extract_of_a_pipeline_gives_each_document_once(shape: str, tmp_path: Path) -> None:
    check_shape(SHAPES[shape], tmp_path, runner="FnApiRunner")


@pytest.mark.parametrize("shape", ["fork", "chain"])
@pytest.mark.parametrize(
    ("runner", "options"),
    [
        ("FnApiRunner", ()),
        ("FnApiRunner", ("--direct_num_workers=2", "--direct_running_mode=multi_processing")),
        ("BundleBasedDirectRunner", ()),
    ],
)
def test_with_several_shards_and_on_other_runners_too(
    shape: str, runner: str, options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{here}{os.pathsep}{here.parent}")  # importable in other processes
    check_shape(SHAPES[shape], tmp_path, runner=runner, options=options, shards=3)


def _one_step_of_the_users_own(built: Built, documents: beam.PCollection) -> None:
    built.extract("A", built.user_step("Before", documents))


def _one_step_of_the_users_own_after(built: Built, documents: beam.PCollection) -> None:
    rows = built.extract("A", documents)
    again = rows | "Again" >> beam.Map(_same).with_output_types(kb.Document)
    built.extract("B", built.user_step("After", again))


def _same(extraction: kb.Extraction) -> kb.Document:
    return kb.Document(extraction.document_id, "COMPANY: Again Ltd\nTOTAL: 3.00\n")


@pytest.mark.parametrize("shape", [_one_step_of_the_users_own, _one_step_of_the_users_own_after])
def test_a_users_own_timer_of_the_same_name_is_not_mixed_up_with_ours(
    shape: Callable[[Built, beam.PCollection], None], tmp_path: Path
) -> None:
    check_shape(shape, tmp_path, runner="FnApiRunner")


def _timers(pipeline: beam.Pipeline) -> dict[str, set[str]]:
    known: proto.Pipeline = pipeline.to_runner_api()
    found = {}
    for step in known.components.transforms.values():
        if step.spec.urn == "beam:transform:pardo:v1":
            payload = proto.ParDoPayload.FromString(step.spec.payload)
            if payload.timer_family_specs:
                found[step.unique_name] = set(payload.timer_family_specs)
    return found


def _built_twice() -> beam.Pipeline:
    pipeline = beam.Pipeline("FnApiRunner", options=PipelineOptions([]))
    documents = pipeline | beam.Create(receipts(1), reshuffle=False)
    for name in ("A", "B"):
        documents | name >> kb.Extract(RECEIPT, service=service("http://127.0.0.1:1"))
    return pipeline


def test_timers_are_named_after_their_step_and_the_same_each_time() -> None:
    """Dataflow and Flink find the timers of a job that is updated by their names."""
    first, second = _timers(_built_twice()), _timers(_built_twice())
    assert first == second
    assert set(first) == {"A/Dispatch", "B/Dispatch"}
    assert not first["A/Dispatch"] & first["B/Dispatch"]


@pytest.mark.parametrize("dumps", [pickle.dumps, pickler.dumps])
def test_a_step_with_its_own_timers_is_the_same_on_a_worker(dumps: Callable[[Any], bytes]) -> None:
    step = with_own_timers(UserStep, "Some/Step")()
    step.setting = {"a": [1]}
    loads = pickle.loads if dumps is pickle.dumps else pickler.loads
    there = loads(dumps(step))
    assert type(there) is type(step)
    assert there.setting == {"a": [1]}
    _, timers = get_dofn_specs(there)
    assert [timer.name for timer in timers] != ["ts-drain"]
    assert {timer.name for timer in timers} == {timer.name for timer in get_dofn_specs(step)[1]}
