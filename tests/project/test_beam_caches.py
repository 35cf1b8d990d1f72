"""With the caches that the tests put before Beam, Beam makes the same pipelines."""

from __future__ import annotations

import bz2
import sys
import types
from pathlib import Path
from typing import Any

import apache_beam as beam
import beam_caches
import pytest
from apache_beam.internal import cloudpickle_pickler, pickler
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, S3Options, SetupOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.testing import test_stream
from apache_beam.transforms import core, userstate
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from apache_beam.typehints.decorators import IOTypeHints
from apache_beam.typehints.typecheck import OutputCheckWrapperDoFn
from beam_caches import (
    args_defaults,
    args_defaults_of_beam,
    compress,
    module_globals,
    origin,
    origin_of_beam,
    specs,
    specs_of_beam,
    view_as,
    view_as_of_beam,
)
from harness import RECEIPT, receipts, service
from objsize import traverse

import kimi_beam as kb

FLAGS = ["--direct_num_workers=2", "--s3_endpoint_url=http://here", "--extra_package=a", "--not_of_beam=1"]


def test_they_are_in_place() -> None:
    assert core.get_function_args_defaults is args_defaults
    assert PipelineOptions.view_as is view_as
    assert userstate.get_dofn_specs is specs
    assert traverse._iter_modules_globals is module_globals
    assert cloudpickle_pickler.bz2.compress is compress
    assert IOTypeHints._make_origin is origin


def _pipeline(directory: Path) -> beam.Pipeline:
    pipeline = beam.Pipeline(options=PipelineOptions(FLAGS))
    came_in = pipeline | beam.Create(receipts(3), reshuffle=False)
    results = came_in | kb.Extract(RECEIPT, service=service("http://nowhere"))
    write = kb.WriteDataset(str(directory), RECEIPT, model="m", documents=came_in)
    (results.extractions, results.dead_letters) | write
    _ = (
        pipeline
        | test_stream.TestStream()
        | "Extract a stream" >> kb.Extract(RECEIPT, service=service("http://nowhere"))
    )
    return pipeline


def _described(pipeline: beam.Pipeline) -> dict[str, dict[str, Any]]:
    """The transforms of a pipeline by name, without what is pickled in them."""
    described = {}
    for transform in pipeline.to_runner_api().components.transforms.values():
        step = beam_runner_api_pb2.ParDoPayload()
        if transform.spec.urn == common_urns.primitives.PAR_DO.urn:
            step.ParseFromString(transform.spec.payload)
        described[transform.unique_name] = {
            "is": transform.spec.urn,
            "inputs": dict(transform.inputs),
            "outputs": dict(transform.outputs),
            "state": {name: str(spec) for name, spec in step.state_specs.items()},
            "timers": {name: str(spec) for name, spec in step.timer_family_specs.items()},
        }
    return described


def test_a_pipeline_is_the_same_as_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = _described(_pipeline(tmp_path))
    monkeypatch.setattr(core, "get_function_args_defaults", args_defaults_of_beam)
    monkeypatch.setattr(PipelineOptions, "view_as", view_as_of_beam)
    monkeypatch.setattr(userstate, "get_dofn_specs", specs_of_beam)
    monkeypatch.setattr(IOTypeHints, "_make_origin", origin_of_beam)
    monkeypatch.setattr(cloudpickle_pickler, "bz2", bz2)
    assert all(any(step[what] for step in cached.values()) for what in ("inputs", "outputs", "state", "timers"))
    assert cached == _described(_pipeline(tmp_path))


class _Step(beam.DoFn):  # type: ignore[misc]
    def process(self, element: int, window: Any = beam.DoFn.WindowParam, *, of: int = 0) -> None: ...

    @staticmethod
    def static(one: int, two: int = 2) -> None: ...


@pytest.mark.parametrize("function", [_Step.process, _Step().process, _Step().static, _Step(), lambda a, b=1: a, len])
def test_a_signature_is_that_which_beam_reads(function: Any) -> None:
    expected: Any = None
    try:
        expected = args_defaults_of_beam(function)
    except TypeError:
        with pytest.raises(TypeError):
            args_defaults(function)
        return
    for _ in range(2):
        names, defaults = args_defaults(function)
        assert (names, defaults) == expected
        names.append("of the caller alone")


