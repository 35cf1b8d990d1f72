"""Which failures have an answer that was paid for, and which leave a request open."""

from __future__ import annotations

ANSWERS = frozenset({"truncated", "empty_answer", "refusal", "content_filter", "tool_call", "too_many_turns"})
"""Failures that are an answer of the model's: they were paid for, and asking the same again would be the same."""


OPEN = frozenset({"deadline", "no_results", "unknown_submit"})
"""Failures that say nothing about the job: the service may still answer, so that what is known of it stands."""
