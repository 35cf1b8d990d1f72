"""What is known of the models is what the contract's table says; of any other model nothing is claimed."""

from __future__ import annotations

from typing import Any

import pytest

from kimi_beam.service.models import DEFAULT_MODEL, MODELS, thinking_off
from kimi_beam.service.prices import PRICES

# workers-ai.md 0: context, dollars a million tokens (in, cached, out), batch, deprecated
TABLE = {
    "@cf/moonshotai/kimi-k2.5": (256_000, (0.95, 0.16, 4.00), False, True),  # at K2.6's prices now
    "@cf/moonshotai/kimi-k2.6": (262_144, (0.95, 0.16, 4.00), True, False),
    "@cf/moonshotai/kimi-k2.7-code": (262_144, (0.95, 0.19, 4.00), False, False),
}


def test_the_models_are_those_of_the_contract() -> None:
    assert set(MODELS) == set(TABLE) == set(PRICES)
    assert all(model.id == name for name, model in MODELS.items())


@pytest.mark.parametrize("name", TABLE)
def test_a_model_is_what_the_contract_says(name: str) -> None:
    model = MODELS[name]
    price = model.price
    assert price is not None
    known = (model.context, (price.prompt, price.cached, price.completion), model.has_queue, model.is_deprecated)
    assert known == TABLE[name]
    assert model.vision
    assert model.tools


def test_the_default_is_the_one_with_a_queue_that_is_not_deprecated() -> None:
    assert [m.id for m in MODELS.values() if m.has_queue and not m.is_deprecated] == [DEFAULT_MODEL]


# workers-ai.md 6, thinking
@pytest.mark.parametrize(
    ("name", "switch"),
    [
        ("@cf/moonshotai/kimi-k2.5", {"enable_thinking": False, "thinking": False}),
        ("@cf/moonshotai/kimi-k2.6", {"thinking": False}),
        ("@cf/moonshotai/kimi-k2.7-code", {}),
        ("@cf/moonshotai/kimi-k3", {"thinking": False, "enable_thinking": False, "clear_thinking": True}),
        ("llama3", {"thinking": False, "enable_thinking": False, "clear_thinking": True}),
    ],
)
def test_thinking_is_turned_off_by_each_models_own_switch(name: str, switch: dict[str, Any]) -> None:
    assert dict(thinking_off(name)) == switch


def test_a_model_that_is_not_known_has_no_price() -> None:
    assert "@cf/moonshotai/kimi-k3" not in MODELS
    assert "@cf/moonshotai/kimi-k3" not in PRICES
