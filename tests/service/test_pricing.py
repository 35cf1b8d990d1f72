"""Dollars: the published prices, cached tokens at their own, and no figure where the price is not known."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.errors import ConfigError
from kimi_beam.service.prices import PRICES, Bill, Price, bill
from kimi_beam.types.answer import Usage

M = 1_000_000
K2_6 = "@cf/moonshotai/kimi-k2.6"
_usages = st.builds(
    lambda fresh, cached, completion: Usage(fresh + cached, cached, completion),
    *(st.integers(0, 10**9) for _ in range(3)),
)


def cost(model: str, usage: Usage) -> float:
    billed = bill(model, usage)
    assert billed is not None
    return billed.cost


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
    assert cost(model, Usage(M, 0, 0)) == prompt
    assert cost(model, Usage(M, M, 0)) == cached
    assert cost(model, Usage(0, 0, M)) == completion
    assert cost(model, Usage(M, M // 2, M)) == pytest.approx((prompt + cached) / 2 + completion)


def test_the_captured_job_costs_what_it_should() -> None:
    assert cost(K2_6, Usage(26, 0, 560)) == 0.002265  # 26 at 0.95 and 560 at 4, in millionths


def test_an_unknown_model_has_no_price_instead_of_a_wrong_one() -> None:
    for model in ("@cf/moonshotai/kimi-k3", "", "kimi-k2.6"):
        assert bill(model, Usage(M, 0, M)) is None


def test_nothing_costs_nothing_and_one_token_something() -> None:
    assert cost(K2_6, Usage()) == 0
    assert cost(K2_6, Usage(0, 0, 1)) == 4e-06


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


def test_what_the_cache_saved_is_the_difference_of_the_two_prices() -> None:
    assert bill(K2_6, Usage(2 * M, M, 0)) == Bill(cost=1.11, cache_saved=0.79)
    assert bill(K2_6, Usage(M, 0, M)) == Bill(cost=4.95, cache_saved=0.0)


@settings(derandomize=True)
@given(_usages, st.sampled_from(sorted(PRICES)))
def test_cost_and_savings_are_what_it_would_have_cost_without_the_cache(usage: Usage, model: str) -> None:
    billed = bill(model, usage)
    assert billed is not None
    without = Usage(usage.prompt_tokens, 0, usage.completion_tokens)
    assert billed.cost + billed.cache_saved == pytest.approx(PRICES[model].cost(without), abs=2e-6)


def test_a_price_of_the_users_own_takes_the_place_of_what_is_known_and_of_what_is_not() -> None:
    own = Price(1.0, 0.5, 2.0)
    for model in (K2_6, "somebody/elses"):
        assert bill(model, Usage(M, M // 2, M), own) == Bill(cost=2.75, cache_saved=0.25)
    free = Price(0, 0, 0)
    assert bill(K2_6, Usage(M, M, M), free) == Bill(0, 0), "a price of nothing is a price"


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_a_price_that_is_no_amount_of_money_is_refused(wrong: float) -> None:
    for prices in ((wrong, 0.0, 0.0), (0.0, wrong, 0.0), (0.0, 0.0, wrong)):
        with pytest.raises(ConfigError, match="price"):
            Price(*prices)
