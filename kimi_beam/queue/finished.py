"""Jobs that have ended: closed by counting, and as many settled together as are worth it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kimi_beam.queue.effects import Finish, FinishSome
from kimi_beam.queue.jobs import Job
from kimi_beam.request import batches
from kimi_beam.results.settle_replies import BatchReplies, replies
from kimi_beam.service.polling import OnMismatch
from kimi_beam.wire.envelopes import Exchange, HttpReply

TOGETHER = 1_000
"""Answers. What a job costs beside its answers, in columns of Arrow and in files, is shared by several."""
_LARGE_REPLY = 1 << 20
"""Bytes of a reply that is settled by itself: documents and answers are the bulk of what is in memory."""

_LARGE_DOCUMENTS = 16 << 20
"""Bytes of documents, with their metadata, that are settled without more of them."""


def fit_together(finished: Sequence[Finish], coming: Exchange, documents: int) -> bool:
    """Whether what comes may be settled with the jobs that have ended before it.

    Args:
        finished: Those jobs.
        coming: What comes.
        documents: Bytes of these jobs' documents, with their metadata.
    """
    size = len(coming.body) if isinstance(coming, HttpReply) else 0
    count = sum(len(effect.items) for effect in finished)
    return count < TOGETHER and size < _LARGE_REPLY and documents < _LARGE_DOCUMENTS


def closed(effect: Finish, blob: bytes, answer_tool: str | None, on_mismatch: OnMismatch) -> BatchReplies:
    """A reply for each document of a job that has ended.

    Args:
        effect: The job, and what came back.
        blob: Its batch.
        answer_tool: The function whose arguments are the answers; None where texts are.
        on_mismatch: What becomes of an item whose number is that of another request than its reference.
    """
    job = effect.job
    return replies(
        job.batch_id,
        batches.decode(blob),
        effect.items,
        effect.usage,
        job.ticket,
        answer_tool=answer_tool,
        submitted_as=job.submitted_as,
        on_mismatch=on_mismatch,
    )


def split_job(effect: FinishSome, blob: bytes) -> tuple[tuple[Finish, bytes], tuple[Job, bytes]]:
    """A job of which some answers have come as two: what is to be settled, and what is to be read again.

    Args:
        effect: What has come.
        blob: The job's batch.
    """
    job = effect.finish.job
    others = sorted(set(range(job.count)).difference(effect.came))
    (settled, one), (open_, other) = (_some(job, blob, places) for places in (effect.came, others))
    return (replace(effect.finish, job=settled), one), (open_, other)


def _some(job: Job, blob: bytes, places: Sequence[int]) -> tuple[Job, bytes]:
    some = batches.select(blob, places)
    name, count, positions = job.requests
    submitted_as = name, count, [positions[place] for place in places]
    return replace(job, batch_id=batches.head(some).batch_id, count=len(places), submitted_as=submitted_as), some
