"""Two groups of failure codes: those with an answer that was paid for, and those that leave the request open."""

from __future__ import annotations

ANSWERS = frozenset({"truncated", "empty_answer", "refusal", "content_filter", "tool_call", "too_many_turns"})
"""Failures that are an answer of the model. They were paid for, and the same request would give the same again."""


OPEN = frozenset({"deadline", "no_results", "unknown_submit"})
"""Failures after which the job may still be answered, so that its id is kept and polled by a later run."""
