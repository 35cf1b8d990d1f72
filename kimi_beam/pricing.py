"""Dollars from tokens, by model. Source: Workers AI pricing page and model catalogue, read 2026-10."""

from __future__ import annotations

from dataclasses import dataclass

from kimi_beam.types import Usage


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars a million tokens. No batch discount is documented."""

    prompt: float
    cached: float
    completion: float

    def cost(self, usage: Usage) -> float:
        """US dollars for these tokens; cached prompt tokens at their own price."""
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


def cost_usd(model: str, usage: Usage) -> float | None:
    """What the tokens cost in US dollars; None for a model whose price is not known here."""
    price = PRICES.get(model)
    return None if price is None else round(price.cost(usage), 6)
