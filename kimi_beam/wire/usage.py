"""Reads the token counts of replies, and shares those of a job out to its documents."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from kimi_beam.columnar import Tokens
from kimi_beam.types.answer import Usage

COUNT_LIMIT = 1 << 40
"""A count of tokens or seconds from here on is certainly wrong and is read as 0."""

END_OF_TIME = 253_402_300_800
"""The beginning of the year 10000, in Unix seconds."""


def decode_usage(usage: Any) -> Usage | None:
    """Reads a ``usage`` object; None if there is none. ``prompt_tokens_details`` may be null (captured)."""
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    prompt = count(usage.get("prompt_tokens"))
    return Usage(prompt, min(count(cached), prompt), count(usage.get("completion_tokens")))


def count(number: Any) -> int:
    """Reads a number of tokens or seconds; 0 for anything else. The limit of 2**40 keeps sums far below 64 bits."""
    return int(number) if isinstance(number, (int, float)) and 0 <= number < COUNT_LIMIT else 0


class Stated(NamedTuple):
    """The tokens that the items of a job state: 0 for an item that states none."""

    tokens: Tokens
    silent: list[int]
    """The indices of the items that state none."""


def share_usage(total: Usage | None, stated: Stated) -> Tokens:
    """Shares a job's tokens out to its items.

    An item's own counts are kept. A job may state more than the sum of its items, because cached tokens are stated for
    the job alone (captured) and a missing item states nothing. The difference is shared: cached tokens in proportion to
    prompt tokens, other tokens evenly among the items that state none.
    """
    tokens, silent = stated
    if total is None:
        return tokens
    prompt, cached, completion = map(list, tokens)
    more_prompt = _even(max(0, total.prompt_tokens - sum(prompt)), len(silent))
    more_completion = _even(max(0, total.completion_tokens - sum(completion)), len(silent))
    for index, prompt_tokens, completion_tokens in zip(silent, more_prompt, more_completion, strict=True):
        prompt[index], completion[index] = prompt_tokens, completion_tokens
    beyond = total.cached_tokens - sum(cached)
    if beyond > 0:
        room = [all_of_it - part for all_of_it, part in zip(prompt, cached, strict=True)]
        more = _in_proportion(min(beyond, sum(room)), room)
        cached = [part + shared for part, shared in zip(cached, more, strict=True)]
    return Tokens(prompt, cached, completion)


def _even(total: int, parts: int) -> list[int]:
    return [(total * (i + 1)) // parts - (total * i) // parts for i in range(parts)]


def _in_proportion(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers that add up to the total. None exceeds its weight if the total does not exceed their sum."""
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    ends = [total * running // whole for running in accumulate(weights)]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
