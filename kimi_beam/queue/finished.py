"""Finished jobs: their replies, and how many of them are settled together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kimi_beam.queue.effects import Finish, FinishSome
from kimi_beam.queue.jobs import Job
from kimi_beam.request import batches
from kimi_beam.results.settle_replies import BatchReplies, replies_of_batch
from kimi_beam.service.polling import OnMismatch
from kimi_beam.wire.envelopes import Exchange, HttpReply

SETTLED_TOGETHER = 1_000
"""How many answers are settled together: small jobs then share the fixed cost of Arrow's columns and of files."""
_LARGE_REPLY = 1 << 20
"""A reply of so many bytes is settled by itself, as documents and answers take most of the memory."""

_LARGE_DOCUMENTS = 16 << 20
"""Documents of so many bytes, with their metadata, are settled without waiting for more."""


def fit_together(finished: Sequence[Finish], coming: Exchange, documents: int) -> bool:
    """Whether the next reply may be settled together with jobs that have ended before it.

    Args:
        finished: The jobs that have ended.
        coming: The next reply.
        documents: Bytes of the documents of those jobs, with their metadata.
    """
    size = len(coming.body) if isinstance(coming, HttpReply) else 0
    count = sum(len(effect.items) for effect in finished)
    return count < SETTLED_TOGETHER and size < _LARGE_REPLY and documents < _LARGE_DOCUMENTS


def replies_of(effect: Finish, blob: bytes, answer_tool: str | None, on_mismatch: OnMismatch) -> BatchReplies:
    """A reply for each document of a job that has ended.

    Args:
        effect: The job and its items.
        blob: Its batch.
        answer_tool: The function whose arguments are the answers; None if the texts are.
        on_mismatch: What becomes of an item whose reference and index name different documents.
    """
    job = effect.job
    return replies_of_batch(
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
    """Splits a job of which only some documents are answered.

    Args:
        effect: The job, its items, and which documents are answered.
        blob: The job's batch.

    Returns:
        The job of the answered documents with its batch, and the job of the others with theirs.
    """
    job = effect.finish.job
    others = sorted(set(range(job.count)).difference(effect.answered))
    (ended, ended_blob), (open_, open_blob) = (_job_of(job, blob, indices) for indices in (effect.answered, others))
    return (replace(effect.finish, job=ended), ended_blob), (open_, open_blob)


def _job_of(job: Job, blob: bytes, indices: Sequence[int]) -> tuple[Job, bytes]:
    """The job of some documents of another, and their batch."""
    selected = batches.select(blob, indices)
    name, count, positions = job.requests
    submitted_as = name, count, [positions[index] for index in indices]
    batch_id = batches.head(selected).batch_id
    return replace(job, batch_id=batch_id, count=len(indices), submitted_as=submitted_as), selected
