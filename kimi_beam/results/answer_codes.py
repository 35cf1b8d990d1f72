"""Groups of failures: those with an answer that was paid for, and those that leave the request open."""

from __future__ import annotations

from kimi_beam.types.failure import Failure

ANSWERS = frozenset(
    {"truncated", "empty_answer", "answer_in_reasoning", "refusal", "content_filter", "tool_call", "too_many_turns"}
)
"""Failures that are an answer of the model. They were paid for, and the same request would give the same again."""


OPEN = frozenset({"deadline", "no_results", "unknown_submit"})
"""Failures after which the job may still be answered, so that its id is kept and polled by a later run."""


_AFTER_THE_ANSWER = ("parse", "validate", "type")


def has_answer(failure: Failure) -> bool:
    """Whether a failure is that of an answer, so that the model has to be asked anew for another one."""
    return failure.stage in _AFTER_THE_ANSWER or failure.code in ANSWERS
