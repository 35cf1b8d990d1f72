"""Prices of the models, and what a number of tokens costs.

Source: Workers AI pricing page and model catalogue, read 2026-10.
"""

from __future__ import annotations

from dataclasses import dataclass

from kimi_beam.errors import ConfigError
from kimi_beam.types.answer import Usage


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars a million tokens. No batch discount is documented.

    Example:
        >>> price = kb.Price(prompt=0.95, cached=0.16, completion=4.00)
        >>> price.cost(kb.Usage(prompt_tokens=1_000_000, completion_tokens=10_000))
        0.99

    Attributes:
        prompt: For tokens that the model read and that were not cached.
        cached: For tokens that the model read from the prefix cache.
        completion: For tokens that the model wrote, its thinking included.

    Raises:
        ConfigError: A price is negative.
    """

    prompt: float
    cached: float
    completion: float

    def __post_init__(self) -> None:
        if not all(0 <= dollars < float("inf") for dollars in (self.prompt, self.cached, self.completion)):
            raise ConfigError("price: dollars a million tokens are 0 or more")

    def cost(self, usage: Usage) -> float:
        """What these tokens cost in US dollars, the cached ones at their own price."""
        fresh = usage.prompt_tokens - usage.cached_tokens
        dollars = fresh * self.prompt + usage.cached_tokens * self.cached + usage.completion_tokens * self.completion
        return dollars / 1e6


_K2_6 = Price(prompt=0.95, cached=0.16, completion=4.00)

PRICES: dict[str, Price] = {
    "@cf/moonshotai/kimi-k2.6": _K2_6,
    # Deprecated: served by K2.6 at its prices since 2026-05-30.
    "@cf/moonshotai/kimi-k2.5": _K2_6,
    "@cf/moonshotai/kimi-k2.7-code": Price(prompt=0.95, cached=0.19, completion=4.00),
}


@dataclass(frozen=True, slots=True)
class Bill:
    """The cost of some tokens, in US dollars.

    Attributes:
        cost: What is billed, with cached tokens at their own price.
        cache_saved: How much more the same tokens would have cost without the prefix cache.
    """

    cost: float
    cache_saved: float


def bill(model: str, usage: Usage, price: Price | None = None) -> Bill | None:
    """The cost of some tokens.

    Args:
        model: The id of the model that was asked.
        usage: The tokens.
        price: A price to use instead of the listed one; None: the listed one.

    Returns:
        The bill; None if the model's price is not known.
    """
    price = price or PRICES.get(model)
    if price is None:
        return None
    saved = usage.cached_tokens * (price.prompt - price.cached) / 1e6
    return Bill(round(price.cost(usage), 6), round(saved, 6))