def test_a_function_is_not_kept_for_its_signature() -> None:
    def passing(value: int) -> int:
        return value

    before = len(beam_caches._functions)
    args_defaults(passing)
    assert len(beam_caches._functions) == before + 1
    del passing
    assert len(beam_caches._functions) == before


@pytest.mark.parametrize("flags", [[], FLAGS])
@pytest.mark.parametrize("cls", [DirectOptions, S3Options, SetupOptions, PipelineOptions])
def test_a_view_has_the_options_that_beam_gives_it(cls: type[PipelineOptions], flags: list[str]) -> None:
    expected = view_as_of_beam(PipelineOptions(flags, job_name="mine"), cls)
    for _ in range(2):
        options = PipelineOptions(flags, job_name="mine")
        view = view_as(options, cls)
        assert type(view) is cls
        assert view.get_all_options() == expected.get_all_options()
        assert vars(view).keys() == vars(expected).keys()
        assert options._all_options == expected._all_options


def test_what_is_set_in_one_view_is_seen_in_the_others_of_its_options_alone() -> None:
    one, other = PipelineOptions(FLAGS), PipelineOptions(FLAGS)
    one.view_as(SetupOptions).extra_packages.append("b")
    one.view_as(DirectOptions).direct_num_workers = 3
    assert one.view_as(SetupOptions).extra_packages == ["a", "b"]
    assert one.view_as(DirectOptions).direct_num_workers == 3
    assert other.view_as(SetupOptions).extra_packages == ["a"]
    assert other.view_as(DirectOptions).direct_num_workers == 2


def test_without_flags_the_options_are_those_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    for workers in ("2", "5"):
        monkeypatch.setattr("sys.argv", ["program", f"--direct_num_workers={workers}"])
        assert PipelineOptions().view_as(DirectOptions).direct_num_workers == int(workers)


class _Stateful(beam.DoFn):  # type: ignore[misc]
    BAG = BagStateSpec("bag", beam.coders.BytesCoder())
    TIMER = TimerSpec("timer", beam.TimeDomain.REAL_TIME)

    def process(self, element: Any, bag: Any = beam.DoFn.StateParam(BAG)) -> None: ...

    @on_timer(TIMER)  # type: ignore[untyped-decorator]
    def expired(self, timer: Any = beam.DoFn.TimerParam(TIMER)) -> None: ...


def _of_its_own(element: Any, bag: Any = beam.DoFn.StateParam(_Stateful.BAG)) -> None: ...


def test_a_step_has_the_state_and_the_timers_that_beam_finds() -> None:
    shadowing, adding = _Stateful(), _Step()
    shadowing.__dict__["process"] = len
    adding.__dict__["process"] = types.MethodType(_of_its_own, adding)
    counts = []
    wrapped = (OutputCheckWrapperDoFn(_Step(), "of one"), OutputCheckWrapperDoFn(_Stateful(), "of another"))
    made = (core.CallableWrapperDoFn(len), core.CallableWrapperDoFn(adding.process), shadowing, adding)
    for step in (_Step(), _Stateful(), *wrapped, *made, _Stateful(), _Step()):
        expected = specs_of_beam(step)
        for _ in range(2):
            states, timers = specs(step)
            assert (states, timers) == expected
            counts.append((len(states), len(timers)))
            states.clear()
    assert set(counts) == {(0, 0), (1, 1), (0, 1), (1, 0)}


def test_a_module_that_comes_later_is_no_value_either(monkeypatch: pytest.MonkeyPatch) -> None:
    module_globals()
    monkeypatch.setitem(sys.modules, "of_this_test", types.ModuleType("of_this_test"))
    known = {id(one) for one in module_globals()}
    assert id(vars(sys.modules["of_this_test"])) in known
    assert {id(vars(module)) for module in sys.modules.values() if type(module) is types.ModuleType} <= known


@pytest.mark.parametrize("size", [3, 1_000])
def test_what_is_pickled_here_is_read_by_beam_as_it_is(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    value = bytes(range(256)) * size
    pickled = [pickler.dumps(value), pickler.dumps(value)]
    assert pickler.loads(pickled[0]) == value
    monkeypatch.setattr(cloudpickle_pickler, "bz2", bz2)
    assert [pickler.loads(one) for one in pickled] == [value, value]
