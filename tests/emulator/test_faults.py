from __future__ import annotations

from typing import Any

import pytest

from kimi_beam.emulator.faults import FAULTS, Faults, FaultsError, Injector
from kimi_beam.emulator.leaf_faults import LEAF_FAULTS


def test_a_specification_names_faults_with_probability_and_argument() -> None:
    faults = Faults.parse(" rate_limit=0.1:2 , never_ends = 0.01 ")
    assert dict(faults.probability) == {"rate_limit": 0.1, "never_ends": 0.01}
    assert dict(faults.argument) == {"rate_limit": 2.0}
    assert dict(Faults.parse("").probability) == {}


def test_all_sets_every_fault_and_later_parts_change_some() -> None:
    faults = Faults.parse("all=0.5,expired=0")
    assert set(faults.probability) == set(FAULTS) - set(LEAF_FAULTS), "a wrong value is no fault of the service"
    assert faults.probability["expired"] == 0
    assert faults.probability["fenced"] == 0.5


@pytest.mark.parametrize(
    "spec", ["nothing=0.1", "fenced", "fenced=", "fenced=x", "fenced=1.1", "fenced=-1", "fenced=nan", "fenced=0.1:2",
             "rate_limit=0.1:soon", "rate_limit=0.1:-1", "misread_leaf=0.6,dropped_leaf=0.6"],
)  # fmt: skip
def test_what_is_not_understood_is_refused_in_one_line_that_names_the_faults(spec: Any) -> None:
    with pytest.raises(FaultsError) as caught:
        Faults.parse(spec)
    message = str(caught.value)
    assert "\n" not in message
    assert all(name in message for name in FAULTS)


def test_items_meet_the_same_fate_in_any_order() -> None:
    keys = [f"document {n}" for n in range(200)]
    faults = Faults.parse("fenced=0.2,missing_item=0.1")
    one, two = Injector(faults, 7), Injector(faults, 7)
    forward = {key: one.item(key) for key in keys}
    backward = {key: two.item(key) for key in reversed(keys)}
    assert forward == backward
    assert one.injected == two.injected
    assert 20 < one.injected["fenced"] < 60
    assert forward != {key: Injector(faults, 8).item(key) for key in keys}


def test_the_same_document_sent_again_draws_anew() -> None:
    injector = Injector(Faults.parse("fenced=0.5"), 1)
    again = [injector.item("document") for _ in range(50)]
    assert {None, "fenced"} == set(again)
    repeat = Injector(Faults.parse("fenced=0.5"), 1)
    assert again == [repeat.item("document") for _ in range(50)]


def drawn_by(injector: Any, name: str = "") -> Any:
    """One of each that a fault may strike. A fault of corrections strikes no other item."""
    kinds = (injector.job, injector.read, injector.stream, injector.event)
    item = injector.item("k", is_correction=name == "stubborn")
    return [injector.request("submit"), item, *(kind("k") for kind in kinds)]


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in LEAF_FAULTS])
def test_every_fault_strikes_at_probability_one_and_never_at_zero(name: Any) -> None:
    always, never = Injector(Faults.parse(f"{name}=1"), 0), Injector(Faults.parse(f"{name}=0"), 0)
    assert name in drawn_by(always, name)
    assert {*drawn_by(never, name)} == {None}
    if name != "drop_after_accept":  # counted once something was accepted
        assert always.injected[name] == 1


def test_probabilities_are_what_they_say() -> None:
    injector = Injector(Faults.parse("capacity=0.3"), 3)
    for _ in range(2000):
        injector.request("poll")
    assert 500 < injector.injected["capacity"] < 700


def test_a_poll_has_nothing_to_accept_and_a_run_no_array() -> None:
    injector = Injector(Faults.parse("drop_after_accept=1,missing_item=1,doubled_item=1,unknown_reference=1"), 0)
    assert injector.request("poll") is None
    assert injector.request("pull") == "drop_after_accept"
    assert injector.item("k", is_synchronous=True) is None
