"""Dollars: the published prices, cached tokens at their own, and no figure where the price is not known."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.pricing import PRICES, Price, cost_usd
from kimi_beam.types import Usage

M = 1_000_000
K2_6 = "@cf/moonshotai/kimi-k2.6"
_usages = st.builds(
    lambda fresh, cached, completion: Usage(fresh + cached, cached, completion),
    *(st.integers(0, 10**9) for _ in range(3)),
)


@pytest.mark.parametrize(
    ("model", "prompt", "cached", "completion"),
    [
        (K2_6, 0.95, 0.16, 4.00),
        ("@cf/moonshotai/kimi-k2.5", 0.95, 0.16, 4.00),  # served by K2.6 at its prices since 2026-05-30
        ("@cf/moonshotai/kimi-k2.7-code", 0.95, 0.19, 4.00),
    ],
)
def test_a_million_tokens_cost_what_the_pricing_page_says(
    model: str, prompt: float, cached: float, completion: float
) -> None:
    assert cost_usd(model, Usage(M, 0, 0)) == prompt
    assert cost_usd(model, Usage(M, M, 0)) == cached
    assert cost_usd(model, Usage(0, 0, M)) == completion
    assert cost_usd(model, Usage(M, M // 2, M)) == pytest.approx((prompt + cached) / 2 + completion)


def test_the_captured_job_costs_what_it_should() -> None:
    assert cost_usd(K2_6, Usage(26, 0, 560)) == 0.002265  # 26 at 0.95 and 560 at 4, in millionths


def test_an_unknown_model_has_no_price_instead_of_a_wrong_one() -> None:
    for model in ("@cf/moonshotai/kimi-k3", "", "kimi-k2.6"):
        assert cost_usd(model, Usage(M, 0, M)) is None


def test_nothing_costs_nothing_and_one_token_something() -> None:
    assert cost_usd(K2_6, Usage()) == 0
    assert cost_usd(K2_6, Usage(0, 0, 1)) == 4e-06


@settings(derandomize=True)
@given(_usages, _usages, st.sampled_from(sorted(PRICES)))
def test_costs_add_up_and_are_never_negative(one: Usage, other: Usage, model: str) -> None:
    price = PRICES[model]
    assert price.cost(one + other) == pytest.approx(price.cost(one) + price.cost(other))
    assert price.cost(one) >= 0


@settings(derandomize=True)
@given(_usages)
def test_a_cached_token_is_never_dearer_than_a_fresh_one(usage: Usage) -> None:
    fresh = Usage(usage.prompt_tokens, 0, usage.completion_tokens)
    assert all(price.cost(usage) <= price.cost(fresh) for price in PRICES.values())
    assert Price(1.0, 1.0, 0.0).cost(usage) == pytest.approx(usage.prompt_tokens / 1e6)
