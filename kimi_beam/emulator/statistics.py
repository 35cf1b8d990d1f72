"""The emulator's counters, by which a test can see whether a client paid for the same document twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Statistics:
    """Counters since the start or the last reset.

    Attributes:
        submits: Accepted jobs, including those whose reply was lost.
        items: The items of these jobs.
        polls: Polls, with any answer.
        runs: Accepted synchronous runs.
        conversions: Files that were handed to the Markdown conversion, whatever became of them.
        throttled: Requests of any kind that were refused with 429.
        prompt_tokens: Estimated tokens of all billed prompts.
        cached_tokens: How many of them came from a prefix cache, which are billed at a price of their own.
        completion_tokens: Estimated tokens of the answers written so far; a job is written when it is first read.
        payments: How often each question was billed, by the document's key; the correction of an answer is another
            question.
    """

    submits: int = 0
    items: int = 0
    polls: int = 0
    runs: int = 0
    conversions: int = 0
    throttled: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    payments: Counter[str] = field(default_factory=Counter)
    _more_than_once: int = 0
    _extra: int = 0

    def bill(self, documents: Iterable[str], prompt_tokens: int) -> None:
        """Count documents as paid for, and the tokens of their prompts."""
        self.prompt_tokens += prompt_tokens
        for key in documents:
            self.payments[key] += 1
            if self.payments[key] > 1:
                self._extra += 1
                self._more_than_once += self.payments[key] == 2

    def snapshot(self) -> dict[str, object]:
        """Return the counters as plain values. This is quick, and safe while another thread changes them."""
        return {
            "submits": self.submits,
            "items": self.items,
            "polls": self.polls,
            "runs": self.runs,
            "conversions": self.conversions,
            "throttled": self.throttled,
            "documents": len(self.payments),
            "documents_paid_more_than_once": self._more_than_once,
            "paid_twice": self._extra,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
        }
