"""Jobs that have ended: closed by counting, and as many settled together as are worth it."""

from __future__ import annotations

from collections.abc import Sequence

from kimi_beam import batches
from kimi_beam.columnar import Replies
from kimi_beam.dispatch import Finish
from kimi_beam.validation import replies
from kimi_beam.wire.envelopes import Exchange, HttpReply

TOGETHER = 1_000
"""Answers. What a job costs beside its answers, in columns of Arrow and in files, is shared by several."""
_LARGE_REPLY = 1 << 20
"""Bytes of a reply that is settled by itself: documents and answers are the bulk of what is in memory."""


def fit_together(finished: Sequence[Finish], coming: Exchange) -> bool:
    """Whether what comes may be settled with the jobs that have ended before it."""
    size = len(coming.body) if isinstance(coming, HttpReply) else 0
    return sum(len(effect.items) for effect in finished) < TOGETHER and size < _LARGE_REPLY


def closed(effect: Finish, blob: bytes, answer_tool: str | None) -> tuple[Replies, int]:
    """A reply for each document of a job that has ended, and how many items answered nothing that was asked.

    Args:
        effect: The job, and what came back.
        blob: Its batch.
        answer_tool: The function whose arguments are the answers; None where texts are.
    """
    job = effect.job
    return replies(
        job.batch_id,
        batches.decode(blob),
        effect.items,
        effect.usage,
        job.ticket,
        answer_tool=answer_tool,
        asked=job.asked,
    )
