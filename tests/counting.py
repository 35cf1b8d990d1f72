"""Counts what happened in a time."""

from __future__ import annotations


def most_within(times: list[float], seconds: float) -> int:
    return max(sum(begin <= t < begin + seconds for t in times) for begin in times)
