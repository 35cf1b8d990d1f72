"""Tokens as the service states them, and shared out to the documents that they were spent on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from kimi_beam.columnar import Tokens
from kimi_beam.types import Usage

TOO_MANY = 1 << 40
"""Of tokens or seconds: whoever says so is wrong."""

END_OF_TIME = 253_402_300_800
"""Unix seconds of the year 10000."""


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
    return int(number) if isinstance(number, (int, float)) and 0 <= number < TOO_MANY else 0


class Stated(NamedTuple):
    """The tokens that each item of a job states: 0 where it states none."""

    tokens: Tokens
    silent: list[int]
    """The places of those that state none."""


def share_usage(total: Usage | None, stated: Stated) -> Tokens:
    """Shares a job's tokens out to its items.

    An item's own statement stands. What the job states beyond the sum of its items (cached tokens stand at the job
    alone, captured; a missing item states nothing) is shared: cached tokens by prompt tokens, the others evenly over
    the items that state none.
    """
    tokens, silent = stated
    if total is None:
        return tokens
    prompt, cached, completion = map(list, tokens)
    more_prompt = _even(max(0, total.prompt_tokens - sum(prompt)), len(silent))
    more_completion = _even(max(0, total.completion_tokens - sum(completion)), len(silent))
    for place, prompt_tokens, completion_tokens in zip(silent, more_prompt, more_completion, strict=True):
        prompt[place], completion[place] = prompt_tokens, completion_tokens
    beyond = total.cached_tokens - sum(cached)
    if beyond > 0:
        room = [all_of_it - part for all_of_it, part in zip(prompt, cached, strict=True)]
        more = _in_proportion(min(beyond, sum(room)), room)
        cached = [part + shared for part, shared in zip(cached, more, strict=True)]
    return Tokens(prompt, cached, completion)


def _even(total: int, parts: int) -> list[int]:
    return [(total * (i + 1)) // parts - (total * i) // parts for i in range(parts)]


def _in_proportion(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers that add up to the total, each at most its weight where the total is at most their sum."""
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    ends = [total * running // whole for running in accumulate(weights)]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
