"""Tokens as the service states them, and shared out to the documents that they were spent on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kimi_beam.types import Usage

_TOO_MANY = 1 << 40


def decode_usage(usage: Any) -> Usage | None:
    """Tokens as stated; None where there is no statement. ``prompt_tokens_details`` may be null (captured)."""
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    prompt = count(usage.get("prompt_tokens"))
    return Usage(prompt, min(count(cached), prompt), count(usage.get("completion_tokens")))


def count(number: Any) -> int:
    """A number of tokens or seconds; 0 for what is none. Below 2**40, so that sums stay far from 64 bits."""
    return int(number) if isinstance(number, (int, float)) and 0 <= number < _TOO_MANY else 0


def share_usage(total: Usage | None, items: Sequence[Usage | None]) -> list[Usage]:
    """Shares a job's tokens out to its items.

    An item's own statement stands. What the job states beyond the sum of its items (cached tokens stand at the job
    alone, captured; a missing item states nothing) is shared: cached tokens by prompt tokens, the others evenly over
    the items that state none.
    """
    known = [usage or Usage() for usage in items]
    if total is None:
        return known
    said = Usage(
        sum(usage.prompt_tokens for usage in known),
        sum(usage.cached_tokens for usage in known),
        sum(usage.completion_tokens for usage in known),
    )
    silent = [index for index, usage in enumerate(items) if usage is None]
    prompt = _even(max(0, total.prompt_tokens - said.prompt_tokens), len(silent))
    completion = _even(max(0, total.completion_tokens - said.completion_tokens), len(silent))
    for index, prompt_tokens, completion_tokens in zip(silent, prompt, completion, strict=True):
        known[index] = Usage(prompt_tokens, 0, completion_tokens)
    room = [usage.prompt_tokens - usage.cached_tokens for usage in known]
    cached = _in_proportion(min(max(0, total.cached_tokens - said.cached_tokens), sum(room)), room)
    return [
        Usage(usage.prompt_tokens, usage.cached_tokens + more, usage.completion_tokens) if more else usage
        for usage, more in zip(known, cached, strict=True)
    ]


def _even(total: int, parts: int) -> list[int]:
    return [(total * (i + 1)) // parts - (total * i) // parts for i in range(parts)]


def _in_proportion(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers that add up to the total, each at most its weight where the total is at most their sum."""
    whole, shares, before = sum(weights), [], 0
    if whole == 0:
        return [0] * len(weights)
    running = 0
    for weight in weights:
        running += weight
        upto = total * running // whole
        shares.append(upto - before)
        before = upto
    return shares
